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
export function rateLimitFields(options: RateLimitOptions, verdict: RateVerdict): string {
  const seconds = Math.max(1, Math.ceil(options.per / 1000));
  const quota = Math.floor((options.rate * seconds * 1000) / options.per);
  const waitMs = verdict.remaining > 0 ? verdict.resetMs : nextTokenMs(options, verdict);
  return (
    `ratelimit-policy: ${POLICY};q=${quota};w=${seconds}\r\n` +
    `ratelimit: ${POLICY};r=${verdict.remaining};t=${Math.ceil(waitMs / 1000)}\r\n`
  );
}

/** Of an empty bucket. */
function nextTokenMs(options: RateLimitOptions, verdict: RateVerdict): number {
  return verdict.allowed ? verdict.resetMs - ((options.burst - 1) * options.per) / options.rate : verdict.retryAfterMs;
}
