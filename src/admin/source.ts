import type { Snapshot } from "../metrics/snapshot.ts";
import type { RequestDescription, RequestExplanation } from "../proxy/data-plane-api.ts";

/** What the admin server asks of the process it belongs to. Called per request; none of these may block. */
export interface AdminSource {
  readonly version: string;
  /** Milliseconds since the Unix epoch. */
  readonly startedAt: number;
  snapshot(): Snapshot;
  status(): AdminStatus;
  /** Whether new traffic is welcome: all listeners open and no drain begun. */
  ready(): Readiness;
  /** What would become of a request; undefined: no data plane answers now, or there is no such listener. */
  explain(request: RequestDescription): Promise<RequestExplanation | undefined>;
}

export interface Readiness {
  readonly ready: boolean;
  /** Why not, in a few words; empty when ready. */
  readonly reason: string;
}

/** What runs, beyond what is counted. */
export interface AdminStatus {
  /** Threads that run the data plane now. */
  readonly workers: number;
  /** Addresses that are open, as bound: `127.0.0.1:8080`, `unix:/run/x.sock`. */
  readonly listeners: readonly string[];
}
