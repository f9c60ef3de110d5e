import type { Clock, Timer } from "./clock.ts";

/**
 * Time that moves only when told to, for tests and simulation: starts at 0 and fires timers exactly when they are due,
 * in the order of their times, and in the order they were set where those are equal. The same calls give the same run.
 */
export class VirtualClock implements Clock {
  #now = 0;
  readonly #wallStartMs: number;
  /** Armed timers as a binary heap: the next one to fire is the first. */
  readonly #heap: VirtualTimer[] = [];
  #sets = 0;

  /** `wallStartMs`: what `wallTime()` says at the start, in milliseconds since the Unix epoch. */
  constructor(wallStartMs = 0) {
    this.#wallStartMs = wallStartMs;
  }

  now(): number {
    return this.#now;
  }

  wallTime(): number {
    return this.#wallStartMs + this.#now;
  }

  timer(fired: () => void): Timer {
    return new VirtualTimer(this, fired);
  }

  /** How many timers are armed. */
  get armed(): number {
    return this.#heap.length;
  }

  /** When the next timer fires; `Infinity` when none is armed. */
  next(): number {
    return this.#heap[0]?.dueMs ?? Number.POSITIVE_INFINITY;
  }

  /**
   * Moves on by `ms` and fires what is due on the way; in a callback, `now()` is the time it was due at. What a
   * callback throws is thrown here, with the time standing at that timer; the next call goes on from there.
   */
  advance(ms: number): void {
    this.advanceTo(this.#now + ms);
  }

  /** As `advance`, to a point in time. A time that has passed already changes nothing. */
  advanceTo(untilMs: number): void {
    for (let timer = this.#heap[0]; timer !== undefined && timer.dueMs <= untilMs; timer = this.#heap[0]) {
      this.#remove(timer);
      if (timer.dueMs > this.#now) this.#now = timer.dueMs;
      timer.fired();
    }
    if (untilMs > this.#now) this.#now = untilMs;
  }

  /** For the clock's timers. */
  arm(timer: VirtualTimer, ms: number): void {
    const dueMs = this.#now + ms;
    if (Number.isNaN(dueMs)) throw new RangeError("a timer was set to NaN milliseconds");
    if (timer.index >= 0) this.#remove(timer);
    if (dueMs === Number.POSITIVE_INFINITY) return;
    timer.dueMs = dueMs;
    timer.order = this.#sets++;
    timer.index = this.#heap.push(timer) - 1;
    this.#up(timer);
  }

  /** For the clock's timers. */
  disarm(timer: VirtualTimer): void {
    if (timer.index >= 0) this.#remove(timer);
  }

  #remove(timer: VirtualTimer): void {
    const last = this.#heap.pop()!;
    if (last !== timer) {
      this.#put(last, timer.index);
      this.#up(last);
      this.#down(last);
    }
    timer.index = -1;
  }

  #up(timer: VirtualTimer): void {
    while (timer.index > 0) {
      const parent = this.#heap[(timer.index - 1) >> 1]!;
      if (!before(timer, parent)) return;
      this.#swap(timer, parent);
    }
  }

  #down(timer: VirtualTimer): void {
    for (;;) {
      const left = this.#heap[2 * timer.index + 1];
      const right = this.#heap[2 * timer.index + 2];
      const child = right !== undefined && before(right, left!) ? right : left;
      if (child === undefined || !before(child, timer)) return;
      this.#swap(timer, child);
    }
  }

  #swap(a: VirtualTimer, b: VirtualTimer): void {
    const index = a.index;
    this.#put(a, b.index);
    this.#put(b, index);
  }

  #put(timer: VirtualTimer, index: number): void {
    timer.index = index;
    this.#heap[index] = timer;
  }
}

class VirtualTimer implements Timer {
  readonly #clock: VirtualClock;
  readonly fired: () => void;
  dueMs = 0;
  /** Which `set` it was, so that equal times keep their order. */
  order = 0;
  /** Place in the heap; -1 while not armed. */
  index = -1;

  constructor(clock: VirtualClock, fired: () => void) {
    this.#clock = clock;
    this.fired = fired;
  }

  set(ms: number): void {
    this.#clock.arm(this, ms);
  }

  clear(): void {
    this.#clock.disarm(this);
  }
}

function before(a: VirtualTimer, b: VirtualTimer): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}
