import { expect, test } from "vitest";
import { murmur3 } from "./murmur3.ts";

// Published results, as collected at https://stackoverflow.com/a/31929528 and in Wikipedia's article on MurmurHash.
const vectors: readonly [text: string, seed: number, hash: number][] = [
  ["", 0, 0x00000000],
  ["", 1, 0x514e28b7],
  ["", 0xffffffff, 0x81f16f39],
  ["\xff\xff\xff\xff", 0, 0x76293b50],
  ["\x21\x43\x65\x87", 0, 0xf55b516b],
  ["\x21\x43\x65\x87", 0x5082edee, 0x2362f9de],
  ["\x21\x43\x65", 0, 0x7e4a8634],
  ["\x21\x43", 0, 0xa0f7b07a],
  ["\x21", 0, 0x72661cf4],
  ["\0\0\0\0", 0, 0x2362f9de],
  ["\0\0\0", 0, 0x85f0b427],
  ["\0\0", 0, 0x30f4c306],
  ["\0", 0, 0x514e28b7],
  ["aaaa", 0x9747b28c, 0x5a97808a],
  ["aaa", 0x9747b28c, 0x283e0130],
  ["aa", 0x9747b28c, 0x5d211726],
  ["a", 0x9747b28c, 0x7fa09ea6],
  ["abcd", 0x9747b28c, 0xf0478627],
  ["abc", 0x9747b28c, 0xc84a62dd],
  ["ab", 0x9747b28c, 0x74875592],
  ["Hello, world!", 0x9747b28c, 0x24884cba],
  ["ππππππππ", 0x9747b28c, 0xd58063c1],
  ["The quick brown fox jumps over the lazy dog", 0x9747b28c, 0x2fa826cd],
  ["test", 0, 0xba6bd213],
  ["Hello, world!", 0, 0xc0363e43],
  ["The quick brown fox jumps over the lazy dog", 0, 0x2e4ff723],
];

test("gives the published results", () => {
  for (const [text, seed, hash] of vectors) expect(murmur3(text, seed), JSON.stringify([text, seed])).toBe(hash);
});

test("passes SMHasher's verification, which hashes keys of all lengths up to 255 with as many seeds", () => {
  let hashes = "";
  let key = "";
  for (let length = 0; length < 256; length++) {
    hashes += littleEndian(murmur3(key, 256 - length));
    key += String.fromCharCode(length);
  }
  expect(murmur3(hashes)).toBe(0xb0f57ee3);
});

test("hashes a character up to U+00FF as the one byte it was on the wire, and others as UTF-8", () => {
  expect(murmur3("caf\u00c3\u00a9")).not.toBe(murmur3("caf\u00e9"));
  expect(murmur3("\u03c0")).toBe(murmur3("\u00cf\u0080"));
  expect(murmur3("\u00cf\u0080 and \u03c0")).not.toBe(murmur3("\u03c0 and \u03c0"));
});

function littleEndian(hash: number): string {
  return String.fromCharCode(hash & 255, (hash >>> 8) & 255, (hash >>> 16) & 255, hash >>> 24);
}
