import type { FailureReason, TimeoutPhase } from "../model/outcome.ts";
import type { ShedFromQueue } from "../resilience/queue.ts";

/** Why an exchange is answered by us. `none` as long as it is not. */
export type AnswerReason =
  | "none"
  | "no-backend"
  | "circuit-open"
  | "affinity-lost"
  | "concurrency"
  | "throttled"
  | ShedFromQueue
  | FailureReason
  | `${TimeoutPhase}-timeout`;

/** Shed on purpose, or out of time, or not to be had from any other backend: the client should know. */
export const NO_BACKENDS_FAULT: ReadonlySet<AnswerReason> = new Set([
  "queue-full",
  "queue-timeout",
  "deadline",
  "concurrency",
  "throttled",
  "route-timeout",
  "affinity-lost",
]);

/** What a passed deadline is answered for. */
export const TIMEOUT_REASONS = {
  queue: "queue-timeout",
  connect: "connect-timeout",
  response: "response-timeout",
  body: "body-timeout",
  route: "route-timeout",
} as const satisfies Record<TimeoutPhase, AnswerReason>;

/** RFC 9110 section 15.6: 502 when the backend is to blame, 503 when there is no room now, 504 when it took too long. */
export function statusOf(reason: AnswerReason): number {
  switch (reason) {
    case "no-backend":
    case "circuit-open":
    case "affinity-lost":
    case "exhausted":
    case "queue-full":
    case "queue-timeout":
    case "deadline":
    case "concurrency":
    case "throttled":
      return 503;
    case "connect-timeout":
    case "response-timeout":
    case "body-timeout":
    case "route-timeout":
      return 504;
    default:
      return 502;
  }
}
