import type { Random } from "../model/random.ts";
import type { ThrottleOptions } from "./options.ts";
import { RollingWindow } from "./rolling-window.ts";

/**
 * Refuses requests before they are sent, when backends fail most of what they get: even to refuse a request costs a
 * backend something, and one that is overloaded has nothing to spare.
 *
 * It lets through about `factor` requests for each one that a backend accepts. With 2, nothing is refused while at
 * least half succeed; when all fail, the share that is refused rises with each request, up to `maxRefused`. The rest
 * goes on being sent, and while it is accepted the share falls. What failed before has to leave the window first, and so
 * has what was refused: with 2 and 80 %, all is let through again about one and a half windows after a total failure.
 *
 * Requests count when they end, so that a burst in the first second, of which nothing has come back yet, is not taken
 * for one that failed. The ones that were refused count, too: without them the share would swing.
 *
 * Source: "Site Reliability Engineering" (O'Reilly, 2016), chapter "Handling Overload", client-side throttling.
 */
export class Throttle {
  readonly #factor: number;
  readonly #maxRefused: number;
  readonly #random: Random;
  readonly #window: RollingWindow;

  constructor({ factor, window, maxRefused }: ThrottleOptions, random: Random) {
    this.#factor = factor;
    this.#maxRefused = maxRefused;
    this.#random = random;
    this.#window = new RollingWindow(window);
  }

  /** Whether a request may be sent; false: refuse it, it has been counted. One that is sent is {@link settled} once. */
  admits(now: number): boolean {
    const refused = this.refusalProbability(now);
    if (refused === 0 || this.#random.next() >= refused) return true;
    this.#window.add(0, 1, now);
    return false;
  }

  /**
   * A request that was let through has ended. `accepted`: a backend did what was asked; one that the client gave up
   * says nothing and is not settled.
   */
  settled(accepted: boolean, now: number): void {
    if (accepted) this.#window.add(1, 0, now);
    else this.#window.add(0, 1, now);
  }

  /** The share of requests that is refused now, 0 to `maxRefused`. */
  refusalProbability(now: number): number {
    const requests = this.#window.total(now);
    const accepts = requests - this.#window.failures(now);
    return Math.min(this.#maxRefused, sreRefusal(requests, accepts, this.#factor));
  }
}

/**
 * max(0, (requests - factor * accepts) / (requests + 1)). Of 100 requests with factor 2: 60 or 50 accepted: 0,
 * 40: 0.198, none: 0.990.
 */
export function sreRefusal(requests: number, accepts: number, factor: number): number {
  return Math.max(0, (requests - factor * accepts) / (requests + 1));
}
