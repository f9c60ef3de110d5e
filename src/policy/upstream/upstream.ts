import type { Affinity } from "../affinity/affinity.ts";
import type { Balancer } from "../balance/balancer.ts";
import type { Backend } from "../model/backend.ts";
import { gatewayFailure, type Outcome, unattributable } from "../model/outcome.ts";
import { type Random, SeededRandom } from "../model/random.ts";
import type { PickRequest } from "../model/request.ts";
import { CircuitBreaker, type Permit, verdictOf } from "../resilience/circuit-breaker.ts";
import { ConcurrencyLimit } from "../resilience/concurrency-limit.ts";
import { FailureKinds } from "../resilience/failure-kinds.ts";
import { Hedging } from "../resilience/hedge.ts";
import type { QueueOptions } from "../resilience/options.ts";
import { type Ejection, OutlierDetector } from "../resilience/outlier-detection.ts";
import type { ShedFromQueue } from "../resilience/queue.ts";
import { Retry } from "../resilience/retry.ts";
import { weightFactor } from "../resilience/slow-start.ts";
import { Throttle } from "../resilience/throttle.ts";
import type { Isolation } from "./isolation.ts";
import { Lines, type Waiting } from "./lines.ts";
import { type AdminState, type BackendState, type BackendStatus, Member } from "./member.ts";
import { mayRepeat } from "./repeat.ts";
import { Tiers } from "./tiers.ts";

/** What takes over when no backend of an upstream can be tried: another upstream, and when that cannot, a response. */
export interface Fallback<R = unknown> {
  readonly upstream?: Upstream | undefined;
  /** For whoever drives the dispatch: what to answer. */
  readonly respond?: R | undefined;
}

/** What happened to a member of an upstream. It has already taken effect when a listener hears of it. */
export type UpstreamChange =
  | { readonly kind: "added"; readonly backend: Backend }
  | { readonly kind: "removed"; readonly backend: Backend }
  | { readonly kind: "weight"; readonly backend: Backend; readonly from: number; readonly to: number }
  | {
      readonly kind: "state";
      readonly backend: Backend;
      readonly from: BackendState;
      readonly to: BackendState;
      readonly reason: string;
    }
  /** Its circuit or its ejection may have changed, which makes no difference to its state. */
  | { readonly kind: "condition"; readonly backend: Backend }
  /** A draining backend has no exchange left; `late`: it still has, and its deadline has passed. */
  | { readonly kind: "drained"; readonly backend: Backend; readonly late: boolean };

/** What an upstream is made of. */
export interface UpstreamInit {
  /** Name in configuration, logs and metrics. */
  readonly name: string;
  /** Its own, without backends yet; nobody else may update it. */
  readonly balancer: Balancer;
  /** Makes the balancers of the tiers behind the first one with backends; needed only where there are several. */
  readonly makeBalancer?: () => Balancer;
  readonly isolation?: Isolation;
  /** Where sessions belong. Default: nobody has one. */
  readonly affinity?: Affinity | undefined;
  /** For jitter. Default: a fixed seed. */
  readonly random?: Random;
  /** `advance` should be called at `atMs`, sooner than was said last. May be called often; must not call back. */
  readonly alarm?: (atMs: number) => void;
  /** So few backends of a tier are well that all of them are used, whatever is known of them; or that is over. */
  readonly panicked?: (on: boolean) => void;
  /** A balancer threw at feedback, which no exchange has to fail for. Default: `settle` throws it on, all counts right. */
  readonly onError?: (error: unknown) => void;
}

/** Why there is no backend for an attempt. `full`: some could be tried, and none of them has room. */
export type NoBackend = "none" | "full";

/** Other workers, too, take and give room on a backend; who waits looks again this often. */
const LOOK_AGAIN_MS = 10;
/** A slow start goes in steps of a twentieth of its window, and in no finer ones. */
const RAMP_STEPS = 20;
const MIN_RAMP_STEP_MS = 100;
/** Sessions that have ended are forgotten this often, and not one by one. */
const SWEEP_MS = 1000;
/** Balancers asked for a backend with room, before the members are gone through in order. */
const PICKS_FOR_ROOM = 4;

/**
 * A named set of interchangeable backends: who belongs to it, who may be picked, how many exchanges run on each, who
 * waits because none has room, and what was learnt from those that ended.
 *
 * May be picked: up or half-open with a permit left, not draining, weight above 0. Balancers hear of it only when that
 * changes, so a pick filters nothing but backends without room. Backends start up: they serve before the first check
 * has ended, and one that does not answer costs an exchange one failed connect, not an outage of the whole upstream at
 * every start.
 *
 * Nothing here reads a clock or sets a timer: every call brings `now`, and `wakeAtMs` (or the `alarm`) says when
 * {@link advance} should be called though nothing else happens. Picks advance by themselves.
 */
export class Upstream {
  readonly name: string;
  /** Set by whoever knows all upstreams. */
  fallback: Fallback | undefined;
  readonly retry: Retry | undefined;
  readonly hedging: Hedging | undefined;
  readonly throttle: Throttle | undefined;
  readonly limit: ConcurrencyLimit | undefined;
  readonly affinity: Affinity | undefined;
  /** How long an exchange may wait for what it needs, in milliseconds. */
  readonly patienceMs: number;
  /** Of the attempt that {@link pick} gave last; goes with it to {@link settle}. */
  permit: Permit = 0;
  /** After a {@link pick} that answered `full`: the one backend to wait for, where not any will do. */
  wanted: Backend | undefined;
  readonly #tiers: Tiers;
  readonly #random: Random;
  readonly #alarm: ((atMs: number) => void) | undefined;
  readonly #panicked: ((on: boolean) => void) | undefined;
  readonly #onError: ((error: unknown) => void) | undefined;
  readonly #isolation: Isolation;
  readonly #breakerKinds: FailureKinds | undefined;
  readonly #detector: OutlierDetector<Backend> | undefined;
  readonly #lines: Lines;
  readonly #listeners = new Set<(change: UpstreamChange) => void>();
  #members = new Map<Backend, Member>();
  #backends: readonly Backend[] = [];
  #running = 0;
  /** No backend had room when it was last looked: that holds until something ends or changes. */
  #full = false;
  #serving = false;
  /** While those that wait are served because an attempt has ended: where. No other backend needs to be asked then. */
  #freed: Backend | undefined;
  /** The same for those whose session is on one backend. */
  #freedForSessions: Backend | undefined;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #panic = false;
  readonly #without = new Set<Backend>();

  constructor({
    name,
    balancer,
    makeBalancer,
    isolation = {},
    affinity,
    random = new SeededRandom(0),
    alarm,
    panicked,
    onError,
  }: UpstreamInit) {
    this.name = name;
    this.#isolation = isolation;
    this.affinity = affinity;
    this.#random = random;
    this.#alarm = alarm;
    this.#panicked = panicked;
    this.#onError = onError;
    let first: Balancer | undefined = balancer;
    this.#tiers = new Tiers(() => {
      const made = first ?? makeBalancer?.();
      first = undefined;
      if (made === undefined) throw new TypeError(`upstream ${name} has tiers, but nothing makes balancers for them`);
      return made;
    }, isolation.panicThreshold ?? 0);
    const { circuitBreaker, outlierDetection, retry, queue, concurrencyLimit, hedge, throttle } = isolation;
    this.#breakerKinds = circuitBreaker ? new FailureKinds(circuitBreaker.on) : undefined;
    this.#detector = outlierDetection
      ? new OutlierDetector(
          outlierDetection,
          (backend, ejection, now) => this.#ejected(backend, ejection, now),
          // Down, draining and empty ones count among the members, but do no work: the last that does is not taken out.
          (backend) => this.#tiers.available.some((other) => other !== backend && this.stateOf(other)?.state === "up"),
        )
      : undefined;
    this.retry = retry ? new Retry(retry, random) : undefined;
    this.limit = concurrencyLimit ? new ConcurrencyLimit(concurrencyLimit) : undefined;
    this.hedging = hedge ? new Hedging(hedge) : undefined;
    this.throttle = throttle ? new Throttle(throttle, random) : undefined;
    this.patienceMs = (queue ?? NO_QUEUE).timeout;
    this.#lines = new Lines(queue ?? NO_QUEUE);
  }

  /** All members, in the order of the configuration. */
  get backends(): readonly Backend[] {
    return this.#backends;
  }

  /** The members that may be picked, in the same order. */
  get available(): readonly Backend[] {
    return this.#tiers.available;
  }

  /** Attempts of this worker that are not answered yet: what they ask of the backends is their work until then. */
  get running(): number {
    return this.#running;
  }

  /** Exchanges that run or wait in this worker: what a retry budget is a share of. */
  get active(): number {
    return this.#running + this.#lines.size;
  }

  /** Exchanges of this worker that wait for room. */
  get waiting(): number {
    return this.#lines.size;
  }

  /** The exchange waits for room, unless it is refused: why, then. */
  join(waiting: Waiting, now: number): ShedFromQueue | undefined {
    const refused = this.#lines.join(waiting, now);
    if (refused === undefined) this.#wakeAt(Math.min(now + LOOK_AGAIN_MS, this.#lines.wakeAtMs));
    return refused;
  }

  /** It does not wait any more. */
  leave(waiting: Waiting): void {
    this.#lines.leave(waiting);
  }

  /** When {@link advance} has something to do, should nothing else happen until then; Infinity: nothing. */
  get wakeAtMs(): number {
    return this.#wakeAtMs;
  }

  /** Sets the members. Those that stay (the same objects) keep their state; exchanges on those that go run on. */
  update(backends: readonly Backend[], now: number): void {
    const before = this.#members;
    const members = new Map(backends.map((backend) => [backend, before.get(backend) ?? this.#newMember(backend, now)]));
    // One that is added to others that serve is as cold as one that comes back.
    for (const [backend, member] of members) if (before.size > 0 && !before.has(backend)) member.backSinceMs = now;
    this.#members = members;
    this.#backends = [...members.keys()];
    if (this.#detector !== undefined) {
      this.#detector.update(this.#backends);
      this.#wakeAt(Math.max(now, this.#detector.wakeAtMs));
    }
    this.#ramp(now);
    this.#tiers.update([...members.values()]);
    this.affinity?.update(this.#backends);
    this.#lines.keep(members);
    this.#checkPanic();
    this.#keepOneServing(now);
    for (const backend of before.keys()) if (!members.has(backend)) this.#tell({ kind: "removed", backend });
    for (const backend of members.keys()) if (!before.has(backend)) this.#tell({ kind: "added", backend });
    this.#roomMade(now);
  }

  /** Changes a member's share of new exchanges; 0 gives it none. A RangeError when it is no number from 0 on. */
  setWeight(backend: Backend, weight: number, now: number): void {
    if (!(weight >= 0 && weight < Infinity)) throw new RangeError(`a weight is a number from 0 on, not ${weight}`);
    const from = backend.weight;
    if (!this.#members.has(backend) || from === weight) return;
    backend.weight = weight;
    this.#reviewTiers();
    this.#keepOneServing(now);
    this.#tell({ kind: "weight", backend, from, to: weight });
    this.#roomMade(now);
  }

  /** What the checks say of a member. */
  setHealth(backend: Backend, up: boolean, reason: string, now: number): void {
    const member = this.#members.get(backend);
    if (member === undefined || member.healthy === up) return;
    if (up) {
      // A good check is news: what traffic had taught is old now. It is forgotten while the backend is still down, so
      // that all of this is one change.
      this.#detector?.checkPassed(backend, now);
      member.breaker?.reset();
    }
    member.healthy = up;
    member.healthReason = reason;
    this.#review(member, reason, now);
  }

  /**
   * What an operator says of a member; `up` leaves it to the checks again. A drain ends when its last exchange does, or
   * after `drainMs`: a change of kind `drained` tells.
   */
  setAdminState(backend: Backend, state: AdminState, reason: string, now: number, drainMs = Infinity): void {
    const member = this.#members.get(backend);
    if (member === undefined || (member.admin === state && state !== "drain")) return;
    member.admin = state;
    member.adminReason = reason;
    member.drainUntilMs = state === "drain" ? now + drainMs : Number.POSITIVE_INFINITY;
    member.drain = state === "drain" ? "running" : "none";
    this.#review(member, reason, now);
    this.#checkDrained(member, now);
  }

  /**
   * A check found a member well: one that is ejected may come back. A check that only opens a connection (not `http`)
   * counts for one that could not be reached; of one that answered badly it says nothing. And no check says anything of
   * one that did badly in the statistics: what it does wrong it does now and then.
   */
  checkPassed(backend: Backend, http: boolean, now: number): void {
    const member = this.#members.get(backend);
    if (member?.ejection === undefined || !(http ? member.ejection.forRow : member.unreachable)) return;
    this.#detector?.checkPassed(backend, now);
  }

  /**
   * Whether sessions on `backend` can be served there: unlike new exchanges also while it drains, until its deadline,
   * and with a weight of 0.
   */
  keepsSessions(backend: Backend): boolean {
    const member = this.#members.get(backend);
    return member !== undefined && (member.keepsSessions || (this.#tiers.panic && member.worthATry));
  }

  /** When it last stopped to keep its sessions; -Infinity: it never has. What was known of them before may be wrong now. */
  lostAtMs(backend: Backend): number {
    return this.#members.get(backend)?.lostAtMs ?? Number.POSITIVE_INFINITY;
  }

  /** State of a member; undefined when it is none. */
  stateOf(backend: Backend): BackendStatus | undefined {
    return this.#members.get(backend)?.status;
  }

  /** The circuit of a member, where there are circuit breakers. */
  circuitOf(backend: Backend): CircuitBreaker | undefined {
    return this.#members.get(backend)?.breaker;
  }

  /** Why and until when the outlier detector keeps a member out; undefined when it does not. */
  ejectionOf(backend: Backend): Ejection | undefined {
    return this.#members.get(backend)?.ejection;
  }

  /** Whether some member is kept out by its circuit alone, and when the first such circuit lets a trial through. */
  nextTrialMs(): number {
    if (this.#breakerKinds === undefined) return Number.POSITIVE_INFINITY;
    let next = Number.POSITIVE_INFINITY;
    for (const { status, breaker } of this.#members.values()) {
      if (status.state === "half-open") return 0;
      if (status.state === "open") next = Math.min(next, breaker!.untilMs);
    }
    return next;
  }

  /**
   * A backend for an attempt that begins now, counted as running until {@link settle}; or why there is none. Backends in
   * `tried` are left out. Throws what the balancer throws, with nothing counted.
   */
  pick(request: PickRequest, now: number, tried?: ReadonlySet<Backend>): Backend | NoBackend {
    if (now >= this.#wakeAtMs && !this.#serving) this.advance(now);
    if (this.#freed !== undefined) {
      if (this.#tiers.offers(this.#freed)) return this.#pickFreed(this.#freed, now, tried);
      this.#freed = undefined;
    }
    this.wanted = undefined;
    if (this.#full) return "full";
    if (this.limit !== undefined && !this.limit.admits(this.#running)) {
      // Where nobody can serve, the fallback need not wait.
      return this.#tiers.available.length === 0 ? "none" : "full";
    }
    const backend = this.#tiers.pick(request, now, tried, tried);
    if (backend === undefined) return "none";
    if (backend.take()) return this.#admitted(backend, now);
    return this.#pickWithRoom(request, now, tried, backend);
  }

  /**
   * `backend` for an attempt that begins now, because a session is on it: as {@link pick}. Undefined: it does not keep
   * its sessions (any more).
   */
  pickBound(backend: Backend, now: number): Backend | "full" | undefined {
    if (now >= this.#wakeAtMs && !this.#serving) this.advance(now);
    if (!this.keepsSessions(backend)) return undefined;
    if (this.limit !== undefined && !this.limit.admits(this.#running)) return "full";
    if (!backend.take()) return "full";
    if (backend === this.#freed) this.#freed = undefined;
    return this.#admitted(backend, now);
  }

  /** Whether another than those `tried` may be picked for a request, now or when there is room. */
  hasAnother(request: PickRequest, tried: ReadonlySet<Backend>, now: number): boolean {
    if (this.#tiers.selective) return typeof this.#tiers.peek(request, now, tried) === "object";
    return this.#tiers.available.some((backend) => !tried.has(backend));
  }

  /** What {@link pick} would answer now, changing nothing; undefined where that is left to chance. */
  peek(request: PickRequest, now: number): Backend | NoBackend | undefined {
    if (this.#tiers.available.length === 0) return "none";
    if (this.limit !== undefined && !this.limit.admits(this.#running)) return "full";
    const without = new Set<Backend>();
    for (;;) {
      const backend = this.#tiers.peek(request, now, without);
      if (typeof backend !== "object") return backend === "none" && without.size > 0 ? "full" : backend;
      if (backend.hasRoom) return backend;
      if (this.#tiers.selective) return "full";
      without.add(backend);
    }
  }

  /**
   * A tunnel was closed so that its session may come back elsewhere: when it comes to `backend` with another, it may leave.
   * @param who what {@link Belonging.who} says of it
   */
  mayLeave(backend: Backend, who: string, now: number): void {
    this.#members.get(backend)?.leaves.note(who, now);
  }

  /** Whether {@link leaves} is worth asking. */
  anyLeaves(backend: Backend): boolean {
    return this.#members.get(backend)?.leaves.any === true;
  }

  /** Whether a session that is on `backend` leaves it now: it {@link mayLeave}, and there is another that serves. */
  leaves(backend: Backend, who: string, now: number): boolean {
    if (!this.#tiers.available.some((other) => other !== backend)) return false;
    return this.#members.get(backend)?.leaves.take(who, now) === true;
  }

  /** Sessions have begun, or were used: those that end are forgotten in time. */
  sessionsUsed(now: number): void {
    if (this.affinity !== undefined) this.#wakeAt(Math.max(this.affinity.wakeAtMs, now + SWEEP_MS));
  }

  /**
   * The backend has begun to answer; called once, before {@link settle}. For the concurrency limit and the trial of a
   * half-open circuit that is the end of it: a tunnel or a long download would keep everybody else waiting for theirs.
   * Answers with the permit to settle with.
   */
  answered(backend: Backend, permit: Permit, status: number, durationMs: number, now: number): Permit {
    this.#running--;
    if (this.limit !== undefined) {
      this.limit.settled(durationMs, this.#running + 1, status === 503 || status === 429, now);
      this.#roomMade(now);
    }
    if (this.#breakerKinds === undefined && this.hedging === undefined) return permit;
    const member = this.#members.get(backend);
    if (member === undefined) return permit;
    member.answeredAtMs = now;
    if (member.breaker?.state !== "half-open") return permit;
    this.#judgeBy(member, { kind: "success", status, durationMs }, now, permit);
    return NO_PERMIT;
  }

  /** Whether a request that failed may be sent once more. */
  mayRepeat(method: string): boolean {
    return mayRepeat(method) || this.retry?.options.unsafeMethods === true;
  }

  /** How many bytes of a request's body to keep in case that it has to be sent again. */
  keepsBytes(method: string): number {
    if (this.retry === undefined || this.retry.options.attempts < 2 || !this.mayRepeat(method)) return 0;
    return this.retry.options.bodyBytes;
  }

  /** With hedging: whether a member has answered nobody since then. Who has only been overtaken is not slow for that. */
  silentSince(backend: Backend, sinceMs: number): boolean {
    return (this.#members.get(backend)?.answeredAtMs ?? Number.POSITIVE_INFINITY) <= sinceMs;
  }

  /** An attempt ended: exactly once for each backend that {@link pick} gave, also when it is no member any more. */
  settle(backend: Backend, outcome: Outcome, now: number, permit: Permit = 0, answered = false): void {
    backend.give();
    if (!answered) this.#running--;
    try {
      const member = this.#members.get(backend);
      if (member !== undefined) this.#learn(member, outcome, now, permit);
      if (!answered && (overloaded(outcome) || outcome.kind === "success")) {
        this.limit?.settled(outcome.durationMs, this.#running + 1, overloaded(outcome), now);
      }
      this.#feedBack(backend, outcome, now);
    } finally {
      // With a limit on all of them there may be room anywhere.
      this.#roomMade(now, this.limit === undefined ? backend : undefined);
    }
  }

  #feedBack(backend: Backend, outcome: Outcome, now: number): void {
    try {
      this.#tiers.balancerOf(backend)?.settled?.(backend, outcome, now);
    } catch (error) {
      if (this.#onError === undefined) throw error;
      this.#onError(error);
    }
  }

  /** Does what is due: see {@link wakeAtMs}. */
  advance(now: number): void {
    this.#wakeAtMs = Number.POSITIVE_INFINITY;
    if (this.#detector !== undefined) {
      this.#detector.advance(now);
      this.#wakeAt(this.#detector.wakeAtMs);
    }
    for (const member of this.#members.values()) {
      if (member.breaker?.advance(now) === true) this.#review(member, member.breaker.reason, now);
      if (member.breaker?.state === "open") this.#wakeAt(member.breaker.untilMs);
      this.#checkDrained(member, now);
    }
    this.#ramp(now);
    if (this.affinity !== undefined) {
      this.affinity.sweep(now);
      this.sessionsUsed(now);
    }
    this.#roomMade(now);
    if (this.waiting > 0) this.#wakeAt(Math.min(now + LOOK_AGAIN_MS, this.#lines.wakeAtMs));
  }

  /** Calls `listener` after every change, until the function it answers with is called. */
  onChange(listener: (change: UpstreamChange) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  #newMember(backend: Backend, now: number): Member {
    const { circuitBreaker } = this.#isolation;
    return new Member(backend, circuitBreaker ? new CircuitBreaker(circuitBreaker, this.#random) : undefined, now);
  }

  #pickWithRoom(
    request: PickRequest,
    now: number,
    tried: ReadonlySet<Backend> | undefined,
    full: Backend,
  ): Backend | NoBackend {
    if (this.#tiers.selective) {
      this.wanted = full;
      return "full";
    }
    const without = this.#without;
    without.clear();
    if (tried !== undefined) for (const backend of tried) without.add(backend);
    without.add(full);
    for (let picks = 1; picks < PICKS_FOR_ROOM; picks++) {
      const backend = this.#tiers.pick(request, now, without, tried);
      if (backend === undefined) break;
      if (backend.take()) return this.#admitted(backend, now);
      without.add(backend);
    }
    // Balancers of many backends need not be asked about each: any with room will do.
    for (const backend of this.#tiers.available) {
      if (without.has(backend) || !this.#tiers.serves(backend, full)) continue;
      if (backend.take()) return this.#admitted(backend, now);
    }
    if (tried === undefined) {
      this.#full = true;
      // Other workers may make room, and do not tell.
      this.#wakeAt(now + LOOK_AGAIN_MS);
    }
    return "full";
  }

  /** For one that waited: only `backend` has room, as nobody would have waited otherwise. */
  #pickFreed(backend: Backend, now: number, tried: ReadonlySet<Backend> | undefined): Backend | NoBackend {
    if (tried?.has(backend) || !backend.take()) return "full";
    this.#freed = undefined;
    this.#full = true;
    this.#wakeAt(now + LOOK_AGAIN_MS);
    return this.#admitted(backend, now);
  }

  #admitted(backend: Backend, now: number): Backend {
    this.#running++;
    const breaker = this.#breakerKinds === undefined ? undefined : this.#members.get(backend)?.breaker;
    if (breaker === undefined) return backend;
    // In panic, a circuit that is open is not asked, and not told either.
    const permit = breaker.state === "open" ? NO_PERMIT : (breaker.admit(now) ?? NO_PERMIT);
    if (breaker.state === "half-open" && !breaker.admits) {
      this.#reviewTiers();
      this.#keepOneServing(now);
    }
    // Last: whoever waits may have been served meanwhile.
    this.permit = permit;
    return backend;
  }

  #learn(member: Member, outcome: Outcome, now: number, permit: Permit): void {
    const { backend } = member;
    this.#judgeBy(member, outcome, now, permit);
    if (outcome.kind !== "cancelled") member.unreachable = couldNotConnect(outcome);
    const detector = this.#detector;
    const circuit = member.breaker?.state ?? "closed";
    if (detector !== undefined && circuit !== "closed") {
      // The circuit is the judge now, and its pause the shorter one: what led to it is not held against it twice.
      detector.startAfresh(backend);
    } else if (detector !== undefined && outcome.kind !== "cancelled" && !unattributable(outcome)) {
      const answered = outcome.kind === "success";
      const kind = !answered || gatewayFailure(outcome) ? "gateway" : outcome.status >= 500 ? "error" : "success";
      detector.settled(backend, kind, answered ? outcome.durationMs : -1, now);
      this.#wakeAt(detector.wakeAtMs);
    }
    this.#checkDrained(member, now);
  }

  #judgeBy(member: Member, outcome: Outcome, now: number, permit: Permit): void {
    const { breaker } = member;
    if (breaker === undefined) return;
    if (!breaker.settle(permit, verdictOf(outcome, this.#breakerKinds!), outcome.durationMs, now)) return;
    if (breaker.state === "open") this.#wakeAt(breaker.untilMs);
    this.#review(member, breaker.state === "closed" ? "its trial succeeded" : breaker.reason, now);
  }

  #ejected(backend: Backend, ejection: Ejection | undefined, now: number): void {
    const member = this.#members.get(backend);
    if (member === undefined) return;
    member.ejection = ejection;
    this.#review(member, ejection?.reason ?? "its ejection is over", now);
  }

  #review(member: Member, cause: string, now: number): void {
    const { backend, status: before } = member;
    const state = member.judge();
    const reason = member.reasonOf(state, cause);
    if (state === before.state) {
      member.status = { state, reason, since: before.since };
      this.#tell({ kind: "condition", backend });
      // Permits of a half-open circuit come and go; in panic, what an operator says counts more than that it is down.
      if (state !== "half-open" && !this.#tiers.panic) return;
      this.#reviewTiers();
      this.#roomMade(now);
      return;
    }
    member.status = { state, reason, since: now };
    if (!member.keepsSessions) member.lostAtMs = now;
    if (state === "up" && before.state !== "draining") this.#cameBack(member, now);
    // Between two states that keep it out, nothing changes for the balancers, unless nobody believes such states.
    if (TAKES_TRAFFIC.has(before.state) || TAKES_TRAFFIC.has(state) || this.#tiers.panic) this.#reviewTiers();
    this.#tell({ kind: "state", backend, from: before.state, to: state, reason });
    this.#keepOneServing(now);
    this.#roomMade(now);
  }

  /** Better one that did badly than none: when all others are gone, the ejected that would be back first is back now. */
  #keepOneServing(now: number): void {
    if (this.#detector === undefined || this.#tiers.available.length > 0) return;
    let first: Member | undefined;
    for (const member of this.#members.values()) {
      if (member.status.state !== "ejected" || member.backend.weight === 0) continue;
      if (first === undefined || member.ejection!.untilMs < first.ejection!.untilMs) first = member;
    }
    if (first !== undefined) this.#detector.checkPassed(first.backend, now);
  }

  #reviewTiers(): void {
    this.#tiers.review();
    this.#checkPanic();
  }

  #checkPanic(): void {
    if (this.#tiers.panic === this.#panic) return;
    this.#panic = this.#tiers.panic;
    this.#panicked?.(this.#panic);
  }

  #cameBack(member: Member, now: number): void {
    if (!this.#isolation.slowStart) return;
    member.backSinceMs = now;
    this.#ramp(now);
  }

  /** Gives those that came back the part of their weight, and of their limit, that is due by now. */
  #ramp(now: number): void {
    const { slowStart } = this.#isolation;
    if (!slowStart) return;
    const up = [...this.#members.values()].filter(({ status }) => status.state === "up");
    const stepMs = Math.max(slowStart.window / RAMP_STEPS, MIN_RAMP_STEP_MS);
    // Where all are new, none can take what another is spared.
    const spared = up.some(({ backSinceMs }) => now - backSinceMs >= slowStart.window);
    let changed = false;
    for (const member of up) {
      const steps = Math.floor((now - member.backSinceMs) / stepMs);
      const ramp = spared ? weightFactor(steps * stepMs, slowStart) : 1;
      if (ramp !== member.backend.ramp) changed = true;
      member.backend.ramp = ramp;
      // Never at `now`, where rounding takes the step for not yet done.
      const nextMs = Math.max(member.backSinceMs + (steps + 1) * stepMs, now + 1);
      if (steps * stepMs < slowStart.window) this.#wakeAt(nextMs);
    }
    if (changed) this.#reviewTiers();
  }

  #checkDrained(member: Member, now: number): void {
    if (member.drain === "none" || member.drain === "late") return;
    const late = now >= member.drainUntilMs;
    if (!late) this.#wakeAt(member.drainUntilMs);
    if (!late && (member.drain === "done" || member.backend.active > 0)) return;
    const told = member.drain === "done";
    // Sessions stay until the deadline, whether one of them has an exchange running at the moment or not.
    member.drain = late ? "late" : "done";
    if (late) member.lostAtMs = now;
    if (!told) this.#tell({ kind: "drained", backend: member.backend, late: member.backend.active > 0 });
    if (late) this.#roomMade(now);
  }

  /** Something ended (on `freed`) or changed: those that wait may have their turn. */
  #roomMade(now: number, freed?: Backend): void {
    this.#full = false;
    if (this.#lines.size === 0) return;
    // Where nobody waits for just any backend, others may have room all the time.
    this.#freed = this.#lines.sizeOfAny > 0 && !this.#tiers.selective ? freed : undefined;
    // Nor, where not any backend will do, is the one that somebody has in mind the only one that would.
    this.#freedForSessions = this.#tiers.selective ? undefined : freed;
    if (this.#serving) return;
    this.#serving = true;
    try {
      // Each that goes on may end at once and make room again: they are served in this loop, not within each other.
      for (let next = this.#nextWaiting(now); next !== undefined; next = this.#nextWaiting(now)) next.goOn();
    } finally {
      this.#serving = false;
      this.#freed = this.#freedForSessions = undefined;
    }
  }

  #nextWaiting(now: number): Waiting | undefined {
    // Who waits for a backend that is lost will take another.
    return this.#lines.next(now, (backend) => {
      const freed = this.#freedForSessions;
      return freed === undefined || backend === freed || !this.keepsSessions(backend);
    });
  }

  #wakeAt(atMs: number): void {
    if (atMs >= this.#wakeAtMs) return;
    this.#wakeAtMs = atMs;
    this.#alarm?.(atMs);
  }

  #tell(change: UpstreamChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}

const TAKES_TRAFFIC: ReadonlySet<BackendState> = new Set(["up", "half-open"]);
const NO_QUEUE: QueueOptions = { max: 0, timeout: 0, target: Number.POSITIVE_INFINITY };
/** Of no era: what becomes of the attempt does not matter to the circuit. */
const NO_PERMIT: Permit = -1;

function couldNotConnect(outcome: Outcome): boolean {
  if (outcome.kind === "failure") return outcome.reason === "connect";
  return outcome.kind === "timeout" && outcome.phase === "connect";
}

/** What a limit on concurrency takes as a sign of too much: no answer in time, or one that says so. */
function overloaded(outcome: Outcome): boolean {
  if (outcome.kind === "timeout") return outcome.phase !== "queue";
  return outcome.kind === "success" && (outcome.status === 503 || outcome.status === 429);
}
