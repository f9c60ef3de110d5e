import { LatencyHistogram } from "./latency-histogram.ts";
import type { HedgeOptions } from "./options.ts";

/** How often the delay is worked out again; what was observed before then weighs half. */
const REFRESH_MS = 3000;
/** A quantile of fewer samples is chance. */
const MINIMUM_SAMPLES = 20;
/** Most hedges that can be saved up, so that a slow spell after a quiet hour is not doubled. */
const MOST_SAVED = 10;

/**
 * When to send a request a second time, to another backend, because the first one takes long, and how often at most.
 *
 * When: after the quantile of recent latencies, so with 95 % about one request in twenty waits long enough. Each 3 s
 * the quantile is taken anew and all samples lose half of their weight.
 * How often: each request pays `budget` of a hedge into an account, each hedge takes 1 out of it. So there are never
 * more hedges than that share of the requests, and never more than 10 beyond it in a row. When everything is slow, and
 * the quantile is late to follow, that is what keeps hedges from doubling the load.
 *
 * Sources: Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013; Finagle, BackupRequestFilter.
 */
export class Hedging {
  readonly #quantile: number;
  readonly #minimumDelay: number;
  readonly #budget: number;
  readonly #history = new LatencyHistogram();
  #refreshedAt = 0;
  #delay: number | undefined;
  #saved = 0;

  constructor({ quantile, minimumDelay, budget }: HedgeOptions) {
    this.#quantile = quantile;
    this.#minimumDelay = minimumDelay;
    this.#budget = budget;
  }

  /**
   * The first attempt of a request began its response after `ms`. One that was given up for its hedge counts, too, with
   * the time it had been running: without the slowest, the quantile would sink from round to round.
   */
  observed(ms: number, now: number): void {
    this.#refresh(now);
    this.#history.add(ms);
    if (this.#delay === undefined) this.#measure();
  }

  /**
   * How many milliseconds to wait for a response before a hedge is sent; undefined when too little is known: fewer than
   * 20 responses of late. Whether the budget allows it is asked then, with {@link take}.
   */
  delayMs(now: number): number | undefined {
    this.#refresh(now);
    return this.#delay;
  }

  /** A request that may be hedged began. */
  began(): void {
    this.#saved = Math.min(MOST_SAVED, this.#saved + this.#budget);
  }

  /** Whether {@link take} would be granted. */
  get affordable(): boolean {
    return this.#saved >= 1;
  }

  /** Takes a hedge out of the budget; false when there is none. One that was taken is not given back. */
  take(): boolean {
    if (this.#saved < 1) return false;
    this.#saved--;
    return true;
  }

  #refresh(now: number): void {
    const rounds = Math.floor((now - this.#refreshedAt) / REFRESH_MS);
    if (rounds < 1) return;
    this.#refreshedAt += rounds * REFRESH_MS;
    // Rounds in which nobody asked made the samples older all the same.
    if (rounds > 1) this.#history.decay(0.5 ** (rounds - 1));
    this.#measure();
    this.#history.decay(0.5);
  }

  #measure(): void {
    const known = this.#history.count >= MINIMUM_SAMPLES;
    this.#delay = known ? Math.max(this.#minimumDelay, this.#history.quantile(this.#quantile)) : undefined;
  }
}
