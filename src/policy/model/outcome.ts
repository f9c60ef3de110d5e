/**
 * Why an attempt failed. `connect`: no connection; `exhausted`: its pool is full and so is the queue for it;
 * `reset`: the connection broke; `malformed`: not HTTP; `truncated`: the response ended early.
 */
export type FailureReason = "connect" | "exhausted" | "reset" | "malformed" | "truncated";

/** Which deadline passed. */
export type TimeoutPhase = "queue" | "connect" | "response" | "body" | "route";

/**
 * How an attempt ended, and how long the backend took: until it failed, or until its response began where that is known.
 * A response is a success whatever its status: what a status means is the reader's decision.
 */
export type Outcome =
  | { readonly kind: "success"; readonly status: number; readonly durationMs: number }
  | { readonly kind: "failure"; readonly reason: FailureReason; readonly durationMs: number }
  | { readonly kind: "timeout"; readonly phase: TimeoutPhase; readonly durationMs: number }
  | { readonly kind: "cancelled"; readonly durationMs: number };

/**
 * How far an attempt got, which decides what can still be done for its exchange. `nothing`: not a byte of the request
 * was written to the backend; `request`: some of it was, so the backend may have acted on it; `response`: the client
 * has been sent some of the response.
 */
export type Progress = "nothing" | "request" | "response";

/** Whether there was no answer, or one with which a gateway says that there is none: 502, 503 or 504. */
export function gatewayFailure(outcome: Outcome): boolean {
  if (outcome.kind !== "success") return outcome.kind !== "cancelled";
  return saysNobodyServes(outcome.status);
}

/** Whether a status says that the answer is nobody's: 502, 503 or 504. */
export function saysNobodyServes(status: number): boolean {
  return status === 502 || status === 503 || status === 504;
}

/** Whether an outcome says nothing about its backend: no connection was free. */
export function unattributable(outcome: Outcome): boolean {
  if (outcome.kind === "failure") return outcome.reason === "exhausted";
  return outcome.kind === "timeout" && outcome.phase === "queue";
}
