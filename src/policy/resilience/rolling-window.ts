/**
 * Successes and failures of the last `windowMs`, counted exactly in a ring of buckets that are cleared as time passes.
 *
 * What it covers moves on by a bucket at a time: with 10 buckets it is always more than 9/10 of the window and never
 * more than the whole. An average that decays with each attempt would cover less time the more traffic there is, and
 * give a short burst of failures almost no weight. Nothing is allocated after construction; a call is O(1), but for the
 * clearing of what has passed.
 * Source: the rolling counters of Hystrix (10 buckets in 10 s).
 */
export class RollingWindow {
  readonly #bucketMs: number;
  readonly #successesIn: Float64Array;
  readonly #failuresIn: Float64Array;
  /** Buckets since time 0: which one `now` falls into. */
  #bucket = Number.NEGATIVE_INFINITY;
  /** Its place in the ring. */
  #place = 0;
  #successes = 0;
  #failures = 0;

  /** `windowMs` may be Infinity: then nothing ever passes. */
  constructor(windowMs: number, buckets = 10) {
    this.#bucketMs = windowMs / buckets;
    this.#successesIn = new Float64Array(buckets);
    this.#failuresIn = new Float64Array(buckets);
  }

  /** Counts what ended at `now`, which never goes back. */
  add(successes: number, failures: number, now: number): void {
    this.#pass(now);
    this.#successesIn[this.#place]! += successes;
    this.#failuresIn[this.#place]! += failures;
    this.#successes += successes;
    this.#failures += failures;
  }

  /** Successes and failures in the window. */
  total(now: number): number {
    this.#pass(now);
    return this.#successes + this.#failures;
  }

  /** Failures in the window. */
  failures(now: number): number {
    this.#pass(now);
    return this.#failures;
  }

  /** Forgets everything. */
  clear(): void {
    this.#successesIn.fill(0);
    this.#failuresIn.fill(0);
    this.#successes = 0;
    this.#failures = 0;
  }

  #pass(now: number): void {
    const bucket = Math.floor(now / this.#bucketMs);
    if (bucket === this.#bucket) return;
    const buckets = this.#successesIn.length;
    for (let passed = Math.min(bucket - this.#bucket, buckets); passed > 0; passed--) {
      this.#place = this.#place + 1 === buckets ? 0 : this.#place + 1;
      this.#successes -= this.#successesIn[this.#place]!;
      this.#failures -= this.#failuresIn[this.#place]!;
      this.#successesIn[this.#place] = 0;
      this.#failuresIn[this.#place] = 0;
    }
    this.#bucket = bucket;
  }
}
