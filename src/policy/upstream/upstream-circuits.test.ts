import { describe, expect, test } from "vitest";
import { sampleRequest } from "../balance/samples.ts";
import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";
import type { Isolation } from "./isolation.ts";
import { cancelled, failure, SampleExchange, sampleBreaker, sampleUpstream, success } from "./samples.ts";
import type { Upstream } from "./upstream.ts";

const { begun } = SampleExchange;
const request = sampleRequest(0);
const breaking: Isolation = { circuitBreaker: sampleBreaker };
/** How long a circuit is open that opened at 0: 5 s and half of the jitter. */
const OPEN_MS = 5_250;

/** Attempts that end with `outcome`, each on whoever is due. */
function attempts(upstream: Upstream, outcome: Outcome, count: number, now = 0): void {
  for (let n = 0; n < count; n++)
    upstream.settle(upstream.pick(request, now) as Backend, outcome, now, upstream.permit);
}

/** An upstream over a and b in which the circuit of a has opened at 0. */
function opened(isolation: Isolation = breaking) {
  const sample = sampleUpstream({ a: {}, b: {} }, isolation);
  const { upstream, a, b } = sample;
  upstream.setAdminState(b, "down", "set by an operator", 0);
  attempts(upstream, failure("reset"), 5);
  expect(upstream.stateOf(a)?.state).toBe("open");
  upstream.setAdminState(b, "up", "set by an operator", 0);
  sample.changes.length = 0;
  return sample;
}

describe("a circuit that opens", () => {
  test("takes its backend out, and says why and until when", () => {
    const { upstream, a, b } = opened();
    expect(upstream.available).toEqual([b]);
    expect(upstream.stateOf(a)).toEqual({ state: "open", reason: "5 failures in a row", since: 0 });
    expect(upstream.circuitOf(a)?.untilMs).toBe(OPEN_MS);
    expect(upstream.nextTrialMs()).toBe(OPEN_MS);
    expect(upstream.wakeAtMs).toBe(OPEN_MS);
    expect([1, 2, 3].map(() => upstream.pick(request, 1))).toEqual([b, b, b]);
  });

  test("asks to be advanced when its time is over", () => {
    const { upstream, a, alarms } = opened();
    expect(alarms).toContain(OPEN_MS);
    upstream.advance(OPEN_MS);
    expect(upstream.stateOf(a)?.state).toBe("half-open");
    expect(upstream.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
  });

  test("ignores attempts that began before it did", () => {
    const { upstream, a, b } = sampleUpstream({ a: {}, b: {} }, breaking);
    upstream.setAdminState(b, "down", "set by an operator", 0);
    const early = [1, 2, 3].map(() => begun(upstream));
    attempts(upstream, failure("reset"), 5);
    for (const exchange of early) exchange.succeeded(10);
    expect(upstream.stateOf(a)?.state).toBe("open");
  });
});

describe("a half-open circuit", () => {
  test("comes by picking alone, lets one trial through, and closes when that succeeds", () => {
    const { upstream, a, b, changes } = opened();
    expect([1, 2].map(() => upstream.pick(request, OPEN_MS - 1))).toEqual([b, b]);
    const running = [1, 2].map(() => begun(upstream, OPEN_MS));
    expect(upstream.available).toEqual([b]);
    expect([1, 2, 3].map(() => begun(upstream, OPEN_MS).last)).toEqual(["try b", "try b", "try b"]);
    const trial = running.find(({ last }) => last === "try a");
    expect(trial?.succeeded(OPEN_MS + 1)).toBe("done");
    expect(upstream.available).toEqual([a, b]);
    expect(changes).toEqual(["a open -> half-open: 5 failures in a row", "a half-open -> up: its trial succeeded"]);
  });

  /** The trial that runs on a, and nothing else. */
  function onTrial(isolation: Isolation = breaking) {
    const sample = opened(isolation);
    sample.upstream.setHealth(sample.b, false, "connection refused", 1);
    const trial = begun(sample.upstream, OPEN_MS);
    expect(trial.last).toBe("try a");
    expect(begun(sample.upstream, OPEN_MS).last).toBe("answer 503 circuit-open");
    return { ...sample, trial };
  }

  test("opens again, for twice as long, when its trial fails", () => {
    const { upstream, a, trial } = onTrial();
    trial.ended(failure("reset"), "request", OPEN_MS + 10);
    expect(upstream.stateOf(a)).toMatchObject({ state: "open", reason: "a trial failed", since: OPEN_MS + 10 });
    expect(upstream.circuitOf(a)?.untilMs).toBe(OPEN_MS + 10 + 2 * OPEN_MS);
    expect(upstream.wakeAtMs).toBe(OPEN_MS + 10 + 2 * OPEN_MS);
  });

  test.each<[string, (trial: SampleExchange) => void]>([
    ["whose client leaves", (trial) => trial.dispatch.abandon(OPEN_MS + 1)],
    ["that is reported as cancelled", (trial) => trial.ended(cancelled, "request", OPEN_MS + 1)],
    ["for which no connection was free", (trial) => trial.ended(failure("exhausted"), "nothing", OPEN_MS + 1)],
  ])("gives the permit of a trial back %s: the next exchange is the trial", (_how, end) => {
    const { upstream, a, trial } = onTrial();
    end(trial);
    expect(upstream.available).toEqual([a]);
    expect(upstream.stateOf(a)?.state).toBe("half-open");
    expect(begun(upstream, OPEN_MS + 2).last).toBe("try a");
    expect(begun(upstream, OPEN_MS + 2).last).toBe("answer 503 circuit-open");
  });

  test("closes when the trial begins to answer: a tunnel or a long download keeps nobody waiting for its end", () => {
    const { upstream, a, trial } = onTrial();
    trial.dispatch.responded(101, OPEN_MS + 5, trial.dispatch.attempt);
    expect(upstream.stateOf(a)?.state).toBe("up");
    expect(begun(upstream, OPEN_MS + 6).last).toBe("try a");
    trial.ended(failure("truncated"), "response", OPEN_MS + 60_000);
    expect(upstream.stateOf(a)?.state).toBe("up");
    expect(upstream.circuitOf(a)?.trips).toBe(1);
  });

  test("opens again when the trial begins to answer with a failure", () => {
    const { upstream, a, trial } = onTrial();
    trial.dispatch.responded(500, OPEN_MS + 5, trial.dispatch.attempt);
    expect(upstream.stateOf(a)?.state).toBe("open");
    trial.ended(success(500), "response", OPEN_MS + 6);
    expect(upstream.circuitOf(a)?.trips).toBe(2);
  });

  test("lets as many trials through as configured, and closes when all have succeeded", () => {
    const { upstream, a } = opened({ circuitBreaker: { ...sampleBreaker, halfOpenRequests: 2 } });
    const running = [1, 2, 3, 4, 5].map(() => begun(upstream, OPEN_MS));
    const trials = running.filter(({ last }) => last === "try a");
    expect(trials).toHaveLength(2);
    trials[0]!.succeeded(OPEN_MS + 1);
    expect(upstream.stateOf(a)?.state).toBe("half-open");
    trials[1]!.succeeded(OPEN_MS + 2);
    expect(upstream.stateOf(a)?.state).toBe("up");
  });

  test("who waits goes on when the circuit closes", () => {
    const { upstream, a } = sampleUpstream(
      { a: { limit: 1 } },
      { ...breaking, queue: { max: 9, timeout: 60_000, target: Number.POSITIVE_INFINITY } },
    );
    attempts(upstream, failure("reset"), 5);
    const trial = begun(upstream, OPEN_MS);
    expect(trial.last).toBe("try a");
    trial.dispatch.responded(200, OPEN_MS + 1, trial.dispatch.attempt);
    const next = begun(upstream, OPEN_MS + 2);
    expect(next.last).toBe("wait");
    trial.ended(success(), "response", OPEN_MS + 3);
    expect(next.last).toBe("try a");
    expect(a.active).toBe(1);
  });
});

describe("health checks", () => {
  test("one that brings the backend up closes its circuit: what traffic had taught is old", () => {
    const { upstream, a, changes } = opened();
    upstream.setHealth(a, false, "connection refused", 10);
    expect(upstream.stateOf(a)?.state).toBe("down");
    upstream.setHealth(a, true, "check passed", 20);
    expect(upstream.stateOf(a)).toEqual({ state: "up", reason: "check passed", since: 20 });
    expect(upstream.circuitOf(a)?.state).toBe("closed");
    expect(changes).toEqual(["a open -> down: connection refused", "a down -> up: check passed"]);
  });

  test("one that passes as all before it did says nothing against the circuit", () => {
    const { upstream, a } = opened();
    upstream.setHealth(a, true, "check passed", 10);
    upstream.checkPassed(a, true, 10);
    expect(upstream.stateOf(a)?.state).toBe("open");
  });

  test("a circuit that is half-open by then is not tried while the checks fail", () => {
    const { upstream, a, b } = opened();
    upstream.setHealth(a, false, "connection refused", 10);
    upstream.advance(OPEN_MS);
    expect(upstream.stateOf(a)?.state).toBe("down");
    expect(upstream.available).toEqual([b]);
  });
});

describe("panic", () => {
  test("is told when it begins and when it is over", () => {
    const told: boolean[] = [];
    const { upstream, a, b } = sampleUpstream(
      { a: {}, b: {} },
      { panicThreshold: 0.6 },
      { panicked: (on) => told.push(on) },
    );
    upstream.setHealth(a, false, "connection refused", 1);
    expect(told).toEqual([true]);
    upstream.setHealth(b, false, "connection refused", 2);
    upstream.setHealth(a, true, "check passed", 3);
    expect(told).toEqual([true]);
    upstream.setHealth(b, true, "check passed", 4);
    expect(told).toEqual([true, false]);
  });

  const panicking: Isolation = {
    circuitBreaker: { ...sampleBreaker, halfOpenRequests: 2 },
    panicThreshold: 0.6,
    queue: { max: 9, timeout: 60_000, target: Number.POSITIVE_INFINITY },
  };

  test("ignores circuits: one that is open is neither asked nor told", () => {
    const { upstream, a, b } = opened(panicking);
    expect(upstream.available).toEqual([a, b]);
    const exchanges = [1, 2].map(() => begun(upstream, 100));
    expect(exchanges.map(({ last }) => last).toSorted()).toEqual(["try a", "try b"]);
    for (const exchange of exchanges) exchange.ended(failure("reset"), "request", 200);
    expect(upstream.circuitOf(a)?.untilMs).toBe(OPEN_MS);
    expect(upstream.circuitOf(a)?.trips).toBe(1);
  });

  test("leaves a circuit open that an attempt out of the queue meets after its time: it is tried as ever, later", () => {
    const { upstream, a, b } = sampleUpstream({ a: { limit: 1 }, b: { limit: 1 } }, panicking);
    upstream.setAdminState(b, "down", "set by an operator", 0);
    attempts(upstream, failure("reset"), 5);
    upstream.setAdminState(b, "up", "set by an operator", 0);
    const running = [1, 2].map(() => begun(upstream, 5_200));
    const waiting = [1, 2].map(() => begun(upstream, 5_201));
    // Nobody advanced it in between.
    for (const exchange of running) exchange.succeeded(OPEN_MS + 1);
    for (const exchange of waiting) exchange.succeeded(OPEN_MS + 2);
    expect(upstream.circuitOf(a)?.state).toBe(upstream.stateOf(a)?.state);
    upstream.advance(OPEN_MS + 3);
    expect(upstream.stateOf(a)?.state).toBe("half-open");
  });

  test("sends nothing to what an operator took out, also when its checks had taken it out before", () => {
    for (const state of ["down", "drain"] as const) {
      const { upstream, a, b } = sampleUpstream({ a: {}, b: {} }, panicking);
      upstream.setHealth(a, false, "connection refused", 0);
      expect(upstream.available).toEqual([a, b]);
      upstream.setAdminState(a, state, "set by an operator", 1);
      expect(upstream.available).toEqual([b]);
      upstream.setAdminState(a, "up", "set by an operator", 2);
      expect(upstream.available).toEqual([a, b]);
    }
  });
});
