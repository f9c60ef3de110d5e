import type { TunnelLoad } from "../affinity/rebalance.ts";
import type { Backend } from "../model/backend.ts";
import type { Upstream } from "./upstream.ts";

/**
 * The backends whose tunnels are shared out anew when there are more of them: those that take new ones, or should give
 * theirs back to those that do. `tunnelsOn` says how many are open on one.
 *
 * Backends that drain, have weight 0 or are not up keep what they have: it is not their tunnels that are too many.
 * Backups give up theirs only when all that they stand in for are back; else part of the traffic is still meant for them.
 */
export function tunnelLoads(upstream: Upstream, tunnelsOn: (backend: Backend) => number): TunnelLoad<Backend>[] {
  const serving = upstream.available.filter((backend) => upstream.stateOf(backend)?.state === "up");
  const first = Math.min(...serving.map(({ tier }) => tier));
  const whole = upstream.backends.every(
    (backend) => backend.tier !== first || backend.weight === 0 || serving.includes(backend),
  );
  return serving
    .filter(({ tier }) => tier === first || whole)
    .map((backend) => ({
      backend,
      tunnels: tunnelsOn(backend),
      weight: backend.tier === first ? backend.weight : 0,
      share: backend.tier === first ? backend.share : 0,
    }));
}
