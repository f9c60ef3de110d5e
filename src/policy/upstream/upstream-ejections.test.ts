import { describe, expect, test } from "vitest";
import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";
import type { Isolation } from "./isolation.ts";
import {
  cancelled,
  failure,
  SampleExchange,
  sampleBreaker,
  sampleDetection,
  sampleQueue,
  sampleUpstream,
  success,
  timeout,
} from "./samples.ts";
import type { Upstream } from "./upstream.ts";

const { begun } = SampleExchange;
const detecting: Isolation = { outlierDetection: sampleDetection, queue: sampleQueue };
const reset = failure("reset");

/** Ends an attempt on each backend that is in: with `outcome` on the one called `id`, well on the others. */
function round(upstream: Upstream, id: string, outcome: Outcome, now = 0): void {
  const running = upstream.available.map(() => begun(upstream, now));
  for (const exchange of running) {
    const its = exchange.dispatch.backend?.id === id ? outcome : success();
    exchange.ended(its, its.kind === "success" ? "response" : "request", now);
  }
}

/** An upstream over a, b and c of which a has been ejected at 0. */
function ejected(isolation: Isolation = detecting, outcome: Outcome = reset) {
  const sample = sampleUpstream({ a: {}, b: {}, c: {} }, isolation);
  for (let n = 0; n < 5; n++) round(sample.upstream, "a", outcome);
  expect(sample.upstream.stateOf(sample.a)?.state).toBe("ejected");
  return sample;
}

describe("a backend that stands out", () => {
  test("is taken out after failures in a row, with the reason, until its time is over", () => {
    const { upstream, a, b, c, changes, alarms } = ejected();
    expect(upstream.available).toEqual([b, c]);
    expect(upstream.stateOf(a)).toEqual({ state: "ejected", reason: "5 failures in a row", since: 0 });
    expect(upstream.ejectionOf(a)).toEqual({ untilMs: 30_000, reason: "5 failures in a row", forRow: true });
    expect(alarms).toContain(10_000);
    while (upstream.wakeAtMs <= 30_000) upstream.advance(upstream.wakeAtMs);
    expect(upstream.available).toEqual([a, b, c]);
    expect(upstream.ejectionOf(a)).toBeUndefined();
    expect(changes).toEqual(["a up -> ejected: 5 failures in a row", "a ejected -> up: its ejection is over"]);
  });

  test("comes back by picking alone, when nobody advances the upstream", () => {
    const { upstream, a } = ejected();
    for (let n = 0; n < 3; n++) begun(upstream, 30_000);
    expect(a.active).toBe(1);
  });

  test.each<[string, Outcome, boolean]>([
    ["an error of its own", success(500), true],
    ["that a gateway says", success(503), true],
    ["no answer in time", timeout("response"), true],
    ["no connection", failure("connect"), true],
    ["that the client asks for too much", success(429), false],
    ["that the client left", cancelled, false],
    ["that no connection was free", failure("exhausted"), false],
    ["that its pool was full for long", timeout("queue"), false],
  ])("five times %s: %j takes it out: %s", (_what, outcome, out) => {
    const { upstream, a } = sampleUpstream({ a: {}, b: {}, c: {} }, detecting);
    for (let n = 0; n < 5; n++) round(upstream, "a", outcome);
    expect(upstream.stateOf(a)?.state).toBe(out ? "ejected" : "up");
  });

  test("is not taken out when too many are: nobody is left alone", () => {
    const { upstream, b } = ejected();
    for (let n = 0; n < 5; n++) round(upstream, "b", reset);
    expect(upstream.stateOf(b)?.state).toBe("up");
  });

  test("is neither ejected nor missed when it is no member any more", () => {
    const { upstream, a, b, c } = sampleUpstream({ a: {}, b: {}, c: {} }, detecting);
    for (let n = 0; n < 4; n++) round(upstream, "a", reset);
    const running = [1, 2, 3].map(() => begun(upstream));
    upstream.update([b, c], 1);
    for (const exchange of running) exchange.ended(reset, "request", 2);
    expect(upstream.available).toEqual([b, c]);
    expect(upstream.ejectionOf(a)).toBeUndefined();
  });
});

describe("the last backend that serves", () => {
  const away: readonly [string, (upstream: Upstream, backend: Backend) => void][] = [
    ["down by its checks", (upstream, backend) => upstream.setHealth(backend, false, "connection refused", 0)],
    ["taken out by an operator", (upstream, backend) => upstream.setAdminState(backend, "down", "set by hand", 0)],
    ["draining", (upstream, backend) => upstream.setAdminState(backend, "drain", "deploy", 0)],
    ["without weight", (upstream, backend) => upstream.setWeight(backend, 0, 0)],
  ];

  test.each(away)("is not taken out while the other is %s, however it does", (_what, takeAway) => {
    const { upstream, a, b, changes } = sampleUpstream({ a: {}, b: {} }, detecting);
    takeAway(upstream, b);
    changes.length = 0;
    for (let n = 0; n < 20; n++) begun(upstream).ended(success(500), "response", 0);
    expect(begun(upstream).last).toBe("try a");
    expect([upstream.available, changes]).toEqual([[a], []]);
  });

  test("is taken out at its next failure once the other is back", () => {
    const { upstream, a, b } = sampleUpstream({ a: {}, b: {} }, detecting);
    upstream.setHealth(b, false, "connection refused", 0);
    for (let n = 0; n < 8; n++) begun(upstream).ended(reset, "request", 0);
    upstream.setHealth(b, true, "check passed", 10);
    expect(upstream.stateOf(a)?.state).toBe("up");
    round(upstream, "a", reset, 20);
    expect(upstream.stateOf(a)).toMatchObject({ state: "ejected", reason: "9 failures in a row" });
  });

  test("may be taken out where a backup can take over", () => {
    const { upstream, a, b } = sampleUpstream({ a: {}, b: { tier: 1 } }, detecting);
    for (let n = 0; n < 5; n++) begun(upstream).ended(reset, "request", 0);
    expect(upstream.stateOf(a)?.state).toBe("ejected");
    expect(upstream.available).toEqual([b]);
  });

  test.each(away)("comes back from its ejection when the other is %s later", (_what, takeAway) => {
    const { upstream, a, b } = sampleUpstream({ a: {}, b: {} }, detecting);
    for (let n = 0; n < 5; n++) round(upstream, "a", reset);
    expect(upstream.available).toEqual([b]);
    takeAway(upstream, b);
    expect(upstream.stateOf(a)).toMatchObject({ state: "up", reason: "its ejection is over" });
    expect(begun(upstream, 1).last).toBe("try a");
  });

  test("comes back when the other is no member any more", () => {
    const { upstream, a } = sampleUpstream({ a: {}, b: {} }, detecting);
    for (let n = 0; n < 5; n++) round(upstream, "a", reset);
    upstream.update([a], 1);
    expect(upstream.available).toEqual([a]);
  });

  test("is, of several that are out, the one whose time would have come first; the others stay out", () => {
    const { upstream, a, b, c, d } = sampleUpstream(
      { a: {}, b: {}, c: {}, d: {} },
      { ...detecting, outlierDetection: { ...sampleDetection, maxEjected: 0.5 } },
    );
    for (let n = 0; n < 5; n++) round(upstream, "b", reset, 0);
    for (let n = 0; n < 5; n++) round(upstream, "a", reset, 1_000);
    upstream.setHealth(c, false, "connection refused", 2_000);
    expect(upstream.available).toEqual([d]);
    upstream.setHealth(d, false, "connection refused", 3_000);
    expect(upstream.available).toEqual([b]);
    expect(upstream.stateOf(a)?.state).toBe("ejected");
    upstream.setHealth(b, false, "connection refused", 4_000);
    expect(upstream.available).toEqual([a]);
  });

  describe("where the other one's circuit is half-open, and it is at its trial,", () => {
    // The circuit is for connections alone, so that there is something left to eject for.
    const isolation: Isolation = { ...detecting, circuitBreaker: { ...sampleBreaker, on: ["connect"] } };

    /** Only a serves; a trial of b is due. */
    function onTrial() {
      const sample = sampleUpstream({ a: {}, b: {}, c: {} }, isolation);
      const { upstream, b, c } = sample;
      upstream.setAdminState(c, "down", "set by an operator", 0);
      for (let n = 0; n < 5; n++) round(upstream, "b", failure("connect"));
      expect(upstream.stateOf(b)?.state).toBe("open");
      while (upstream.stateOf(b)?.state === "open") upstream.advance(upstream.wakeAtMs);
      return { ...sample, now: upstream.stateOf(b)!.since };
    }

    test("is not taken out: one trial cannot do its work", () => {
      const { upstream, a, now } = onTrial();
      const running = Array.from({ length: 10 }, () => begun(upstream, now));
      for (const exchange of running) {
        if (exchange.dispatch.backend === a) exchange.ended(success(500), "response", now);
      }
      expect(upstream.stateOf(a)?.state).toBe("up");
    });

    test("comes back with that trial", () => {
      const { upstream, a, b, c, now } = onTrial();
      upstream.setAdminState(c, "up", "set by an operator", now);
      for (let n = 0; n < 30 && upstream.ejectionOf(a) === undefined; n++) {
        const exchange = begun(upstream, now);
        if (exchange.dispatch.backend === a) exchange.ended(success(500), "response", now);
        else exchange.dispatch.abandon(now);
      }
      upstream.setAdminState(c, "down", "set by an operator", now);
      expect(upstream.available).toEqual([b]);
      expect([begun(upstream, now).last, begun(upstream, now).last]).toEqual(["try b", "try a"]);
    });
  });

  test("is brought back to those that wait for it", () => {
    const { upstream, b } = sampleUpstream({ a: {}, b: { limit: 1 } }, detecting);
    for (let n = 0; n < 5; n++) round(upstream, "a", reset);
    const [running, waiting] = [begun(upstream), begun(upstream)];
    expect([running.last, waiting.last]).toEqual(["try b", "wait"]);
    upstream.setHealth(b, false, "connection refused", 1);
    expect(waiting.last).toBe("try a");
  });
});

describe("a good check", () => {
  test("brings a backend back that answered badly, if it asked for an answer", () => {
    const { upstream, a } = ejected();
    upstream.checkPassed(a, false, 1_000);
    expect(upstream.stateOf(a)?.state).toBe("ejected");
    upstream.checkPassed(a, true, 1_000);
    expect(upstream.stateOf(a)).toEqual({ state: "up", reason: "its ejection is over", since: 1_000 });
  });

  test("of its address brings one back that could not be reached", () => {
    const { upstream, a } = ejected(detecting, failure("connect"));
    upstream.checkPassed(a, false, 1_000);
    expect(upstream.stateOf(a)?.state).toBe("up");
  });

  test("says nothing of a backend that does badly now and then, however it is asked", () => {
    const failureShare = { threshold: 0.5, minimumBackends: 3, minimumRequests: 10 };
    const { upstream, a } = sampleUpstream(
      { a: {}, b: {}, c: {} },
      { ...detecting, outlierDetection: { ...sampleDetection, failureShare } },
    );
    for (let n = 0; n < 12; n++) round(upstream, "a", n % 4 === 3 ? success() : success(500));
    upstream.advance(10_000);
    expect(upstream.ejectionOf(a)).toMatchObject({ untilMs: 40_000, forRow: false });
    for (const http of [true, false]) upstream.checkPassed(a, http, 15_000);
    expect(upstream.stateOf(a)?.state).toBe("ejected");
    while (upstream.wakeAtMs <= 40_000) upstream.advance(upstream.wakeAtMs);
    expect(upstream.stateOf(a)).toMatchObject({ state: "up", since: 40_000 });
  });

  test("that ends an outage brings it back, too", () => {
    const { upstream, a, changes } = ejected();
    upstream.setHealth(a, false, "connection refused", 10);
    upstream.setHealth(a, true, "check passed", 20);
    expect(upstream.stateOf(a)).toEqual({ state: "up", reason: "check passed", since: 20 });
    expect(changes.slice(1)).toEqual(["a ejected -> down: connection refused", "a down -> up: check passed"]);
  });

  test("means nothing to a backend that is in", () => {
    const { upstream, b, changes } = ejected();
    upstream.checkPassed(b, true, 10);
    expect(changes).toHaveLength(1);
  });
});

test("what opens a circuit does not eject as well: the backend is tried again after the circuit's pause", () => {
  const { upstream, a, changes } = sampleUpstream(
    { a: {}, b: {}, c: {} },
    { ...detecting, circuitBreaker: sampleBreaker },
  );
  for (let n = 0; n < 5; n++) round(upstream, "a", reset);
  expect([upstream.stateOf(a)?.state, upstream.ejectionOf(a)]).toEqual(["open", undefined]);
  while (upstream.wakeAtMs <= 30_000) upstream.advance(upstream.wakeAtMs);
  expect(changes).toEqual(["a up -> open: 5 failures in a row", "a open -> half-open: 5 failures in a row"]);
});

test("where a circuit has judged, no row is held against the backend when it has closed again", () => {
  const { upstream, a, changes } = sampleUpstream(
    { a: {}, b: {}, c: {} },
    { ...detecting, circuitBreaker: { ...sampleBreaker, consecutiveFailures: 4 } },
  );
  for (let n = 0; n < 4; n++) round(upstream, "a", reset);
  while (upstream.stateOf(a)?.state === "open") upstream.advance(upstream.wakeAtMs);
  const now = upstream.stateOf(a)!.since;
  round(upstream, "a", success(), now);
  for (let n = 0; n < 3; n++) round(upstream, "a", reset, now);
  expect(changes.map((change) => change.replace(/:.*/, ""))).toEqual([
    "a up -> open",
    "a open -> half-open",
    "a half-open -> up",
  ]);
});

test("an ejection that ends while its backend is down is told, though the backend stays down", () => {
  const { upstream, a, b } = ejected();
  upstream.setHealth(a, false, "connection refused", 10);
  const told: [string, boolean][] = [];
  upstream.onChange(({ kind, backend }) => told.push([`${backend.id} ${kind}`, upstream.ejectionOf(a) !== undefined]));
  while (upstream.wakeAtMs <= 30_000) upstream.advance(upstream.wakeAtMs);
  expect(told).toEqual([["a condition", false]]);
  expect(upstream.stateOf(a)?.state).toBe("down");
  expect(upstream.stateOf(b)?.state).toBe("up");
});

test("a good check that ends all of an outage, a circuit and an ejection is one change", () => {
  const { upstream, a, changes } = sampleUpstream(
    { a: {}, b: {}, c: {} },
    { ...detecting, circuitBreaker: sampleBreaker },
  );
  for (let n = 0; n < 5; n++) round(upstream, "a", reset);
  upstream.setHealth(a, false, "connection refused", 10);
  changes.length = 0;
  upstream.setHealth(a, true, "check passed", 20);
  expect(changes).toEqual(["a down -> up: check passed"]);
});

test("who waits goes to a backend that comes back", () => {
  const { upstream, a, b } = sampleUpstream({ a: {}, b: { limit: 1 } }, detecting);
  for (let n = 0; n < 5; n++) round(upstream, "a", reset);
  const [running, waiting] = [begun(upstream), begun(upstream)];
  expect([running.last, waiting.last]).toEqual(["try b", "wait"]);
  upstream.checkPassed(a, true, 5);
  expect(waiting.last).toBe("try a");
  expect(b.active).toBe(1);
});

test("when members go and more are out than may be, the surplus is back at once", () => {
  const names = Array.from({ length: 20 }, (_, n) => `b${n}`);
  const specs: Record<string, object> = Object.fromEntries(names.map((name) => [name, {}]));
  const { upstream, backends, alarms } = sampleUpstream(specs, detecting);
  for (const id of ["b0", "b1"]) for (let n = 0; n < 5; n++) round(upstream, id, reset);
  expect(upstream.available).toHaveLength(18);
  upstream.update(backends.slice(0, 3), 50);
  expect(alarms.at(-1)).toBe(50);
  upstream.advance(upstream.wakeAtMs);
  expect(upstream.available).toHaveLength(2);
});
