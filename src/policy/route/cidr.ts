/**
 * Addresses and blocks of addresses, without a look at the network.
 *
 * An address is four 32-bit words. IPv4 and its form inside IPv6 (`::ffff:192.0.2.1`) are one address: a socket that
 * listens on `::` reports the second for a client of the first.
 */

/** Where {@link parseInto} leaves its words: one buffer for all, so that a look-up allocates nothing. */
const words = new Uint32Array(4);

/** A parsed address; `words` are in network order, IPv4 in its mapped form. */
export interface Ip {
  readonly version: 4 | 6;
  readonly words: readonly [number, number, number, number];
}

/** Parses an address strictly: four decimal parts without leading zeros, or RFC 4291 section 2.2. No zone. */
export function parseIp(text: string): Ip | undefined {
  const version = parseInto(text, text.length);
  if (version === 0) return undefined;
  return { version, words: [words[0]!, words[1]!, words[2]!, words[3]!] };
}

/** Whether `text` is an address or a block `address/bits`; bits below the prefix may be set, as in `10.1.2.3/8`. */
export function isCidr(text: string): boolean {
  return parseBlock(text) !== undefined;
}

interface Block {
  readonly first: readonly number[];
  readonly last: readonly number[];
}

function parseBlock(text: string): Block | undefined {
  const slash = text.indexOf("/");
  const ip = parseIp(slash === -1 ? text : text.slice(0, slash));
  if (ip === undefined) return undefined;
  const longest = ip.version === 4 ? 32 : 128;
  let bits = longest;
  if (slash !== -1) {
    const suffix = text.slice(slash + 1);
    if (!/^(0|[1-9]\d{0,2})$/.test(suffix) || Number(suffix) > longest) return undefined;
    bits = Number(suffix);
  }
  if (ip.version === 4) bits += 96;
  const first: number[] = [];
  const last: number[] = [];
  for (let at = 0; at < 4; at++) {
    const kept = Math.min(32, Math.max(0, bits - at * 32));
    const mask = kept === 0 ? 0 : (0xffffffff << (32 - kept)) >>> 0;
    first.push((ip.words[at]! & mask) >>> 0);
    last.push((ip.words[at]! | ~mask) >>> 0);
  }
  return { first, last };
}

/** A set of addresses; a look-up is a binary search over blocks that do not overlap. */
export class CidrSet {
  /** First and last address of each block, four words each, in order. */
  readonly #bounds: Uint32Array;
  readonly #count: number;

  /** Throws a RangeError that names the first of `blocks` that is neither an address nor a block. */
  constructor(blocks: readonly string[]) {
    const parsed = blocks.map((text) => {
      const block = parseBlock(text);
      if (block === undefined) throw new RangeError(`"${text}" is neither an address nor a block of addresses`);
      return block;
    });
    parsed.sort((a, b) => compare(a.first, 0, b.first, 0) || compare(b.last, 0, a.last, 0));
    // Two blocks either nest or lie apart, so dropping the nested ones leaves none that overlap.
    const outer: Block[] = [];
    for (const block of parsed) {
      const before = outer.at(-1);
      if (before === undefined || compare(block.first, 0, before.last, 0) > 0) outer.push(block);
    }
    this.#bounds = Uint32Array.from(outer.flatMap((block) => [...block.first, ...block.last]));
    this.#count = outer.length;
  }

  /** True where the set holds no address at all. */
  get empty(): boolean {
    return this.#count === 0;
  }

  /** Whether `address` is in the set. A zone (`fe80::1%eth0`) is left out of account; what is no address is in no set. */
  has(address: string): boolean {
    if (this.#count === 0) return false;
    const zone = address.indexOf("%");
    if (parseInto(address, zone === -1 ? address.length : zone) === 0) return false;
    let low = 0;
    let high = this.#count - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (compare(words, 0, this.#bounds, middle * 8) < 0) high = middle - 1;
      else if (compare(words, 0, this.#bounds, middle * 8 + 4) > 0) low = middle + 1;
      else return true;
    }
    return false;
  }
}

function compare(a: ArrayLike<number>, atA: number, b: ArrayLike<number>, atB: number): number {
  for (let word = 0; word < 4; word++) {
    const left = a[atA + word]!;
    const right = b[atB + word]!;
    if (left !== right) return left < right ? -1 : 1;
  }
  return 0;
}

/** Parses `text` up to `end` into {@link words}; 0 when it is no address. */
function parseInto(text: string, end: number): 0 | 4 | 6 {
  for (let at = 0; at < end && at < 5; at++) {
    if (text.charCodeAt(at) === 0x3a) return parse6(text, end) ? 6 : 0;
  }
  const v4 = parse4(text, 0, end);
  if (v4 < 0) return 0;
  words[0] = 0;
  words[1] = 0;
  words[2] = 0xffff;
  words[3] = v4;
  return 4;
}

/** The 32 bits of `1.2.3.4` between `from` and `end`, or -1. */
function parse4(text: string, from: number, end: number): number {
  let value = 0;
  let parts = 0;
  let at = from;
  for (;;) {
    const start = at;
    let part = 0;
    while (at < end && at - start < 3) {
      const digit = text.charCodeAt(at) - 0x30;
      if (digit < 0 || digit > 9) break;
      part = part * 10 + digit;
      at++;
    }
    const length = at - start;
    if (length === 0 || part > 255 || (length > 1 && text.charCodeAt(start) === 0x30)) return -1;
    value = value * 256 + part;
    parts++;
    if (at === end) return parts === 4 ? value : -1;
    if (parts === 4 || text.charCodeAt(at) !== 0x2e) return -1;
    at++;
  }
}

/** Groups of an IPv6 address before the gap is filled. */
const groups = new Uint16Array(8);

function parse6(text: string, end: number): boolean {
  let count = 0;
  let gap = -1;
  let at = 0;
  if (text.charCodeAt(0) === 0x3a) {
    if (end < 2 || text.charCodeAt(1) !== 0x3a) return false;
    gap = 0;
    at = 2;
  }
  while (at < end) {
    if (count === 8) return false;
    const start = at;
    let group = 0;
    while (at < end && at - start < 4) {
      const digit = hexDigit(text.charCodeAt(at));
      if (digit < 0) break;
      group = group * 16 + digit;
      at++;
    }
    if (at === start) return false;
    if (at < end && text.charCodeAt(at) === 0x2e) {
      // The last 32 bits may be written as IPv4.
      const v4 = parse4(text, start, end);
      if (v4 < 0 || count > 6) return false;
      groups[count++] = v4 >>> 16;
      groups[count++] = v4 & 0xffff;
      at = end;
      break;
    }
    groups[count++] = group;
    if (at === end) break;
    if (text.charCodeAt(at) !== 0x3a) return false;
    at++;
    if (at === end) return false;
    if (text.charCodeAt(at) === 0x3a) {
      if (gap !== -1) return false;
      gap = count;
      at++;
    }
  }
  if (gap === -1 ? count !== 8 : count > 7) return false;
  if (gap !== -1) {
    const tail = count - gap;
    groups.copyWithin(8 - tail, gap, count);
    groups.fill(0, gap, 8 - tail);
  }
  for (let word = 0; word < 4; word++) words[word] = groups[word * 2]! * 65536 + groups[word * 2 + 1]!;
  return true;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
