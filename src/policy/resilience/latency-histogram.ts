// Each power of two of microseconds is cut into 2^4 equal buckets; the first 2^5 buckets are one microsecond wide.
const CUT_BITS = 4;
const MAX_US = 0x7fff_ffff;
const BUCKETS = bucketOf(Number.POSITIVE_INFINITY) + 1;
/** Less than this is left of a bucket after many decays: nothing. */
const NEGLIGIBLE = 1 / 1024;

/**
 * Latencies counted on a logarithmic scale, for quantiles of what happened lately.
 *
 * A bucket is as wide as a sixteenth of the power of two it lies in, so a quantile is at most 1/16 (6.25 %) away from
 * the sample it stands for, from 16 microseconds to 35 minutes; what is longer counts as 35 minutes. Adding is a few
 * integer operations and allocates nothing; the memory is fixed (3.5 KiB).
 * Source: the bucket layout of HdrHistogram (https://hdrhistogram.github.io/HdrHistogram/), with one range.
 */
export class LatencyHistogram {
  // Decay leaves fractions of a sample.
  readonly #counts = new Float64Array(BUCKETS);
  #total = 0;

  /** Samples that are in it; after `decay` a fraction may remain of one. */
  get count(): number {
    return this.#total;
  }

  /** Counts a sample in milliseconds. Below 0, and what is no number, counts as 0. */
  add(ms: number): void {
    this.#counts[bucketOf(ms)]! += 1;
    this.#total++;
  }

  /**
   * The latency in milliseconds that the share `quantile` (0 to 1) of the samples does not exceed, linear within a
   * bucket. Infinity when there is no sample: who waits that long never acts on what it does not know.
   */
  quantile(quantile: number): number {
    const rank = quantile * this.#total;
    let below = 0;
    let last = -1;
    for (let index = 0; index < BUCKETS; index++) {
      const count = this.#counts[index]!;
      if (count === 0) continue;
      if (below + count >= rank) {
        const lower = lowerUs(index);
        return (lower + ((lowerUs(index + 1) - lower) * Math.max(0, rank - below)) / count) / 1000;
      }
      below += count;
      last = index;
    }
    // Sums of fractions may miss the rank of the greatest sample by a rounding.
    return last === -1 ? Number.POSITIVE_INFINITY : lowerUs(last + 1) / 1000;
  }

  /** Lets every sample weigh `factor` (0 to 1) of what it weighs now, so that newer ones count for more. */
  decay(factor: number): void {
    let total = 0;
    for (let index = 0; index < BUCKETS; index++) {
      const left = this.#counts[index]! * factor;
      this.#counts[index] = left < NEGLIGIBLE ? 0 : left;
      total += this.#counts[index]!;
    }
    this.#total = total;
  }

  /** Forgets every sample. */
  clear(): void {
    this.#counts.fill(0);
    this.#total = 0;
  }
}

function bucketOf(ms: number): number {
  const us = ms >= MAX_US / 1000 ? MAX_US : ms > 0 ? (ms * 1000) | 0 : 0;
  const shift = 31 - CUT_BITS - Math.clz32(us | (1 << CUT_BITS));
  return (shift << CUT_BITS) + (us >>> shift);
}

/** The least number of microseconds that falls into the bucket. */
function lowerUs(index: number): number {
  const shift = Math.max(0, (index >>> CUT_BITS) - 1);
  return (index - (shift << CUT_BITS)) * 2 ** shift;
}
