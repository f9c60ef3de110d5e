import { type Outcome, unattributable } from "../model/outcome.ts";
import type { Random } from "../model/random.ts";
import type { FailureKinds } from "./failure-kinds.ts";
import type { CircuitBreakerOptions } from "./options.ts";
import { RollingWindow } from "./rolling-window.ts";

export type CircuitState = "closed" | "open" | "half-open";

/** Lets one attempt go: the era it was issued in, so that it costs no allocation. */
export type Permit = number;

/**
 * What an attempt says of its backend. `success`; `failure`; `share`: a failure that counts in the window, not in a row
 * (the backend lives, but has more than it can do); `none`: nothing at all.
 */
export type Verdict = "success" | "failure" | "share" | "none";

type State =
  | { readonly at: "closed"; failuresInARow: number }
  | { readonly at: "open"; readonly untilMs: number }
  | { readonly at: "half-open"; permits: number; successesLeft: number };

/** An open circuit stays open for up to this share longer, so that not all workers and proxies try at the same moment. */
const JITTER = 0.1;

/**
 * Keeps attempts from a backend that fails, and tries it again with a few:
 *
 *     closed --failures in a row, or share of failures--> open --openFor--> half-open --all trials succeed--> closed
 *                                                          ^----- one trial fails: twice openFor -----'
 *
 * - It trips on a failure only, never on a success, although a success may raise the count of attempts to
 *   `minimumRequests`: who has just answered well is not shut out for what was before.
 * - An open circuit stays open for `openFor` the first time and twice as long after each failed trial, up to
 *   `maxOpenFor`, and each time between 1 and 1.1 times that, at random. A circuit that closed begins with `openFor`
 *   again, however soon it trips.
 * - Every change of state begins an era. What is settled with a permit of an era gone by is ignored: an attempt from
 *   before the trip says nothing of the backend that is tried now.
 *
 * Sources: Hystrix (share in a rolling window), Linkerd's failure accrual (both rules in one breaker), gobreaker
 * (generations). `admit` and `settle` are O(1) and allocate nothing but for a change of state.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  readonly #random: Random;
  readonly #window: RollingWindow;
  // #close, #trip and #tryAgain alone write #state and #era.
  #state: State = { at: "closed", failuresInARow: 0 };
  #era = 0;
  /** How long it will be open next, before jitter. */
  #nextOpenMs: number;
  #trips = 0;
  #reason = "";

  constructor(options: CircuitBreakerOptions, random: Random) {
    this.#options = options;
    this.#random = random;
    this.#window = new RollingWindow(options.window);
    this.#nextOpenMs = options.openFor;
  }

  get state(): CircuitState {
    return this.#state.at;
  }

  /** When an open circuit becomes half-open (by `advance`); Infinity in other states. */
  get untilMs(): number {
    return this.#state.at === "open" ? this.#state.untilMs : Number.POSITIVE_INFINITY;
  }

  /** How often it opened, failed trials included. */
  get trips(): number {
    return this.#trips;
  }

  /** Why it opened last, in a few words for people; "" when it is closed. */
  get reason(): string {
    return this.#reason;
  }

  /** Whether there is a permit. An open circuit has none until `advance` has made it half-open. */
  get admits(): boolean {
    return this.#state.at === "closed" || (this.#state.at === "half-open" && this.#state.permits > 0);
  }

  /** Makes an open circuit half-open once its time has come; true when it did. */
  advance(now: number): boolean {
    if (this.#state.at !== "open" || now < this.#state.untilMs) return false;
    this.#tryAgain();
    return true;
  }

  /**
   * A permit for one attempt, or undefined: try another backend. Every permit must be settled once. Calls `advance`,
   * so the state may be another one afterwards.
   */
  admit(now: number): Permit | undefined {
    if (this.#state.at === "closed") return this.#era;
    this.advance(now);
    if (this.#state.at !== "half-open" || this.#state.permits === 0) return undefined;
    this.#state.permits--;
    return this.#era;
  }

  /**
   * How the attempt of `permit` ended. One that took longer than `slowerThan` is a failure whatever came of it, unless
   * it says nothing. True when `state` or `admits` changed.
   */
  settle(permit: Permit, verdict: Verdict, durationMs: number, now: number): boolean {
    if (permit !== this.#era) return false;
    const slow = durationMs > this.#options.slowerThan && verdict !== "none";
    const judged = slow ? "failure" : verdict;
    const state = this.#state;
    if (state.at === "half-open") return this.#settleTrial(state, judged, slow, now);
    if (state.at === "open" || judged === "none") return false;
    if (judged === "success") {
      state.failuresInARow = 0;
      this.#window.add(1, 0, now);
      return false;
    }
    if (judged === "failure") state.failuresInARow++;
    this.#window.add(0, 1, now);
    return this.#tripIfDue(state.failuresInARow, now);
  }

  /** Closes the circuit and forgets all counts and the back-off, for an operator. True when it was not closed. */
  reset(): boolean {
    const changed = this.#state.at !== "closed";
    this.#close();
    return changed;
  }

  #settleTrial(state: State & { at: "half-open" }, verdict: Verdict, slow: boolean, now: number): boolean {
    if (verdict === "none") return ++state.permits === 1;
    if (verdict === "success") {
      if (--state.successesLeft > 0) return false;
      this.#close();
    } else {
      this.#trip(slow ? "a trial was too slow" : verdict === "share" ? "a trial was refused" : "a trial failed", now);
    }
    return true;
  }

  #tripIfDue(failuresInARow: number, now: number): boolean {
    if (failuresInARow >= this.#options.consecutiveFailures) {
      this.#trip(`${failuresInARow} failures in a row`, now);
      return true;
    }
    const total = this.#window.total(now);
    const share = this.#window.failures(now) / total;
    if (total < this.#options.minimumRequests || share < this.#options.errorThreshold) return false;
    this.#trip(`${Math.round(share * 100)} % of ${total} attempts failed`, now);
    return true;
  }

  #close(): void {
    this.#state = { at: "closed", failuresInARow: 0 };
    this.#era++;
    this.#window.clear();
    this.#nextOpenMs = this.#options.openFor;
    this.#reason = "";
  }

  #trip(reason: string, now: number): void {
    const { openFor, maxOpenFor } = this.#options;
    this.#state = { at: "open", untilMs: now + this.#nextOpenMs * (1 + JITTER * this.#random.next()) };
    this.#era++;
    this.#nextOpenMs = Math.min(this.#nextOpenMs * 2, Math.max(openFor, maxOpenFor));
    this.#trips++;
    this.#reason = reason;
  }

  #tryAgain(): void {
    const trials = this.#options.halfOpenRequests;
    this.#state = { at: "half-open", permits: trials, successesLeft: trials };
    this.#era++;
  }
}

/**
 * What an outcome says of the backend when `on` lists what counts as a failure: 429, where it is listed, is for the
 * share alone. What is not listed is a success, but for what was never the backend's doing: that says nothing, above
 * all not that a trial succeeded.
 */
export function verdictOf(outcome: Outcome, on: FailureKinds): Verdict {
  if (on.has(outcome)) return outcome.kind === "success" && outcome.status === 429 ? "share" : "failure";
  return outcome.kind === "cancelled" || unattributable(outcome) ? "none" : "success";
}
