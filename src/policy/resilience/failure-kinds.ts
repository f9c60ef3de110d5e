import type { Outcome } from "../model/outcome.ts";
import type { FailureKind } from "./options.ts";

/**
 * Which outcomes count as failures of the backend, as a configuration lists them in `on`. Asking is O(1) and allocates
 * nothing.
 *
 * | outcome | is listed as |
 * |---|---|
 * | failure `connect`, `reset`, `malformed`, `truncated` | its own word |
 * | timeout in phase `connect` | `connect` or `timeout`: it is both |
 * | timeout in phase `response`, `body` or `route` | `timeout`: the backend had the request for long enough |
 * | success | its status, or `5xx` from 500 on |
 * | failure `exhausted`, timeout in phase `queue`, cancelled | nothing: never the backend's doing |
 */
export class FailureKinds {
  readonly #connect: boolean;
  readonly #timeout: boolean;
  readonly #reset: boolean;
  readonly #malformed: boolean;
  readonly #truncated: boolean;
  readonly #from500: boolean;
  readonly #statuses = new Set<number>();

  constructor(on: readonly FailureKind[]) {
    this.#connect = on.includes("connect");
    this.#timeout = on.includes("timeout");
    this.#reset = on.includes("reset");
    this.#malformed = on.includes("malformed");
    this.#truncated = on.includes("truncated");
    this.#from500 = on.includes("5xx");
    for (const kind of on) if (typeof kind === "number") this.#statuses.add(kind);
  }

  /** Whether the outcome is listed. */
  has(outcome: Outcome): boolean {
    switch (outcome.kind) {
      case "success":
        return this.hasStatus(outcome.status);
      case "failure":
        switch (outcome.reason) {
          case "connect":
            return this.#connect;
          case "reset":
            return this.#reset;
          case "malformed":
            return this.#malformed;
          case "truncated":
            return this.#truncated;
          case "exhausted":
            return false;
        }
        break;
      case "timeout":
        switch (outcome.phase) {
          case "connect":
            return this.#connect || this.#timeout;
          case "response":
          case "body":
          case "route":
            return this.#timeout;
          case "queue":
            return false;
        }
        break;
      case "cancelled":
        return false;
    }
  }

  /** Whether a response with this status is listed. */
  hasStatus(status: number): boolean {
    return (this.#from500 && status >= 500) || this.#statuses.has(status);
  }
}
