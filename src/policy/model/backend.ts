import type { Position } from "./position.ts";

/** Where the active exchanges and open connections of every backend are counted, over all workers. */
export interface BackendCounts {
  /** Exchanges running on the backend in `slot` now, over all workers. */
  active(slot: number): number;
  /** An exchange begins, unless `limit` run there already: false then. */
  takeActive(slot: number, limit: number): boolean;
  /** An exchange ended. */
  giveActive(slot: number): void;
  /** Idle, busy and opening connections to the backend in `slot` now, over all workers. */
  connections(slot: number): number;
  /** Takes one of `limit` connections; false when all are taken. */
  takeConnection(slot: number, limit: number): boolean;
  /** Gives a connection back that `takeConnection` granted. */
  giveConnection(slot: number): void;
}

/** What a backend is made of; `slot` is its row in shared counters and metrics, the same in every worker. */
export interface BackendInit {
  /** Name in logs, metrics and the admin API: `host:port`, or the configured id. */
  readonly id: string;
  /** What hashes and connects go by: `host:port` (`[v6]:port`), or `unix:/path`. */
  readonly address: string;
  /** Share of traffic relative to its siblings; 0 takes no new traffic. */
  readonly weight: number;
  readonly slot: number;
  /** 0 for those that serve, from 1 on for backups: they take over what the tiers before them cannot. Default 0. */
  readonly tier?: number;
  /** Most exchanges that may run on it at a time, over all workers. Default: no limit. */
  readonly limit?: number;
  /** Where it stands. Default: not known. */
  readonly position?: Position | undefined;
  /** Name of the region it stands in. Default: empty, none. */
  readonly region?: string;
}

/** One server of an upstream. Its identity is the object: what stays across a change keeps its object. */
export class Backend {
  readonly id: string;
  readonly address: string;
  readonly slot: number;
  readonly tier: number;
  readonly limit: number;
  readonly position: Position | undefined;
  readonly region: string;
  /** Changed by `Upstream` alone, which then rebuilds the balancer. */
  weight: number;
  /** Part of its weight and its limit that it has while it starts slowly, from 0 to 1. Changed by `Upstream` alone. */
  ramp = 1;
  readonly #counts: BackendCounts;

  constructor(init: BackendInit, counts: BackendCounts) {
    this.id = init.id;
    this.address = init.address;
    this.slot = init.slot;
    this.weight = init.weight;
    this.tier = init.tier ?? 0;
    this.limit = init.limit ?? Number.POSITIVE_INFINITY;
    this.position = init.position;
    this.region = init.region ?? "";
    this.#counts = counts;
  }

  /** Exchanges running on it now, over all workers. Written by `Upstream` alone, at pick and settle. */
  get active(): number {
    return this.#counts.active(this.slot);
  }

  /** What balancers that share traffic out go by: the weight, less while it starts slowly. */
  get share(): number {
    return this.weight * this.ramp;
  }

  /** Whether one more exchange may run on it. Other workers may take the last place before who asked does. */
  get hasRoom(): boolean {
    return this.limit === Number.POSITIVE_INFINITY || this.active < this.#limitNow;
  }

  /** For `Upstream`: an exchange begins here, unless there is no room: false then. */
  take(): boolean {
    return this.#counts.takeActive(this.slot, this.#limitNow);
  }

  get #limitNow(): number {
    const { limit, ramp } = this;
    return ramp === 1 ? limit : Math.max(1, Math.ceil(limit * ramp));
  }

  /** For `Upstream`: an exchange that was taken has ended. */
  give(): void {
    this.#counts.giveActive(this.slot);
  }
}
