import type { Clock } from "../../time/clock.ts";
import type { SharedStore, StoreAnswer } from "./shared-store.ts";
import { type Placement, WaitingPlaces } from "./waiting-places.ts";

/** Most questions to the store of one upstream that wait for its answer; the same again for placements. */
export const MAX_IN_FLIGHT = 1024;
/** Most sessions of one upstream that wait to be placed. */
export const MAX_WAITING = 10_000;

/** Where the work of stores is counted. */
export interface StoreCounters {
  storeAsked(operation: "find" | "place", ms: number): void;
  /** Beside `storeAsked`. */
  storeFailed(): void;
}

/** What the sessions of one upstream are looked after with. */
export interface UpstreamSessionsInit<Worker> {
  readonly store: SharedStore;
  readonly clock: Clock;
  readonly counters: StoreCounters;
  /** `worker` thinks that the session is elsewhere. */
  corrected(worker: Worker, key: string, address: string): void;
  /** There was no room for a question or a placement. */
  overloaded(): void;
}

/**
 * Asks and tells the store of one upstream, within bounds: what comes beyond them has failed at once. Whatever the store
 * does, so many questions and placements are the most that it can cost.
 */
export class UpstreamSessions<Worker> {
  readonly #init: UpstreamSessionsInit<Worker>;
  readonly #waiting = new WaitingPlaces<Worker>(MAX_WAITING);
  #finding = 0;
  #placing = 0;
  /** Somebody further down the stack hands out what waits. */
  #handingOut = false;

  constructor(init: UpstreamSessionsInit<Worker>) {
    this.#init = init;
  }

  find(key: string, answer: StoreAnswer): void {
    const { store, clock } = this.#init;
    const placed = this.#waiting.addressOf(key);
    if (placed !== undefined) return answer(placed, false);
    if (this.#finding >= MAX_IN_FLIGHT) {
      this.#refuse("find");
      return answer(undefined, true);
    }
    this.#finding++;
    const askedAtMs = clock.now();
    store.find(key, (address, failed) => {
      this.#finding--;
      this.#count("find", clock.now() - askedAtMs, failed);
      answer(address, failed);
    });
  }

  /** The worker hears of it only where the session belongs to another backend. */
  place(worker: Worker, key: string, address: string, instead: string | undefined, ttlMs: number): void {
    if (this.#waiting.add(worker, key, address, instead, ttlMs)) this.#handOut();
    else this.#refuse("place");
  }

  #handOut(): void {
    if (this.#handingOut) return;
    this.#handingOut = true;
    while (this.#placing < MAX_IN_FLIGHT) {
      const placement = this.#waiting.take();
      if (placement === undefined) break;
      this.#tell(placement);
    }
    this.#handingOut = false;
  }

  #tell({ key, address, instead, ttlMs, believed }: Placement<Worker>): void {
    const { store, clock } = this.#init;
    this.#placing++;
    const toldAtMs = clock.now();
    store.place(key, address, instead, ttlMs, (owner, failed) => {
      this.#placing--;
      this.#count("place", clock.now() - toldAtMs, failed);
      if (owner !== undefined) this.#correct(key, owner, believed);
      this.#handOut();
    });
  }

  #correct(key: string, owner: string, believed: ReadonlyMap<Worker, string>): void {
    for (const [worker, address] of believed) if (address !== owner) this.#init.corrected(worker, key, owner);
  }

  #refuse(operation: "find" | "place"): void {
    this.#count(operation, 0, true);
    this.#init.overloaded();
  }

  #count(operation: "find" | "place", ms: number, failed: boolean): void {
    this.#init.counters.storeAsked(operation, ms);
    if (failed) this.#init.counters.storeFailed();
  }
}
