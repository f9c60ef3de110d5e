/** Buckets two percent apart, from a hundredth of a millisecond on: fine enough for two digits of any quantile. */
const RATIO = Math.log(1.02);
const LOWEST_MS = 0.01;
const BUCKETS = 1024;

/** What one policy did: requests per backend, failures and the spread of response times. Bounded memory. */
export class Tally {
  readonly perBackend: number[];
  requests = 0;
  failed = 0;
  #sumMs = 0;
  readonly #buckets = new Float64Array(BUCKETS);

  constructor(backends: number) {
    this.perBackend = new Array<number>(backends).fill(0);
  }

  /** @param backend index of the one that answered. */
  answered(backend: number, ms: number): void {
    this.requests++;
    this.perBackend[backend]! += 1;
    this.#sumMs += ms;
    const bucket = Math.ceil(Math.log(Math.max(ms, LOWEST_MS) / LOWEST_MS) / RATIO);
    this.#buckets[Math.min(bucket, BUCKETS - 1)]! += 1;
  }

  fail(): void {
    this.failed++;
  }

  /** Percent of the answered requests that each backend took; zeros before the first. */
  shares(): number[] {
    return this.perBackend.map((count) => (this.requests === 0 ? 0 : (100 * count) / this.requests));
  }

  meanMs(): number {
    return this.requests === 0 ? 0 : this.#sumMs / this.requests;
  }

  /** @param share of the requests, 0 to 1, that took at most the answer; 2 % exact. */
  quantileMs(share: number): number {
    let below = 0;
    for (const [bucket, count] of this.#buckets.entries()) {
      below += count;
      if (count > 0 && below >= share * this.requests) return LOWEST_MS * Math.exp(bucket * RATIO);
    }
    return 0;
  }
}
