import fc from "fast-check";
import { expect, test } from "vitest";
import { weightFactor } from "./slow-start.ts";

const options = { window: 60_000, aggression: 1, minimumWeight: 0.1 };

test.each([
  [15_000, 1, 0.25],
  [15_000, 2, 0.5],
  [30_000, 1, 0.5],
  [30_000, 2, Math.SQRT1_2],
  [45_000, 1, 0.75],
  [60_000, 1, 1],
  [60_000, 2, 1],
  [3_600_000, 1, 1],
  [0, 2, 0.129],
  [1_000, 2, 0.129],
])("%i ms into a minute, aggression %i: %f of the weight", (sinceMs, aggression, factor) => {
  expect(weightFactor(sinceMs, { ...options, aggression })).toBeCloseTo(factor, 3);
});

test("it is never more than the whole weight", () => {
  for (let sinceMs = 59_990; sinceMs <= 60_010; sinceMs++)
    expect(weightFactor(sinceMs, options)).toBeLessThanOrEqual(1);
});

test("it begins with the least weight, and leaves it when the line has risen so far", () => {
  expect(weightFactor(0, options)).toBe(0.1);
  expect(weightFactor(5_999, options)).toBe(0.1);
  expect(weightFactor(6_600, options)).toBeCloseTo(0.11);
});

test("the first second counts as whole", () => {
  const fromNothing = { ...options, minimumWeight: 0 };
  expect(weightFactor(0, fromNothing)).toBeCloseTo(1 / 60);
  expect(weightFactor(999, fromNothing)).toBeCloseTo(1 / 60);
  expect(weightFactor(1_500, fromNothing)).toBeCloseTo(1 / 40);
});

test("a window of a second or less has no effect", () => {
  for (const window of [0, 1, 500, 1_000]) expect(weightFactor(0, { ...options, window })).toBe(1);
});

test("it never falls, stays between the least and the whole weight, and is whole from the window on", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 600_000 }),
      fc.double({ min: 0.1, max: 10, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.array(fc.nat({ max: 700_000 }), { minLength: 1, maxLength: 20 }),
      (window, aggression, minimumWeight, times) => {
        let before = 0;
        for (const sinceMs of times.sort((a, b) => a - b)) {
          const factor = weightFactor(sinceMs, { window, aggression, minimumWeight });
          expect(factor).toBeGreaterThanOrEqual(Math.max(before, minimumWeight));
          expect(factor).toBeLessThanOrEqual(1);
          if (sinceMs >= window) expect(factor).toBe(1);
          before = factor;
        }
      },
    ),
    { seed: 20 },
  );
});
