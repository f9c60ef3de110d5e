import type { Random } from "../model/random.ts";

/**
 * How long to wait before retry number `attempt` (the first is 1), in the unit of `base` and `max`: a random time from
 * 0 to `base` doubled with each retry, at most `max`. Full jitter spreads retries over the whole interval, so that
 * clients that failed together do not come back together.
 *
 * Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */
export function fullJitter(attempt: number, base: number, max: number, random: Random): number {
  return random.next() * Math.min(max, base * 2 ** (attempt - 1));
}
