/** What is to be told to the store of one session. */
export interface Placement<Worker> {
  readonly key: string;
  address: string;
  /** Where the session may have belonged before. */
  readonly instead: string[];
  ttlMs: number;
  /** When its time to live began. */
  placedAtMs: number;
  /** Where each worker that has a part in it thinks the session is. */
  readonly believed: Map<Worker, string>;
  /** It has failed before. */
  isRetry: boolean;
}

/**
 * Placements that wait for their turn, at most one for each session. A second one for a session that waits is compared
 * with the first as the store would: who knows of the first takes it over, any other comes second and will be told.
 */
export class WaitingPlaces<Worker> {
  readonly #max: number;
  readonly #waiting = new Map<string, Placement<Worker>>();

  /** @param max most sessions that wait */
  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** That of a session, where it waits. */
  get(key: string): Placement<Worker> | undefined {
    return this.#waiting.get(key);
  }

  /** False: there is no room. The placement is changed by those that come after it. */
  add(placement: Placement<Worker>): boolean {
    const first = this.#waiting.get(placement.key);
    if (first !== undefined) follow(first, placement);
    else if (this.#waiting.size >= this.#max) return false;
    else this.#waiting.set(placement.key, placement);
    return true;
  }

  /** As `add`, of one that was made before those of its session that wait. */
  addBefore(placement: Placement<Worker>): boolean {
    const second = this.remove(placement.key);
    if (second !== undefined) follow(placement, second);
    return this.add(placement);
  }

  /** That of a session, which waits no longer. */
  remove(key: string): Placement<Worker> | undefined {
    const placement = this.#waiting.get(key);
    this.#waiting.delete(key);
    return placement;
  }

  /** The one that has waited longest. */
  take(): Placement<Worker> | undefined {
    for (const key of this.#waiting.keys()) return this.remove(key);
    return undefined;
  }
}

/** What becomes of `first` by a `second` one after it. */
export function follow<Worker>(first: Placement<Worker>, second: Placement<Worker>): void {
  for (const [worker, address] of second.believed) first.believed.set(worker, address);
  first.ttlMs = second.ttlMs;
  first.placedAtMs = second.placedAtMs;
  if (second.address !== first.address && !second.instead.includes(first.address)) return;
  for (const address of second.instead) if (!first.instead.includes(address)) first.instead.push(address);
  first.address = second.address;
}
