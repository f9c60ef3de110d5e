import { murmur3 } from "../balance/murmur3.ts";
import type { RateLimitOptions } from "./options.ts";
import { RecentKeys } from "./recent-keys.ts";

// Clients choose their keys, up to a head full. Longer ones are remembered by length and 64 bits of hash: who knows
// another's whole key could find one that shares its bucket, but may as well use that key.
const LONGEST_KEPT = 64;
const OTHER_SEED = 0x9747b28c;

/** What a limiter says of one request. */
export interface RateVerdict {
  readonly allowed: boolean;
  /** How many more are allowed at this moment. */
  readonly remaining: number;
  /** Until one more is allowed, ms; 0 when this one was. */
  readonly retryAfterMs: number;
  /** Until `burst` are allowed at once again, if none comes before, ms. */
  readonly resetMs: number;
}

/**
 * Token bucket per key: `rateLimit`. A bucket begins with `burst` tokens, gets `rate` more every `per` evenly spread,
 * holds `burst` at most, and a request takes one. What is refused takes none.
 *
 * Of each bucket only one time is kept: when it will be full again. It is as far away as the tokens that are missing
 * take to come, so taking one moves it, and nothing has to be filled up (GCRA, the cell rate algorithm of ITU-T I.371).
 *
 * At most `keys` keys are remembered, never more; a new one then replaces the one not seen for longest. Who is forgotten
 * begins with a full bucket. Memory: up to about 250 bytes a key, whatever the keys look like.
 */
export class RateLimiter {
  // Times are kept in units of 1/rate ms. A token is then worth `per` of them: with whole numbers nothing is rounded.
  readonly #rate: number;
  readonly #per: number;
  readonly #capacity: number;
  readonly #fullAt: RecentKeys;
  readonly #verdict = { allowed: false, remaining: 0, retryAfterMs: 0, resetMs: 0 };
  #evicted = 0;

  constructor(options: RateLimitOptions) {
    this.#rate = options.rate;
    this.#per = options.per;
    this.#capacity = options.burst * options.per;
    this.#fullAt = new RecentKeys(options.keys);
  }

  /** Keys that are remembered. */
  get size(): number {
    return this.#fullAt.size;
  }

  /** Keys forgotten before their bucket was full again: each may have got more than its share. `keys` is too small. */
  get evicted(): number {
    return this.#evicted;
  }

  /** One request of `key`: may it go? The answer is good until the next call, which writes into the same object. */
  take(key: string, now: number): RateVerdict {
    const time = now * this.#rate;
    const slot = this.#slotOf(key.length > LONGEST_KEPT ? digest(key) : key, time);
    const missing = Math.max(0, this.#fullAt.value(slot) - time);
    const lacks = missing + this.#per - this.#capacity;
    const verdict = this.#verdict;
    verdict.allowed = lacks <= 0;
    verdict.retryAfterMs = Math.max(0, lacks / this.#rate);
    const missingNow = verdict.allowed ? missing + this.#per : missing;
    if (verdict.allowed) this.#fullAt.setValue(slot, time + missingNow);
    verdict.remaining = Math.floor((this.#capacity - missingNow) / this.#per);
    verdict.resetMs = missingNow / this.#rate;
    return verdict;
  }

  #slotOf(key: string, time: number): number {
    const known = this.#fullAt.find(key);
    if (known !== -1) return known;
    if (this.#fullAt.isFull && this.#fullAt.oldestValue > time) this.#evicted++;
    const slot = this.#fullAt.add(key);
    this.#fullAt.setValue(slot, time);
    return slot;
  }
}

function digest(key: string): string {
  return `${key.length}:${murmur3(key)}:${murmur3(key, OTHER_SEED)}`;
}
