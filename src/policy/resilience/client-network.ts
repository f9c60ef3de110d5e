/** An IPv4 address at the end takes the place of two. */
const groupsOf = (address: string): number => (address.includes(".") ? 7 : 8);
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
    while (groups.length < groupsOf(address) - behind.length) groups.push("0");
    groups.push(...behind);
  }
  // Some write IPv4 addresses so: ::ffff:192.0.2.1 is 192.0.2.1.
  if (groups.slice(0, 5).every((group) => Number.parseInt(group, 16) === 0) && /^ffff$/i.test(groups[5] ?? "")) {
    return groups.slice(6).join(":").toLowerCase();
  }
  const network = groups.slice(0, NETWORK_GROUPS).map((group) => group.replace(/^0+(?=.)/, ""));
  return `${network.join(":").toLowerCase()}::/64`;
}
