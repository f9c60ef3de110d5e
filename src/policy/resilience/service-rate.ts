const SPAN_MS = 1000;
const ENOUGH = 10;

/**
 * How fast a queue is served, measured over the last one to two seconds in which it was never empty. Only a queue that
 * is not empty tells what its server can do; of one that was empty we learn what clients ask for.
 */
export class ServiceRate {
  #startedMs = 0;
  #count = 0;
  #earlierMs = 0;
  #earlierCount = 0;

  /** The queue was empty until now. */
  begin(now: number): void {
    this.#startedMs = now;
    this.#count = 0;
    this.#earlierMs = 0;
    this.#earlierCount = 0;
  }

  /** One was served. */
  departed(now: number): void {
    this.#count++;
    this.#roll(now);
  }

  /** Departures per ms; NaN after fewer than 10 of them. */
  perMs(now: number): number {
    this.#roll(now);
    const count = this.#earlierCount + this.#count;
    return count < ENOUGH ? Number.NaN : count / (this.#earlierMs + now - this.#startedMs);
  }

  #roll(now: number): void {
    const spanMs = now - this.#startedMs;
    if (spanMs < SPAN_MS) return;
    this.#earlierMs = spanMs;
    this.#earlierCount = this.#count;
    this.#startedMs = now;
    this.#count = 0;
  }
}
