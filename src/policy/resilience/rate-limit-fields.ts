import type { RateLimitOptions } from "./options.ts";
import type { RateVerdict } from "./rate-limit.ts";

const POLICY = '"default"';

/**
 * The fields that tell a client of its limit, as lines of a head, each with its end. `ratelimit-policy`: `q` requests in
 * `w` seconds. `ratelimit`: `r` more now, and no others for `t` seconds.
 *
 * Both fields know whole seconds only: a shorter or uneven `per` is rounded up, and `q` grows with it. `t` is when the
 * bucket is full again, so that a client that spreads `r` over `t` keeps to the rate; when `r` is 0, the time until the
 * next request is allowed, which is what `retry-after` says of a refused one.
 * Source: draft-ietf-httpapi-ratelimit-headers-11, sections 3.1, 4.1 and 6.
 */
export class RateLimitFields {
  readonly #options: RateLimitOptions;
  /** What is the same for every request. */
  readonly #start: string;

  constructor(options: RateLimitOptions) {
    this.#options = options;
    const seconds = Math.max(1, Math.ceil(options.per / 1000));
    const quota = Math.floor((options.rate * seconds * 1000) / options.per);
    this.#start = `ratelimit-policy: ${POLICY};q=${quota};w=${seconds}\r\nratelimit: ${POLICY};r=`;
  }

  /** After `verdict` of a limiter with the same options. */
  after(verdict: RateVerdict): string {
    const waitMs = verdict.remaining > 0 ? verdict.resetMs : this.#nextTokenMs(verdict);
    return `${this.#start}${verdict.remaining};t=${Math.ceil(waitMs / 1000)}\r\n`;
  }

  /** Of an empty bucket. */
  #nextTokenMs({ allowed, resetMs, retryAfterMs }: RateVerdict): number {
    const { burst, per, rate } = this.#options;
    return allowed ? resetMs - ((burst - 1) * per) / rate : retryAfterMs;
  }
}
