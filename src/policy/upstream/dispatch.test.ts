import { describe, expect, test } from "vitest";
import { sampleBackends, sampleRequest } from "../balance/samples.ts";
import { WeightedRoundRobin } from "../balance/weighted-round-robin.ts";
import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";
import { Dispatch } from "./dispatch.ts";
import type { Isolation } from "./isolation.ts";
import { active, failure, sampleRetry, success, timeout } from "./samples.ts";
import { Upstream } from "./upstream.ts";

const request = sampleRequest(0);
const connectFailed = failure("connect");

function over(
  weights: Record<string, number>,
  isolation: Isolation = { retry: sampleRetry },
): { upstream: Upstream; backends: Backend[]; dispatch: Dispatch } {
  const backends = sampleBackends(weights);
  const upstream = new Upstream({ name: "web", balancer: new WeightedRoundRobin(), isolation });
  upstream.update(backends, 0);
  return { upstream, backends, dispatch: new Dispatch(upstream, request) };
}

describe("an exchange that goes well", () => {
  test("is one attempt on the backend that is due, counted while it runs", () => {
    const { backends, dispatch } = over({ a: 2, b: 1 });
    expect(dispatch.begin(0)).toBe("try");
    expect(dispatch.backend).toBe(backends[0]);
    expect(active(backends)).toEqual([1, 0]);
    expect(dispatch.ended(success(), "response", 5)).toBe("done");
    expect(active(backends)).toEqual([0, 0]);
    expect(dispatch).toMatchObject({ attempts: 1, status: 0, reason: "none", retryAfterSeconds: 0 });
  });

  test("a response with an error status is the backend's answer, and goes to the client", () => {
    const { dispatch } = over({ a: 1, b: 1 });
    dispatch.begin(0);
    expect(dispatch.ended({ kind: "success", status: 503, durationMs: 1 }, "response", 5)).toBe("done");
    expect(dispatch.status).toBe(0);
  });
});

test("what is learnt of a backend is how long it took to begin its response, not how long its client took to read that", () => {
  const [a] = sampleBackends({ a: 1 }) as [Backend];
  const heard: Outcome[] = [];
  const upstream = new Upstream({
    name: "web",
    balancer: {
      update() {},
      pick: () => a,
      settled: (_backend, outcome) => {
        heard.push(outcome);
      },
    },
  });
  upstream.update([a], 0);
  const [whole, broken] = [new Dispatch(upstream, request), new Dispatch(upstream, request)];
  for (const dispatch of [whole, broken]) {
    dispatch.begin(100);
    dispatch.responded(200, 107);
  }
  whole.ended(success(200, 60_000), "response", 60_100);
  broken.ended({ kind: "failure", reason: "truncated", durationMs: 60_000 }, "response", 60_100);
  expect(heard).toEqual([success(200, 7), { kind: "failure", reason: "truncated", durationMs: 60_000 }]);
});

describe("an attempt of which nothing was sent", () => {
  test.each<[string, Outcome]>([
    ["its connection failed", connectFailed],
    ["its connection timed out", timeout("connect")],
    ["its connection broke before the first byte", failure("reset")],
    ["its pool was full", failure("exhausted")],
    ["its pool had no room in time", timeout("queue")],
  ])("moves to another backend when %s", (_why, outcome) => {
    const { backends, dispatch } = over({ a: 1, b: 1 });
    expect(dispatch.begin(0)).toBe("try");
    expect(dispatch.ended(outcome, "nothing", 1)).toBe("try");
    expect(dispatch.backend).toBe(backends[1]);
    expect(active(backends)).toEqual([0, 1]);
    expect(dispatch.ended(success(), "response", 2)).toBe("done");
    expect(dispatch.attempts).toBe(2);
    expect(active(backends)).toEqual([0, 0]);
  });

  test("tries each backend once, whatever its weight, then answers as the last one failed", () => {
    const { backends, dispatch } = over({ a: 5, b: 1, c: 1 });
    const tried: (Backend | undefined)[] = [];
    let step = dispatch.begin(0);
    while (step === "try") {
      tried.push(dispatch.backend);
      step = dispatch.ended(connectFailed, "nothing", tried.length);
    }
    expect(new Set(tried)).toEqual(new Set(backends));
    expect(tried).toHaveLength(3);
    expect(step).toBe("answer");
    expect(dispatch).toMatchObject({ status: 502, reason: "connect", retryAfterSeconds: 0, attempts: 3 });
    expect(active(backends)).toEqual([0, 0, 0]);
  });

  test("waits for a connection in three pools, not in a fourth", () => {
    const { dispatch } = over({ a: 1, b: 1, c: 1, d: 1 });
    dispatch.begin(0);
    expect(dispatch.ended(timeout("queue"), "nothing", 1_000)).toBe("try");
    expect(dispatch.ended(timeout("queue"), "nothing", 2_000)).toBe("try");
    expect(dispatch.ended(timeout("queue"), "nothing", 3_000)).toBe("answer");
    expect(dispatch).toMatchObject({ status: 503, reason: "queue-timeout", retryAfterSeconds: 1, attempts: 3 });
  });

  test("does not move once the time of the whole exchange is up", () => {
    const { dispatch } = over({ a: 1, b: 1 });
    dispatch.begin(0);
    expect(dispatch.ended(timeout("route"), "nothing", 10_000)).toBe("answer");
    expect(dispatch).toMatchObject({ status: 504, reason: "route-timeout" });
  });

  test("finds a backend that came up in the meantime, and none that went down", () => {
    const { upstream, backends, dispatch } = over({ a: 1, b: 1, c: 1 });
    const [a, b, c] = backends as [Backend, Backend, Backend];
    upstream.setHealth(c, false, "connection refused", 0);
    dispatch.begin(0);
    expect(dispatch.backend).toBe(a);
    upstream.setHealth(b, false, "connection refused", 1);
    upstream.setHealth(c, true, "check passed", 1);
    expect(dispatch.ended(connectFailed, "nothing", 1)).toBe("try");
    expect(dispatch.backend).toBe(c);
    expect(dispatch.ended(connectFailed, "nothing", 2)).toBe("answer");
  });
});

describe("when it is final", () => {
  test.each<[Outcome, number, string]>([
    [failure("reset"), 502, "reset"],
    [failure("malformed"), 502, "malformed"],
    [failure("truncated"), 502, "truncated"],
    [timeout("response"), 504, "response-timeout"],
    [timeout("body"), 504, "body-timeout"],
    [timeout("route"), 504, "route-timeout"],
    [connectFailed, 502, "connect"],
  ])("%j after a byte of the request was sent is answered, where retries are off", (outcome, status, reason) => {
    const { backends, dispatch } = over({ a: 1, b: 1 }, {});
    dispatch.begin(0);
    expect(dispatch.ended(outcome, "request", 1)).toBe("answer");
    expect(dispatch).toMatchObject({ status, reason, retryAfterSeconds: 0, attempts: 1 });
    expect(active(backends)).toEqual([0, 0]);
  });

  test.each<[Outcome, number, string, number]>([
    [failure("exhausted"), 503, "exhausted", 1],
    [timeout("queue"), 503, "queue-timeout", 1],
    [timeout("connect"), 504, "connect-timeout", 0],
  ])("%j on the only backend is answered with what it means", (outcome, status, reason, retryAfterSeconds) => {
    const { dispatch } = over({ a: 1 });
    dispatch.begin(0);
    expect(dispatch.ended(outcome, "nothing", 1)).toBe("answer");
    expect(dispatch).toMatchObject({ status, reason, retryAfterSeconds });
  });

  test.each<[Outcome, string]>([
    [failure("truncated"), "truncated"],
    [failure("reset"), "reset"],
    [timeout("body"), "body-timeout"],
  ])("%j after some of the response went out can only be cut off, with the reason for the log", (outcome, reason) => {
    const { backends, dispatch } = over({ a: 1, b: 1 });
    dispatch.begin(0);
    expect(dispatch.ended(outcome, "response", 1)).toBe("done");
    expect(dispatch).toMatchObject({ status: 0, reason });
    expect(active(backends)).toEqual([0, 0]);
  });

  test("nothing moves either, where retries are off", () => {
    const { backends, dispatch } = over({ a: 1, b: 1 }, { retry: false });
    dispatch.begin(0);
    expect(dispatch.ended(connectFailed, "nothing", 1)).toBe("answer");
    expect(dispatch).toMatchObject({ status: 502, reason: "connect", attempts: 1 });
    expect(active(backends)).toEqual([0, 0]);
  });

  test("without any backend it is a 503, and says when to come again", () => {
    const { upstream, backends, dispatch } = over({ a: 1 });
    upstream.setAdminState(backends[0]!, "down", "set by an operator", 0);
    expect(dispatch.begin(0)).toBe("answer");
    expect(dispatch).toMatchObject({ status: 503, reason: "no-backend", retryAfterSeconds: 5, attempts: 0 });
    expect(dispatch.backend).toBeUndefined();
  });
});

describe("a client that leaves", () => {
  test("mid-attempt cancels it, with the time it ran", () => {
    const { backends } = over({ a: 1 });
    const heard: Outcome[] = [];
    const upstream = new Upstream({
      name: "web",
      balancer: {
        update() {},
        pick: () => backends[0],
        settled: (_backend, outcome) => {
          heard.push(outcome);
        },
      },
    });
    upstream.update(backends, 0);
    const watched = new Dispatch(upstream, request);
    watched.begin(100);
    watched.abandon(130);
    expect(heard).toEqual([{ kind: "cancelled", durationMs: 30 }]);
    expect(active(backends)).toEqual([0]);
  });

  test("may as well be reported as the outcome of the attempt: no other one is made", () => {
    const { backends, dispatch } = over({ a: 1, b: 1 });
    dispatch.begin(0);
    expect(dispatch.ended({ kind: "cancelled", durationMs: 3 }, "nothing", 3)).toBe("done");
    expect(active(backends)).toEqual([0, 0]);
  });

  test("is counted once, though the attempt reports afterwards and the client leaves twice", () => {
    const { backends, dispatch } = over({ a: 1, b: 1 });
    dispatch.begin(0);
    dispatch.abandon(1);
    dispatch.abandon(1);
    expect(dispatch.ended(connectFailed, "nothing", 2)).toBe("done");
    expect(dispatch).toMatchObject({ attempts: 1, status: 0, reason: "none" });
    expect(active(backends)).toEqual([0, 0]);
  });

  test("before the first attempt or after the last changes nothing", () => {
    const { backends, dispatch } = over({ a: 1 });
    dispatch.abandon(0);
    dispatch.begin(1);
    dispatch.ended(success(), "response", 2);
    dispatch.abandon(3);
    expect(active(backends)).toEqual([0]);
  });
});

test("a balancer of the user's that throws when the exchange moves on leaves nothing counted", () => {
  const backends = sampleBackends({ a: 1, b: 1 });
  const upstream = new Upstream({
    name: "web",
    isolation: { retry: sampleRetry },
    balancer: {
      update() {},
      pick: (_request, now) => {
        if (now > 0) throw new Error("broken");
        return backends[0];
      },
    },
  });
  upstream.update(backends, 0);
  const dispatch = new Dispatch(upstream, request);
  dispatch.begin(0);
  expect(() => dispatch.ended(connectFailed, "nothing", 1)).toThrow("broken");
  dispatch.abandon(2);
  expect(active(backends)).toEqual([0, 0]);
});
