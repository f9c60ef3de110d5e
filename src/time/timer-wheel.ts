import type { Timer } from "./clock.ts";

/** What a {@link TimerWheel} is made of. */
export interface TimerWheelOptions {
  /** Milliseconds of the driver's clock, never going back. Read at every `set`. */
  now(): number;
  /** A timer's callback threw. The other timers fire all the same. */
  onError(error: unknown): void;
  /** A timer was set that must be looked at before the time `next` has told the driver. */
  sooner?(atMs: number): void;
  /** The first timer was armed, or the last one fired or was cleared. */
  armedChanged?(armed: boolean): void;
  /** Resolution: how late a timer may fire. Default 20. */
  tickMs?: number;
  /** Slots on the wheel, a power of two. A timer further away than `slots * tickMs` is looked at once per turn. Default 512. */
  slots?: number;
}

/**
 * Many timers that are set often and seldom fire: deadlines of exchanges.
 *
 * Time is cut into ticks, and the wheel has a slot for each of the next ticks. A timer lies in the slot at which it is
 * looked at next, in a doubly linked list that runs through the timers themselves, so nothing is allocated per `set`.
 * Setting an armed timer to a later time only writes the time down: when its slot comes up it is moved on. That is
 * what a deadline per request does all day: one comparison and one store.
 *
 * A timer due at D fires in the first `advance(now)` whose whole ticks have reached D, so never early, and at most one
 * tick late when the driver comes at the times that `next` tells. Timers of one tick fire in no particular order.
 *
 * Pure: its driver calls `advance`. After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 6.
 */
export class TimerWheel {
  readonly tickMs: number;
  readonly #options: TimerWheelOptions;
  readonly #slots: Link[];
  readonly #firing = new Link();
  /** The last tick whose slot was emptied. */
  #tick: number;
  /** The tick that the driver was told to come back at. */
  #wakeTick = Number.POSITIVE_INFINITY;
  #armed = 0;
  #advancing = false;

  constructor(options: TimerWheelOptions) {
    this.tickMs = options.tickMs ?? 20;
    const slots = options.slots ?? 512;
    if (!(this.tickMs > 0)) throw new RangeError(`tickMs must be above 0, not ${this.tickMs}`);
    if (slots < 2 || (slots & (slots - 1)) !== 0) throw new RangeError(`slots must be a power of two, not ${slots}`);
    this.#options = options;
    this.#slots = Array.from({ length: slots }, () => new Link());
    this.#tick = Math.floor(options.now() / this.tickMs);
  }

  /** How many timers are armed. */
  get armed(): number {
    return this.#armed;
  }

  /** A timer for `fired`, not armed yet. */
  timer(fired: () => void): Timer {
    return new WheelTimer(this, fired);
  }

  /** Fires what is due at `now`. Callbacks may set and clear any timer. */
  advance(now: number): void {
    if (this.#advancing) return;
    const target = Math.floor(now / this.tickMs);
    this.#advancing = true;
    while (this.#tick < target && this.#armed > 0) this.#turn(this.#tick + 1);
    if (this.#tick < target) this.#tick = target;
    this.#advancing = false;
  }

  /**
   * When the driver has to call `advance` next, in milliseconds of its clock; `Infinity` while nothing is armed. From
   * then on `sooner` tells when a timer is set that cannot wait so long.
   */
  next(): number {
    this.#wakeTick = Number.POSITIVE_INFINITY;
    if (this.#armed > 0) {
      let tick = this.#tick + 1;
      while (this.#slot(tick).empty) tick++;
      this.#wakeTick = tick;
    }
    return this.#wakeTick * this.tickMs;
  }

  /** For the wheel's timers: `timer` is due at `timer.dueMs` and in no slot. */
  arm(timer: WheelTimer, now: number): void {
    if (this.#armed++ === 0) {
      // Nothing was armed, so no slot holds anything: catch up with the time that nobody looked at.
      const tick = Math.floor(now / this.tickMs);
      if (tick > this.#tick) this.#tick = tick;
      this.#options.armedChanged?.(true);
    }
    this.#place(timer);
  }

  /** For the wheel's timers: `timer` was armed and is to be looked at earlier. */
  move(timer: WheelTimer): void {
    timer.unlink();
    this.#place(timer);
  }

  /** For the wheel's timers: `timer` was armed. */
  disarm(timer: WheelTimer): void {
    timer.unlink();
    if (--this.#armed === 0) this.#options.armedChanged?.(false);
  }

  /** For the wheel's timers. */
  now(): number {
    return this.#options.now();
  }

  #turn(tick: number): void {
    this.#tick = tick;
    // Taken off the wheel first: a callback may set timers for a turn later, into this very slot.
    this.#firing.takeAll(this.#slot(tick));
    while (!this.#firing.empty) {
      const timer = this.#firing.next as WheelTimer;
      if (timer.dueMs > tick * this.tickMs) {
        this.move(timer);
        continue;
      }
      this.disarm(timer);
      try {
        timer.fired();
      } catch (error) {
        this.#options.onError(error);
      }
    }
  }

  #place(timer: WheelTimer): void {
    const due = Math.max(Math.ceil(timer.dueMs / this.tickMs), this.#tick + 1);
    const tick = Math.min(due, this.#tick + this.#slots.length - 1);
    timer.visitMs = tick * this.tickMs;
    timer.linkBefore(this.#slot(tick));
    if (tick < this.#wakeTick && !this.#advancing) {
      this.#wakeTick = tick;
      this.#options.sooner?.(timer.visitMs);
    }
  }

  #slot(tick: number): Link {
    return this.#slots[tick & (this.#slots.length - 1)]!;
  }
}

/** A place in a circular list; on its own it is an empty list. */
class Link {
  next: Link = this;
  prev: Link = this;

  get empty(): boolean {
    return this.next === this;
  }

  unlink(): void {
    this.prev.next = this.next;
    this.next.prev = this.prev;
    this.next = this;
    this.prev = this;
  }

  linkBefore(link: Link): void {
    this.prev = link.prev;
    this.next = link;
    link.prev.next = this;
    link.prev = this;
  }

  /** Becomes the head of the list of `other`, which is empty afterwards. */
  takeAll(other: Link): void {
    if (other.empty) return;
    this.linkBefore(other);
    other.unlink();
  }
}

class WheelTimer extends Link implements Timer {
  readonly #wheel: TimerWheel;
  readonly fired: () => void;
  /** When to fire. */
  dueMs = 0.5;
  /** When its slot comes up; not after `dueMs` by more than the rounding to whole ticks. */
  visitMs = 0.5;

  constructor(wheel: TimerWheel, fired: () => void) {
    super();
    this.#wheel = wheel;
    this.fired = fired;
  }

  set(ms: number): void {
    if (ms === Number.POSITIVE_INFINITY) {
      this.clear();
      return;
    }
    const now = this.#wheel.now();
    const dueMs = now + ms;
    if (Number.isNaN(dueMs)) throw new RangeError("a timer was set to NaN milliseconds");
    this.dueMs = dueMs;
    if (this.empty) this.#wheel.arm(this, now);
    else if (dueMs < this.visitMs) this.#wheel.move(this);
  }

  clear(): void {
    if (!this.empty) this.#wheel.disarm(this);
  }
}
