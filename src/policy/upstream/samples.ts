import { RoundRobin } from "../balance/round-robin.ts";
import { sampleRequest } from "../balance/samples.ts";
import { Backend } from "../model/backend.ts";
import { LocalCounts } from "../model/local-counts.ts";
import type { FailureReason, Outcome, Progress, TimeoutPhase } from "../model/outcome.ts";
import type { Position } from "../model/position.ts";
import type { Random } from "../model/random.ts";
import type { PickRequest } from "../model/request.ts";

export * from "../resilience/samples.ts";

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
