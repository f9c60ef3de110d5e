/** Between two pieces of what goes on slowly: well below every timeout of a proxy under test. */
export const DRIP_MS = 60;
const DRIPS = 16;
const SINGLE_BYTES = 40;

/** One byte each, at first, and then the rest. */
export function singly(text: string): string[] {
  const bytes = [...text.slice(0, SINGLE_BYTES)];
  return text.length > SINGLE_BYTES ? [...bytes, text.slice(SINGLE_BYTES)] : bytes;
}

/** So many that all of them take longer than any timeout of a proxy under test. */
export function inPieces(text: string): string[] {
  const size = Math.ceil(text.length / DRIPS);
  const pieces: string[] = [];
  for (let at = 0; at < text.length; at += size) pieces.push(text.slice(at, at + size));
  return pieces;
}
