import fc from "fast-check";
import { expect, test } from "vitest";
import { createBalancer } from "../balance/index.ts";
import type { Backend } from "../model/backend.ts";
import type { FailureReason, Outcome, Progress, TimeoutPhase } from "../model/outcome.ts";
import { SeededRandom } from "../model/random.ts";
import type { Priority } from "../resilience/options.ts";
import type { AttemptTicket, Step } from "./dispatch.ts";
import type { Isolation } from "./isolation.ts";
import {
  failure,
  type SampleBackend,
  SampleExchange,
  sampleBreaker,
  sampleDetection,
  sampleHedge,
  sampleRetry,
  sampleUpstream,
  success,
  timeout,
} from "./samples.ts";
import type { Upstream } from "./upstream.ts";

type Sample = ReturnType<typeof sampleUpstream>;

/** What becomes of an attempt, `afterMs`. */
type Fate = { readonly afterMs: number } & (
  | { readonly kind: "fails"; readonly outcome: Outcome; readonly progress: "nothing" | "request" }
  | { readonly kind: "answers"; readonly status: number; readonly retryAfterMs: number | undefined }
  | { readonly kind: "answers, then breaks" }
  | { readonly kind: "is left" }
);

interface Plan {
  readonly atMs: number;
  readonly method: string;
  readonly priority: Priority;
  readonly patienceMs: number;
  readonly fates: readonly Fate[];
}

/** What happens to a backend from outside. */
interface News {
  readonly atMs: number;
  readonly backend: number;
  readonly what: "health" | "drain" | "down" | "back" | "weight" | "check" | "taken elsewhere" | "member";
}

const never = Number.POSITIVE_INFINITY;
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.oneof(fc.constant(false as const), arbitrary);
const ms = (max: number) => fc.integer({ min: 0, max: max * 10 }).map((tenths) => tenths / 10);

const anyIsolation: fc.Arbitrary<Isolation> = fc.record({
  retry: maybe(
    fc
      .record({
        attempts: fc.integer({ min: 1, max: 4 }),
        budget: fc.constantFrom(0, 0.2, 1),
        minimumBudget: fc.nat(2),
      })
      .map((options) => ({ ...sampleRetry, ...options })),
  ),
  queue: fc.record({
    max: fc.nat(4),
    timeout: fc.integer({ min: 0, max: 300 }),
    target: fc.constantFrom(never, 5, 20),
  }),
  circuitBreaker: maybe(
    fc
      .record({
        consecutiveFailures: fc.integer({ min: 1, max: 3 }),
        openFor: fc.integer({ min: 1, max: 100 }),
        halfOpenRequests: fc.integer({ min: 1, max: 2 }),
      })
      .map((options) => ({ ...sampleBreaker, ...options })),
  ),
  outlierDetection: maybe(
    fc
      .record({
        consecutiveFailures: fc.integer({ min: 1, max: 3 }),
        interval: fc.integer({ min: 1, max: 100 }),
        ejectFor: fc.integer({ min: 1, max: 100 }),
      })
      .map((options) => ({ ...sampleDetection, maxEjected: 0.5, ...options })),
  ),
  concurrencyLimit: maybe(
    fc.record({ initial: fc.integer({ min: 1, max: 4 }), min: fc.constant(1), max: fc.constant(4) }),
  ),
  slowStart: maybe(fc.constant({ window: 1_500, aggression: 1.5, minimumWeight: 0.1 })),
  panicThreshold: fc.constantFrom(0, 0.5, 1),
  hedge: maybe(fc.constant({ ...sampleHedge, quantile: 0.5, budget: 1 })),
  throttle: maybe(fc.constant({ factor: 1.1, window: 1_000, maxRefused: 0.5 })),
});

const anyBackend: fc.Arbitrary<SampleBackend> = fc.record({
  weight: fc.nat(3),
  tier: fc.constantFrom(0, 0, 1),
  limit: fc.constantFrom(1, 2, never),
});

const anyFate: fc.Arbitrary<Fate> = fc.oneof(
  fc.record({
    kind: fc.constant("fails" as const),
    afterMs: ms(40),
    outcome: fc.oneof(
      fc.constantFrom<FailureReason>("connect", "exhausted", "reset", "malformed").map(failure),
      fc.constantFrom<TimeoutPhase>("queue", "connect", "response", "route").map(timeout),
    ),
    progress: fc.constantFrom("nothing" as const, "request" as const),
  }),
  fc.record({
    kind: fc.constant("answers" as const),
    afterMs: ms(40),
    status: fc.constantFrom(200, 200, 500, 503, 503),
    retryAfterMs: fc.constantFrom(undefined, 30, 5_000),
  }),
  fc.record({ kind: fc.constant("answers, then breaks" as const), afterMs: ms(40) }),
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("is left" as const), afterMs: ms(40) }) },
);

const anyPlan: fc.Arbitrary<Plan> = fc.record({
  atMs: ms(150),
  method: fc.constantFrom("GET", "GET", "PUT", "POST"),
  priority: fc.constantFrom<Priority>("high", "normal", "low"),
  patienceMs: fc.constantFrom(never, never, 10, 60),
  fates: fc.array(anyFate, { maxLength: 6 }),
});

const anyNews: fc.Arbitrary<News> = fc.record({
  atMs: ms(250),
  backend: fc.nat(5),
  what: fc.constantFrom("health", "drain", "down", "back", "weight", "check", "taken elsewhere", "member"),
});

/** Virtual time: what was planned is done in its order, and upstreams and exchanges are woken when they asked for it. */
class World {
  now = 0;
  readonly #due: { readonly atMs: number; readonly act: () => void }[] = [];
  readonly upstreams: readonly Upstream[];
  readonly exchanges: Driven[] = [];

  constructor(upstreams: readonly Upstream[]) {
    this.upstreams = upstreams;
  }

  at(atMs: number, act: () => void): void {
    this.#due.push({ atMs, act });
  }

  /** Until nothing is left to do; false when that does not come. */
  run(): boolean {
    for (let steps = 0; steps < 3_000; steps++) {
      const next = this.#next();
      if (next === undefined) return true;
      expect(next.atMs).toBeLessThan(never);
      this.now = Math.max(this.now, next.atMs);
      next.act();
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

/** An exchange that does as planned, and checks what it is told. */
class Driven extends SampleExchange {
  readonly #world: World;
  readonly #plan: Plan;
  readonly #tried = new Set<Backend>();
  readonly #running = new Set<AttemptTicket>();
  readonly #mayServe: (backend: Backend) => boolean;
  #fates = 0;
  #responding = false;
  #waitsSinceMs = never;
  sent = 0;
  finals = 0;
  left = false;

  constructor(world: World, upstream: Upstream, plan: Plan, mayServe: (backend: Backend) => boolean) {
    super(upstream, plan.method, { priority: plan.priority, deadlineMs: plan.atMs + plan.patienceMs });
    this.#world = world;
    this.#plan = plan;
    this.#mayServe = mayServe;
  }

  get waits(): boolean {
    return this.#waitsSinceMs !== never;
  }

  begin(): void {
    this.proceed(this.dispatch.begin(this.#world.now));
  }

  offer(offer: (atMs: number, act: () => void) => void): void {
    const { dispatch } = this;
    if (this.waits) offer(dispatch.wakeAtMs, () => this.proceed(dispatch.wake(this.#world.now)));
    else if (this.#running.size > 0 && !this.#responding) {
      offer(dispatch.hedgeAtMs, () => {
        if (dispatch.hedge(this.#world.now)) this.#try();
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
      if (this.#running.size === 0) this.#waitsSinceMs = this.#world.now;
    } else {
      this.finals++;
      expect(this.#running.size).toBe(0);
      if (step === "answer") expect(this.dispatch.fallbackResponse ?? this.dispatch.status >= 502).toBeTruthy();
    }
  }

  /** Whether it has waited within its bounds, if it has. */
  #checkWait(): void {
    if (!this.waits) return;
    const { now } = this.#world;
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
    expect(this.#tried.has(backend)).toBe(false);
    expect(this.#mayServe(backend)).toBe(true);
    expect(backend.active).toBeLessThanOrEqual(backend.limit);
    this.#tried.add(backend);
    this.#running.add(ticket);
    expect(this.#running.size).toBeLessThanOrEqual(2);
    const fate = this.#plan.fates[this.#fates++] ?? {
      kind: "answers",
      afterMs: 5,
      status: 200,
      retryAfterMs: undefined,
    };
    this.#world.at(this.#world.now + fate.afterMs, () => {
      if (this.#running.has(ticket)) this.#meet(fate, ticket);
    });
  }

  #meet(fate: Fate, ticket: AttemptTicket): void {
    const { now } = this.#world;
    switch (fate.kind) {
      case "is left":
        this.left = true;
        this.dispatch.abandon(now);
        this.#running.clear();
        this.proceed(this.dispatch.ended(success(), "response", now, ticket));
        break;
      case "fails":
        this.#end(ticket, fate.outcome, fate.progress);
        break;
      case "answers":
        if (fate.status >= 400 && this.dispatch.wantsRetry(fate.status, fate.retryAfterMs, now)) {
          this.#end(ticket, success(fate.status), "request");
        } else this.#respond(ticket, success(fate.status));
        break;
      case "answers, then breaks":
        this.#respond(ticket, failure("truncated"));
        break;
    }
  }

  #respond(ticket: AttemptTicket, outcome: Outcome): void {
    this.#responding = true;
    const loser = this.dispatch.responded(200, this.#world.now, ticket);
    if (loser !== undefined) expect(this.#running.delete(loser)).toBe(true);
    expect([...this.#running]).toEqual([ticket]);
    this.#world.at(this.#world.now + 3, () => this.#end(ticket, outcome, "response"));
  }

  #end(ticket: AttemptTicket, outcome: Outcome, progress: Progress): void {
    this.#running.delete(ticket);
    if (progress !== "nothing") this.sent++;
    this.proceed(this.dispatch.ended(outcome, progress, this.#world.now, ticket));
  }
}

function tellNews({ what, backend: index }: News, world: World, { upstream, backends, counts }: Sample): void {
  const { now } = world;
  const backend = backends[index % backends.length]!;
  switch (what) {
    case "health":
      return upstream.setHealth(backend, upstream.stateOf(backend)?.state === "down", "flipped", now);
    case "drain":
      return upstream.setAdminState(backend, "drain", "deploy", now, 50);
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
    case "taken elsewhere":
      if (counts.takeActive(backend.slot, backend.limit)) world.at(now + 33.3, () => counts.giveActive(backend.slot));
  }
}

test("whatever is on and whatever happens: tried once, sent as often as allowed, waits within bounds, ends, is counted off", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("round-robin", "weighted-round-robin", "least-connections", "consistent-hash", "random"),
      anyIsolation,
      fc.array(anyBackend, { minLength: 1, maxLength: 5 }),
      fc.constantFrom("none", "upstream", "respond", "both"),
      fc.array(anyPlan, { minLength: 1, maxLength: 14 }),
      fc.array(anyNews, { maxLength: 8 }),
      (policy, isolation, specs, fallback, plans, news) => {
        const random = new SeededRandom(7);
        const makeBalancer = () => createBalancer({ policy } as Parameters<typeof createBalancer>[0], random);
        const sample = (backends: readonly SampleBackend[]) =>
          sampleUpstream(Object.fromEntries(backends.map((spec, n) => [`b${n}`, spec])), isolation, {
            balancer: makeBalancer(),
            makeBalancer,
            random,
          });
        const [web, spare] = [sample(specs), sample([{ limit: 1 }, {}])] as const;
        const { upstream } = web;
        if (fallback !== "none") {
          upstream.fallback = {
            upstream: fallback === "respond" ? undefined : spare.upstream,
            respond: fallback === "upstream" ? undefined : "sorry",
          };
        }
        for (let n = 0; n < 20; n++) upstream.hedging?.observed(10, 0);

        const world = new World([upstream, spare.upstream]);
        const mayServe = (backend: Backend) => {
          const state = upstream.stateOf(backend)?.state ?? spare.upstream.stateOf(backend)?.state;
          if (backend.weight === 0 || state === undefined || state === "draining") return false;
          return isolation.panicThreshold !== 0 || state === "up" || state === "half-open";
        };
        for (const plan of plans) {
          const exchange = new Driven(world, upstream, plan, mayServe);
          world.exchanges.push(exchange);
          world.at(plan.atMs, () => exchange.begin());
        }
        for (const one of news) world.at(one.atMs, () => tellNews(one, world, web));

        expect(world.run()).toBe(true);
        const attempts = isolation.retry ? isolation.retry.attempts : 1;
        for (const { finals, left, waits, sent, dispatch, errors, events } of world.exchanges) {
          expect([finals, waits, errors]).toEqual([left ? 0 : 1, false, []]);
          expect(sent).toBeLessThanOrEqual(Math.max(attempts, events.includes("hedged") ? 2 : 1));
          expect(dispatch.place).toBeUndefined();
        }
        for (const [n, plan] of plans.entries()) {
          if (plan.method === "POST") expect(world.exchanges[n]!.sent).toBeLessThanOrEqual(1);
        }
        for (const { upstream: each, backends } of [web, spare]) {
          expect(backends.map(({ active }) => active)).toEqual(backends.map(() => 0));
          expect([each.running, each.waiting, each.retry?.budget.running ?? 0]).toEqual([0, 0, 0]);
        }
      },
    ),
    { seed: 20, numRuns: 600 },
  );
});
