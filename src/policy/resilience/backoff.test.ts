import fc from "fast-check";
import { expect, test } from "vitest";
import { type Random, SeededRandom } from "../model/random.ts";
import { fullJitter } from "./backoff.ts";

const always = (value: number): Random => ({ next: () => value });

test.each([
  [1, 12.5],
  [2, 25],
  [3, 50],
  [4, 100],
  [5, 125],
  [6, 125],
  [100, 125],
])("25 ms, at most 250 ms: retry %i waits %f ms when the draw is in the middle", (attempt, wait) => {
  expect(fullJitter(attempt, 25, 250, always(0.5))).toBe(wait);
});

test("the smallest draw does not wait at all", () => {
  expect(fullJitter(9, 25, 250, always(0))).toBe(0);
});

test("waits are at least 0 and below base * 2^(attempt - 1) and the maximum", () => {
  const random = new SeededRandom(20);
  const milliseconds = fc.double({ min: 0.001, max: 1e6, noNaN: true });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000 }), milliseconds, milliseconds, (attempt, base, max) => {
      const wait = fullJitter(attempt, base, max, random);
      expect(wait).toBeGreaterThanOrEqual(0);
      expect(wait).toBeLessThan(max);
      expect(wait).toBeLessThan(base * 2 ** (attempt - 1));
    }),
    { seed: 20 },
  );
});

test("waits are spread over the whole interval", () => {
  const random = new SeededRandom(20);
  const quarters = [0, 0, 0, 0];
  for (let i = 0; i < 4_000; i++) quarters[Math.floor(fullJitter(3, 25, 250, random) / 25)]!++;
  for (const count of quarters) expect(Math.abs(count - 1_000)).toBeLessThan(100);
});
