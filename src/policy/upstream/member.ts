import type { Backend } from "../model/backend.ts";
import type { CircuitBreaker } from "../resilience/circuit-breaker.ts";
import type { Ejection } from "../resilience/outlier-detection.ts";
import { Leaves } from "./leaves.ts";

/** What an operator says of a backend. `drain`: no new exchanges; `down`: the same, and whatever the checks say. */
export type AdminState = "up" | "drain" | "down";

/** What a backend is in, all things considered. */
export type BackendState = "up" | "down" | "draining" | "ejected" | "open" | "half-open";

/** State of a backend, why, and since when (milliseconds of the injected clock). */
export interface BackendStatus {
  readonly state: BackendState;
  readonly reason: string;
  readonly since: number;
}

/** The facts about one member of an upstream; its status follows from them. */
export class Member {
  readonly backend: Backend;
  readonly breaker: CircuitBreaker | undefined;
  healthy = true;
  healthReason = "";
  admin: AdminState = "up";
  adminReason = "";
  ejection: Ejection | undefined;
  /** When it began to answer last. */
  answeredAtMs = Number.NEGATIVE_INFINITY;
  /** Its last attempt got no connection. */
  unreachable = false;
  status: BackendStatus;
  /** When it came back last; it has its whole weight some time after that. -Infinity: it was never away. */
  backSinceMs = Number.NEGATIVE_INFINITY;
  /** When it stops to be waited for while it drains, and its sessions move. */
  drainUntilMs = Number.POSITIVE_INFINITY;
  /** When it last stopped to keep its sessions. */
  lostAtMs = Number.NEGATIVE_INFINITY;
  /** Sessions that may leave it. */
  readonly leaves = new Leaves();
  /** How far its drain is: `done` when no exchange was left, `late` when its deadline has passed. */
  drain: "none" | "running" | "done" | "late" = "none";

  constructor(backend: Backend, breaker: CircuitBreaker | undefined, now: number) {
    this.backend = backend;
    this.breaker = breaker;
    this.status = { state: "up", reason: "new", since: now };
  }

  /**
   * What follows from the facts. An operator's `down` outranks the checks, the checks outrank `drain`, and all of them
   * what was learnt from traffic.
   */
  judge(): BackendState {
    if (this.admin === "down" || !this.healthy) return "down";
    if (this.admin === "drain") return "draining";
    const circuit = this.breaker?.state ?? "closed";
    if (circuit === "open") return "open";
    if (this.ejection !== undefined) return "ejected";
    return circuit === "half-open" ? "half-open" : "up";
  }

  /** A backend is kept out by the one who says so, and up because of what changed last. */
  reasonOf(state: BackendState, cause: string): string {
    switch (state) {
      case "up":
        return cause;
      case "down":
        return this.admin === "down" ? this.adminReason : this.healthReason;
      case "draining":
        return this.adminReason;
      case "ejected":
        return this.ejection!.reason;
      case "open":
      case "half-open":
        return this.breaker!.reason;
    }
  }

  /** Whether it may be picked: it has a share of the traffic, and nothing is known against it. */
  get available(): boolean {
    if (this.backend.weight === 0) return false;
    const { state } = this.status;
    return state === "up" || (state === "half-open" && this.breaker!.admits);
  }

  /** Whether exchanges of sessions that are on it may go to it. */
  get keepsSessions(): boolean {
    const { state } = this.status;
    if (state === "up") return true;
    if (state === "half-open") return this.breaker!.admits;
    return (
      state === "draining" &&
      this.drain !== "late" &&
      this.ejection === undefined &&
      (this.breaker === undefined || this.breaker.state === "closed")
    );
  }

  /** Whether it may be picked when so few are available that what is known of them is not believed. */
  get worthATry(): boolean {
    const { state } = this.status;
    return this.backend.weight > 0 && this.admin === "up" && state !== "draining";
  }
}
