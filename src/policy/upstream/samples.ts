import { expect } from "vitest";
import { RoundRobin } from "../balance/round-robin.ts";
import { sampleRequest } from "../balance/samples.ts";
import { Backend } from "../model/backend.ts";
import { LocalCounts } from "../model/local-counts.ts";
import type { FailureReason, Outcome, Progress, TimeoutPhase } from "../model/outcome.ts";
import type { Position } from "../model/position.ts";
import type { Random } from "../model/random.ts";
import type { PickRequest } from "../model/request.ts";

export * from "../resilience/samples.ts";

import type { Priority } from "../resilience/options.ts";
import { sampleRetry } from "../resilience/samples.ts";
import {
  type AttemptTicket,
  Dispatch,
  type DispatchEvent,
  type DispatchInit,
  type DispatchOwner,
  type Step,
} from "./dispatch.ts";
import type { Isolation } from "./isolation.ts";
import { Upstream, type UpstreamChange, type UpstreamInit } from "./upstream.ts";

/** Half of every interval that is left to chance: a back-off with `base` 25 takes 12.5 ms, then 25, 50 .. */
export const halfway: Random = { next: () => 0.5 };

export const success = (status = 200, durationMs = 1): Outcome => ({ kind: "success", status, durationMs });
export const failure = (reason: FailureReason): Outcome => ({ kind: "failure", reason, durationMs: 1 });
export const timeout = (phase: TimeoutPhase): Outcome => ({ kind: "timeout", phase, durationMs: 1 });
export const cancelled: Outcome = { kind: "cancelled", durationMs: 1 };

/** A change in a line for people. */
export function tell(change: UpstreamChange): string {
  const { kind, backend } = change;
  switch (kind) {
    case "state":
      return `${backend.id} ${change.from} -> ${change.to}: ${change.reason}`;
    case "weight":
      return `${backend.id} weighs ${change.to}, not ${change.from}`;
    case "drained":
      return change.late ? `${backend.id} did not drain in time` : `${backend.id} drained`;
    default:
      return `${backend.id} ${kind}`;
  }
}

/** What a backend of {@link sampleUpstream} has that is not usual. */
export interface SampleBackend {
  readonly weight?: number;
  readonly tier?: number;
  readonly limit?: number;
  readonly position?: Position;
  readonly region?: string;
}

/**
 * An upstream over backends by name, `{ a: {}, b: { limit: 1 } }`, that take turns; with what it told since: its changes
 * in words, and when it wants to be advanced.
 */
export function sampleUpstream<Name extends string>(
  specs: Readonly<Record<Name, SampleBackend>>,
  isolation: Isolation = {},
  init: Partial<UpstreamInit> = {},
) {
  const counts = new LocalCounts();
  const entries = Object.entries<SampleBackend>(specs);
  const backends = entries.map(
    ([id, spec], slot) => new Backend({ id, address: `${id}.test:80`, weight: 1, slot, ...spec }, counts),
  );
  const alarms: number[] = [];
  const upstream = new Upstream({
    name: "web",
    balancer: new RoundRobin(),
    makeBalancer: () => new RoundRobin(),
    random: halfway,
    isolation,
    alarm: (atMs) => alarms.push(atMs),
    ...init,
  });
  upstream.update(backends, 0);
  const changes: string[] = [];
  upstream.onChange((change) => {
    if (change.kind !== "condition") changes.push(tell(change));
  });
  const byName = Object.fromEntries(backends.map((backend) => [backend.id, backend])) as Record<Name, Backend>;
  return { upstream, backends, counts, alarms, changes, ...byName };
}

/** Exchanges that run on each of the backends. */
export const active = (backends: readonly Backend[]) => backends.map((backend) => backend.active);

/** An exchange that does nothing but note what it is told to do: `try a`, `wait`, `answer 503 queue-full`, `done`. */
export class SampleExchange implements DispatchOwner {
  readonly log: string[] = [];
  readonly events: DispatchEvent[] = [];
  readonly errors: unknown[] = [];
  readonly dispatch: Dispatch;

  constructor(upstream: Upstream, request: PickRequest | string = "GET", init: DispatchInit = {}) {
    const whole = typeof request === "string" ? { ...sampleRequest(0), method: request } : request;
    this.dispatch = new Dispatch(upstream, whole, { owner: this, ...init });
  }

  /** Begins one at `now`. */
  static begun(upstream: Upstream, now = 0, method = "GET", init: DispatchInit = {}): SampleExchange {
    return SampleExchange.of(upstream, method, now, init);
  }

  /** The same for a whole request. */
  static of(upstream: Upstream, request: PickRequest | string, now: number, init: DispatchInit = {}): SampleExchange {
    const exchange = new SampleExchange(upstream, request, init);
    exchange.proceed(exchange.dispatch.begin(now));
    return exchange;
  }

  /** What it was told last. */
  get last(): string | undefined {
    return this.log.at(-1);
  }

  /** The attempt that began last has ended, or that of `ticket`. */
  ended(outcome: Outcome, progress: Progress, now: number, ticket?: AttemptTicket): string {
    this.proceed(this.dispatch.ended(outcome, progress, now, ticket));
    return this.last!;
  }

  /** It has been answered, whole. */
  succeeded(now: number, status = 200): string {
    const ticket = this.dispatch.attempt!;
    this.dispatch.responded(status, now, ticket);
    return this.ended(success(status, now - ticket.startedMs), "response", now, ticket);
  }

  /** The time that it waits for has come; answers with when that was. */
  woken(): number {
    const atMs = this.dispatch.wakeAtMs;
    this.proceed(this.dispatch.wake(atMs));
    return atMs;
  }

  proceed(step: Step): void {
    this.log.push(this.#told(step));
  }

  threw(error: unknown): void {
    this.errors.push(error);
  }

  counted(event: DispatchEvent): void {
    this.events.push(event);
  }

  #told(step: Step): string {
    const { attempt, status, reason, fallbackResponse } = this.dispatch;
    if (step === "try") return `try ${attempt!.backend.id}`;
    if (step !== "answer") return step;
    return fallbackResponse === undefined ? `answer ${status} ${reason}` : `respond ${fallbackResponse}`;
  }
}

const never = Number.POSITIVE_INFINITY;

/**
 * Virtual time: what was planned is done in its order, and upstreams and exchanges are woken when they asked for it.
 * What happens is noted, for who has to understand a failure.
 */
export class World {
  now = 0;
  readonly upstreams: readonly Upstream[];
  readonly exchanges: PlannedExchange[] = [];
  readonly history: string[] = [];
  /** Exchanges of other workers, which count on their backends. */
  readonly elsewhere = new Map<Backend, number>();
  readonly #due: { readonly atMs: number; readonly act: () => void }[] = [];
  readonly #afterEach: () => void;

  /** @param afterEach called when something was done, and all that follows from it at once. */
  constructor(upstreams: readonly Upstream[], afterEach: () => void = () => {}) {
    this.upstreams = upstreams;
    this.#afterEach = afterEach;
  }

  at(atMs: number, act: () => void): void {
    this.#due.push({ atMs, act });
  }

  note(text: string): void {
    this.history.push(`${Math.round(this.now * 100) / 100} ms: ${text}`);
  }

  /** Until nothing is left to do; false when that does not come. */
  run(): boolean {
    for (let steps = 0; steps < 3_000; steps++) {
      const next = this.#next();
      if (next === undefined) return true;
      expect(next.atMs).toBeLessThan(never);
      this.now = Math.max(this.now, next.atMs);
      next.act();
      this.#afterEach();
    }
    return false;
  }

  #next() {
    let best: { atMs: number; act: () => void } | undefined;
    const offer = (atMs: number, act: () => void) => {
      if (atMs < never && (best === undefined || atMs < best.atMs)) best = { atMs, act };
    };
    for (const due of this.#due) {
      offer(due.atMs, () => {
        this.#due.splice(this.#due.indexOf(due), 1);
        due.act();
      });
    }
    for (const exchange of this.exchanges) exchange.offer(offer);
    // Ramps and intervals may go on after the last exchange.
    if (best === undefined && this.upstreams.every(({ waiting }) => waiting === 0)) return undefined;
    for (const upstream of this.upstreams) {
      offer(upstream.wakeAtMs, () => {
        upstream.advance(this.now);
        expect(upstream.wakeAtMs).toBeGreaterThan(this.now);
      });
    }
    return best;
  }
}

/** What becomes of an attempt, `afterMs`. */
export type Fate = { readonly afterMs: number } & (
  | { readonly kind: "fails"; readonly outcome: Outcome; readonly progress: "nothing" | "request" }
  | { readonly kind: "answers"; readonly status: number; readonly retryAfterMs: number | undefined }
  | { readonly kind: "answers, then breaks" }
  | { readonly kind: "is left" }
);

/** An exchange to be: when it begins, and what becomes of its attempts. */
export interface Plan {
  readonly atMs: number;
  readonly method: string;
  readonly priority: Priority;
  readonly patienceMs: number;
  readonly fates: readonly Fate[];
}

/** An exchange that does as planned, and checks what it is told. */
export class PlannedExchange extends SampleExchange {
  protected readonly world: World;
  /** That were tried, in any upstream. */
  readonly tried = new Set<Backend>();
  readonly running = new Set<AttemptTicket>();
  readonly #plan: Plan;
  readonly #mayServe: (backend: Backend) => boolean;
  #fates = 0;
  #responding = false;
  #waitsSinceMs = never;
  sent = 0;
  finals = 0;
  left = false;

  constructor(
    world: World,
    upstream: Upstream,
    plan: Plan,
    mayServe: (backend: Backend) => boolean,
    request: PickRequest = { ...sampleRequest(0), method: plan.method },
  ) {
    super(upstream, request, { priority: plan.priority, deadlineMs: plan.atMs + plan.patienceMs, wallMs: 1e12 });
    this.world = world;
    this.#plan = plan;
    this.#mayServe = mayServe;
  }

  get waits(): boolean {
    return this.#waitsSinceMs !== never;
  }

  /** Its attempts that nobody has answered yet. */
  get unanswered(): number {
    return this.#responding ? 0 : this.running.size;
  }

  begin(): void {
    this.proceed(this.dispatch.begin(this.world.now));
  }

  /** The client leaves, unless it has its answer. */
  leave(): void {
    if (this.finals > 0) return;
    this.left = true;
    this.#waitsSinceMs = never;
    this.dispatch.abandon(this.world.now);
    this.running.clear();
  }

  offer(offer: (atMs: number, act: () => void) => void): void {
    const { dispatch } = this;
    if (this.waits) offer(dispatch.wakeAtMs, () => this.proceed(dispatch.wake(this.world.now)));
    else if (this.running.size > 0 && !this.#responding) {
      offer(dispatch.hedgeAtMs, () => {
        if (dispatch.hedge(this.world.now)) this.#try();
      });
    }
  }

  override proceed(step: Step): void {
    super.proceed(step);
    if (this.left) return expect(step).toBe("done");
    expect(this.finals).toBe(0);
    this.#checkWait();
    if (step === "try") {
      this.#try();
    } else if (step === "wait") {
      if (this.running.size === 0) this.#waitsSinceMs = this.world.now;
    } else {
      this.finals++;
      expect(this.running.size).toBe(0);
      if (step === "answer") expect(this.dispatch.fallbackResponse ?? this.dispatch.status >= 502).toBeTruthy();
    }
  }

  /** For who knows more: an attempt has begun. */
  protected began(_ticket: AttemptTicket): void {}

  /** Id of a session that the response to an attempt begins. */
  protected learnt(_ticket: AttemptTicket): string {
    return "";
  }

  /** An attempt has begun to answer. */
  protected answered(_ticket: AttemptTicket, _status: number): void {}

  /** Whether it has waited within its bounds, if it has. */
  #checkWait(): void {
    if (!this.waits) return;
    const { now } = this.world;
    const { patienceMs } = this.dispatch.upstream;
    const waitedMs = now - this.#waitsSinceMs;
    this.#waitsSinceMs = never;
    // In the queue for its timeout; for a back-off or Retry-After; for the budget as long as in the queue.
    expect(waitedMs).toBeLessThanOrEqual(Math.max(patienceMs, sampleRetry.backoff.max, 1_000) + 1e-6);
    expect(now).toBeLessThanOrEqual(this.dispatch.deadlineMs);
  }

  #try(): void {
    const ticket = this.dispatch.attempt!;
    const { backend } = ticket;
    expect(this.tried.has(backend)).toBe(false);
    expect(this.#mayServe(backend)).toBe(true);
    expect(backend.active).toBeLessThanOrEqual(backend.limit);
    this.running.add(ticket);
    expect(this.running.size).toBeLessThanOrEqual(2);
    this.began(ticket);
    this.tried.add(backend);
    const fate = this.#plan.fates[this.#fates++] ?? {
      kind: "answers",
      afterMs: 5,
      status: 200,
      retryAfterMs: undefined,
    };
    this.world.at(this.world.now + fate.afterMs, () => {
      if (this.running.has(ticket)) this.#meet(fate, ticket);
    });
  }

  #meet(fate: Fate, ticket: AttemptTicket): void {
    const { now } = this.world;
    switch (fate.kind) {
      case "is left":
        this.leave();
        this.proceed(this.dispatch.ended(success(), "response", now, ticket));
        break;
      case "fails":
        this.#end(ticket, fate.outcome, fate.progress);
        break;
      case "answers":
        if (this.dispatch.waitsForOther(fate.status)) this.#end(ticket, success(fate.status), "request");
        else if (fate.status >= 400 && this.dispatch.wantsRetry(fate.status, fate.retryAfterMs, now)) {
          this.#end(ticket, success(fate.status), "request");
        } else this.#respond(ticket, fate.status, success(fate.status));
        break;
      case "answers, then breaks":
        this.#respond(ticket, 200, failure("truncated"));
        break;
    }
  }

  #respond(ticket: AttemptTicket, status: number, outcome: Outcome): void {
    this.#responding = true;
    const loser = this.dispatch.responded(status, this.world.now, ticket, this.learnt(ticket));
    if (loser !== undefined) expect(this.running.delete(loser)).toBe(true);
    expect([...this.running]).toEqual([ticket]);
    this.answered(ticket, status);
    this.world.at(this.world.now + 3, () => {
      if (this.running.has(ticket)) this.#end(ticket, outcome, "response");
    });
  }

  #end(ticket: AttemptTicket, outcome: Outcome, progress: Progress): void {
    this.running.delete(ticket);
    if (progress !== "nothing") this.sent++;
    this.proceed(this.dispatch.ended(outcome, progress, this.world.now, ticket));
  }
}

/** What happens to a backend from outside. */
export interface News {
  readonly atMs: number;
  readonly backend: number;
  readonly what: "health" | "drain" | "down" | "back" | "weight" | "check" | "taken elsewhere" | "member";
}

/** How long a drain of {@link tellNews} may take. */
export const SAMPLE_DRAIN_MS = 50;

/** What is told of one of the backends of a {@link sampleUpstream}, now. */
export function tellNews(
  { what, backend: index }: News,
  world: World,
  { upstream, backends, counts }: ReturnType<typeof sampleUpstream>,
): void {
  const { now } = world;
  const backend = backends[index % backends.length]!;
  switch (what) {
    case "health":
      return upstream.setHealth(backend, upstream.stateOf(backend)?.state === "down", "flipped", now);
    case "drain":
      return upstream.setAdminState(backend, "drain", "deploy", now, SAMPLE_DRAIN_MS);
    case "down":
      return upstream.setAdminState(backend, "down", "set by an operator", now);
    case "back":
      return upstream.setAdminState(backend, "up", "set by an operator", now);
    case "weight":
      return upstream.setWeight(backend, (backend.weight + 1) % 3, now);
    case "check":
      return upstream.checkPassed(backend, true, now);
    case "member": {
      const without = upstream.backends.filter((member) => member !== backend);
      return upstream.update(without.length < upstream.backends.length ? without : [...without, backend], now);
    }
    case "taken elsewhere": {
      if (!counts.takeActive(backend.slot, backend.limit)) return;
      const { elsewhere } = world;
      elsewhere.set(backend, (elsewhere.get(backend) ?? 0) + 1);
      world.at(now + 33.3, () => {
        counts.giveActive(backend.slot);
        elsewhere.set(backend, elsewhere.get(backend)! - 1);
      });
    }
  }
}
