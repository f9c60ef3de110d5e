import type { Outcome } from "../policy/model/outcome.ts";
import type { PoolError } from "../pool/pool-error.ts";

/** What it means for an attempt that the pool gave no connection. */
export function poolOutcome(error: PoolError, durationMs: number): Outcome {
  switch (error.code) {
    case "exhausted":
      return { kind: "timeout", phase: "queue", durationMs };
    case "queue-full":
      return { kind: "failure", reason: "exhausted", durationMs };
    case "unreachable": {
      const late = error.cause instanceof Error && error.cause.name === "TimeoutError";
      return late
        ? { kind: "timeout", phase: "connect", durationMs }
        : { kind: "failure", reason: "connect", durationMs };
    }
    case "closed":
      return { kind: "failure", reason: "connect", durationMs };
  }
}
