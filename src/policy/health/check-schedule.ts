import type { Random } from "../model/random.ts";

/** The default time between two checks of a backend, in milliseconds. */
export const defaultIntervalMs = 5_000;

const JITTER = 0.1;
// Spread, but soon: until its first check a backend counts as up.
const FIRST_WITHIN_MS = 1_000;

/**
 * When to check a backend. Every backend has its own, so that a slow one delays no other, and the waits differ by up
 * to 10 % either way, so that checks of many backends, or from many proxies, do not fall into step.
 */
export class CheckSchedule {
  readonly #intervalMs: number;
  readonly #random: Random;

  constructor(intervalMs: number, random: Random) {
    this.#intervalMs = intervalMs;
    this.#random = random;
  }

  /** Milliseconds until the first check: anywhere in the first second, or interval if that is shorter. */
  first(): number {
    return this.#random.next() * Math.min(this.#intervalMs, FIRST_WITHIN_MS);
  }

  /** Milliseconds from the start of one check to the start of the next. */
  next(): number {
    return this.#intervalMs * (1 - JITTER + 2 * JITTER * this.#random.next());
  }
}
