import type { StoreAsker } from "../affinity/affinity.ts";
import type { Backend } from "../model/backend.ts";
import { gatewayFailure, type Outcome, type Progress, saysNobodyServes } from "../model/outcome.ts";
import type { PickRequest } from "../model/request.ts";
import type { Permit } from "../resilience/circuit-breaker.ts";
import type { Priority } from "../resilience/options.ts";
import type { ShedFromQueue } from "../resilience/queue.ts";
import { type AnswerReason, NO_BACKENDS_FAULT, statusOf, TIMEOUT_REASONS } from "./answer.ts";
import { Belonging, isSticky } from "./belonging.ts";
import type { Waiting } from "./lines.ts";
import { mayRepeat } from "./repeat.ts";
import type { Fallback, NoBackend, Upstream } from "./upstream.ts";

/**
 * What to do next.
 * - `try`: make the attempt {@link Dispatch.attempt} and report with `ended` how it went.
 * - `wait`: nothing for now. Call `wake` at `wakeAtMs`, and look at the upstream's `wakeAtMs`; `owner.proceed` may be
 *   called before, with the next step.
 * - `answer`: tell the client `status` because of `reason`, or the fixed response of `fallbackResponse`; none of a
 *   response has gone out.
 * - `done`: nothing is left to decide. The response went out whole, or the client has left, or the response broke off:
 *   then cut the client's connection, so that it can tell.
 */
export type Step = "try" | "wait" | "answer" | "done";

/** Who drives a dispatch. */
export interface DispatchOwner {
  /**
   * What was waited for has come, or is not worth waiting for: do `step`. Many may be told in one go: do not begin the
   * next exchange of a client within it.
   */
  proceed(step: Step): void;
  /** As `begin` may throw, while it waited: a balancer of the user's did. The exchange is over. */
  threw(error: unknown): void;
  /** Something was done that is worth counting. */
  counted(event: DispatchEvent): void;
}

/** What is known of an exchange besides its request. */
export interface DispatchInit {
  /** Can be left out where nothing ever waits. */
  readonly owner?: DispatchOwner;
  /** Default: `normal`. */
  readonly priority?: Priority;
  /** When the exchange has to be over. Default: never. */
  readonly deadlineMs?: number;
  /** Time of day, milliseconds since the Unix epoch. Needed only where sessions belong to backends. */
  readonly wallMs?: number;
}

/** What a dispatch did besides trying, for who counts. */
export type DispatchEvent =
  | "moved"
  | "retried"
  | "retry-denied"
  | "fell-back"
  | "hedged"
  | "hedge-won"
  /** Its session: has begun; was served where it belongs; belongs to another backend now; lost its backend, and stays. */
  | "session-begun"
  | "session-kept"
  | "session-moved"
  | "session-lost";

const NONE_TRIED: ReadonlySet<Backend> = new Set();

/** One try on one backend, counted there until it has ended. */
export interface AttemptTicket {
  readonly backend: Backend;
  readonly upstream: Upstream;
  permit: Permit;
  readonly startedMs: number;
  /** How long the backend took to begin its response; -1 before it has. */
  respondedMs: number;
  /** It is one of `retry`, and holds a place in the budget. */
  readonly budgeted: boolean;
}

// So that one request does not become a connection attempt to each of a hundred backends that are gone.
const MOST_MOVES = 10;
const LATE_CONNECTIONS = 3;
// Health checks run every 5 s by default: sooner, little can have changed.
const NO_BACKEND_RETRY_SECONDS = 5;
// A queue moves within its own timeout, 1 s by default.
const SHED_RETRY_SECONDS = 1;

/**
 * The decisions of one exchange: may it go, where, how long, and again? It never waits, sends or reads a clock; whoever
 * drives it does what {@link Step} says.
 *
 * - A session goes to its backend, and waits for that rather than to go elsewhere, until the backend is lost.
 * - A request for which no backend has room waits in the queue of its upstream, or is shed at once.
 * - An attempt of which nothing was sent moves to another backend at once. Each backend is tried once.
 * - What was sent is sent again only where that does no harm, on another backend, after a back-off, and within the
 *   upstream's budget for retries; beyond the budget it waits for as long as it might in the queue.
 * - A long wait for an answer may be shortened by a second attempt beside the first: the first answer counts.
 * - When there is nothing (more) to try, the upstream's fallback takes over, once; its fixed response stands for the error
 *   that a backend, or the want of one, would otherwise bring the client.
 *
 * It picks and settles by itself, so that running exchanges are counted right whatever happens.
 */
export class Dispatch implements Waiting, StoreAsker {
  /** Of the attempt that began last; undefined before the first. */
  backend: Backend | undefined;
  /** The attempt to make when the step is `try`. */
  attempt: AttemptTicket | undefined;
  /** Attempts so far, with those that run. */
  attempts = 0;
  /** What to answer: 502, 503 or 504; 0 as long as there is nothing to answer. */
  status = 0;
  reason: AnswerReason = "none";
  /** Goes with a 503: when to come again, in seconds. 0: do not say. */
  retryAfterSeconds = 0;
  /** Set when the fixed response of a fallback is the answer. */
  fallbackResponse: unknown;
  /** When to call `wake`; Infinity: not at all. */
  wakeAtMs = Number.POSITIVE_INFINITY;
  /** When to call `hedge`, while the attempt has not begun to answer; Infinity: not at all. */
  hedgeAtMs = Number.POSITIVE_INFINITY;
  /** Cleared by the driver when the request cannot be sent again, because its body is not there any more. */
  replayable = true;

  // Of the queue.
  readonly priority: Priority;
  readonly deadlineMs: number;
  place: Waiting["place"];

  readonly #request: PickRequest;
  readonly #owner: DispatchOwner | undefined;
  readonly #wallMs: number;
  #upstream: Upstream;
  /** Where it belongs in that upstream; undefined where sessions belong nowhere. */
  #belonging: Belonging | undefined;
  /** Somebody has begun to answer. */
  #answered = false;
  /** Where its session is, now that it was answered. */
  #home: Backend | undefined;
  /** What it waits for, where not any backend will do. */
  #wanted: Backend | undefined;
  /** Where its session is, and what it is to leave for once: see {@link Belonging.leaves}. */
  #leaving: Backend | undefined;
  #fellBack = false;
  /** An attempt was made in the upstream that carries it now. */
  #triedHere = false;
  /** The attempts that run: the first, and one beside it. */
  #running: AttemptTicket | undefined;
  #hedge: AttemptTicket | undefined;
  /** The one that began as the second, wherever it stands now. */
  #hedged: AttemptTicket | undefined;
  #tried: Set<Backend> | undefined;
  /** Times that the request was sent, as far as is known. */
  #sent = 0;
  #retries = 0;
  #moves = 0;
  #lateMoves = 0;
  /** What the response that is not passed on asked to wait before another try. */
  #retryAfterMs = 0;
  /** What took over: its fixed response is the answer, should its upstream fail, too. */
  #fallback: Fallback | undefined;
  #takenAtMs = 0;
  #error: unknown;
  #state: "new" | "asking" | "queued" | "backing-off" | "running" | "over" = "new";
  /** A retry that waits for its budget gives up then. */
  #giveUpAtMs = 0;
  /** What the last failure is answered with, should nothing follow. */
  #failure: AnswerReason = "none";
  #holdsBudget = false;
  #waitsForBudget = false;
  #budgetLooks = 0;

  constructor(upstream: Upstream, request: PickRequest, init: DispatchInit = {}) {
    this.#upstream = upstream;
    this.#request = request;
    this.#owner = init.owner;
    this.priority = init.priority ?? "normal";
    this.deadlineMs = init.deadlineMs ?? Number.POSITIVE_INFINITY;
    this.#wallMs = init.wallMs ?? 0;
  }

  /** The upstream that carries it: another one after a fallback. */
  get upstream(): Upstream {
    return this.#upstream;
  }

  /** Which session it is of, for {@link Upstream.mayLeave}; empty where sessions belong nowhere. */
  get who(): string {
    return this.#belonging?.who ?? "";
  }

  /** Whether another attempt could follow the one that runs, should that fail in time. */
  get mayRetry(): boolean {
    const { retry } = this.#upstream;
    return retry !== undefined && this.#repeatable && this.#sent + 1 < retry.options.attempts;
  }

  /** How long the attempt may take to begin its response, in milliseconds; Infinity: no limit of its own. */
  get perTryTimeoutMs(): number {
    const { retry } = this.#upstream;
    if (retry === undefined || retry.options.perTryTimeout === Number.POSITIVE_INFINITY)
      return Number.POSITIVE_INFINITY;
    return this.mayRetry && this.#othersLeft() ? retry.options.perTryTimeout : Number.POSITIVE_INFINITY;
  }

  /** Starts the first attempt. Throws what a balancer of the user's throws; nothing is counted then. */
  begin(now: number): Step {
    const { throttle, hedging } = this.#upstream;
    if (throttle?.admits(now) === false) return this.#answer("throttled", now);
    this.#belong(now);
    if (this.#mayHedge) hedging?.began();
    return this.#enter(now);
  }

  /**
   * An attempt has ended; left out, it is the one that began last. Called once for each `try`; after {@link abandon} it
   * is too late, and `done`.
   */
  ended(outcome: Outcome, progress: Progress, now: number, attempt: AttemptTicket | undefined = this.attempt): Step {
    if (attempt === undefined || !this.#settle(attempt, outcome, now)) return this.#state === "over" ? "done" : "wait";
    this.hedgeAtMs = Number.POSITIVE_INFINITY;
    if (outcome.kind === "cancelled") {
      this.abandon(now); // one that runs beside it is of no use either
      return "done";
    }
    if (progress !== "nothing") this.#sent++;
    // One that runs beside it may still answer.
    if (this.#running !== undefined && progress !== "response") return "wait";
    if (outcome.kind === "success") {
      if (progress !== "response") return this.#retry(now);
      this.#conclude(!gatewayFailure(outcome), now);
      return this.#finish();
    }
    this.#failure = outcome.kind === "failure" ? outcome.reason : TIMEOUT_REASONS[outcome.phase];
    if (progress === "response") {
      this.reason = this.#failure;
      this.#conclude(false, now);
      return this.#finish();
    }
    return this.#afterFailure(outcome, progress, now);
  }

  /**
   * The attempt has begun to answer: one that runs beside it has lost. Answers with it, for the driver to drop.
   * @param learnt id of a session that the response begins; see `Affinity.learnsFrom`
   */
  responded(status: number, now: number, attempt = this.attempt, learnt = ""): AttemptTicket | undefined {
    if (attempt === undefined) return undefined;
    this.#answered = true;
    attempt.respondedMs = now - attempt.startedMs;
    attempt.permit = attempt.upstream.answered(attempt.backend, attempt.permit, status, attempt.respondedMs, now);
    this.hedgeAtMs = Number.POSITIVE_INFINITY;
    // Where the second is faster, the first took at least so long: without the slowest, hedges would be sent sooner and
    // sooner.
    attempt.upstream.hedging?.observed(now - (this.#running ?? attempt).startedMs, now);
    const loser = attempt === this.#running ? this.#hedge : this.#running;
    if (attempt === this.#hedged) this.#owner?.counted("hedge-won");
    if (loser !== undefined) this.#lost(loser, now);
    this.#sessionAnswered(attempt.backend, status, learnt, now);
    return loser;
  }

  #sessionAnswered(backend: Backend, status: number, learnt: string, now: number): void {
    const belonging = this.#belonging;
    if (belonging === undefined) return;
    // No session begins, or moves, to a backend that only says it cannot serve it.
    if (learnt === "" && saysNobodyServes(status)) return belonging.withdraw(now);
    this.#home = backend;
    const became = belonging.answered(backend, learnt, now);
    if (became !== undefined) this.#owner?.counted(`session-${became}`);
  }

  /**
   * Value of a Set-Cookie field to go out with the response that has begun; empty: none.
   * @param secure the client came by TLS
   */
  setCookie(secure: boolean): string {
    return this.#home === undefined ? "" : (this.#belonging?.setCookie(this.#home, secure) ?? "");
  }

  /**
   * Whether a response with this status should be dropped because another attempt is still at work: a backend that fails
   * at once must not win against it. Then report the attempt with progress `request`.
   */
  waitsForOther(status: number): boolean {
    return this.#hedge !== undefined && status >= 500;
  }

  /** Whether {@link wantsRetry} is worth asking. */
  mightRetry(status: number): boolean {
    return this.#upstream.retry?.lists(status) === true && this.mayRetry;
  }

  /**
   * Whether a response with this status should be dropped and the request tried again: then drop it, and report the
   * attempt with progress `request`. Asked before any of the response is passed on.
   * @param retryAfterMs what the response says of when to come again; undefined: nothing
   */
  wantsRetry(status: number, retryAfterMs: number | undefined, now: number): boolean {
    const { retry } = this.#upstream;
    if (retry === undefined || this.#hedge !== undefined) return false;
    if (!this.#repeatable || !retry.wants(status, retryAfterMs, this.#sent + 1)) return false;
    // Better this response than none in time.
    if (now + (retryAfterMs ?? 0) >= this.deadlineMs) return false;
    if (!this.#othersLeft()) return false;
    if (!this.#takeBudget()) {
      this.#owner?.counted("retry-denied");
      return false;
    }
    this.#retryAfterMs = retryAfterMs ?? 0;
    this.#failure = "no-backend";
    return true;
  }

  /** It is `hedgeAtMs`, and no response has begun: true when a second attempt is to be made, `attempt`. */
  hedge(now: number): boolean {
    if (this.hedgeAtMs === Number.POSITIVE_INFINITY) return false;
    this.hedgeAtMs = Number.POSITIVE_INFINITY;
    this.#belonging?.lookAgain(now);
    if (this.#running === undefined || this.#hedge !== undefined || !this.#mayHedge) return false;
    const { waiting, hedging } = this.#upstream;
    if (waiting > 0 || !this.#othersLeft() || !hedging!.affordable) return false;
    const first = this.#running;
    const backend = this.#pickAny(now);
    if (typeof backend === "string") return false;
    hedging!.take();
    this.#try(backend, now);
    this.#hedge = this.#hedged = this.#running;
    this.#running = first;
    this.#owner?.counted("hedged");
    return true;
  }

  /** It is `wakeAtMs`. */
  wake(now: number): Step {
    if (this.#state === "asking" && now >= this.wakeAtMs) {
      this.#belonging!.forget(this);
      return this.#asked(now);
    }
    if (this.#state !== "backing-off" || now < this.wakeAtMs) return this.#state === "over" ? "done" : "wait";
    this.wakeAtMs = Number.POSITIVE_INFINITY;
    if (now >= this.deadlineMs) return this.#answer("deadline", now);
    if (!this.#takeBudget()) return this.#waitForBudget(now);
    return this.#startAs("retried", now);
  }

  /** The client has left, or nobody wants the response any more. Harmless when nothing runs. */
  abandon(now: number): void {
    if (this.#state === "queued") this.#upstream.leave(this);
    if (this.#state === "asking") this.#belonging!.forget(this);
    this.#giveBudget();
    this.#withdraw(now);
    this.#state = "over";
    this.#cancel(now);
  }

  // For the store of sessions.

  found(address: string | undefined, now: number): void {
    if (this.#state !== "asking") return;
    this.#belonging!.found(address, now);
    let step: Step;
    try {
      step = this.#asked(now);
    } catch (error) {
      this.#owner?.threw(error);
      return;
    }
    this.#owner?.proceed(step);
  }

  #asked(now: number): Step {
    this.wakeAtMs = Number.POSITIVE_INFINITY;
    return now >= this.deadlineMs ? this.#answer("deadline", now) : this.#start(now);
  }

  // For the upstream and its lines.

  get bound(): Backend | undefined {
    return this.#belonging?.bound(this.#tried) ?? this.#wanted;
  }

  take(now: number): boolean {
    try {
      const backend = this.#pick(now);
      if (backend === "full") return false;
      if (backend !== "none") this.#try(backend, now);
    } catch (error) {
      // It is for its own exchange to fail by it, not for the one that made room.
      this.#error = error;
      this.#finish();
    }
    this.#takenAtMs = now;
    return true;
  }

  goOn(): void {
    if (this.#state === "over") return this.#owner?.threw(this.#error);
    // A fallback may make it wait in another queue: only once it has left this one.
    let step: Step = "try";
    try {
      if (this.#state === "queued") step = this.#nothingToTry(this.#takenAtMs);
    } catch (error) {
      this.#state = "over";
      return this.#owner?.threw(error);
    }
    this.#owner?.proceed(step);
  }

  shed(why: ShedFromQueue, now: number): void {
    this.#owner?.proceed(this.#answer(why, now));
  }

  // Steps.

  /** A backend, or a place in the queue, or an answer. */
  #start(now: number): Step {
    const upstream = this.#upstream;
    let backend: Backend | NoBackend;
    try {
      // Room is offered to those that wait as soon as it is there: what this one finds was of no use to them.
      backend = this.#pick(now);
    } catch (error) {
      this.#finish();
      throw error;
    }
    if (backend === "none") return this.#nothingToTry(now);
    if (backend !== "full") return this.#try(backend, now);
    const refused = upstream.join(this, now);
    if (refused === undefined) {
      this.#state = "queued";
      return "wait";
    }
    const limited = refused === "queue-full" && upstream.limit?.admits(upstream.running) === false;
    return this.#answer(limited ? "concurrency" : refused, now);
  }

  #startAs(event: DispatchEvent, now: number): Step {
    const upstream = this.#upstream;
    const step = this.#start(now);
    if (step !== "answer" && upstream === this.#upstream) this.#owner?.counted(event);
    return step;
  }

  /** Where sessions belong in the upstream that carries it. */
  #belong(now: number): void {
    const upstream = this.#upstream;
    this.#belonging = isSticky(upstream) ? new Belonging(upstream, this.#request, this.#wallMs, now) : undefined;
    this.#leaving = this.#belonging?.leaves(now);
  }

  /** Nobody answers it in the upstream that carries it: its session is where it was. */
  #withdraw(now: number): void {
    if (!this.#answered) this.#belonging?.withdraw(now);
  }

  /** In an upstream that has not carried it before: somebody may have to be asked where it belongs there. */
  #enter(now: number): Step {
    const waitMs = this.#belonging?.ask(this, now) ?? 0;
    if (waitMs === 0) return this.#start(now);
    this.#state = "asking";
    this.wakeAtMs = Math.min(now + waitMs, this.deadlineMs);
    return "wait";
  }

  /** Where it belongs, or where the balancer says. */
  #pick(now: number): Backend | NoBackend {
    const belonging = this.#belonging;
    if (belonging === undefined) return this.#pickAny(now);
    // Whatever it has waited for, others of its session have gone on.
    if (this.#state !== "new") belonging.lookAgain(now);
    if (this.backend !== undefined) this.#exclude(this.backend);
    const other = this.#leave(now);
    if (other !== undefined) return other;
    const bound = belonging.bound(this.#tried);
    if (bound !== undefined) {
      const backend = this.#upstream.pickBound(bound, now);
      if (backend !== undefined) return backend;
    }
    if (belonging.staysPut) return "none";
    const backend = this.#pickAny(now);
    if (typeof backend === "object") belonging.place(backend, now);
    return backend;
  }

  /** Another backend than its own, if it is to leave that and there is one with room. It is not tried twice. */
  #leave(now: number): Backend | undefined {
    const leaving = this.#leaving;
    if (leaving === undefined) return undefined;
    this.#leaving = undefined;
    const other = this.#upstream.pick(this.#request, now, new Set([leaving]));
    if (typeof other === "object") {
      this.#belonging!.place(other, now);
      return other;
    }
    this.#upstream.mayLeave(leaving, this.#belonging!.who, now);
    return undefined;
  }

  #pickAny(now: number): Backend | NoBackend {
    if (this.backend !== undefined) this.#exclude(this.backend);
    const backend = this.#upstream.pick(this.#request, now, this.#tried);
    this.#wanted = backend === "full" ? this.#upstream.wanted : undefined;
    return backend;
  }

  /** It is not picked for this exchange any more. */
  #exclude(backend: Backend): void {
    this.#tried ??= new Set();
    this.#tried.add(backend);
  }

  #try(backend: Backend, now: number): Step {
    const upstream = this.#upstream;
    this.#state = "running";
    this.#triedHere = true;
    this.backend = backend;
    this.attempts++;
    const budgeted = this.#holdsBudget;
    this.#holdsBudget = false;
    const attempt = { backend, upstream, permit: upstream.permit, startedMs: now, respondedMs: -1, budgeted };
    this.attempt = attempt;
    this.#running = attempt;
    this.#planHedge(now);
    return "try";
  }

  #planHedge(now: number): void {
    const { hedging } = this.#upstream;
    if (hedging === undefined || this.attempts > 1 || !this.#mayHedge) return;
    const delayMs = hedging.delayMs(now);
    if (delayMs !== undefined) this.hedgeAtMs = now + delayMs;
  }

  #afterFailure(outcome: Outcome, progress: Progress, now: number): Step {
    const { retry } = this.#upstream;
    if (now >= this.deadlineMs) return this.#answer(this.#failure, now);
    if (retry === undefined) return this.#answer(this.#failure, now);
    switch (retry.after(outcome, progress, this.#sent, this.#repeatable)) {
      case "no":
        return this.#answer(this.#failure, now);
      case "move":
        // Each connection that is waited for in vain costs a whole time limit; one that is refused costs nearly nothing.
        if (outcome.kind === "timeout") this.#lateMoves++;
        if (this.#lateMoves >= Math.max(retry.options.attempts, LATE_CONNECTIONS)) return this.#nothingToTry(now);
        if (++this.#moves > MOST_MOVES) return this.#nothingToTry(now);
        return this.#startAs("moved", now);
      case "again":
        if (!this.#othersLeft()) return this.#nothingToTry(now);
        return this.#retry(now);
    }
  }

  #retry(now: number): Step {
    const { retry, patienceMs } = this.#upstream;
    this.#giveUpAtMs = Math.min(now + patienceMs, this.deadlineMs);
    this.#state = "backing-off";
    this.#retries++;
    this.wakeAtMs = Math.min(now + Math.max(this.#retryAfterMs, retry!.delayMs(this.#retries)), this.deadlineMs);
    this.#retryAfterMs = 0;
    return "wait";
  }

  #waitForBudget(now: number): Step {
    if (now >= this.#giveUpAtMs) {
      this.#owner?.counted("retry-denied");
      return this.#answer(this.#failure, now);
    }
    const { retry } = this.#upstream;
    if (!this.#waitsForBudget && !retry!.join()) {
      this.#owner?.counted("retry-denied");
      return this.#answer(this.#failure, now);
    }
    this.#waitsForBudget = true;
    this.wakeAtMs = Math.min(now + Math.max(1, retry!.delayMs(++this.#budgetLooks)), this.#giveUpAtMs);
    return "wait";
  }

  #takeBudget(): boolean {
    if (this.#holdsBudget) return true;
    this.#holdsBudget = this.#upstream.retry!.budget.take(this.#upstream.active);
    if (this.#holdsBudget) this.#waitNoMore();
    return this.#holdsBudget;
  }

  #giveBudget(): void {
    this.#waitNoMore();
    if (this.#holdsBudget) this.#upstream.retry!.budget.give();
    this.#holdsBudget = false;
  }

  #waitNoMore(): void {
    if (this.#waitsForBudget) this.#upstream.retry!.leave();
    this.#waitsForBudget = false;
  }

  /** No backend is left to try: the fallback is, where there is one. */
  #nothingToTry(now: number): Step {
    const { fallback } = this.#upstream;
    if (fallback?.upstream === undefined || this.#fellBack || this.#belonging?.staysPut === true) {
      const known = this.#failure !== "none" && this.#belonging?.staysPut !== true;
      return this.#answer(known ? this.#failure : this.#noBackendReason(), now);
    }
    this.#fallBack();
    this.#giveBudget();
    this.#conclude(false, now);
    this.#fallback = fallback;
    this.#upstream = fallback.upstream;
    this.#triedHere = false;
    this.#moves = this.#lateMoves = 0;
    this.#withdraw(now);
    this.#belong(now);
    return this.#enter(now);
  }

  #fallBack(): void {
    if (!this.#fellBack) this.#owner?.counted("fell-back");
    this.#fellBack = true;
  }

  #noBackendReason(): AnswerReason {
    if (this.#belonging?.staysPut === true) return "affinity-lost";
    return this.#upstream.nextTrialMs() === Number.POSITIVE_INFINITY ? "no-backend" : "circuit-open";
  }

  #othersLeft(): boolean {
    if (this.#belonging?.staysPut === true) return false;
    if (this.#upstream.fallback?.upstream !== undefined && !this.#fellBack) return true;
    if (this.backend !== undefined) this.#exclude(this.backend);
    return this.#upstream.hasAnother(this.#request, this.#tried ?? NONE_TRIED, this.attempt?.startedMs ?? 0);
  }

  /**
   * Being allowed to repeat what failed is not being allowed to do everything twice. And a session is not to be moved
   * because its backend is slow for once.
   */
  get #mayHedge(): boolean {
    return this.replayable && mayRepeat(this.#request.method) && this.#belonging?.isBound !== true;
  }

  get #repeatable(): boolean {
    return this.replayable && this.#upstream.mayRepeat(this.#request.method);
  }

  /** False when it was settled before. */
  #settle(attempt: AttemptTicket, outcome: Outcome, now: number): boolean {
    if (attempt === this.#running) {
      this.#running = this.#hedge;
      this.#hedge = undefined;
    } else if (attempt === this.#hedge) this.#hedge = undefined;
    else return false;
    if (attempt.budgeted) attempt.upstream.retry!.budget.give();
    const answered = attempt.respondedMs >= 0;
    attempt.upstream.settle(attempt.backend, ofTheBackend(outcome, attempt), now, attempt.permit, answered);
    return true;
  }

  #cancel(now: number): void {
    const attempt = this.#running;
    if (attempt === undefined) return;
    try {
      this.#settle(attempt, { kind: "cancelled", durationMs: now - attempt.startedMs }, now);
    } finally {
      this.#cancel(now); // the one beside it, also where a balancer of the user's has just thrown
    }
  }

  /** Nobody waits for it any more. Was it the first, and has its backend answered nobody since it began: a timeout. */
  #lost(attempt: AttemptTicket, now: number): void {
    const durationMs = now - attempt.startedMs;
    const silent = attempt !== this.#hedged && attempt.upstream.silentSince(attempt.backend, attempt.startedMs);
    const outcome: Outcome = silent
      ? { kind: "timeout", phase: "response", durationMs }
      : { kind: "cancelled", durationMs };
    this.#settle(attempt, outcome, now);
  }

  /** What the exchange says of the upstream as a whole, however many attempts it took. */
  #conclude(served: boolean, now: number): void {
    if (this.#triedHere) this.#upstream.throttle?.settled(served, now);
  }

  #finish(): Step {
    this.#state = "over";
    this.#giveBudget();
    return "done";
  }

  #answer(why: AnswerReason, now: number): Step {
    // Refused for want of time, or out of it: these are not the same.
    const reason = why === "deadline" && now >= this.deadlineMs ? "route-timeout" : why;
    this.#state = "over";
    this.#giveBudget();
    this.#withdraw(now);
    this.#conclude(false, now);
    this.reason = reason;
    const fixed = this.#fallback?.respond ?? this.#upstream.fallback?.respond;
    // What may have been carried out, and not twice, is not glossed over.
    const harmless = this.#sent === 0 || mayRepeat(this.#request.method);
    if (fixed !== undefined && harmless && !NO_BACKENDS_FAULT.has(reason)) {
      this.#fallBack();
      this.fallbackResponse = fixed;
    }
    if (reason === "affinity-lost") this.#owner?.counted("session-lost");
    this.status = statusOf(reason);
    if (this.status === 503) this.retryAfterSeconds = this.#retryAfter(reason, now);
    return "answer";
  }

  #retryAfter(reason: AnswerReason, now: number): number {
    if (reason === "no-backend" || reason === "affinity-lost") return NO_BACKEND_RETRY_SECONDS;
    if (reason !== "circuit-open") return SHED_RETRY_SECONDS;
    return Math.max(1, Math.ceil((this.#upstream.nextTrialMs() - now) / 1000));
  }
}

/** What there is to learn is how long the backend took to answer, not how long its client took to read that. */
function ofTheBackend(outcome: Outcome, { respondedMs }: AttemptTicket): Outcome {
  if (outcome.kind !== "success" || respondedMs < 0 || outcome.durationMs === respondedMs) return outcome;
  return { kind: "success", status: outcome.status, durationMs: respondedMs };
}
