import { z } from "zod";
import { keyForms } from "../policy/balance/key.ts";
import type { Priority } from "../policy/resilience/options.ts";
import { keyName } from "./balance-schema.ts";
import { choice, duration, integer, number, share, text } from "./leaf.ts";
import * as check from "./text-checks.ts";

// What upstreams and routes do about more traffic than can be served: who waits, who goes first, who is refused.

const off = z.literal(false);

/** `pool.queue` of an upstream. */
export const queue = z
  .union([
    off,
    z.strictObject({
      max: integer({ min: 0, max: 1_000_000 })
        .prefault(1024)
        .describe(
          "Most exchanges that wait, in each worker, in all lines together. One more is answered 503, or takes the place of one of lower priority.",
        ),
      timeout: duration({ min: "1ms", max: "1h" })
        .prefault("1s")
        .describe("How long an exchange waits before it is answered 503."),
      target: duration({ min: "1ms", max: "1h", unlimited: true })
        .prefault("unlimited")
        .describe(
          "How long exchanges should wait at most, such as `20ms`. When the queue has not been empty for five times as long, the newest go first and who has waited longer than this is answered 503: a few give up, where otherwise all would wait. `unlimited`: the oldest always go first.",
        ),
    }),
  ])
  .transform((value) => (value === false ? { max: 0, timeout: 0, target: Number.POSITIVE_INFINITY } : value));

/** `concurrencyLimit` of an upstream. */
export const concurrencyLimit = z.union([
  off,
  z.strictObject({
    initial: integer({ min: 1, max: 1_000_000 }).prefault(20).describe("Exchanges at a time to begin with."),
    min: integer({ min: 1, max: 1_000_000 }).prefault(4).describe("Fewest the limit may go down to."),
    max: integer({ min: 1, max: 1_000_000 }).prefault(1000).describe("Most it may go up to."),
  }),
]);

/** `hedge` of an upstream. */
export const hedge = z.union([
  off,
  z.strictObject({
    quantile: share({ min: "50%", max: "99.99%" })
      .prefault("95%")
      .describe("A second attempt is made when the first takes longer than this share of recent requests did."),
    minimumDelay: duration({ min: "1ms", max: "1h" }).prefault("1ms").describe("Never sooner than this."),
    budget: share({ min: "0.1%", max: "100%" })
      .prefault("5%")
      .describe("Second attempts that may be made, as a share of the requests. It is extra load for the backends."),
  }),
]);

/** `throttle` of an upstream. */
export const throttle = z.union([
  off,
  z.strictObject({
    factor: number({ min: 1, max: 100 })
      .prefault(2)
      .describe("Requests let through for each that succeeds, before any is refused. Less refuses sooner."),
    window: duration({ min: "1s", max: "1d" }).prefault("2m").describe("How far back is counted."),
    maxRefused: share({ min: "1%", max: "100%" })
      .prefault("80%")
      .describe("Never more than this share is refused, so that it is noticed when the backends are well again."),
  }),
]);

const PRIORITIES = ["high", "normal", "low"] as const satisfies readonly Priority[];

/** `priority` of a route. */
export const priority = z
  .union([
    choice(PRIORITIES),
    z.strictObject({
      header: text(check.headerName)
        .transform((name) => name.toLowerCase())
        .describe(
          "Field of the request that holds one of the words. Clients can send it too: remove or set it in front of Spillway where they must not choose.",
        ),
      default: choice(PRIORITIES)
        .prefault("normal")
        .describe("Priority of a request without the field, or with anything else in it."),
    }),
  ])
  .transform((value): { header: string | undefined; default: Priority } =>
    typeof value === "string" ? { header: undefined, default: value } : value,
  );

/** `rateLimit` of a route. */
export const rateLimit = z
  .union([
    off,
    z.strictObject({
      key: keyName
        .prefault("client-ip")
        .describe(`What requests are counted by. A request that has none of it is not limited. Write ${keyForms}.`),
      rate: integer({ min: 1, max: 1_000_000_000 }).describe("Requests one key may make in `per`."),
      per: duration({ min: "1ms", max: "1d" }).prefault("1s").describe("Time that `rate` is meant for."),
      burst: integer({ min: 1, max: 1_000_000_000 })
        .optional()
        .describe("Requests one key may make at once, after a time without any. Default: `rate`."),
      keys: integer({ min: 1, max: 10_000_000 })
        .prefault(100_000)
        .describe("Most keys remembered, in each worker; those not seen for longest are forgotten first."),
    }),
  ])
  .transform((value) => (value === false ? value : { ...value, burst: value.burst ?? value.rate }));
