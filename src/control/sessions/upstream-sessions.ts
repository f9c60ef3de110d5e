import type { Clock, Timer } from "../../time/clock.ts";
import type { SharedStore, StoreAnswer } from "./shared-store.ts";
import { follow, type Placement, WaitingPlaces } from "./waiting-places.ts";

/** Most questions to the store of one upstream that wait for its answer; the same again for placements. */
export const MAX_IN_FLIGHT = 1024;
/** Most sessions of one upstream that wait to be placed, and most whose placement has failed and is told again. */
export const MAX_WAITING = 10_000;
/** When what has failed is told again: at first, and at most as long as nothing of it succeeds. */
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 60_000;
/** Workers that tell of all their sessions anew must not be what a store has to do all the time. */
const BETWEEN_RETELLINGS_MS = 10_000;

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
  /**
   * The session belongs to `address`, and some worker thinks that it is at one of `instead`, or may think so. `believed`:
   * where those with a part in it think it is.
   */
  corrected(key: string, address: string, instead: readonly string[], believed: ReadonlyMap<Worker, string>): void;
  /** Workers have to tell of all their sessions anew. */
  forgotten(): void;
  /** There was no room for a question or a placement. */
  overloaded(): void;
}

/**
 * Asks and tells the store of one upstream, within bounds: what comes beyond them has failed at once. Whatever the store
 * does, so many questions and placements are the most that it can cost.
 *
 * A placement that fails is told again, with all it replaces, after a second, and at once when the store has recovered;
 * until then the session is found where it was to be placed. When there is no room for that either, or the store may have
 * lost what it knew, the workers tell of their sessions anew.
 */
export class UpstreamSessions<Worker> {
  readonly #init: UpstreamSessionsInit<Worker>;
  readonly #waiting = new WaitingPlaces<Worker>(MAX_WAITING);
  readonly #failed = new WaitingPlaces<Worker>(MAX_WAITING);
  /** The last placement of each session that has been told and not answered. */
  readonly #told = new Map<string, Placement<Worker>>();
  readonly #retry: Timer;
  #retryMs = FIRST_RETRY_MS;
  /** Of what was told again since the last retry. */
  #retries = { succeeded: 0, failed: 0 };
  #retryIsSet = false;
  /** Some placement was given up: only a worker knows of it. */
  #gaveUp = false;
  #retoldAtMs = Number.NEGATIVE_INFINITY;
  #finding = 0;
  #placing = 0;
  /** Somebody further down the stack hands out what waits. */
  #handingOut = false;
  #closed = false;

  constructor(init: UpstreamSessionsInit<Worker>) {
    this.#init = init;
    this.#retry = init.clock.timer(() => this.#tryAgain());
    init.store.listen(() => this.#recovered());
  }

  find(key: string, answer: StoreAnswer): void {
    const { store, clock } = this.#init;
    const placed = this.#waiting.get(key) ?? this.#failed.get(key);
    if (placed !== undefined && leftMs(placed, clock.now()) > 0) return answer(placed.address, false);
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

  /** All workers hear of it where the session has moved, or belongs to another backend. */
  place(worker: Worker, key: string, address: string, instead: string | undefined, ttlMs: number): void {
    const placement: Placement<Worker> = {
      key,
      address,
      instead: instead === undefined ? [] : [instead],
      ttlMs,
      placedAtMs: this.#init.clock.now(),
      believed: new Map([[worker, address]]),
      isRetry: false,
    };
    const failed = this.#failed.remove(key);
    if (failed !== undefined) follow(failed, placement);
    if (this.#waiting.add(failed ?? placement)) return this.#handOut();
    this.#refuse("place");
    this.#giveUp();
  }

  /** Nothing is told any more. */
  close(): void {
    this.#closed = true;
    this.#retry.clear();
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

  #tell(placement: Placement<Worker>): void {
    const { store, clock } = this.#init;
    const { key, address, instead } = placement;
    const toldAtMs = clock.now();
    const ttlMs = leftMs(placement, toldAtMs);
    if (ttlMs <= 0) return;
    this.#placing++;
    this.#told.set(key, placement);
    store.place(key, address, instead, ttlMs, (owner, failed) => {
      this.#placing--;
      this.#count("place", clock.now() - toldAtMs, failed);
      const isLast = this.#told.get(key) === placement;
      if (isLast) this.#told.delete(key);
      if (placement.isRetry) this.#retries[failed ? "failed" : "succeeded"]++;
      if (owner !== undefined) this.#settle(placement, owner);
      // One that was told after it tells all that counts.
      else if (isLast) this.#keep(placement);
      this.#handOut();
    });
  }

  #settle({ key, instead, believed }: Placement<Worker>, owner: string): void {
    const wrong = [...instead];
    for (const address of believed.values()) if (address !== owner) wrong.push(address);
    if (wrong.length > 0) this.#init.corrected(key, owner, wrong, believed);
  }

  #keep(placement: Placement<Worker>): void {
    if (this.#closed) return;
    placement.isRetry = true;
    if (this.#waiting.get(placement.key) !== undefined) {
      this.#waiting.addBefore(placement);
      return;
    }
    if (this.#failed.size >= MAX_WAITING) {
      this.#failed.take();
      this.#giveUp();
    }
    this.#failed.add(placement);
    this.#setRetry();
  }

  #giveUp(): void {
    this.#gaveUp = true;
    this.#setRetry();
  }

  #setRetry(): void {
    if (this.#retryIsSet || this.#closed) return;
    this.#retryIsSet = true;
    this.#retry.set(this.#retryMs);
  }

  #tryAgain(): void {
    this.#retryIsSet = false;
    const { succeeded, failed } = this.#retries;
    if (succeeded > 0) this.#retryMs = FIRST_RETRY_MS;
    else if (failed > 0) this.#retryMs = Math.min(2 * this.#retryMs, LONGEST_RETRY_MS);
    this.#retries = { succeeded: 0, failed: 0 };
    const isCalm = this.#waiting.size === 0 && this.#init.store.view.up;
    if (this.#gaveUp && isCalm && this.#init.clock.now() >= this.#retoldAtMs + BETWEEN_RETELLINGS_MS) this.#retell();
    // One is enough to find out whether a store that is down can be asked again.
    this.#tellAgain(this.#init.store.view.up ? this.#failed.size : 1);
    if (this.#failed.size > 0 || this.#gaveUp) this.#setRetry();
  }

  #recovered(): void {
    if (this.#closed) return;
    this.#retryMs = FIRST_RETRY_MS;
    this.#tellAgain(this.#failed.size);
    this.#retell();
  }

  #tellAgain(count: number): void {
    for (let n = 0; n < count; n++) {
      const placement = this.#failed.take();
      if (placement === undefined) break;
      if (!this.#waiting.addBefore(placement)) this.#giveUp();
    }
    this.#handOut();
  }

  #retell(): void {
    this.#gaveUp = false;
    this.#retoldAtMs = this.#init.clock.now();
    this.#init.forgotten();
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

/** What is left of the session's time to live. In whole milliseconds, as Redis takes no others. */
function leftMs({ placedAtMs, ttlMs }: Placement<unknown>, now: number): number {
  return Math.ceil(placedAtMs + ttlMs - now);
}
