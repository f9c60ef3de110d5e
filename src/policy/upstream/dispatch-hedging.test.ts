import { describe, expect, test } from "vitest";
import { RoundRobin } from "../balance/round-robin.ts";
import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";
import type { Isolation } from "./isolation.ts";
import {
  active,
  cancelled,
  failure,
  type SampleBackend,
  SampleExchange,
  sampleHedge,
  sampleQueue,
  sampleRetry,
  sampleUpstream,
} from "./samples.ts";

const { begun } = SampleExchange;
const hedging: Isolation = { hedge: { ...sampleHedge, budget: 1 }, retry: sampleRetry, queue: sampleQueue };

/** Notes who is told of which outcome. */
class Listening extends RoundRobin {
  readonly heard: string[] = [];
  settled(backend: Backend, outcome: Outcome): void {
    this.heard.push(`${backend.id} ${outcome.kind} after ${outcome.durationMs}`);
  }
}

/** An upstream that has answered 20 requests, each after 10 ms, so that hedges follow after about that; now is 1000. */
function practised(isolation: Isolation = hedging, method = "GET", each: SampleBackend = {}) {
  const balancer = new Listening();
  const sample = sampleUpstream({ a: each, b: each }, isolation, { balancer });
  const { upstream } = sample;
  for (let n = 0; n < 20; n++) begun(upstream, 990).succeeded(1_000);
  balancer.heard.length = 0;
  const exchange = begun(upstream, 1_000, method);
  const { dispatch } = exchange;
  return { ...sample, balancer, exchange, dispatch, first: dispatch.attempt! };
}

/** The same, with a second attempt beside the first. */
function hedged() {
  const sample = practised();
  const at = sample.dispatch.hedgeAtMs;
  expect(sample.dispatch.hedge(at)).toBe(true);
  return { ...sample, second: sample.dispatch.attempt!, at };
}

describe("a second attempt", () => {
  test("is due once the first has taken longer than most do, and goes to another backend", () => {
    const { dispatch, first, backends, exchange } = practised();
    expect(dispatch.hedgeAtMs).toBeGreaterThanOrEqual(1_010);
    expect(dispatch.hedgeAtMs).toBeLessThan(1_012);
    expect(dispatch.hedge(dispatch.hedgeAtMs)).toBe(true);
    expect(dispatch.attempt?.backend).not.toBe(first.backend);
    expect(active(backends)).toEqual([1, 1]);
    expect(exchange.events).toEqual(["hedged"]);
    expect(dispatch.attempts).toBe(2);
  });

  test("is not planned before enough is known", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, hedging);
    expect(begun(upstream).dispatch.hedgeAtMs).toBe(Number.POSITIVE_INFINITY);
  });

  test("is not planned for what may not be sent twice", () => {
    const { dispatch } = practised(hedging, "POST");
    expect(dispatch.hedgeAtMs).toBe(Number.POSITIVE_INFINITY);
    expect(dispatch.hedge(1_100)).toBe(false);
  });

  test("is not planned for what may be repeated only when it has failed: nobody wants every slow order twice", () => {
    const { dispatch } = practised({ ...hedging, retry: { ...sampleRetry, unsafeMethods: true } }, "POST");
    expect(dispatch.mayRetry).toBe(true);
    expect(dispatch.hedgeAtMs).toBe(Number.POSITIVE_INFINITY);
    expect(dispatch.hedge(1_100)).toBe(false);
  });

  test("that finds no room, or a balancer that throws, costs nothing of the budget", () => {
    const isolation = { ...hedging, hedge: { ...sampleHedge, budget: 0.05 } };
    const { dispatch, first, backends, counts, upstream, balancer } = practised(isolation, "GET", { limit: 1 });
    const [other] = backends.filter((backend) => backend !== first.backend);
    expect(upstream.hedging?.affordable).toBe(true);
    const at = dispatch.hedgeAtMs;
    balancer.pick = () => {
      throw new Error("broken");
    };
    expect(() => dispatch.hedge(at)).toThrow("broken");
    Reflect.deleteProperty(balancer, "pick");
    dispatch.hedgeAtMs = at;
    counts.takeActive(other!.slot, 1); // by another worker
    expect(dispatch.hedge(at)).toBe(false);
    expect(counts.active(other!.slot)).toBe(1);
    expect(upstream.hedging?.affordable).toBe(true);
  });

  test("is not made once the body of the request is gone", () => {
    const { dispatch } = practised();
    dispatch.replayable = false;
    expect(dispatch.hedge(dispatch.hedgeAtMs)).toBe(false);
  });

  test("is not made when the first has answered", () => {
    const { dispatch, first, backends } = practised();
    const at = dispatch.hedgeAtMs;
    expect(dispatch.responded(200, 1_005, first)).toBeUndefined();
    expect(dispatch.hedgeAtMs).toBe(Number.POSITIVE_INFINITY);
    expect(dispatch.hedge(at)).toBe(false);
    expect(active(backends).toSorted()).toEqual([0, 1]);
  });

  test("is made once, not twice", () => {
    const { dispatch, at } = hedged();
    expect(dispatch.hedgeAtMs).toBe(Number.POSITIVE_INFINITY);
    expect(dispatch.hedge(at + 100)).toBe(false);
  });

  test("is not made while others wait for room, be it elsewhere", () => {
    const { upstream, b, counts } = sampleUpstream({ a: {}, b: { limit: 1 }, c: {} }, hedging);
    for (let n = 0; n < 20; n++) begun(upstream, 990).succeeded(1_000);
    counts.takeActive(b.slot, 1);
    const waiting = begun(upstream, 1_000);
    for (let moves = 0; moves < 2; moves++) waiting.ended(failure("connect"), "nothing", 1_000);
    expect(waiting.last).toBe("wait");
    const { dispatch } = begun(upstream, 1_000);
    expect(dispatch.hedge(dispatch.hedgeAtMs)).toBe(false);
    waiting.dispatch.abandon(1_020);
    const next = begun(upstream, 1_020).dispatch;
    expect(next.hedge(next.hedgeAtMs)).toBe(true);
  });

  test("is not made without another backend, nor on one that has no room", () => {
    const { upstream, dispatch, first, backends, counts } = practised();
    const other = backends.find((backend) => backend !== first.backend)!;
    upstream.setHealth(other, false, "connection refused", 1_001);
    const at = dispatch.hedgeAtMs;
    expect(dispatch.hedge(at)).toBe(false);
    expect(counts.active(other.slot)).toBe(0);
  });

  test("is not made beyond the budget: a twentieth of the requests", () => {
    const { upstream } = practised({ ...hedging, hedge: { ...sampleHedge, budget: 0.05 } });
    let made = 0;
    for (let n = 0; n < 99; n++) {
      const exchange = begun(upstream, 1_000);
      if (exchange.dispatch.hedge(exchange.dispatch.hedgeAtMs)) made++;
      exchange.dispatch.abandon(1_020);
    }
    // 20 requests and one more came before.
    expect(made).toBe(6);
  });

  test("is not planned for an attempt that moved, and not left over from the one before a retry", () => {
    for (const progress of ["nothing", "request"] as const) {
      const { dispatch, exchange, backends } = practised();
      const at = dispatch.hedgeAtMs;
      exchange.ended(failure("reset"), progress, 1_005);
      if (exchange.last === "wait") exchange.woken();
      expect(exchange.last).toMatch("try");
      expect(dispatch.hedgeAtMs).toBe(Number.POSITIVE_INFINITY);
      expect(dispatch.hedge(Math.max(at, 1_100))).toBe(false);
      expect(active(backends).toSorted()).toEqual([0, 1]);
    }
  });
});

describe("of two attempts", () => {
  test("the first to answer counts, the other is cancelled and counted off once", () => {
    const { dispatch, exchange, balancer, backends, first, second, at } = hedged();
    expect(dispatch.responded(200, at + 5, first)).toBe(second);
    expect(active(backends).toSorted()).toEqual([0, 1]);
    expect(balancer.heard).toEqual([`${second.backend.id} cancelled after 5`]);
    expect(dispatch.ended(cancelled, "request", at + 6, second)).toBe("wait");
    expect(dispatch.ended(failure("reset"), "request", at + 6, second)).toBe("wait");
    expect(dispatch.ended({ kind: "success", status: 200, durationMs: 30 }, "response", at + 20, first)).toBe("done");
    expect(active(backends)).toEqual([0, 0]);
    expect(balancer.heard).toHaveLength(2);
    expect(exchange.events).toEqual(["hedged"]);
  });

  test("the second may win, which is counted", () => {
    const { dispatch, exchange, balancer, backends, first, second, at } = hedged();
    expect(dispatch.responded(200, at + 3, second)).toBe(first);
    expect(exchange.events).toEqual(["hedged", "hedge-won"]);
    expect(balancer.heard[0]).toMatch(`${first.backend.id} timeout`);
    expect(dispatch.ended({ kind: "success", status: 200, durationMs: 5 }, "response", at + 9, second)).toBe("done");
    expect(active(backends)).toEqual([0, 0]);
    expect(dispatch.status).toBe(0);
  });

  test("a first that is overtaken has timed out where its backend has answered nobody since, and is only late where it has", () => {
    const silent = hedged();
    silent.dispatch.responded(200, silent.at + 3, silent.second);
    expect(silent.balancer.heard).toEqual([`${silent.first.backend.id} timeout after ${silent.at + 3 - 1_000}`]);

    const busy = hedged();
    const { first, second, dispatch, upstream, balancer, at } = busy;
    upstream.answered(first.backend, 0, 200, 5, at + 1);
    dispatch.responded(200, at + 3, second);
    expect(balancer.heard).toEqual([`${first.backend.id} cancelled after ${at + 3 - 1_000}`]);
  });

  test("the second that answers has won, though the first broke before", () => {
    const { dispatch, exchange, first, second, at } = hedged();
    expect(dispatch.ended(failure("reset"), "request", at + 1, first)).toBe("wait");
    dispatch.responded(200, at + 3, second);
    expect(exchange.events).toEqual(["hedged", "hedge-won"]);
  });

  test("one fails: the other may still answer", () => {
    for (const firstFails of [true, false]) {
      const { dispatch, exchange, backends, first, second, at } = hedged();
      const [loser, winner] = firstFails ? [first, second] : [second, first];
      expect(exchange.ended(failure("reset"), "request", at + 1, loser)).toBe("wait");
      expect(dispatch.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
      expect(dispatch.responded(200, at + 2, winner)).toBeUndefined();
      expect(dispatch.ended({ kind: "success", status: 200, durationMs: 1 }, "response", at + 3, winner)).toBe("done");
      expect(active(backends)).toEqual([0, 0]);
    }
  });

  test("both fail: that is two times sent, and answered as the last one failed", () => {
    const { exchange, backends, first, second, at } = hedged();
    exchange.ended(failure("reset"), "request", at + 1, first);
    expect(exchange.ended(failure("malformed"), "request", at + 2, second)).toBe("answer 502 malformed");
    expect(active(backends)).toEqual([0, 0]);
  });

  test("both fail before anything is sent: a third backend may have it", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {}, c: {} }, hedging);
    for (let n = 0; n < 20; n++) begun(upstream, 990).succeeded(1_000);
    const exchange = begun(upstream, 1_000);
    const { dispatch } = exchange;
    const first = dispatch.attempt!;
    dispatch.hedge(dispatch.hedgeAtMs);
    const second = dispatch.attempt!;
    expect(exchange.ended(failure("connect"), "nothing", 1_020, first)).toBe("wait");
    exchange.ended(failure("connect"), "nothing", 1_021, second);
    expect(exchange.last).toMatch("try");
    expect(new Set([first.backend, second.backend, dispatch.attempt!.backend]).size).toBe(3);
  });

  test("an error of one is not the answer while the other is at work; any other response is, and the last one standing", () => {
    const { dispatch, first, at } = hedged();
    expect([500, 503, 200, 404, 429].map((status) => dispatch.waitsForOther(status))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
    expect(dispatch.ended({ kind: "success", status: 500, durationMs: 1 }, "request", at + 1, first)).toBe("wait");
    expect(dispatch.waitsForOther(500)).toBe(false);
  });

  test("neither is retried for its status while the other runs, and not beyond the times that it may be sent", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {}, c: {} }, hedging);
    for (let n = 0; n < 20; n++) begun(upstream, 990).succeeded(1_000);
    const exchange = begun(upstream, 1_000);
    const { dispatch } = exchange;
    const first = dispatch.attempt!;
    expect(dispatch.hedge(dispatch.hedgeAtMs)).toBe(true);
    expect(dispatch.wantsRetry(503, undefined, 1_020)).toBe(false);
    exchange.ended(failure("reset"), "request", 1_020, first);
    expect(dispatch.wantsRetry(503, undefined, 1_021)).toBe(false);
    expect(upstream.retry?.budget.running).toBe(0);
  });

  test("both are cancelled when the client leaves, however that is told", () => {
    for (const told of [true, false]) {
      const { dispatch, exchange, balancer, backends, at } = hedged();
      if (told) expect(exchange.ended(cancelled, "request", at + 1)).toBe("done");
      else dispatch.abandon(at + 1);
      expect(active(backends)).toEqual([0, 0]);
      expect(balancer.heard).toHaveLength(2);
      dispatch.abandon(at + 2);
      expect(balancer.heard).toHaveLength(2);
    }
  });

  test("both are counted off although a balancer of the user's throws when it hears of the first", () => {
    const { dispatch, balancer, backends, upstream, at } = hedged();
    balancer.settled = () => {
      throw new Error("broken");
    };
    expect(() => dispatch.abandon(at + 1)).toThrow("broken");
    expect(active(backends)).toEqual([0, 0]);
    expect(upstream.running).toBe(0);
  });
});

describe("a balancer of the user's that throws at feedback", () => {
  /** A hedged exchange whose balancer throws from now on; the upstream has somewhere to report that to, or not. */
  function deaf(reported: boolean) {
    const balancer = new Listening();
    const errors: unknown[] = [];
    const onError = (error: unknown) => errors.push(error);
    const sample = sampleUpstream({ a: {}, b: {} }, hedging, { balancer, ...(reported ? { onError } : {}) });
    for (let n = 0; n < 20; n++) begun(sample.upstream, 990).succeeded(1_000);
    const exchange = begun(sample.upstream, 1_000);
    const { dispatch } = exchange;
    const first = dispatch.attempt!;
    const at = dispatch.hedgeAtMs;
    expect(dispatch.hedge(at)).toBe(true);
    balancer.settled = () => {
      throw new Error("broken feedback");
    };
    return { ...sample, exchange, dispatch, first, second: dispatch.attempt!, at, errors };
  }

  test("is reported, and costs no exchange its answer, whichever attempt it was about", () => {
    for (const firstWins of [true, false]) {
      const { dispatch, exchange, first, second, at, errors, backends, upstream } = deaf(true);
      const [winner, loser] = firstWins ? [first, second] : [second, first];
      expect(dispatch.responded(200, at + 1, winner)).toBe(loser);
      expect(exchange.ended({ kind: "success", status: 200, durationMs: 2 }, "response", at + 2, winner)).toBe("done");
      expect(errors).toEqual([new Error("broken feedback"), new Error("broken feedback")]);
      expect([active(backends), upstream.running]).toEqual([[0, 0], 0]);
    }
  });

  test("is reported when the one breaks, and the other still answers", () => {
    const { dispatch, exchange, first, second, at, errors, backends } = deaf(true);
    expect(exchange.ended(failure("reset"), "request", at + 1, first)).toBe("wait");
    dispatch.responded(200, at + 2, second);
    expect(exchange.ended({ kind: "success", status: 200, durationMs: 2 }, "response", at + 3, second)).toBe("done");
    expect(errors).toHaveLength(2);
    expect(active(backends)).toEqual([0, 0]);
  });

  test("is reported when the client leaves", () => {
    const { dispatch, at, errors, backends, upstream } = deaf(true);
    dispatch.abandon(at + 1);
    expect(errors).toHaveLength(2);
    expect([active(backends), upstream.running]).toEqual([[0, 0], 0]);
  });

  test("with nobody to report it to, what runs beside it can still be given up, and all is counted off", () => {
    const { dispatch, first, at, backends, upstream } = deaf(false);
    expect(() => dispatch.ended(failure("reset"), "request", at + 1, first)).toThrow("broken feedback");
    expect(() => dispatch.abandon(at + 1)).toThrow("broken feedback");
    expect([active(backends), upstream.running]).toEqual([[0, 0], 0]);
    expect(dispatch.ended(failure("reset"), "request", at + 2, dispatch.attempt!)).toBe("done");
  });
});

test("what a hedge takes says nothing of how long the first attempts take: hedges are not sent sooner and sooner", () => {
  const { upstream, dispatch } = practised({ ...hedging, hedge: { ...sampleHedge, quantile: 0.5, budget: 1 } });
  const delayMs = dispatch.hedgeAtMs - 1_000;
  dispatch.abandon(1_000);
  for (let n = 0; n < 200; n++) {
    const exchange = begun(upstream, 1_000);
    const first = exchange.dispatch.attempt!;
    exchange.dispatch.hedge(exchange.dispatch.hedgeAtMs);
    const winner = n % 2 === 0 ? first : exchange.dispatch.attempt!;
    exchange.dispatch.responded(200, 1_000 + delayMs + 1, winner);
    exchange.dispatch.abandon(1_020);
  }
  expect(upstream.hedging?.delayMs(4_000)).toBeGreaterThanOrEqual(delayMs);
});
