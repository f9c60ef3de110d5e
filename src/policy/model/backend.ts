/** Where the active exchanges and open connections of every backend are counted, over all workers. */
export interface BackendCounts {
  /** Exchanges running on the backend in `slot` now, over all workers. */
  active(slot: number): number;
  /** An exchange began (+1) or ended (-1). */
  addActive(slot: number, by: 1 | -1): void;
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
}

/** One server of an upstream. Its identity is the object: what stays across a change keeps its object. */
export class Backend {
  readonly id: string;
  readonly address: string;
  readonly slot: number;
  /** Changed by `Upstream` alone, which then rebuilds the balancer. */
  weight: number;
  readonly #counts: BackendCounts;

  constructor(init: BackendInit, counts: BackendCounts) {
    this.id = init.id;
    this.address = init.address;
    this.slot = init.slot;
    this.weight = init.weight;
    this.#counts = counts;
  }

  /** Exchanges running on it now, over all workers. Written by `Upstream` alone, at pick and settle. */
  get active(): number {
    return this.#counts.active(this.slot);
  }

  /** For `Upstream`: an exchange began (+1) or ended (-1) here. */
  addActive(by: 1 | -1): void {
    this.#counts.addActive(this.slot, by);
  }
}
