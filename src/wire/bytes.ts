/** Byte values and byte classes of HTTP/1.1, as tables: one look-up per byte (RFC 9110 section 5.6, RFC 9112). */

export const HTAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SP = 0x20;
export const COLON = 0x3a;
export const SEMICOLON = 0x3b;
export const SLASH = 0x2f;
export const ASTERISK = 0x2a;

function table(accepts: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (accepts(byte) ? 1 : 0));
}

function among(characters: string): (byte: number) => boolean {
  const set = new Set([...characters].map((character) => character.charCodeAt(0)));
  return (byte) => set.has(byte);
}

const isDigit = (byte: number) => byte >= 0x30 && byte <= 0x39;
const isAlpha = (byte: number) => (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
const isTokenMark = among("!#$%&'*+-.^_`|~");
const isRefusedInTarget = among('"<>#');
const isHostMark = among("-._~!$&'()*+,;=%");

/** tchar, RFC 9110 section 5.6.2: methods and field names. */
export const TOKEN = table((byte) => isDigit(byte) || isAlpha(byte) || isTokenMark(byte));

/** What a field value may hold: HTAB, SP, VCHAR and obs-text, RFC 9110 section 5.5. No CR, LF, NUL or other control. */
export const FIELD_VALUE = table((byte) => byte === HTAB || (byte >= SP && byte !== 0x7f));

/**
 * What a request target may hold: visible ASCII without the delimiters that no URI holds (RFC 3986 section 2).
 * Braces, bar, caret, backslash and backtick are let through, because browsers send them unencoded.
 */
export const TARGET = table((byte) => byte > SP && byte < 0x7f && !isRefusedInTarget(byte));

/** reg-name and IPv4address, RFC 3986 section 3.2.2. */
export const HOST = table((byte) => isDigit(byte) || isAlpha(byte) || isHostMark(byte));

/** Value of a hexadecimal digit, 255 for every other byte. */
export const HEX = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (isDigit(byte)) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : 255;
});

/** Lower case of a letter, every other byte itself. */
export const LOWER = Uint8Array.from({ length: 256 }, (_, byte) => (byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte));

/**
 * The offset of the first byte of `bytes[from, to)` that `table` does not accept, or `to`. Four bytes a turn: field
 * values are most of a head, and this halves their cost.
 */
export function span(table: Uint8Array, bytes: Uint8Array, from: number, to: number): number {
  let at = from;
  while (
    at + 4 <= to &&
    (table[bytes[at]!]! & table[bytes[at + 1]!]! & table[bytes[at + 2]!]! & table[bytes[at + 3]!]!) === 1
  ) {
    at += 4;
  }
  while (at < to && table[bytes[at]!] === 1) at++;
  return at;
}

/** Whether `bytes[from, to)` is `lower`, whatever its letters' case. `lower` is in lower case. */
export function equalsLower(bytes: Uint8Array, from: number, to: number, lower: Uint8Array): boolean {
  if (to - from !== lower.length) return false;
  for (let i = 0; i < lower.length; i++) if (LOWER[bytes[from + i]!] !== lower[i]) return false;
  return true;
}

/** `bytes[from, to)` as a string of the same length, one character a byte: nothing is decoded. */
export function latin1(bytes: Buffer, from: number, to: number): string {
  return bytes.toString("latin1", from, to);
}
