import type { Backend } from "../model/backend.ts";
import type { FailureReason, Outcome, Progress, TimeoutPhase } from "../model/outcome.ts";
import type { PickRequest } from "../model/request.ts";
import type { Upstream } from "./upstream.ts";

/**
 * What to do next. `try`: make an attempt on `backend` and report with `ended` how it went. `answer`: tell the client
 * `status` because of `reason`; none of a response has gone out. `done`: nothing is left to decide. The response went
 * out whole, or the client has left, or the response broke off: then cut the client's connection, so that it can tell.
 */
export type Step = "try" | "answer" | "done";

/** Why an exchange is answered by us. `none` as long as it is not. */
export type AnswerReason = "none" | "no-backend" | FailureReason | `${TimeoutPhase}-timeout`;

// Health checks run every 5 s by default: sooner, little can have changed.
const NO_BACKEND_RETRY_SECONDS = 5;
// A queue moves within its own timeout, 1 s by default.
const QUEUE_RETRY_SECONDS = 1;

/**
 * The decisions of one exchange: which backend, whether another one after that, and what to answer when none is left.
 * It never waits, sends or reads a clock; whoever drives it does what {@link Step} says.
 *
 * - An attempt of which nothing was sent moves to another backend at once: the connection could not be made or timed
 *   out, it broke before the first byte, or the backend's pool had no room. Each backend is tried once.
 * - A request that has waited in vain in two queues is answered: waiting in a third helps nobody when all are full.
 * - Once a byte was sent, the attempt is final: the backend may have acted on it.
 *
 * It picks and settles by itself, so that active exchanges are counted right whatever happens.
 */
export class Dispatch {
  /** Of the attempt that runs, or else ran last; undefined before the first. */
  backend: Backend | undefined;
  /** Attempts so far, with the one that runs. */
  attempts = 0;
  /** What to answer: 502, 503 or 504; 0 as long as there is nothing to answer. */
  status = 0;
  reason: AnswerReason = "none";
  /** Goes with a 503: when to come again, in seconds. 0: do not say. */
  retryAfterSeconds = 0;

  readonly #upstream: Upstream;
  readonly #request: PickRequest;
  #running = false;
  #startedMs = 0;
  #queueTimeouts = 0;
  #tried: Set<Backend> | undefined;

  constructor(upstream: Upstream, request: PickRequest) {
    this.#upstream = upstream;
    this.#request = request;
  }

  /** Starts the first attempt. Throws what a balancer of the user's throws; nothing is counted then. */
  begin(now: number): Step {
    return this.#tryNext(now) ? "try" : this.#answer("no-backend");
  }

  /** The attempt that ran has ended. Called once for each `try`; after {@link abandon} it is too late, and `done`. */
  ended(outcome: Outcome, progress: Progress, now: number): Step {
    if (!this.#running) return "done";
    this.#settle(outcome, now);
    if (outcome.kind === "success" || outcome.kind === "cancelled") return "done";
    if (this.#mayMove(outcome, progress) && this.#tryNext(now)) return "try";
    const reason = outcome.kind === "failure" ? outcome.reason : TIMEOUT_REASONS[outcome.phase];
    if (progress !== "response") return this.#answer(reason);
    this.reason = reason;
    return "done";
  }

  /** The client has left, or nobody wants the response any more. Harmless when nothing runs. */
  abandon(now: number): void {
    if (this.#running) this.#settle({ kind: "cancelled", durationMs: now - this.#startedMs }, now);
  }

  #mayMove(outcome: Outcome, progress: Progress): boolean {
    if (progress !== "nothing") return false;
    if (outcome.kind !== "timeout") return true;
    if (outcome.phase === "queue") return ++this.#queueTimeouts < 2;
    return outcome.phase === "connect";
  }

  #tryNext(now: number): boolean {
    if (this.backend !== undefined) {
      this.#tried ??= new Set();
      this.#tried.add(this.backend);
    }
    const backend = this.#upstream.pick(this.#request, now, this.#tried);
    if (backend === undefined) return false;
    this.backend = backend;
    this.attempts++;
    this.#running = true;
    this.#startedMs = now;
    return true;
  }

  #settle(outcome: Outcome, now: number): void {
    this.#running = false;
    this.#upstream.settle(this.backend!, outcome, now);
  }

  #answer(reason: AnswerReason): Step {
    this.reason = reason;
    this.status = statusOf(reason);
    if (reason === "no-backend") this.retryAfterSeconds = NO_BACKEND_RETRY_SECONDS;
    else if (this.status === 503) this.retryAfterSeconds = QUEUE_RETRY_SECONDS;
    return "answer";
  }
}

const TIMEOUT_REASONS = {
  queue: "queue-timeout",
  connect: "connect-timeout",
  response: "response-timeout",
  body: "body-timeout",
  route: "route-timeout",
} as const satisfies Record<TimeoutPhase, AnswerReason>;

/** RFC 9110 section 15.6: 502 when the backend is to blame, 503 when there is no room now, 504 when it took too long. */
function statusOf(reason: AnswerReason): number {
  switch (reason) {
    case "no-backend":
    case "exhausted":
    case "queue-timeout":
      return 503;
    case "connect-timeout":
    case "response-timeout":
    case "body-timeout":
    case "route-timeout":
      return 504;
    default:
      return 502;
  }
}
