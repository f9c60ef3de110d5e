import { DeadlineHeap } from "./deadline-heap.ts";
import type { Priority, QueueOptions } from "./options.ts";
import { ServiceRate } from "./service-rate.ts";
import { Place, type Waiter, WaitingLine } from "./waiting-line.ts";

export type { Waiter } from "./waiting-line.ts";

/** Why one that waited waits no more, although nobody has served it. */
export type ShedFromQueue = "queue-full" | "queue-timeout" | "deadline";

// "Fail at Scale" takes 100 ms without an empty queue for overload, and 5 ms as the delay that is bearable then: that is
// 20 times. Our target is the user's own bound, often tens of ms, and 20 times of that would be too late.
const OVERLOADED_AFTER_TARGETS = 5;

// The estimate knows nothing of those who will leave the line: only who has not even nearly enough time is refused.
const HOPELESS = 1.2;

// How many waiters of one priority are offered to a caller that refuses them, unless it says how many.
const MAX_OFFERS = 16;

const NEVER_YET = Number.NEGATIVE_INFINITY;

/**
 * Exchanges that wait until there is room: `pool.queue`.
 *
 * Priorities are served in order, high before normal before low, and within one the oldest first. Nobody waits longer
 * than `timeout`, or beyond its own deadline; who joins a line that is served too slowly for the time it has is refused
 * at once. When `max` wait, a better one takes the place of the worst.
 *
 * A queue that has not been empty for 5 times `target` is overloaded: not a burst that passes, but more than can be
 * served. Oldest first would then serve only those who have nearly given up. So while it lasts, the newest go first,
 * and whoever has waited `target` is shed. It ends when everyone has been served. Source: Maurer, "Fail at Scale", ACM Queue 13(8), 2015 (controlled delay,
 * adaptive LIFO).
 *
 * Joining, leaving and being served are O(1), O(log n) for who has a deadline sooner than `timeout`. `shed` is called
 * when the queue is in order again, so it may join and leave. `now` never goes back.
 */
export class WaitingQueue<W extends Waiter> {
  readonly #max: number;
  readonly #timeoutMs: number;
  readonly #targetMs: number;
  readonly #shed: (waiter: W, why: ShedFromQueue, now: number) => void;
  readonly #elsewhere: (() => number) | undefined;
  readonly #high = new WaitingLine(rankOf("high"));
  readonly #normal = new WaitingLine(rankOf("normal"));
  readonly #low = new WaitingLine(rankOf("low"));
  /** Those who are due before `timeout` is over here; the others are due in the order in which they joined. */
  readonly #deadlines = new DeadlineHeap();
  readonly #rate = new ServiceRate();
  #size = 0;
  #overloadedAtMs = Number.POSITIVE_INFINITY;
  #overloaded = false;
  /** When an overloaded queue was last emptied by shedding. Unless it stays empty for a while, that is no relief. */
  #clearedMs = NEVER_YET;
  /** One is being shed for another. If it joins again at once, an equal must not be shed for it: it would do the same. */
  #makingRoom = false;

  /**
   * `shed` is told of everyone who waited and is neither served nor has left by itself, once. `elsewhere` says how many
   * wait in other queues that `max` is shared with.
   */
  constructor(
    options: QueueOptions,
    shed: (waiter: W, why: ShedFromQueue, now: number) => void,
    elsewhere?: () => number,
  ) {
    // Where nobody may wait for any time, nobody can wait.
    this.#max = options.timeout > 0 && options.target > 0 ? options.max : 0;
    this.#timeoutMs = options.timeout;
    this.#targetMs = options.target;
    this.#shed = shed;
    this.#elsewhere = elsewhere;
  }

  get size(): number {
    return this.#size;
  }

  /** Whether the newest go first; as of the last call that was given the time. */
  get overloaded(): boolean {
    return this.#overloaded;
  }

  /** When the next waiter is overdue, exactly; Infinity when none ever will be. O(1). */
  get wakeAtMs(): number {
    const oldest = this.#oldest();
    if (oldest === undefined) return Number.POSITIVE_INFINITY;
    const oldestMs = oldest.joinedMs;
    const overdueMs = Math.min(
      oldestMs + this.#timeoutMs,
      Math.max(this.#overloadedAtMs, oldestMs + this.#targetMs), // once it is overloaded
    );
    const soonest = this.#deadlines.soonest;
    return soonest === undefined ? overdueMs : Math.min(overdueMs, soonest.dueMs);
  }

  /**
   * Joins, or is refused: undefined when it waits now, else why it does not. `queue-full`: all places are taken by its
   * equals or betters. `deadline`: its deadline has passed, or it would before its turn came.
   *
   * A full queue sheds its worst for a better one, `queue-full`: of its lowest priority the newest; when it is
   * overloaded the oldest, for one of the same priority too, because that one would go last. Throws when it waits.
   */
  join(waiter: W, now: number): "queue-full" | "deadline" | undefined {
    this.advance(now);
    if (waiter.place !== undefined) throw new Error("It waits already; it must leave first.");
    if (waiter.deadlineMs <= now || this.#isHopeless(waiter, now)) return "deadline";
    if (this.#size + (this.#elsewhere?.() ?? 0) < this.#max) {
      this.#add(waiter, now, now);
      return undefined;
    }
    const worst = this.#worseThan(waiter.priority);
    if (worst === undefined) return "queue-full";
    this.#add(waiter, now, now); // first, so that the queue is not empty in between where there is one place only
    this.#remove(worst);
    const outermost = !this.#makingRoom;
    this.#makingRoom = true;
    try {
      this.#shed(worst.waiter as W, "queue-full", now);
    } finally {
      if (outermost) this.#makingRoom = false;
    }
    return undefined;
  }

  /**
   * Takes out who goes next; undefined when nobody does. Sheds first whose time is up. Whom `accept` refuses keeps its
   * place, and the next is offered, up to `offers` of each priority. `accept` must not join, leave or take.
   */
  next(now: number, accept?: (waiter: W) => boolean, offers = MAX_OFFERS): W | undefined {
    this.advance(now);
    const place =
      this.#firstOf(this.#high, accept, offers) ??
      this.#firstOf(this.#normal, accept, offers) ??
      this.#firstOf(this.#low, accept, offers);
    if (place === undefined) return undefined;
    this.#rate.departed(now);
    this.#remove(place);
    return place.waiter as W;
  }

  /** Rank of the lowest priority that waits, 0 for the highest; -1: nobody does. */
  get lowestRank(): number {
    if (this.#low.size > 0) return this.#low.rank;
    return this.#normal.size > 0 ? this.#normal.rank : this.#high.size > 0 ? this.#high.rank : -1;
  }

  /** Gives the worst up for one that waits elsewhere, `queue-full`. There must be one. */
  shedWorst(now: number): void {
    const worst = this.#worst();
    this.#remove(worst);
    this.#shed(worst.waiter as W, "queue-full", now);
  }

  /** Stops waiting; false when it does not wait here. */
  leave(waiter: W): boolean {
    const place = waiter.place;
    if (place === undefined || place.line !== this.#lineOf(waiter.priority)) return false;
    this.#remove(place);
    return true;
  }

  /** One that waits here waits in `other` from now on, for no longer than it would have here. False when it does not. */
  moveTo(other: WaitingQueue<W>, waiter: W, now: number): boolean {
    const { joinedMs } = waiter.place ?? {};
    if (joinedMs === undefined || !this.leave(waiter)) return false;
    other.#add(waiter, now, joinedMs);
    return true;
  }

  /** Sheds whose time is up. O(1) when nobody's is. */
  advance(now: number): void {
    if (this.#size > 0 && now >= this.#overloadedAtMs) this.#overloaded = true;
    while (this.wakeAtMs <= now) {
      const place = this.#overdue(now);
      const patienceMs = this.#overloaded ? Math.min(this.#timeoutMs, this.#targetMs) : this.#timeoutMs;
      const overloaded = this.#overloaded;
      this.#remove(place);
      if (overloaded && this.#size === 0) this.#clearedMs = now;
      const ownFirst = place.waiter.deadlineMs < place.joinedMs + patienceMs;
      this.#shed(place.waiter as W, ownFirst ? "deadline" : "queue-timeout", now);
    }
  }

  /**
   * How long one that joined now with this priority would wait, ms: who goes before it, divided by how fast the queue
   * was served lately. NaN when that is not known: fewer than 10 were served in the last second or two, or the queue
   * was empty in between.
   */
  expectedWaitMs(priority: Priority, now: number): number {
    const perMs = this.#size === 0 ? Number.NaN : this.#rate.perMs(now);
    return this.#countBefore(priority) / perMs;
  }

  #isHopeless(waiter: W, now: number): boolean {
    // While overloaded the newest go first: whoever joins is next, or those who join after it are.
    if (this.#overloaded) return false;
    const leftMs = Math.min(this.#timeoutMs, waiter.deadlineMs - now);
    return this.expectedWaitMs(waiter.priority, now) > HOPELESS * leftMs; // false for NaN
  }

  /** How many go before one that joined now. */
  #countBefore(priority: Priority): number {
    const equals = this.#overloaded ? 0 : this.#lineOf(priority).size;
    if (priority === "high") return equals;
    return priority === "normal" ? this.#high.size + equals : this.#high.size + this.#normal.size + equals;
  }

  /** Whose place one that joined now may take. */
  #worseThan(priority: Priority): Place | undefined {
    const rank = rankOf(priority);
    const { lowestRank } = this;
    if (rank < lowestRank) return this.#worst();
    return rank === lowestRank && this.#overloaded && !this.#makingRoom ? this.#worst() : undefined;
  }

  /** Of the lowest priority the newest; when the newest go first, the oldest. */
  #worst(): Place {
    const line = this.#low.size > 0 ? this.#low : this.#normal.size > 0 ? this.#normal : this.#high;
    return (this.#overloaded ? line.oldest : line.newest)!;
  }

  /** Of those whose time is up, one. */
  #overdue(now: number): Place {
    const soonest = this.#deadlines.soonest;
    return soonest !== undefined && soonest.dueMs <= now ? soonest : this.#oldest()!;
  }

  #oldest(): Place | undefined {
    return older(older(this.#high.oldest, this.#normal.oldest), this.#low.oldest);
  }

  #firstOf(line: WaitingLine, accept: ((waiter: W) => boolean) | undefined, most: number): Place | undefined {
    const newestFirst = this.#overloaded;
    let place = newestFirst ? line.newest : line.oldest;
    if (accept === undefined) return place;
    for (let offers = 0; place !== undefined && offers < most; offers++) {
      if (accept(place.waiter as W)) return place;
      place = newestFirst ? place.ahead : place.behind;
    }
    return undefined;
  }

  #add(waiter: W, now: number, joinedMs: number): void {
    if (this.#size === 0 && now - this.#clearedMs >= this.#targetMs) {
      this.#overloadedAtMs = now + OVERLOADED_AFTER_TARGETS * this.#targetMs;
      this.#rate.begin(now);
    }
    const line = this.#lineOf(waiter.priority);
    const place = new Place(waiter, line, joinedMs, Math.min(waiter.deadlineMs, joinedMs + this.#timeoutMs));
    waiter.place = place;
    line.join(place);
    if (place.dueMs < now + this.#timeoutMs) this.#deadlines.add(place);
    this.#size++;
    this.#overloaded = now >= this.#overloadedAtMs;
  }

  #remove(place: Place): void {
    place.waiter.place = undefined;
    place.line.leave(place);
    this.#deadlines.remove(place);
    this.#size--;
    if (this.#size > 0) return;
    this.#overloaded = false;
    this.#clearedMs = NEVER_YET;
  }

  #lineOf(priority: Priority): WaitingLine {
    return priority === "normal" ? this.#normal : priority === "high" ? this.#high : this.#low;
  }
}

/** 0 for who goes first. */
export function rankOf(priority: Priority): number {
  return priority === "high" ? 0 : priority === "normal" ? 1 : 2;
}

function older(a: Place | undefined, b: Place | undefined): Place | undefined {
  if (a === undefined) return b;
  return b === undefined || a.joinedMs <= b.joinedMs ? a : b;
}
