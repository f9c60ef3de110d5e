import fc from "fast-check";
import { expect, test } from "vitest";
import { createBalancer } from "../balance/index.ts";
import type { Backend } from "../model/backend.ts";
import type { FailureReason, TimeoutPhase } from "../model/outcome.ts";
import { SeededRandom } from "../model/random.ts";
import type { Priority } from "../resilience/options.ts";
import type { Isolation } from "./isolation.ts";
import {
  type Fate,
  failure,
  type News,
  type Plan,
  PlannedExchange,
  type SampleBackend,
  sampleBreaker,
  sampleDetection,
  sampleHedge,
  sampleRetry,
  sampleUpstream,
  tellNews,
  timeout,
  World,
} from "./samples.ts";

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
          const exchange = new PlannedExchange(world, upstream, plan, mayServe);
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
