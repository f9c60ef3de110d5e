import { type KeyName, keySource } from "../balance/key.ts";
import type { Backend } from "../model/backend.ts";
import { distanceKm } from "../model/great-circle.ts";
import type { PickRequest } from "../model/request.ts";
import type { BalanceFacts } from "./explain.ts";
import type { Verdict } from "./explain-backends.ts";

/** Why a balancer picks one and not another, in words. */
export interface Comparison {
  /** Why the chosen one. */
  chosen(): string;
  /** Of a backend that might have been. */
  other(backend: Backend): Verdict;
}

/**
 * What the balancer of `balance` goes by.
 * @param offered those that it has to choose from, the full ones included
 * @param chosen undefined: none of them has room, or chance decides
 */
export function comparisonOf(
  offered: readonly Backend[],
  request: PickRequest,
  chosen: Backend | undefined,
  balance: BalanceFacts | undefined,
): Comparison {
  switch (balance?.policy) {
    case "weighted-round-robin":
    case "round-robin":
      return turns(chosen);
    case "least-connections":
      return leastConnections(chosen);
    case "ip-hash":
      return hash("client-ip", request, chosen);
    case "consistent-hash":
      return hash(balance.key as KeyName, request, chosen);
    case "random":
      return chance(offered);
    case "nearest":
      return nearest(offered, request, chosen, balance);
    default:
      return picked(chosen);
  }
}

/** How far the client is from a backend, in kilometres; undefined where the position of one of the two is not known. */
export function distanceOf({ position }: Backend, request: PickRequest): number | undefined {
  return position === undefined || request.position === undefined ? undefined : distanceKm(request.position, position);
}

/** `8,914 km`; below 10 km with a digit more. */
export function kmWords(km: number): string {
  return `${km < 10 ? km.toFixed(1) : Math.round(km).toLocaleString("en-US")} km`;
}

const candidate = (because: string): Verdict => ({ verdict: "candidate", because });

function picked(chosen: Backend | undefined): Comparison {
  return {
    chosen: () => "the balancer's choice",
    other: () => candidate(chosen === undefined ? "the balancer decides" : `${chosen.id} is picked`),
  };
}

function turns(chosen: Backend | undefined): Comparison {
  return {
    chosen: () => "its turn",
    other: () => candidate(chosen === undefined ? "its turn comes" : "not its turn"),
  };
}

function leastConnections(chosen: Backend | undefined): Comparison {
  const load = ({ active, share }: Backend): number => (active + 1) / share;
  return {
    chosen: () => "fewest exchanges for its weight",
    other: (backend) => {
      if (chosen === undefined) return candidate("the least busy one is picked");
      if (load(backend) <= load(chosen)) return candidate("as busy, not its turn");
      if (backend.weight === chosen.weight) return candidate(`busier: ${backend.active} against ${chosen.active}`);
      return candidate(`busier for its weight: ${busyWords(backend)} against ${busyWords(chosen)}`);
    },
  };
}

function busyWords({ active, weight }: Backend): string {
  return `${active} at weight ${weight}`;
}

function hash(key: KeyName, request: PickRequest, chosen: Backend | undefined): Comparison {
  if (keySource(key)(request) === undefined) return turns(chosen);
  return {
    chosen: () => `${key} leads to it`,
    other: () => candidate(chosen === undefined ? `${key} decides` : `${key} leads to ${chosen.id}`),
  };
}

function chance(offered: readonly Backend[]): Comparison {
  const withRoom = offered.filter(({ hasRoom }) => hasRoom);
  const total = withRoom.reduce((sum, { share }) => sum + share, 0);
  return {
    chosen: () => "by chance",
    other: ({ share }) => candidate(`chance: ${Math.round((share / total) * 1000) / 10} %`),
  };
}

/** How far away a backend counts, the nearer the smaller. */
interface Away {
  /** Undefined: its rank decides, behind all whose distance is known. */
  readonly km: number | undefined;
  readonly rank: number;
}

function nearest(
  offered: readonly Backend[],
  request: PickRequest,
  chosen: Backend | undefined,
  balance: BalanceFacts,
): Comparison {
  const { withinKm = 0, maxKm = Number.POSITIVE_INFINITY } = balance as { withinKm?: number; maxKm?: number };
  const {
    spillover = true,
    region = "",
    regions = [],
  } = balance as {
    spillover?: boolean;
    region?: string;
    regions?: readonly string[];
  };
  const order = [region, ...regions].filter((name) => name !== "");
  const byDistance = request.position !== undefined && offered.some(({ position }) => position !== undefined);
  if (!byDistance && order.length === 0) {
    return comparisonOf(offered, request, chosen, { policy: String(balance.fallback ?? "weighted-round-robin") });
  }
  const away = (backend: Backend): Away => ({
    km: distanceOf(backend, request),
    rank: order.includes(backend.region) ? order.indexOf(backend.region) : order.length,
  });
  const measure = chosen ?? nearestOf(offered, away, maxKm);
  const others = leastConnections(chosen);

  return {
    chosen: () => {
      const { km } = away(chosen!);
      if (km !== undefined) {
        return offered.some((each) => each !== chosen && isFarther(away(chosen!), away(each)) && each.hasRoom)
          ? `near enough: ${kmWords(km)}, within ${kmWords(withinKm)} of the nearest`
          : `nearest: ${kmWords(km)}`;
      }
      return byDistance ? "no nearer one has room" : `region ${chosen!.region || "none"} comes first`;
    },
    other: (backend) => {
      const own = away(backend);
      if (own.km !== undefined && own.km > maxKm) {
        return { verdict: "out", because: `too far: ${kmWords(own.km)}, at most ${kmWords(maxKm)} (maxKm)` };
      }
      if (measure === undefined) return candidate("the nearest is picked");
      const best = away(measure);
      const behind = chosen === undefined && !spillover ? ", which is full (no spillover)" : "";
      if (own.km !== undefined && best.km !== undefined) {
        if (own.km > best.km + withinKm) {
          return candidate(`farther: ${kmWords(own.km)} against ${kmWords(best.km)}${behind}`);
        }
        return candidate(`near enough, but ${others.other(backend).because}`);
      }
      if (byDistance && own.km === undefined && best.km !== undefined)
        return candidate(`its location is not known${behind}`);
      if (own.rank > best.rank) {
        return candidate(`region ${backend.region || "none"} comes after ${measure.region || "none"}${behind}`);
      }
      return others.other(backend);
    },
  };
}

function nearestOf(offered: readonly Backend[], away: (backend: Backend) => Away, maxKm: number): Backend | undefined {
  let best: Backend | undefined;
  for (const backend of offered) {
    const own = away(backend);
    if (own.km !== undefined && own.km > maxKm) continue;
    if (best === undefined || isFarther(away(best), own)) best = backend;
  }
  return best;
}

function isFarther(a: Away, b: Away): boolean {
  if (a.km !== undefined && b.km !== undefined) return a.km > b.km;
  if (a.km === undefined && b.km === undefined) return a.rank > b.rank;
  return a.km === undefined;
}
