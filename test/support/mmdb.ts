/** A network and what a database says of it. */
export interface MmdbNetwork {
  /** `192.0.2.0/24` or `2001:db8::/32`, in any form that has no IPv4 part inside IPv6. */
  readonly network: string;
  readonly record: MmdbValue;
}

/** What a record can hold; numbers are doubles, except whole ones from 0 on, which are 32-bit integers. */
export type MmdbValue = string | number | bigint | readonly MmdbValue[] | { readonly [key: string]: MmdbValue };

export interface MmdbOptions {
  /** Default 6, in which IPv4 networks stand below `::/96`. */
  readonly ipVersion?: 4 | 6;
  readonly type?: string;
  readonly builtAt?: Date;
  readonly formatVersion?: number;
}

interface Node {
  children: [Node | number | undefined, Node | number | undefined];
  id: number;
}

const SEPARATOR = 16;

/**
 * Writes a database in MaxMind's format, version 2.0, with records of 32 bits; for tests, so networks must not overlap.
 * Source: https://maxmind.github.io/MaxMind-DB/
 */
export function writeMmdb(networks: readonly MmdbNetwork[], options: MmdbOptions = {}): Buffer {
  const ipVersion = options.ipVersion ?? 6;
  const data = Buffer.concat(networks.map(({ record }) => encode(record)));
  const root: Node = { children: [undefined, undefined], id: 0 };
  const nodes = [root];
  let offset = 0;
  for (const { network, record } of networks) {
    const bits = bitsOf(network, ipVersion);
    let node = root;
    for (const [depth, bit] of bits.entries()) {
      if (depth === bits.length - 1) {
        node.children[bit] = offset;
        break;
      }
      node.children[bit] ??= newNode(nodes);
      const next = node.children[bit];
      if (typeof next === "number") throw new Error(`${network} lies within another network`);
      node = next;
    }
    offset += encode(record).length;
  }
  const tree = Buffer.alloc(nodes.length * 8);
  for (const { children, id } of nodes) {
    for (const [side, child] of children.entries()) {
      const value =
        child === undefined ? nodes.length : typeof child === "number" ? nodes.length + SEPARATOR + child : child.id;
      tree.writeUInt32BE(value, id * 8 + side * 4);
    }
  }
  const metadata = encode({
    binary_format_major_version: options.formatVersion ?? 2,
    binary_format_minor_version: 0,
    build_epoch: BigInt(Math.floor((options.builtAt ?? new Date("2026-01-02T03:04:05Z")).getTime() / 1000)),
    database_type: options.type ?? "Test-City",
    description: { en: "a database for tests" },
    ip_version: ipVersion,
    languages: ["en"],
    node_count: nodes.length,
    record_size: 32,
  });
  return Buffer.concat([
    tree,
    Buffer.alloc(SEPARATOR),
    data,
    Buffer.from("\xab\xcd\xefMaxMind.com", "latin1"),
    metadata,
  ]);
}

/** A city database over places by network: `{ "192.0.2.0/24": [52.5, 13.4] }`. */
export function cityMmdb(places: Readonly<Record<string, readonly [number, number]>>, options?: MmdbOptions): Buffer {
  const networks = Object.entries(places).map(([network, [latitude, longitude]]) => ({
    network,
    record: { city: { names: { en: network } }, location: { accuracy_radius: 5, latitude, longitude } },
  }));
  return writeMmdb(networks, options);
}

/** The bytes as threads share them. */
export function shared(bytes: Uint8Array): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(bytes.length);
  new Uint8Array(memory).set(bytes);
  return memory;
}

function newNode(nodes: Node[]): Node {
  const node: Node = { children: [undefined, undefined], id: nodes.length };
  nodes.push(node);
  return node;
}

function bitsOf(network: string, ipVersion: 4 | 6): (0 | 1)[] {
  const [address = "", length = ""] = network.split("/");
  const isIpv4 = address.includes(".");
  if (!isIpv4 && ipVersion === 4) throw new Error(`${network} is no IPv4 network`);
  const bits = isIpv4
    ? address.split(".").map((part) => Number(part).toString(2).padStart(8, "0"))
    : groupsOf(address).map((group) => Number.parseInt(group, 16).toString(2).padStart(16, "0"));
  const prefix = isIpv4 && ipVersion === 6 ? "0".repeat(96) : "";
  return [...(prefix + bits.join("").slice(0, Number(length)))].map((bit) => (bit === "1" ? 1 : 0));
}

function groupsOf(address: string): string[] {
  const [head = "", tail] = address.split("::");
  const before = head === "" ? [] : head.split(":");
  const behind = tail === undefined || tail === "" ? [] : tail.split(":");
  return [...before, ...Array<string>(8 - before.length - behind.length).fill("0"), ...behind];
}

const TEXT = 2;
const DOUBLE = 3;
const UINT32 = 6;
const MAP = 7;
const UINT64 = 9;
const ARRAY = 11;

function encode(value: MmdbValue): Buffer {
  if (typeof value === "string") {
    const text = Buffer.from(value);
    return Buffer.concat([control(TEXT, text.length), text]);
  }
  if (typeof value === "bigint") {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(value);
    return Buffer.concat([control(UINT64, 8), bytes]);
  }
  if (typeof value === "number") {
    const whole = Number.isInteger(value) && value >= 0;
    const bytes = Buffer.alloc(whole ? 4 : 8);
    if (whole) bytes.writeUInt32BE(value);
    else bytes.writeDoubleBE(value);
    return Buffer.concat([control(whole ? UINT32 : DOUBLE, bytes.length), bytes]);
  }
  if (Array.isArray(value)) return Buffer.concat([control(ARRAY, value.length), ...value.map(encode)]);
  const entries = Object.entries(value);
  return Buffer.concat([control(MAP, entries.length), ...entries.flatMap(([key, of]) => [encode(key), encode(of)])]);
}

/** Type and size: types from 8 on take a byte more, and sizes from 29 on, up to 284. */
function control(type: number, size: number): Buffer {
  const small = Math.min(size, 29);
  const first = type < 8 ? [(type << 5) | small] : [small, type - 7];
  return Buffer.from(size < 29 ? first : [...first, size - 29]);
}
