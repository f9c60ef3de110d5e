import type { Clock, Timer } from "./clock.ts";
import { TimerWheel } from "./timer-wheel.ts";

/** How a {@link SystemClock} behaves in its process. */
export interface SystemClockOptions {
  /** Whether an armed timer keeps the process alive. Default false: who waits for something else holds it open. */
  ref?: boolean;
  /** How late a timer may fire, in milliseconds. Default 20. */
  tickMs?: number;
  /** A timer's callback threw. Default: thrown on, as an uncaught exception of the process. */
  onError?(error: unknown): void;
}

/**
 * The time of this process: monotonic, from `performance.now()`. All its timers share one wheel and one timer of
 * Node.js, which sleeps until the next of them has to be looked at and does not exist while none is armed.
 */
export class SystemClock implements Clock {
  readonly #wheel: TimerWheel;
  readonly #ref: boolean;
  #timeout: NodeJS.Timeout | undefined;
  #held = false;
  /** The time while it is held, once somebody has asked; else -1. */
  #heldMs = -1;
  readonly #wake = (): void => {
    this.#wheel.advance(performance.now());
    this.#sleepUntil(this.#wheel.next());
  };

  constructor(options: SystemClockOptions = {}) {
    this.#ref = options.ref ?? false;
    this.#wheel = new TimerWheel({
      now: () => this.now(),
      onError: options.onError ?? throwLater,
      sooner: (atMs) => this.#sleepUntil(atMs),
      // The Node.js timer outlives the last armed one, so that set and clear in turns do not make one each time.
      ...(this.#ref ? { armedChanged: (armed) => (armed ? this.#timeout?.ref() : this.#timeout?.unref()) } : {}),
      ...(options.tickMs === undefined ? {} : { tickMs: options.tickMs }),
    });
  }

  now(): number {
    if (!this.#held) return performance.now();
    if (this.#heldMs < 0) this.#heldMs = performance.now();
    return this.#heldMs;
  }

  hold(): void {
    this.#held = true;
    this.#heldMs = -1;
  }

  release(): void {
    this.#held = false;
  }

  wallTime(): number {
    return Date.now();
  }

  timer(fired: () => void): Timer {
    return this.#wheel.timer(fired);
  }

  #sleepUntil(atMs: number): void {
    clearTimeout(this.#timeout);
    this.#timeout = undefined;
    if (atMs === Number.POSITIVE_INFINITY) return;
    this.#timeout = setTimeout(this.#wake, Math.max(1, Math.ceil(atMs - performance.now())));
    if (!this.#ref) this.#timeout.unref();
  }
}

function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
