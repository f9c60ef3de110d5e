import fc from "fast-check";
import { expect, test } from "vitest";
import { BUCKETS, bucketOf, distanceBucketOf, quantileMs } from "./histogram.ts";
import { DISTANCE_BOUNDS, LATENCY_BOUNDS } from "./layout.ts";

/** The obvious way: the first bound that is not below the duration. */
function naive(ms: number): number {
  const index = LATENCY_BOUNDS.findIndex((bound) => ms <= bound * 1000);
  return index === -1 ? LATENCY_BOUNDS.length : index;
}

test("four comparisons find the bucket that a search from the start finds", () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 20_000, noNaN: true }), (ms) => {
      expect(bucketOf(ms)).toBe(naive(ms));
    }),
    { numRuns: 2000 },
  );
});

test("a duration on a bound belongs to the bucket it closes, the next one above it does not", () => {
  for (const [index, seconds] of LATENCY_BOUNDS.entries()) {
    expect(bucketOf(seconds * 1000)).toBe(index);
    expect(bucketOf(seconds * 1000 + 1e-6)).toBe(index + 1);
  }
});

test("a distance finds its bucket by three comparisons as by a search, on a bound and beside it", () => {
  for (const bound of [0, ...DISTANCE_BOUNDS, 20_015]) {
    for (const km of [bound, bound + 0.001]) {
      const index = DISTANCE_BOUNDS.findIndex((upTo) => km <= upTo);
      expect(distanceBucketOf(km), `${km} km`).toBe(index === -1 ? DISTANCE_BOUNDS.length : index);
    }
  }
});

test("zero goes into the first bucket, and what is beyond every bound into the last", () => {
  expect(bucketOf(0)).toBe(0);
  expect(bucketOf(Number.POSITIVE_INFINITY)).toBe(BUCKETS - 1);
});

test("a quantile lies in the bucket that holds its rank", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.01, max: 9_999, noNaN: true }), { minLength: 1, maxLength: 200 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (durations, quantile) => {
        const buckets = new Array<number>(BUCKETS).fill(0);
        for (const ms of durations) buckets[bucketOf(ms)]! += 1;
        const exact = durations.sort((a, b) => a - b)[Math.ceil(quantile * durations.length) - 1]!;
        const bucket = naive(exact);
        const estimate = quantileMs(buckets, quantile);
        expect(estimate).toBeGreaterThanOrEqual(bucket === 0 ? 0 : LATENCY_BOUNDS[bucket - 1]! * 1000);
        expect(estimate).toBeLessThanOrEqual(LATENCY_BOUNDS[bucket]! * 1000);
      },
    ),
  );
});

test("half of a bucket's exchanges lie below its middle", () => {
  const buckets = new Array<number>(BUCKETS).fill(0);
  buckets[bucketOf(75)] = 10;
  expect(quantileMs(buckets, 0.5)).toBe(75);
  expect(quantileMs(buckets, 1)).toBe(100);
});

test("an empty histogram has no latency, and the open bucket answers its lower bound", () => {
  const buckets = new Array<number>(BUCKETS).fill(0);
  expect(quantileMs(buckets, 0.99)).toBe(0);
  buckets[BUCKETS - 1] = 3;
  expect(quantileMs(buckets, 0.5)).toBe(10_000);
});
