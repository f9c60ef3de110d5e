import { describe, expect, test } from "vitest";
import { RoundRobin } from "../balance/round-robin.ts";
import type { Outcome } from "../model/outcome.ts";
import type { AnswerReason } from "./answer.ts";
import type { Isolation } from "./isolation.ts";
import {
  active,
  failure,
  SampleExchange,
  sampleBreaker,
  sampleQueue,
  sampleRetry,
  sampleUpstream,
  success,
  timeout,
} from "./samples.ts";

const { begun } = SampleExchange;
const isolation: Isolation = { retry: sampleRetry, queue: sampleQueue };

/** An upstream over a and b whose fallback is one over c. */
function withSpare(spare: Isolation = isolation) {
  const web = sampleUpstream({ a: {}, b: {} }, isolation);
  const other = sampleUpstream({ c: { limit: 1 } }, spare, { name: "spare" });
  web.upstream.fallback = { upstream: other.upstream };
  return { ...web, c: other.c, spare: other.upstream };
}

describe("when no backend is left to try", () => {
  test("the fallback upstream takes over, and answers as any other", () => {
    const { upstream, a, b, c, spare } = withSpare();
    for (const backend of [a, b]) upstream.setHealth(backend, false, "connection refused", 0);
    const exchange = begun(upstream);
    expect(exchange.log).toEqual(["try c"]);
    expect(exchange.dispatch.upstream).toBe(spare);
    expect(exchange.dispatch.attempt?.upstream).toBe(spare);
    expect(exchange.succeeded(5)).toBe("done");
    expect(exchange.events).toEqual(["fell-back"]);
    expect(active([a, b, c])).toEqual([0, 0, 0]);
  });

  test("it takes over from backends that could not be reached, too", () => {
    const { upstream, backends } = withSpare();
    const exchange = begun(upstream);
    exchange.ended(failure("connect"), "nothing", 1);
    expect(exchange.ended(failure("connect"), "nothing", 2)).toBe("try c");
    expect(exchange.events).toEqual(["moved", "fell-back"]);
    expect(active(backends)).toEqual([0, 0]);
  });

  test.each<[string, Outcome]>([
    ["refuse", failure("connect")],
    ["are waited for in vain", timeout("connect")],
  ])("it takes over when so many backends %s that no more of them are asked", (_what, outcome) => {
    const specs: Record<string, object> = Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`b${n}`, {}]));
    const { upstream } = sampleUpstream(specs, isolation);
    const { upstream: spare } = sampleUpstream({ c: {}, d: {} }, isolation);
    upstream.fallback = { upstream: spare };
    const exchange = begun(upstream);
    for (let n = 0; n < 15 && exchange.dispatch.upstream === upstream; n++) exchange.ended(outcome, "nothing", 1);
    expect(exchange.last).toBe("try c");
    expect(exchange.dispatch.attempts).toBeLessThanOrEqual(12);
    // There it may move as any other.
    expect(exchange.ended(outcome, "nothing", 1)).toBe("try d");
  });

  test("it may have what was sent, under the rules of retrying: once more, never a POST", () => {
    const { upstream, b } = withSpare();
    upstream.setHealth(b, false, "connection refused", 0);
    const get = begun(upstream);
    expect(get.ended(failure("reset"), "request", 1)).toBe("wait");
    get.woken();
    expect(get.last).toBe("try c");
    expect(get.ended(failure("reset"), "request", 30)).toBe("answer 502 reset");
    expect(upstream.retry?.budget.running).toBe(0);
    const post = begun(upstream, 0, "POST");
    expect(post.ended(failure("reset"), "request", 1)).toBe("answer 502 reset");
    expect(post.events).toEqual([]);
  });

  test("a fixed response is the answer, with the reason for the log", () => {
    const { upstream, a } = sampleUpstream({ a: {} }, isolation);
    upstream.fallback = { respond: "sorry" };
    upstream.setHealth(a, false, "connection refused", 0);
    const exchange = begun(upstream);
    expect(exchange.log).toEqual(["respond sorry"]);
    expect(exchange.dispatch.reason).toBe("no-backend");
    expect(exchange.events).toEqual(["fell-back"]);
  });

  test("with both, the response is the answer when the other upstream has no backend either; it falls back once", () => {
    const { upstream, spare, a, b, c } = withSpare();
    upstream.fallback = { upstream: spare, respond: "sorry" };
    for (const backend of [a, b]) upstream.setHealth(backend, false, "connection refused", 0);
    const exchange = begun(upstream);
    expect(exchange.last).toBe("try c");
    expect(exchange.ended(failure("connect"), "nothing", 1)).toBe("respond sorry");
    expect(exchange.dispatch.reason).toBe("connect");
    expect(exchange.events).toEqual(["fell-back"]);
    spare.setHealth(c, false, "connection refused", 2);
    expect(begun(upstream, 3).log).toEqual(["respond sorry"]);
  });

  describe("a fixed response stands for", () => {
    /** One backend, and a fixed response behind it. */
    function apologetic(options: Isolation = isolation) {
      const sample = sampleUpstream({ a: { limit: 1 } }, options);
      sample.upstream.fallback = { respond: "sorry" };
      return sample;
    }

    test.each<[string, Outcome, AnswerReason]>([
      ["broke", failure("reset"), "reset"],
      ["sent what is no HTTP", failure("malformed"), "malformed"],
      ["took too long", timeout("response"), "response-timeout"],
    ])("the failure of a backend that %s, be it that nothing is ever tried again", (_what, outcome, reason) => {
      for (const retry of [sampleRetry, false] as const) {
        const exchange = begun(apologetic({ retry }).upstream);
        expect(exchange.ended(outcome, "request", 1)).toBe("respond sorry");
        expect(exchange.dispatch.reason).toBe(reason);
        expect(exchange.events).toEqual(["fell-back"]);
      }
    });

    test("a POST of which nothing was sent, not for one that may have been carried out", () => {
      const { upstream } = apologetic();
      expect(begun(upstream, 0, "POST").ended(failure("connect"), "nothing", 1)).toBe("respond sorry");
      const sent = begun(upstream, 0, "POST");
      expect(sent.ended(failure("reset"), "request", 1)).toBe("answer 502 reset");
      expect(sent.events).toEqual([]);
      const late = begun(upstream, 0, "POST");
      expect(late.ended(timeout("response"), "request", 1)).toBe("answer 504 response-timeout");
    });

    test("the last of two failures", () => {
      const { upstream } = sampleUpstream({ a: {}, b: {} }, isolation);
      upstream.fallback = { respond: "sorry" };
      const exchange = begun(upstream);
      exchange.ended(failure("reset"), "request", 1);
      exchange.woken();
      expect(exchange.ended(failure("reset"), "request", 30)).toBe("respond sorry");
      expect(exchange.events).toEqual(["retried", "fell-back"]);
      expect(upstream.retry?.budget.running).toBe(0);
    });

    test("the failure of the upstream that took over, without retries, too", () => {
      const { upstream, spare, a, b } = withSpare({ queue: sampleQueue });
      upstream.fallback = { upstream: spare, respond: "sorry" };
      for (const backend of [a, b]) upstream.setHealth(backend, false, "connection refused", 0);
      const exchange = begun(upstream);
      expect(exchange.ended(failure("reset"), "request", 1)).toBe("respond sorry");
      expect(exchange.events).toEqual(["fell-back"]);
      expect(begun(upstream, 2, "POST").ended(failure("reset"), "request", 3)).toBe("answer 502 reset");
    });

    test("nothing that is shed on purpose: its client should know", () => {
      const full = apologetic({ queue: { ...sampleQueue, max: 1 } }).upstream;
      const [, waiting, refused] = [begun(full), begun(full), begun(full)];
      expect(refused.last).toBe("answer 503 queue-full");
      while (waiting.last === "wait") full.advance(full.wakeAtMs);
      expect(waiting.last).toBe("answer 503 queue-timeout");
      expect([...refused.events, ...waiting.events]).toEqual([]);

      const { upstream } = apologetic({ concurrencyLimit: { initial: 1, min: 1, max: 1 } });
      begun(upstream);
      expect(begun(upstream).last).toBe("answer 503 concurrency");
    });

    test("no exchange whose time is over", () => {
      const { upstream } = sampleUpstream({ a: {}, b: {} }, isolation);
      upstream.fallback = { respond: "sorry" };
      const exchange = begun(upstream, 0, "GET", { deadlineMs: 20 });
      exchange.ended(failure("reset"), "request", 10);
      exchange.woken();
      expect(exchange.last).toBe("answer 504 route-timeout");
      expect(exchange.events).toEqual([]);
    });

    test("nothing that a backend has answered itself", () => {
      const exchange = begun(apologetic().upstream);
      expect(exchange.dispatch.wantsRetry(503, undefined, 1)).toBe(false);
      expect(exchange.succeeded(1, 503)).toBe("done");
      expect(exchange.events).toEqual([]);
    });
  });

  test("a fallback of the fallback is not asked: two upstreams that name each other end", () => {
    const { upstream, spare, a, b, c } = withSpare();
    spare.fallback = { upstream };
    for (const backend of [a, b]) upstream.setHealth(backend, false, "connection refused", 0);
    spare.setHealth(c, false, "connection refused", 0);
    const exchange = begun(upstream);
    expect(exchange.last).toBe("answer 503 no-backend");
    expect(exchange.events).toEqual(["fell-back"]);
  });

  test("without one it is a 503 that says when the next circuit lets a trial through", () => {
    const { upstream } = sampleUpstream({ a: {} }, { ...isolation, circuitBreaker: sampleBreaker });
    for (let n = 0; n < 5; n++) begun(upstream, 0).ended(failure("connect"), "nothing", 0);
    const early = begun(upstream, 100);
    expect(early.last).toBe("answer 503 circuit-open");
    expect(early.dispatch.retryAfterSeconds).toBe(6); // half of the jitter: 5.25 s
    const late = begun(upstream, 5_000);
    expect(late.dispatch.retryAfterSeconds).toBe(1);
  });

  test("no backend at all is no open circuit", () => {
    const { upstream, a } = sampleUpstream({ a: {} }, { ...isolation, circuitBreaker: sampleBreaker });
    upstream.setHealth(a, false, "connection refused", 0);
    expect(begun(upstream).last).toBe("answer 503 no-backend");
  });
});

describe("in the fallback upstream", () => {
  test("it waits for room as others do, and can be left", () => {
    const { upstream, spare, a, b, c } = withSpare();
    const own = begun(spare);
    for (const backend of [a, b]) upstream.setHealth(backend, false, "connection refused", 0);
    const [first, second] = [begun(upstream, 1), begun(upstream, 1)];
    expect([first.last, second.last]).toEqual(["wait", "wait"]);
    expect([upstream.waiting, spare.waiting]).toEqual([0, 2]);
    first.dispatch.abandon(2);
    own.succeeded(3);
    expect([first.last, second.last]).toEqual(["wait", "try c"]);
    second.succeeded(4);
    expect(c.active).toBe(0);
  });

  test("one that waited in the first queue goes on to the second when its backends go away", () => {
    const web = sampleUpstream({ a: { limit: 1 } }, isolation);
    const other = sampleUpstream({ c: { limit: 1 } }, isolation);
    web.upstream.fallback = { upstream: other.upstream };
    const running = begun(web.upstream);
    const blocker = begun(other.upstream);
    const exchange = begun(web.upstream);
    web.upstream.setHealth(web.a, false, "connection refused", 1);
    expect(exchange.log).toEqual(["wait", "wait"]);
    expect([web.upstream.waiting, other.upstream.waiting]).toEqual([0, 1]);
    blocker.succeeded(2);
    expect(exchange.last).toBe("try c");
    for (const one of [exchange, running]) one.succeeded(3);
    expect([web.a.active, other.c.active]).toEqual([0, 0]);
  });

  test("a balancer that throws fails its exchange alone, also when that comes there from the other's queue", () => {
    class Broken extends RoundRobin {
      override pick(): never {
        throw new Error("broken");
      }
    }
    const web = sampleUpstream({ a: { limit: 1 }, b: {} }, isolation);
    const other = sampleUpstream({ c: {} }, isolation, { balancer: new Broken() });
    web.upstream.fallback = { upstream: other.upstream };
    web.upstream.setHealth(web.b, false, "connection refused", 0);
    const running = begun(web.upstream);
    const waiting = [1, 2].map(() => begun(web.upstream));
    expect(waiting.map(({ last }) => last)).toEqual(["wait", "wait"]);
    // Neither the one who says so nor a timer hears of it.
    web.upstream.setHealth(web.a, false, "connection refused", 1);
    for (const exchange of waiting) {
      expect(exchange.errors).toEqual([new Error("broken")]);
      expect(exchange.log).toEqual(["wait"]);
      expect(exchange.dispatch.wake(5)).toBe("done");
    }
    expect([web.upstream.waiting, other.upstream.waiting, other.upstream.running]).toEqual([0, 0, 0]);
    expect(() => begun(web.upstream, 2)).toThrow("broken");
    running.succeeded(3);
    expect(active([web.a, other.c])).toEqual([0, 0]);
  });

  test("a retry is charged to its own budget", () => {
    const own = sampleUpstream({ c: {}, d: {} }, { retry: { ...sampleRetry, budget: 0, minimumBudget: 1 } });
    const { upstream, a, b } = withSpare();
    upstream.fallback = { upstream: own.upstream };
    for (const backend of [a, b]) upstream.setHealth(backend, false, "connection refused", 0);
    const exchange = begun(upstream);
    exchange.ended(failure("reset"), "request", 1);
    exchange.woken();
    expect([upstream.retry?.budget.running, own.upstream.retry?.budget.running]).toEqual([0, 1]);
    exchange.succeeded(30);
    expect(own.upstream.retry?.budget.running).toBe(0);
  });
});

describe("throttle", () => {
  const throttled: Isolation = { throttle: { factor: 2, window: 120_000, maxRefused: 0.8 }, retry: sampleRetry };

  test("refuses some of the exchanges before they are sent, when backends fail most: 503", () => {
    const { upstream, backends } = sampleUpstream({ a: {}, b: {} }, throttled);
    for (let n = 0; n < 20; n++) {
      const exchange = begun(upstream, 0, "POST");
      if (exchange.last?.startsWith("try")) exchange.ended(failure("reset"), "request", 1);
    }
    const refused = begun(upstream, 2);
    expect(refused.last).toBe("answer 503 throttled");
    expect(refused.dispatch).toMatchObject({ attempts: 0, retryAfterSeconds: 1 });
    expect(active(backends)).toEqual([0, 0]);
  });

  test("refuses nothing when they answer, not with an error of their own either, nor when clients leave", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, throttled);
    for (let n = 0; n < 20; n++) {
      begun(upstream).succeeded(1, n % 2 === 0 ? 200 : 500);
      begun(upstream).dispatch.abandon(1);
      begun(upstream).dispatch.abandon(1);
    }
    expect(upstream.throttle?.refusalProbability(2)).toBe(0);
  });

  test("of the upstream that takes over does not learn from the exchanges that it never had", () => {
    const web = sampleUpstream({ a: {} }, { retry: sampleRetry });
    const other = sampleUpstream({ c: {} }, throttled, { name: "spare" });
    web.upstream.fallback = { upstream: other.upstream };
    other.upstream.setHealth(other.c, false, "connection refused", 0);
    for (let n = 0; n < 20; n++) begun(web.upstream).ended(failure("connect"), "nothing", 1);
    expect(other.upstream.throttle?.refusalProbability(2)).toBe(0);
  });

  test("counts exchanges, not attempts: what another backend made good is no failure", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {}, c: {} }, throttled);
    for (let n = 0; n < 20; n++) {
      const exchange = begun(upstream);
      exchange.ended(failure("connect"), "nothing", 0);
      exchange.ended(failure("connect"), "nothing", 0);
      exchange.succeeded(1);
      const retried = begun(upstream);
      if (retried.dispatch.wantsRetry(503, undefined, 1)) retried.ended(success(503), "request", 1);
      retried.woken();
      retried.succeeded(20);
    }
    expect(upstream.throttle?.refusalProbability(21)).toBe(0);
  });
});
