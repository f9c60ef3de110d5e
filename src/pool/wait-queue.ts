import type { Waiter } from "./pool-options.ts";

/** One who waits, in line. */
export class Waiting<T> {
  readonly waiter: Waiter<T>;
  readonly fresh: boolean;
  readonly timeoutMs: number;
  readonly deadlineMs: number;
  ahead: Waiting<T> | undefined = undefined;
  behind: Waiting<T> | undefined = undefined;

  constructor(waiter: Waiter<T>, fresh: boolean, timeoutMs: number, deadlineMs: number) {
    this.waiter = waiter;
    this.fresh = fresh;
    this.timeoutMs = timeoutMs;
    this.deadlineMs = deadlineMs;
  }
}

/** Who waits for a connection, first come first served. Joining and leaving are O(1), from anywhere in the line. */
export class WaitQueue<T> {
  readonly #places = new Map<Waiter<T>, Waiting<T>>();
  #first: Waiting<T> | undefined;
  #last: Waiting<T> | undefined;
  /** How many take a connection that was used before. */
  #takingUsed = 0;

  get size(): number {
    return this.#places.size;
  }

  get first(): Waiting<T> | undefined {
    return this.#first;
  }

  has(waiter: Waiter<T>): boolean {
    return this.#places.has(waiter);
  }

  join(place: Waiting<T>): void {
    this.#places.set(place.waiter, place);
    place.ahead = this.#last;
    if (this.#last === undefined) this.#first = place;
    else this.#last.behind = place;
    this.#last = place;
    if (!place.fresh) this.#takingUsed++;
  }

  /** The waiter leaves the line; undefined when it is not in it. */
  leave(waiter: Waiter<T>): Waiting<T> | undefined {
    const place = this.#places.get(waiter);
    if (place !== undefined) this.#remove(place);
    return place;
  }

  /** Takes out the oldest. */
  shift(): Waiting<T> | undefined {
    const place = this.#first;
    if (place !== undefined) this.#remove(place);
    return place;
  }

  /** Takes out the oldest that does not ask for a fresh connection. */
  shiftTakingUsed(): Waiting<T> | undefined {
    if (this.#takingUsed === 0) return undefined;
    let place = this.#first!;
    while (place.fresh) place = place.behind!;
    this.#remove(place);
    return place;
  }

  /** Takes out the oldest whose deadline has passed. */
  shiftOverdue(now: number): Waiting<T> | undefined {
    let place = this.#first;
    while (place !== undefined && place.deadlineMs > now) place = place.behind;
    if (place !== undefined) this.#remove(place);
    return place;
  }

  /** The next deadline; `Infinity` when nobody waits. */
  nextDeadlineMs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (let place = this.#first; place !== undefined; place = place.behind) {
      if (place.deadlineMs < next) next = place.deadlineMs;
    }
    return next;
  }

  #remove(place: Waiting<T>): void {
    this.#places.delete(place.waiter);
    if (place.ahead === undefined) this.#first = place.behind;
    else place.ahead.behind = place.behind;
    if (place.behind === undefined) this.#last = place.ahead;
    else place.behind.ahead = place.ahead;
    place.ahead = undefined;
    place.behind = undefined;
    if (!place.fresh) this.#takingUsed--;
  }
}
