import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";
import type { PickRequest } from "../model/request.ts";

/** Picks a backend for each attempt. `now` is milliseconds of the injected clock. */
export interface Balancer {
  /**
   * Not any backend with room will do for a request: where the one that `pick` answers with has none, the exchange waits
   * for it, and undefined means that none is in reach. Left out: an exchange goes to whichever has room rather than to
   * wait. Has a `peek`, too.
   */
  readonly selective?: boolean;
  /**
   * Called when membership, weight or availability changes; never per request. Backends that stay keep their state.
   *
   * `backends` are those that may be picked: up, not draining, weight above 0. `members` are all of the upstream,
   * in its order, the unavailable ones included: a hash needs them so that a backend that is away for a while moves
   * only its own keys and gets them back. Most balancers ignore `members`; without it, `backends` are all there are.
   */
  update(backends: readonly Backend[], members?: readonly Backend[]): void;
  /**
   * One of the backends of the last `update` that is not in `exclude`, or undefined when there is none.
   * `exclude`: backends already tried in this exchange. O(1) or O(n), allocates nothing.
   */
  pick(request: PickRequest, now: number, exclude?: ReadonlySet<Backend>): Backend | undefined;
  /**
   * What `pick` would answer now, changing nothing: for explanations. Left out where that is left to chance, or where
   * nobody can tell.
   */
  peek?(request: PickRequest, now: number, exclude?: ReadonlySet<Backend>): Backend | undefined;
  /** Optional feedback for policies that learn from outcomes. */
  settled?(backend: Backend, outcome: Outcome, now: number): void;
}
