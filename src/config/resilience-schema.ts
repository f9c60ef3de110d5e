import { z } from "zod";
import type { FailureKind } from "../policy/resilience/options.ts";
import { duration, flag, integer, leaf, listOf, number, share, size, text } from "./leaf.ts";
import { respond } from "./respond-schema.ts";
import { suggest } from "./suggest.ts";
import * as check from "./text-checks.ts";
import { describe, type Wrong } from "./values.ts";

// What an upstream does about backends that fail. What it does about too much traffic is in load-schema.ts.

const off = z.literal(false);

const FAILURE_WORDS = ["connect", "timeout", "reset", "malformed", "truncated", "5xx"] as const;

const failureKind = leaf<FailureKind, FailureKind>(
  { anyOf: [{ enum: FAILURE_WORDS }, { type: "integer", minimum: 400, maximum: 599 }] },
  parseFailureKind,
);

function parseFailureKind(value: unknown): FailureKind | Wrong {
  if ((FAILURE_WORDS as readonly unknown[]).includes(value)) return value as FailureKind;
  const status = typeof value === "string" && /^\d{3}$/.test(value) ? Number(value) : value;
  if (typeof status === "number") {
    if (Number.isInteger(status) && status >= 400 && status <= 599) return status;
    return {
      code: "CONFIG_STATUS",
      wrong: `${status} is no status of a failure`,
      fix: "Write a status from 400 to 599",
    };
  }
  const near = typeof value === "string" ? suggest(value, FAILURE_WORDS) : undefined;
  const fix = near === undefined ? `Write ${listOf([...FAILURE_WORDS, "a status"])}` : `Did you mean ${near}?`;
  return { code: "CONFIG_CHOICE", wrong: `${describe(value)} is no kind of failure`, fix };
}

/** Each kind once. */
const failureKinds = z.array(failureKind).transform((kinds): FailureKind[] => [...new Set(kinds)]);

const fallback = z
  .strictObject({
    upstream: text(check.name)
      .optional()
      .describe(
        "Send the exchange to this upstream instead, within its own limits. A fallback of its own is not used then.",
      ),
    respond: respond(503)
      .optional()
      .describe("Answer without a backend. Beside `upstream`: when that one has no backend left to try either."),
  })
  .meta({ anyOf: [{ required: ["upstream"] }, { required: ["respond"] }] });

/** `circuitBreaker` of an upstream. */
export const circuitBreaker = z.union([
  off,
  z.strictObject({
    on: failureKinds
      .prefault(["connect", "timeout", "reset", "malformed", "truncated", "5xx"])
      .describe(
        "What counts as a failure. `connect`: no connection; `timeout`: a time limit passed; `reset`: the connection broke; `malformed`: no valid HTTP; `truncated`: the response ended early; `5xx`: any status from 500 on; or single statuses from 400 to 599. 429 counts for `errorThreshold` only, never in a row.",
      ),
    consecutiveFailures: integer({ min: 1, max: 1_000_000, unlimited: true })
      .prefault(5)
      .describe("Failures in a row that open the circuit. `unlimited`: only the share counts."),
    errorThreshold: share({ min: "1%", max: "100%" })
      .prefault("50%")
      .describe("Share of failures among the attempts of the last `window` that opens the circuit."),
    minimumRequests: integer({ min: 1, max: 1_000_000 })
      .prefault(20)
      .describe("Attempts there have to be in the last `window` before their share of failures counts."),
    window: duration({ min: "100ms", max: "1h" })
      .prefault("10s")
      .describe("How far back the share of failures looks. It moves on in tenths."),
    slowerThan: duration({ min: "1ms", max: "1d", unlimited: true })
      .prefault("unlimited")
      .describe("An attempt that takes longer counts as a failure, whatever came of it."),
    openFor: duration({ min: "1ms", max: "1d" })
      .prefault("5s")
      .describe(
        "How long an open circuit keeps a backend from traffic before `halfOpenRequests` attempts may try it. Each failed trial doubles it. It is up to a tenth longer, at random, so that not all workers try at once. Longer spares the backend, shorter notices sooner that it is well.",
      ),
    maxOpenFor: duration({ min: "1ms", max: "24d" })
      .prefault("60s")
      .describe("Longest that a circuit stays open, but for that tenth, however many trials have failed."),
    halfOpenRequests: integer({ min: 1, max: 1000 })
      .prefault(1)
      .describe(
        "Attempts let through to try a backend. The circuit closes when all of them have succeeded, and opens again with the first that fails.",
      ),
    fallback: fallback
      .optional()
      .describe(
        "What becomes of an exchange when no backend is left to try: circuits are open, backends down or ejected, or all of them were tried. What is shed on purpose, or out of time, is told so.",
      ),
  }),
]);

/** Figures that a statistic over the backends needs before it says anything. */
function volume(minimumBackends: number, minimumRequests: number) {
  return {
    minimumBackends: integer({ min: 1, max: 10_000 })
      .prefault(minimumBackends)
      .describe("Backends that have to have had `minimumRequests`; with fewer nothing is compared."),
    minimumRequests: integer({ min: 1, max: 1_000_000 })
      .prefault(minimumRequests)
      .describe("Attempts on a backend within `interval` before it is looked at."),
  };
}

const successRate = z.union([
  off,
  z.strictObject({
    deviations: number({ min: 0, max: 100 })
      .prefault(1.9)
      .describe("Standard deviations below the mean success rate of the backends. Less ejects sooner."),
    ...volume(5, 100),
  }),
]);

const failureShare = z.union([
  off,
  z.strictObject({
    threshold: share({ min: "1%", max: "100%" }).prefault("85%").describe("Share of failures that ejects."),
    ...volume(5, 50),
  }),
]);

const latency = z.union([
  off,
  z.strictObject({
    factor: number({ min: 1, max: 1000 })
      .prefault(3)
      .describe("Ejects a backend whose 90th percentile is more than so many times the median of those of all."),
    ...volume(3, 50),
  }),
]);

/** `outlierDetection` of an upstream. */
export const outlierDetection = z.union([
  off,
  z.strictObject({
    consecutiveFailures: integer({ min: 1, max: 1_000_000, unlimited: true })
      .prefault(5)
      .describe("Statuses from 500 on, or attempts without a response, in a row that eject a backend."),
    consecutiveGatewayFailures: integer({ min: 1, max: 1_000_000, unlimited: true })
      .prefault("unlimited")
      .describe("502, 503, 504, or attempts without a response, in a row that eject a backend."),
    interval: duration({ min: "10ms", max: "1h" })
      .prefault("10s")
      .describe("How often backends are compared. Each time the figures begin anew."),
    ejectFor: duration({ min: "1ms", max: "1d" })
      .prefault("30s")
      .describe("How long the first ejection lasts. The second lasts twice as long, the third three times."),
    maxEjectFor: duration({ min: "1ms", max: "24d" }).prefault("5m").describe("Longest that an ejection lasts."),
    maxEjected: share({ min: "1%", max: "100%" })
      .prefault("10%")
      .describe(
        "Share of the backends that may be ejected at a time; one always may, where there are two or more. Backends that all fail alike are not made better by ejecting them.",
      ),
    successRate: successRate
      .prefault({})
      .describe("Ejects backends that succeed clearly less often than the others. `false` switches it off."),
    failureShare: failureShare
      .prefault(false)
      .describe("Ejects backends that fail more than a fixed share of their attempts. `{}` switches it on."),
    latency: latency
      .prefault(false)
      .describe("Ejects backends that are much slower than the others. `{}` switches it on."),
  }),
]);

const backoff = z.strictObject({
  base: duration({ min: "0", max: "1m" })
    .prefault("25ms")
    .describe("The first pause is a random time up to this; each further one up to twice as long."),
  max: duration({ min: "0", max: "10m" }).prefault("250ms").describe("Longest pause."),
});

/** `retry` of an upstream. */
export const retry = z.union([
  off,
  z.strictObject({
    attempts: integer({ min: 1, max: 100 })
      .prefault(2)
      .describe(
        "Most times that a request is sent, with the first. An attempt that could not send any of it does not count.",
      ),
    on: failureKinds
      .prefault(["connect", "reset", "timeout", "malformed", 502, 503])
      .describe(
        "After what a request goes to another backend, in the words of `circuitBreaker.on`; never once the client has been sent some of the response.",
      ),
    unsafeMethods: flag()
      .prefault(false)
      .describe(
        "Send requests again whose method is not idempotent, such as POST. A backend may then carry one out twice.",
      ),
    budget: share({ min: "0%", max: "100%" })
      .prefault("20%")
      .describe(
        "Retries that may run at a time, as a share of the exchanges that run or wait. Keeps retries from finishing off an upstream that is overloaded.",
      ),
    minimumBudget: integer({ min: 0, max: 1_000_000 })
      .prefault(3)
      .describe("Retries that may run at a time whatever `budget` comes to."),
    perTryTimeout: duration({ min: "1ms", max: "24d", unlimited: true })
      .prefault("unlimited")
      .describe("How long one attempt may take to begin its response, as long as another one may follow."),
    backoff: backoff
      .prefault({})
      .describe("Pauses before a request is sent again. One of which nothing was sent yet goes on without."),
    bodyBytes: size({ min: "0", max: "64MiB" })
      .prefault("64KiB")
      .describe(
        "Longest request body that is kept so that it can be sent again. A request with a longer one is sent once. Each exchange may hold this much memory.",
      ),
  }),
]);

/** `slowStart` of an upstream. */
export const slowStart = z.union([
  off,
  z.strictObject({
    window: duration({ min: "2s", max: "1d" }).prefault("30s").describe("How long until it has its whole weight."),
    aggression: number({ min: 0.1, max: 100 })
      .prefault(1)
      .describe("1: the weight grows in a straight line; above 1: faster at first; below: slower at first."),
    minimumWeight: share({ min: "1%", max: "100%" }).prefault("10%").describe("Share of its weight it begins with."),
  }),
]);

/** `panicThreshold` of an upstream. */
export const panicThreshold = z.union([off, share({ min: "1%", max: "100%" })]);
