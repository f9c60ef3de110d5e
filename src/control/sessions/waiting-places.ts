/** What is to be told to the store of one session. */
export interface Placement<Worker> {
  readonly key: string;
  address: string;
  /** Where the session may have belonged before. */
  readonly instead: string[];
  ttlMs: number;
  /** Where each worker that has a part in it thinks the session is. */
  readonly believed: Map<Worker, string>;
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

  /** Where a session is about to be placed. */
  addressOf(key: string): string | undefined {
    return this.#waiting.get(key)?.address;
  }

  /** False: there is no room. */
  add(worker: Worker, key: string, address: string, instead: string | undefined, ttlMs: number): boolean {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) {
      if (this.#waiting.size >= this.#max) return false;
      this.#waiting.set(key, {
        key,
        address,
        instead: instead === undefined ? [] : [instead],
        ttlMs,
        believed: new Map([[worker, address]]),
      });
      return true;
    }
    waiting.believed.set(worker, address);
    waiting.ttlMs = ttlMs;
    if (address === waiting.address || instead === waiting.address) {
      if (instead !== undefined && !waiting.instead.includes(instead)) waiting.instead.push(instead);
      waiting.address = address;
    }
    return true;
  }

  /** The one that has waited longest. */
  take(): Placement<Worker> | undefined {
    for (const placement of this.#waiting.values()) {
      this.#waiting.delete(placement.key);
      return placement;
    }
    return undefined;
  }
}
