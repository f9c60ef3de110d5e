import { DISTANCE_BOUNDS, LATENCY_BOUNDS } from "./layout.ts";

/** Buckets of the latency histogram: one per bound and one for what is above the last. */
export const BUCKETS = LATENCY_BOUNDS.length + 1;

// Padded with Infinity to 15 bounds, so that four comparisons find one of 16 places without a loop.
const BOUNDS_MS = new Float64Array(15).fill(Number.POSITIVE_INFINITY);
for (const [index, seconds] of LATENCY_BOUNDS.entries()) BOUNDS_MS[index] = seconds * 1000;

/** Index of the first bucket whose upper bound is not below `ms`. What is no number goes into the first. */
export function bucketOf(ms: number): number {
  let index = ms > BOUNDS_MS[7]! ? 8 : 0;
  index += ms > BOUNDS_MS[index + 3]! ? 4 : 0;
  index += ms > BOUNDS_MS[index + 1]! ? 2 : 0;
  index += ms > BOUNDS_MS[index]! ? 1 : 0;
  return index;
}

// Padded to seven bounds, so that three comparisons find one of eight places.
const BOUNDS_KM = new Float64Array(7).fill(Number.POSITIVE_INFINITY);
BOUNDS_KM.set(DISTANCE_BOUNDS);

/** As `bucketOf`, for a distance in kilometres. */
export function distanceBucketOf(km: number): number {
  let index = km > BOUNDS_KM[3]! ? 4 : 0;
  index += km > BOUNDS_KM[index + 1]! ? 2 : 0;
  index += km > BOUNDS_KM[index]! ? 1 : 0;
  return index;
}

/**
 * The latency below which the share `quantile` (0 to 1) of `buckets` lies, in milliseconds; linear within a bucket,
 * as Prometheus' `histogram_quantile`. The open bucket answers its lower bound, an empty histogram 0.
 */
export function quantileMs(buckets: readonly number[], quantile: number): number {
  const total = buckets.reduce((sum, count) => sum + count, 0);
  if (total === 0) return 0;
  const rank = quantile * total;
  let below = 0;
  for (const [index, count] of buckets.entries()) {
    if (count > 0 && below + count >= rank) {
      const lower = index === 0 ? 0 : BOUNDS_MS[index - 1]!;
      const upper = BOUNDS_MS[index]!;
      return upper === Number.POSITIVE_INFINITY ? lower : lower + ((upper - lower) * Math.max(0, rank - below)) / count;
    }
    below += count;
  }
  return BOUNDS_MS[LATENCY_BOUNDS.length - 1]!;
}
