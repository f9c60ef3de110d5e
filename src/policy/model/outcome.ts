/** Why an attempt failed. `connect`: no connection; `reset`: it broke; `malformed`: not HTTP; `truncated`: ended early. */
export type FailureReason = "connect" | "reset" | "malformed" | "truncated";

/** Which deadline passed. */
export type TimeoutPhase = "queue" | "connect" | "response" | "body" | "route";

/** How an attempt ended. A response is a success whatever its status: what a status means is the reader's decision. */
export type Outcome =
  | { readonly kind: "success"; readonly status: number; readonly durationMs: number }
  | { readonly kind: "failure"; readonly reason: FailureReason; readonly durationMs: number }
  | { readonly kind: "timeout"; readonly phase: TimeoutPhase; readonly durationMs: number }
  | { readonly kind: "cancelled"; readonly durationMs: number };
