import { type PolicyName, TEXTBOOK } from "./chapter.ts";

/** A stretch of the demo under one policy. In an outage, backend `lost` is stopped and comes back before the end. */
export interface Phase {
  readonly policy: PolicyName;
  readonly lengthMs: number;
  /** Index of the backend that is stopped; undefined: nothing happens to any. */
  readonly lost?: number;
}

export interface ScheduleOptions {
  readonly policies: readonly PolicyName[];
  readonly backends: number;
  readonly outage: boolean;
  /** How long the demo runs; undefined: until it is ended. */
  readonly totalMs?: number;
}

const PHASE_MS = 10_000;

/** The part of an outage at which the backend goes and comes back. */
export const GOES_AT = 0.1;
export const RETURNS_AT = 0.65;

/** Where the demo is: the phase, how far in, and when it ends. */
export interface Moment {
  readonly phase: Phase;
  /** Grows by one with every phase. */
  readonly number: number;
  readonly elapsedMs: number;
}

/**
 * The phases in order, again and again: each policy once, then an outage under the last one. A run with an end
 * shortens them so that all of them fit in.
 */
export class Schedule {
  readonly #options: ScheduleOptions;
  readonly #lengthMs: number;
  /** Phases that were cut short by hand make the later ones begin earlier. */
  #skippedMs = 0;

  constructor(options: ScheduleOptions) {
    this.#options = options;
    const { totalMs } = options;
    this.#lengthMs = totalMs === undefined ? PHASE_MS : Math.min(PHASE_MS, totalMs / this.#perRound);
  }

  /** @param ms since the start of the demo. */
  at(ms: number): Moment {
    const number = Math.floor((ms + this.#skippedMs) / this.#lengthMs);
    return { phase: this.phase(number), number, elapsedMs: ms + this.#skippedMs - number * this.#lengthMs };
  }

  phase(number: number): Phase {
    const { policies, backends, outage } = this.#options;
    const step = number % this.#perRound;
    const round = Math.floor(number / this.#perRound);
    if (outage && step === policies.length) {
      // The middle one first: its loss hurts, and the others can still carry the load.
      return { policy: policies[step - 1]!, lengthMs: this.#lengthMs, lost: (1 + round) % backends };
    }
    return { policy: policies[step]!, lengthMs: this.#lengthMs };
  }

  /** Goes on to the next phase at once. */
  skip(ms: number): void {
    const { phase, elapsedMs } = this.at(ms);
    this.#skippedMs += phase.lengthMs - elapsedMs;
  }

  get #perRound(): number {
    return this.#options.policies.length + (this.#options.outage ? 1 : 0);
  }
}

export function isPolicyName(name: string): name is PolicyName {
  return Object.hasOwn(TEXTBOOK, name);
}
