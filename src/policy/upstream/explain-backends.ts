import type { Backend } from "../model/backend.ts";
import type { PickRequest } from "../model/request.ts";
import { tierLoads } from "../resilience/priorities.ts";
import type { BackendExplanation, BalanceFacts } from "./explain.ts";
import { comparisonOf, distanceOf } from "./explain-balance.ts";
import type { Upstream } from "./upstream.ts";

/** What has been found out of a pick. */
export interface PickFound {
  /** Undefined: none, or chance decides. */
  readonly chosen: Backend | undefined;
  /** Where the session is when no other backend will do. */
  readonly own: Backend | undefined;
  /** Nobody is tried: the session's backend is lost, or more do not run at a time. */
  readonly refused: "strict" | "limited" | undefined;
  readonly balance: BalanceFacts | undefined;
}

/** What is said of one backend. */
export type Verdict = Pick<BackendExplanation, "verdict" | "because">;

/** Each member of an upstream, and what speaks for or against it. */
export function describeBackends(upstream: Upstream, request: PickRequest, found: PickFound): BackendExplanation[] {
  const judge = judgeOf(upstream, request, found);
  return upstream.backends.map((backend) => {
    const { id, address, region, tier, weight, active, limit, hasRoom } = backend;
    const { state, reason } = upstream.stateOf(backend)!;
    return {
      id,
      address,
      region,
      tier,
      state,
      reason,
      weight,
      active,
      limit: limit === Number.POSITIVE_INFINITY ? undefined : limit,
      hasRoom,
      distanceKm: distanceOf(backend, request),
      ...judge(backend),
    };
  });
}

const LIMITED = "no more run at a time (concurrencyLimit)";

function judgeOf(upstream: Upstream, request: PickRequest, found: PickFound): (backend: Backend) => Verdict {
  const { chosen, own, refused, balance } = found;
  const available = new Set(upstream.available);
  const serving = tiersThatServe(upstream, available);
  const offered = upstream.available.filter(({ tier }) => serving.has(tier));
  const compare = comparisonOf(offered, request, chosen, balance);

  const judged = (backend: Backend): Verdict => {
    if (backend === chosen) {
      return { verdict: "chosen", because: backend === own ? "its session is here" : compare.chosen() };
    }
    if (backend === own && refused !== "strict") {
      const waits = refused === "limited" ? LIMITED : fullWords(backend);
      return { verdict: "candidate", because: `its session is here and waits: ${waits}` };
    }
    if (!available.has(backend)) return { verdict: "out", because: whyUnavailable(upstream, backend) };
    if (!serving.has(backend.tier)) return { verdict: "out", because: "backup: others serve" };
    if (own !== undefined && backend !== own) {
      const stays = refused === "strict" ? ", and stays there (strict)" : "";
      return { verdict: "candidate", because: `its session is on ${own.id}${stays}` };
    }
    if (!backend.hasRoom) return { verdict: "out", because: fullWords(backend) };
    if (refused === "limited") return { verdict: "candidate", because: LIMITED };
    if (chosen !== undefined && backend.tier !== chosen.tier) {
      return { verdict: "candidate", because: `tier ${chosen.tier} has its turn` };
    }
    return compare.other(backend);
  };

  return (backend) => {
    const verdict = judged(backend);
    const { state, reason } = upstream.stateOf(backend)!;
    if (!available.has(backend) || state === "up" || state === "half-open") return verdict;
    return {
      ...verdict,
      because: `${verdict.because}; that it is ${state} (${reason}) is not believed, too few are well`,
    };
  };
}

/** The ranks that take traffic, by the same rules as the upstream's own. */
function tiersThatServe(upstream: Upstream, available: ReadonlySet<Backend>): ReadonlySet<number> {
  const tiers = [...new Set(upstream.backends.map(({ tier }) => tier))].sort((a, b) => a - b);
  const counted = tiers.map((tier) => upstream.backends.filter((each) => each.tier === tier && each.weight > 0));
  const well = counted.map((members) => members.filter((each) => available.has(each) && isWell(upstream, each)).length);
  // With nobody well, some are available only where there is panic, and then it is the first rank's.
  const { loads } = tierLoads(
    well,
    counted.map(({ length }) => length),
    available.size > 0 ? 1 : 0,
  );
  return new Set(tiers.filter((_, index) => loads[index]! > 0));
}

function isWell(upstream: Upstream, backend: Backend): boolean {
  const { state } = upstream.stateOf(backend)!;
  return state === "up" || state === "half-open";
}

function whyUnavailable(upstream: Upstream, backend: Backend): string {
  const { state, reason } = upstream.stateOf(backend)!;
  switch (state) {
    case "draining":
      return upstream.affinity === undefined ? "draining" : "draining: only its sessions";
    case "half-open":
      return "its circuit is half-open: the trial runs already";
    case "open":
      return `its circuit is open: ${reason}`;
    case "up":
      return upstream.affinity === undefined ? "weight 0: no new traffic" : "weight 0: only its sessions";
    default:
      return `${state}: ${reason}`;
  }
}

function fullWords({ active, limit, ramp }: Backend): string {
  return `full: ${active} of ${limit}${ramp < 1 ? ", it starts slowly" : ""}`;
}
