const GROUPS = 8;
const NETWORK_GROUPS = 4;

/**
 * Who an address stands for when clients are counted: an IPv4 address for itself, an IPv6 address for its /64, because
 * whoever has one address of such a network has all 2^64 of them.
 */
export function networkOf(address: string | undefined): string | undefined {
  if (address === undefined || !address.includes(":")) return address;
  const [head = "", tail] = address.split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const behind = tail === "" ? [] : tail.split(":");
    while (groups.length < GROUPS - behind.length) groups.push("0");
    groups.push(...behind);
  }
  const network = groups.slice(0, NETWORK_GROUPS).map((group) => group.replace(/^0+(?=.)/, ""));
  return `${network.join(":").toLowerCase()}::/64`;
}
