import { type KeySource, keySource } from "../policy/balance/key.ts";
import type { PickRequest } from "../policy/model/request.ts";
import { networkOf } from "../policy/resilience/client-network.ts";
import { RateLimiter } from "../policy/resilience/rate-limit.ts";
import { RateLimitFields } from "../policy/resilience/rate-limit-fields.ts";
import type { RouteRateLimit } from "../policy/route/options.ts";

/** What a limit says of a request. */
export interface RateAnswer {
  readonly allowed: boolean;
  /** Seconds. */
  readonly retryAfter: number;
  /** Lines that tell the client of its limit. */
  readonly fields: string;
}

/** The rate limit of one route in this worker. */
export class RouteLimit {
  readonly #fields: RateLimitFields;
  readonly #limiter: RateLimiter;
  readonly #keyOf: KeySource;

  constructor(options: RouteRateLimit) {
    this.#fields = new RateLimitFields(options);
    this.#limiter = new RateLimiter(options);
    const keyOf = keySource(options.key);
    this.#keyOf = options.key === "client-ip" ? (request) => networkOf(keyOf(request)) : keyOf;
  }

  /** Counts a request; undefined when it has no key to be counted by. */
  take(request: PickRequest, now: number): RateAnswer | undefined {
    const key = this.#keyOf(request);
    if (key === undefined) return undefined;
    const verdict = this.#limiter.take(key, now);
    return {
      allowed: verdict.allowed,
      retryAfter: Math.max(1, Math.ceil(verdict.retryAfterMs / 1000)),
      fields: this.#fields.after(verdict),
    };
  }
}
