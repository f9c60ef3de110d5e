import type { Balancer } from "../balance/balancer.ts";
import type { Backend } from "../model/backend.ts";
import type { PickRequest } from "../model/request.ts";
import { type TierLoads, TierRotation, tierLoads } from "../resilience/priorities.ts";
import type { Member } from "./member.ts";

/** Backends of the same rank, with a balancer of their own. */
interface Tier {
  readonly rank: number;
  readonly balancer: Balancer;
  members: readonly Member[];
  available: readonly Backend[];
}

/**
 * The backends of an upstream by rank: those that serve, and the backups that take over what the ranks before them
 * cannot carry. Each rank has its balancer; mostly there is only one.
 */
export class Tiers {
  readonly #makeBalancer: (rank: number) => Balancer;
  readonly #panicThreshold: number;
  readonly #rotation = new TierRotation();
  #tiers: readonly Tier[] = [];
  #members: readonly Member[] = [];
  #loads: TierLoads = { loads: [], panic: [] };
  #available: readonly Backend[] = [];
  #selective = false;
  /** Of ranks that take traffic now. */
  #offered: ReadonlySet<Backend> = new Set();

  /** @param panicThreshold share of healthy backends of a rank below which all of them are used; 0: never. */
  constructor(makeBalancer: (rank: number) => Balancer, panicThreshold: number) {
    this.#makeBalancer = makeBalancer;
    this.#panicThreshold = panicThreshold;
  }

  /** All that may be picked, in the order of the configuration; those of a rank in panic are all among them. */
  get available(): readonly Backend[] {
    return this.#available;
  }

  /** Not any backend with room will do for a request: see {@link Balancer.selective}. */
  get selective(): boolean {
    return this.#selective;
  }

  /** Ranks in which what is known of the backends is not believed. */
  get panic(): boolean {
    return this.#loads.panic.includes(true);
  }

  /** Membership, weight or availability has changed. */
  update(members: readonly Member[]): void {
    this.#members = members;
    const ranks = [...new Set(members.map(({ backend }) => backend.tier))].sort((a, b) => a - b);
    this.#tiers = ranks.map((rank) => {
      const old = this.#tiers.find((tier) => tier.rank === rank);
      const own = members.filter(({ backend }) => backend.tier === rank);
      return { rank, balancer: old?.balancer ?? this.#makeBalancer(rank), members: own, available: [] };
    });
    this.#selective = this.#tiers.some(({ balancer }) => balancer.selective === true);
    this.review();
  }

  /** Availability has changed, and nothing else. */
  review(): void {
    const counted = this.#tiers.map(({ members }) => members.filter(({ backend }) => backend.weight > 0));
    this.#loads = tierLoads(
      counted.map((members) => members.filter((member) => member.available).length),
      counted.map((members) => members.length),
      this.#panicThreshold,
    );
    this.#tiers.forEach((tier, index) => {
      const panic = this.#loads.panic[index] === true;
      const may = tier.members.filter((member) => (panic ? member.worthATry : member.available));
      tier.available = may.map(({ backend }) => backend);
      tier.balancer.update(
        tier.available,
        tier.members.map(({ backend }) => backend),
      );
    });
    this.#rotation.update(this.#loads.loads);
    this.#offered = new Set(
      this.#tiers.flatMap((tier, index) => (this.#loads.loads[index]! > 0 ? tier.available : [])),
    );
    const available = new Set(this.#tiers.flatMap((tier) => tier.available));
    this.#available = this.#members.map(({ backend }) => backend).filter((backend) => available.has(backend));
  }

  /**
   * A backend of the rank whose turn it is that is not in `exclude`, else of another rank that takes traffic now. Those
   * that take none are only for when all of the rank were `tried`: for want of room backups are not what is meant.
   */
  pick(
    request: PickRequest,
    now: number,
    exclude: ReadonlySet<Backend> | undefined,
    tried: ReadonlySet<Backend> | undefined,
  ): Backend | undefined {
    const tiers = this.#tiers;
    if (tiers.length === 1) return pickFrom(tiers[0]!, request, now, exclude);
    const due = tiers[this.#rotation.next()];
    if (due === undefined) return undefined;
    const backend = pickFrom(due, request, now, exclude);
    if (backend !== undefined) return backend;
    const onlyFull = due.available.some((each) => tried?.has(each) !== true);
    for (const [index, tier] of tiers.entries()) {
      if (tier === due || (onlyFull && this.#loads.loads[index] === 0)) continue;
      const other = pickFrom(tier, request, now, exclude);
      if (other !== undefined) return other;
    }
    return undefined;
  }

  /** What {@link pick} would answer, changing nothing; undefined where that is left to chance. */
  peek(request: PickRequest, now: number, without: ReadonlySet<Backend>): Backend | "none" | undefined {
    const due = this.#tiers.length === 1 ? this.#tiers[0] : this.#tiers[this.#rotation.peek()];
    if (due === undefined) return "none";
    const others = this.#tiers.filter((tier, index) => tier !== due && this.#loads.loads[index]! > 0);
    for (const { balancer, available } of [due, ...others]) {
      if (available.every((backend) => without.has(backend))) continue;
      if (balancer.peek === undefined) return undefined;
      const backend = balancer.peek(request, now, without);
      if (backend !== undefined) return backend;
    }
    return "none";
  }

  /** Whether a backend may be picked, and its rank takes traffic. */
  offers(backend: Backend): boolean {
    return this.#offered.has(backend);
  }

  /** Whether a backend may stand in for `full`, which has no room: it is of the same rank, or of one that takes traffic. */
  serves(backend: Backend, full: Backend): boolean {
    if (backend.tier === full.tier) return true;
    return this.#tiers.some(({ rank }, index) => rank === backend.tier && this.#loads.loads[index]! > 0);
  }

  /** For the balancer of its rank: how an attempt ended. */
  balancerOf(backend: Backend): Balancer | undefined {
    for (const tier of this.#tiers) if (tier.rank === backend.tier) return tier.balancer;
    return undefined;
  }
}

function pickFrom(
  { balancer, available }: Tier,
  request: PickRequest,
  now: number,
  exclude: ReadonlySet<Backend> | undefined,
): Backend | undefined {
  if (available.length === 0) return undefined;
  const backend = balancer.pick(request, now, exclude);
  // A balancer of the user's that forgets `exclude` would have the exchange go round for ever.
  return backend === undefined || exclude?.has(backend) ? undefined : backend;
}
