import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";
import type { PickRequest } from "../model/request.ts";

/** Picks a backend for each attempt. `now` is milliseconds of the injected clock. */
export interface Balancer {
  /** Called when membership, weight or availability changes; never per request. Backends that stay keep their state. */
  update(backends: readonly Backend[]): void;
  /** `exclude`: backends already tried in this exchange. O(1) or O(n), allocates nothing. */
  pick(request: PickRequest, now: number, exclude?: ReadonlySet<Backend>): Backend | undefined;
  /** Optional feedback for policies that learn from outcomes. */
  settled?(backend: Backend, outcome: Outcome, now: number): void;
}
