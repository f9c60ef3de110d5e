import type { Outcome, Progress } from "../model/outcome.ts";
import type { Random } from "../model/random.ts";
import { fullJitter } from "./backoff.ts";
import { FailureKinds } from "./failure-kinds.ts";
import type { RetryOptions } from "./options.ts";
import { RetryBudget } from "./retry-budget.ts";

/**
 * What may be done after an attempt that failed. `move`: nothing of the request had been sent, so another backend may
 * have it at once; `again`: it had been sent, and may be sent once more; `no`: the failure is final.
 */
export type AfterFailure = "move" | "again" | "no";

/**
 * A longer Retry-After is not waited for: the client gets the response and can do that better than we.
 */
const LONGEST_RETRY_AFTER_MS = 1_000;
/** Retries that may wait for the budget at a time: more of them would only be busy with asking. */
const MOST_WAITING = 256;

/** The rules of retrying in one upstream, and the budget that its retries share. */
export class Retry {
  readonly options: RetryOptions;
  readonly budget: RetryBudget;
  #waiting = 0;
  readonly #kinds: FailureKinds;
  readonly #random: Random;

  constructor(options: RetryOptions, random: Random) {
    this.options = options;
    this.budget = new RetryBudget(options.budget, options.minimumBudget);
    this.#kinds = new FailureKinds(options.on);
    this.#random = random;
  }

  /**
   * @param sent times that the request has been sent so far, this attempt's included
   * @param repeatable the request may be sent again: its method allows it, and all of it is still there
   */
  after(outcome: Outcome, progress: Progress, sent: number, repeatable: boolean): AfterFailure {
    if (outcome.kind === "timeout" && outcome.phase === "route") return "no"; // nobody waits for the next one
    if (progress === "nothing") return couldNotBegin(outcome) || this.#kinds.has(outcome) ? "move" : "no";
    if (progress === "response" || !repeatable || sent >= this.options.attempts) return "no";
    return this.#kinds.has(outcome) ? "again" : "no";
  }

  /** One more waits until the budget has room again; false when too many do. Each that joined leaves, once. */
  join(): boolean {
    if (this.#waiting >= MOST_WAITING) return false;
    this.#waiting++;
    return true;
  }

  leave(): void {
    this.#waiting--;
  }

  /** Whether a response with this status is listed as one to try again for. */
  lists(status: number): boolean {
    return this.#kinds.hasStatus(status);
  }

  /** Whether a response with this status is one to try again for, as far as it says itself when that would be welcome. */
  wants(status: number, retryAfterMs: number | undefined, sent: number): boolean {
    if (sent >= this.options.attempts || !this.#kinds.hasStatus(status)) return false;
    return retryAfterMs === undefined || retryAfterMs <= LONGEST_RETRY_AFTER_MS;
  }

  /** How long to wait before the `retry`-th retry, from 1. */
  delayMs(retry: number): number {
    return fullJitter(retry, this.options.backoff.base, this.options.backoff.max, this.#random);
  }
}

/** There was no connection to be had: not the backend's fault, and none of its work. */
function couldNotBegin(outcome: Outcome): boolean {
  if (outcome.kind === "failure") return outcome.reason === "exhausted";
  return outcome.kind === "timeout" && outcome.phase === "queue";
}
