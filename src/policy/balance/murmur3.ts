const C1 = 0xcc9e2d51;
const C2 = 0x1b873593;

/**
 * MurmurHash3 for x86, 32 bits (Austin Appleby, public domain), as an unsigned integer.
 *
 * `text` is hashed as the bytes it was sent as: values that come off the wire hold one byte per character (Latin-1).
 * A text with a character above U+00FF cannot have come that way and is hashed as UTF-8; only then is memory allocated.
 */
export function murmur3(text: string, seed = 0): number {
  const length = text.length;
  const whole = length & ~3;
  let h = seed | 0;
  let wide = 0;
  for (let i = 0; i < whole; i += 4) {
    const a = text.charCodeAt(i);
    const b = text.charCodeAt(i + 1);
    const c = text.charCodeAt(i + 2);
    const d = text.charCodeAt(i + 3);
    wide |= a | b | c | d;
    h = mixBlock(h, a | (b << 8) | (c << 16) | (d << 24));
  }
  let tail = 0;
  for (let i = length - 1; i >= whole; i--) {
    const code = text.charCodeAt(i);
    wide |= code;
    tail = (tail << 8) | code;
  }
  if (wide > 0xff) return murmur3(latin1OfUtf8(text), seed);
  return finish(h ^ scramble(tail), length);
}

function mixBlock(h: number, block: number): number {
  const mixed = h ^ scramble(block);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

function scramble(block: number): number {
  const k = Math.imul(block, C1);
  return Math.imul((k << 15) | (k >>> 17), C2);
}

function finish(h: number, length: number): number {
  let f = h ^ length;
  f = Math.imul(f ^ (f >>> 16), 0x85ebca6b);
  f = Math.imul(f ^ (f >>> 13), 0xc2b2ae35);
  return (f ^ (f >>> 16)) >>> 0;
}

function latin1OfUtf8(text: string): string {
  let bytes = "";
  for (const byte of new TextEncoder().encode(text)) bytes += String.fromCharCode(byte);
  return bytes;
}
