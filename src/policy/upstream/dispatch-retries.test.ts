import { describe, expect, test } from "vitest";
import { RoundRobin } from "../balance/round-robin.ts";
import type { Outcome } from "../model/outcome.ts";
import type { Isolation } from "./isolation.ts";
import {
  active,
  cancelled,
  failure,
  SampleExchange,
  sampleQueue,
  sampleRetry,
  sampleUpstream,
  success,
  timeout,
} from "./samples.ts";
import type { Upstream } from "./upstream.ts";

const { begun } = SampleExchange;
const retrying: Isolation = { retry: sampleRetry, queue: sampleQueue };
const reset = failure("reset");

/** Options of `retry` that differ. */
const withRetry = (options: Partial<typeof sampleRetry>): Isolation => ({
  ...retrying,
  retry: { ...sampleRetry, ...options },
});

/** Whether the backend's response is one to drop; it is dropped then. */
function answered(exchange: SampleExchange, status: number, now: number, retryAfterMs?: number): boolean {
  if (!exchange.dispatch.wantsRetry(status, retryAfterMs, now)) return false;
  exchange.ended(success(status), "request", now);
  return true;
}

describe("an attempt that failed after the request was sent", () => {
  test.each<Outcome>([reset, failure("malformed"), timeout("response")])(
    "%j: a GET is sent once more, after a back-off, to another backend",
    (outcome) => {
      const { upstream, backends } = sampleUpstream({ a: {}, b: {}, c: {} }, retrying);
      const exchange = begun(upstream, 100);
      expect(exchange.ended(outcome, "request", 110)).toBe("wait");
      expect(active(backends)).toEqual([0, 0, 0]);
      expect(exchange.woken()).toBe(122.5);
      expect(exchange.log).toEqual(["try a", "wait", "try b"]);
      expect(exchange.succeeded(130)).toBe("done");
      expect(exchange.events).toEqual(["retried"]);
      expect(exchange.dispatch.attempts).toBe(2);
    },
  );

  test("is not waited for longer than its back-off, and not shorter", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, retrying);
    const exchange = begun(upstream);
    exchange.ended(reset, "request", 10);
    expect(exchange.dispatch.wake(22)).toBe("wait");
    expect(exchange.dispatch.wakeAtMs).toBe(22.5);
    expect(exchange.dispatch.wake(22.5)).toBe("try");
  });

  test("the second failure is final when two attempts are allowed, and answered as it failed", () => {
    const { upstream, backends } = sampleUpstream({ a: {}, b: {}, c: {} }, retrying);
    const exchange = begun(upstream);
    exchange.ended(reset, "request", 1);
    exchange.woken();
    expect(exchange.ended(timeout("response"), "request", 50)).toBe("answer 504 response-timeout");
    expect(active(backends)).toEqual([0, 0, 0]);
    expect(upstream.retry?.budget.running).toBe(0);
  });

  test("waits twice as long before each further retry", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {}, c: {}, d: {} }, withRetry({ attempts: 4 }));
    const exchange = begun(upstream);
    const waits = [];
    for (let now = 0; exchange.last?.startsWith("try"); ) {
      exchange.ended(reset, "request", now);
      if (exchange.last !== "wait") break;
      waits.push(exchange.dispatch.wakeAtMs - now);
      now = exchange.woken();
    }
    expect(waits).toEqual([12.5, 25, 50]);
    expect(exchange.last).toBe("answer 502 reset");
  });

  test.each(["POST", "PATCH", "CONNECT"])("a %s is never sent again, and is answered as it failed", (method) => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, retrying);
    const exchange = begun(upstream, 0, method);
    expect(exchange.dispatch.mayRetry).toBe(false);
    expect(exchange.ended(reset, "request", 1)).toBe("answer 502 reset");
  });

  test("a POST of which nothing was sent moves, and is final once it was sent", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {}, c: {} }, retrying);
    const exchange = begun(upstream, 0, "POST");
    expect(exchange.ended(failure("connect"), "nothing", 1)).toBe("try b");
    expect(exchange.ended(reset, "request", 2)).toBe("answer 502 reset");
  });

  test("unsafeMethods: what is not idempotent is sent again, too", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, withRetry({ unsafeMethods: true }));
    expect(begun(upstream, 0, "POST").ended(reset, "request", 1)).toBe("wait");
  });

  test("a request whose body is gone is not sent again", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, withRetry({ unsafeMethods: true }));
    const exchange = begun(upstream, 0, "PUT");
    exchange.dispatch.replayable = false;
    expect(exchange.dispatch.mayRetry).toBe(false);
    expect(exchange.ended(reset, "request", 1)).toBe("answer 502 reset");
  });

  test("is answered at once when every backend has been tried", () => {
    const { upstream } = sampleUpstream({ a: {} }, retrying);
    expect(begun(upstream).ended(reset, "request", 1)).toBe("answer 502 reset");
  });

  test("is answered as it failed when the other backends went away during the back-off", () => {
    const { upstream, b } = sampleUpstream({ a: {}, b: {} }, retrying);
    const exchange = begun(upstream);
    exchange.ended(reset, "request", 1);
    upstream.setHealth(b, false, "connection refused", 2);
    exchange.woken();
    expect(exchange.last).toBe("answer 502 reset");
    expect(exchange.events).toEqual([]);
    expect(upstream.retry?.budget.running).toBe(0);
  });
});

describe("moves", () => {
  test("are made at once and are not charged: however many, the budget is not touched", () => {
    const isolation = withRetry({ budget: 0, minimumBudget: 0 });
    const { upstream } = sampleUpstream({ a: {}, b: {}, c: {}, d: {} }, isolation);
    const exchange = begun(upstream);
    for (const next of ["try b", "try c", "try d"]) {
      expect(exchange.ended(failure("connect"), "nothing", 1)).toBe(next);
      expect(upstream.retry?.budget.running).toBe(0);
    }
    expect(exchange.events).toEqual(["moved", "moved", "moved"]);
  });

  test("are counted when there is where to move to", () => {
    const { upstream } = sampleUpstream({ a: {} }, retrying);
    const exchange = begun(upstream);
    expect(exchange.ended(failure("connect"), "nothing", 1)).toBe("answer 502 connect");
    expect(exchange.events).toEqual([]);
  });

  test("do not use attempts up: what was never sent can still be retried", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {}, c: {} }, retrying);
    const exchange = begun(upstream);
    exchange.ended(failure("connect"), "nothing", 1);
    expect(exchange.dispatch.mayRetry).toBe(true);
    expect(exchange.ended(reset, "request", 2)).toBe("wait");
    exchange.woken();
    expect(exchange.last).toBe("try c");
  });
});

describe("moves have an end", () => {
  const many = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`b${n}`, {}])) as Record<string, object>;

  /** Ends each attempt with `outcome`, before anything is sent, until another step than trying comes. */
  function failing(exchange: SampleExchange, outcome: Outcome): void {
    while (exchange.last?.startsWith("try")) exchange.ended(outcome, "nothing", 1);
  }

  test("of many backends that refuse, ten besides the first are asked; the answer is as the last one failed", () => {
    const { upstream, backends } = sampleUpstream(many(50), retrying);
    const exchange = begun(upstream);
    failing(exchange, failure("connect"));
    expect(exchange.last).toBe("answer 502 connect");
    expect(exchange.dispatch.attempts).toBe(11);
    expect(exchange.events).toHaveLength(10);
    expect(active(backends).every((count) => count === 0)).toBe(true);
  });

  test("three are waited for in vain, or as many as the request may be attempted", () => {
    for (const attempts of [1, 2, 3, 5]) {
      const { upstream } = sampleUpstream(many(50), withRetry({ attempts }));
      const exchange = begun(upstream);
      failing(exchange, timeout("connect"));
      expect(exchange.last).toBe("answer 504 connect-timeout");
      expect(exchange.dispatch.attempts).toBe(Math.max(3, attempts));
    }
  });

  test("one that is waited for in vain costs those that refuse nothing", () => {
    const { upstream } = sampleUpstream(many(50), retrying);
    const exchange = begun(upstream);
    for (let late = 0; late < 2; late++) {
      exchange.ended(timeout("connect"), "nothing", 1);
      for (let n = 0; n < 3; n++) exchange.ended(failure("connect"), "nothing", 1);
      expect(exchange.last).toMatch("try");
    }
    expect(exchange.ended(timeout("connect"), "nothing", 2)).toBe("answer 504 connect-timeout");
  });
});

describe("a response with a status to try again for", () => {
  test("is dropped for another backend's", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, retrying);
    const exchange = begun(upstream);
    expect(answered(exchange, 503, 10)).toBe(true);
    expect(exchange.woken()).toBe(22.5);
    expect(exchange.last).toBe("try b");
    expect(exchange.succeeded(30)).toBe("done");
    expect(exchange.events).toEqual(["retried"]);
    expect(upstream.retry?.budget.running).toBe(0);
  });

  test("is passed on when the last attempt has it", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {}, c: {} }, retrying);
    const exchange = begun(upstream);
    answered(exchange, 503, 1);
    exchange.woken();
    expect(answered(exchange, 503, 50)).toBe(false);
    expect(exchange.succeeded(50, 503)).toBe("done");
  });

  test.each<[string, number, string, number | undefined]>([
    ["for a status that is not listed", 500, "GET", undefined],
    ["for a POST", 503, "POST", undefined],
    ["when it asks for more than a second", 503, "GET", 1_001],
  ])("is passed on %s, with nothing taken from the budget", (_why, status, method, retryAfterMs) => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, retrying);
    const exchange = begun(upstream, 0, method);
    expect(answered(exchange, status, 1, retryAfterMs)).toBe(false);
    expect(upstream.retry?.budget.running).toBe(0);
    expect(exchange.events).toEqual([]);
  });

  test("is passed on when there is no other backend", () => {
    const { upstream } = sampleUpstream({ a: {} }, retrying);
    const exchange = begun(upstream);
    expect(answered(exchange, 503, 1)).toBe(false);
    expect(upstream.retry?.budget.running).toBe(0);
    expect(exchange.events).toEqual([]);
  });

  test("that says when to come again is obeyed, up to a second", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, retrying);
    const exchange = begun(upstream);
    expect(answered(exchange, 503, 10, 1_000)).toBe(true);
    expect(exchange.woken()).toBe(1_010);
    expect(exchange.last).toBe("try b");
  });

  test("is obeyed for the retry that follows it, not for the next one", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {}, c: {} }, withRetry({ attempts: 3 }));
    const exchange = begun(upstream);
    answered(exchange, 503, 0, 1_000);
    expect(exchange.woken()).toBe(1_000);
    exchange.ended(reset, "request", 1_000);
    expect(exchange.woken()).toBe(1_025);
  });

  test("is passed on, not waited for, when the budget is used up", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, withRetry({ budget: 0, minimumBudget: 0 }));
    const exchange = begun(upstream);
    expect(answered(exchange, 503, 1)).toBe(false);
    expect(exchange.events).toEqual(["retry-denied"]);
  });
});

describe("the budget", () => {
  const one = withRetry({ budget: 0, minimumBudget: 1 });

  test("beyond it a retry waits, and goes when another one has ended", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, one);
    const [first, second] = [begun(upstream), begun(upstream)];
    for (const exchange of [first, second]) exchange.ended(reset, "request", 0);
    first.woken();
    expect(first.last).toMatch("try");
    second.woken();
    expect(second.last).toBe("wait");
    expect(second.dispatch.wakeAtMs).toBe(25);
    first.succeeded(20);
    second.woken();
    expect(second.last).toMatch("try");
    second.succeeded(30);
    expect(upstream.retry?.budget.running).toBe(0);
  });

  test("beyond it a retry gives up after as long as it might wait in the queue, and is answered as it failed", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, { ...one, queue: { ...sampleQueue, timeout: 100 } });
    const [first, second] = [begun(upstream), begun(upstream)];
    first.ended(reset, "request", 0);
    first.woken();
    second.ended(reset, "request", 10);
    let now = 0;
    while (second.last === "wait") now = second.woken();
    expect(now).toBe(110);
    expect(second.last).toBe("answer 502 reset");
    expect(second.events).toEqual(["retry-denied"]);
    expect(upstream.retry?.budget.running).toBe(1);
  });

  test("grows with what runs or waits", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, withRetry({ budget: 0.2, minimumBudget: 0 }));
    const running = Array.from({ length: 11 }, () => begun(upstream));
    running[0]!.ended(reset, "request", 0);
    running[0]!.woken();
    running[1]!.ended(reset, "request", 0);
    running[1]!.woken();
    running[2]!.ended(reset, "request", 0);
    running[2]!.woken();
    expect(running.slice(0, 3).map(({ last }) => last?.slice(0, 3))).toEqual(["try", "try", "wai"]);
  });

  test.each<[string, (exchange: SampleExchange) => void]>([
    ["it succeeds", (exchange) => exchange.succeeded(50)],
    ["it fails", (exchange) => exchange.ended(reset, "request", 50)],
    ["it fails before anything is sent", (exchange) => exchange.ended(failure("connect"), "nothing", 50)],
    ["it breaks off", (exchange) => exchange.ended(failure("truncated"), "response", 50)],
    ["its client leaves", (exchange) => exchange.dispatch.abandon(50)],
    ["its client leaves, which the attempt reports", (exchange) => exchange.ended(cancelled, "request", 50)],
  ])("is given back when %s", (_how, end) => {
    const { upstream, backends } = sampleUpstream({ a: {}, b: {} }, one);
    const exchange = begun(upstream);
    exchange.ended(reset, "request", 0);
    exchange.woken();
    expect(upstream.retry?.budget.running).toBe(1);
    end(exchange);
    expect(upstream.retry?.budget.running).toBe(0);
    expect(active(backends)).toEqual([0, 0]);
  });

  test("that a dropped response holds is given back when the client leaves during the back-off", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, one);
    const exchange = begun(upstream);
    answered(exchange, 503, 1);
    expect(upstream.retry?.budget.running).toBe(1);
    exchange.dispatch.abandon(2);
    expect(upstream.retry?.budget.running).toBe(0);
    expect(exchange.dispatch.wake(100)).toBe("done");
  });

  test("that a retry holds is given back when it is shed from the queue, or its client leaves there", () => {
    for (const leave of [true, false]) {
      const { upstream } = sampleUpstream({ a: {}, b: { limit: 1 } }, one);
      const [exchange, blocker] = [begun(upstream), begun(upstream)];
      exchange.ended(reset, "request", 0);
      exchange.woken();
      expect(exchange.last).toBe("wait");
      expect(upstream.retry?.budget.running).toBe(1);
      if (leave) exchange.dispatch.abandon(15);
      else while (exchange.last === "wait") upstream.advance(upstream.wakeAtMs);
      expect(exchange.last).toBe(leave ? "wait" : "answer 503 queue-timeout");
      expect(upstream.retry?.budget.running).toBe(0);
      blocker.succeeded(2_000);
    }
  });

  test("is given back when a balancer of the user's throws, as the retry begins or as it leaves the queue", () => {
    class Broken extends RoundRobin {
      broken = false;
      override pick(...args: Parameters<RoundRobin["pick"]>) {
        if (this.broken) throw new Error("broken");
        return super.pick(...args);
      }
    }
    const balancer = new Broken();
    const { upstream, backends, counts } = sampleUpstream({ a: {}, b: { limit: 1 } }, one, { balancer });
    const [exchange, blocker] = [begun(upstream), begun(upstream)];
    exchange.ended(reset, "request", 0);
    balancer.broken = true;
    expect(() => exchange.dispatch.wake(12.5)).toThrow("broken");
    expect(upstream.retry?.budget.running).toBe(0);
    expect(exchange.dispatch.wake(20)).toBe("done");

    balancer.broken = false;
    const queued = begun(upstream);
    queued.ended(reset, "request", 30);
    queued.woken();
    expect(queued.last).toBe("wait");
    balancer.broken = true;
    // Another worker makes room, so that the balancer is asked.
    counts.giveActive(backends[1]!.slot);
    upstream.advance(50);
    counts.takeActive(backends[1]!.slot, 1);
    blocker.succeeded(50);
    expect(queued.errors).toEqual([new Error("broken")]);
    expect(upstream.retry?.budget.running).toBe(0);
    expect(upstream.waiting).toBe(0);
    expect(active(backends)).toEqual([0, 0]);
  });
});

describe("many that wait for the budget", () => {
  const one = withRetry({ budget: 0, minimumBudget: 1 });
  const MOST = 256;

  /** How many more may wait for it; they leave again. */
  function room(upstream: Upstream): number {
    const retry = upstream.retry!;
    let joined = 0;
    while (retry.join()) joined++;
    for (let n = 0; n < joined; n++) retry.leave();
    return joined;
  }

  /** One that holds all of the budget, and others that want a retry, too; they have just heard that there is none. */
  function crowd(count: number, init: object = {}, queue = sampleQueue) {
    const sample = sampleUpstream({ a: {}, b: {} }, { ...one, queue });
    const { upstream } = sample;
    const holder = begun(upstream);
    holder.ended(reset, "request", 0);
    holder.woken();
    expect(holder.last).toMatch("try");
    const others = Array.from({ length: count }, () => begun(upstream, 0, "GET", init));
    for (const exchange of others) exchange.ended(reset, "request", 0);
    for (const exchange of others) exchange.woken();
    return { ...sample, holder, others };
  }

  test("are no more than can be asked again and again: the rest is answered at once, as it failed", () => {
    const { upstream, others } = crowd(MOST + 40);
    const waiting = others.filter(({ last }) => last === "wait");
    const denied = others.filter(({ last }) => last === "answer 502 reset");
    expect([waiting.length, denied.length]).toEqual([MOST, 40]);
    expect(denied.every(({ events }) => events.join() === "retry-denied")).toBe(true);
    expect(room(upstream)).toBe(0);
  });

  test.each<[string, (one: SampleExchange, holder: SampleExchange, upstream: Upstream) => void]>([
    [
      "gets its turn",
      (one, holder) => {
        holder.succeeded(20);
        one.woken();
      },
    ],
    [
      "gives up",
      (one) => {
        while (one.last === "wait") one.woken();
      },
    ],
    ["is left by its client", (one) => one.dispatch.abandon(20)],
    [
      "gets its turn, and finds nobody to go to any more",
      (one, holder, upstream) => {
        holder.succeeded(20);
        for (const backend of upstream.backends) upstream.setHealth(backend, false, "connection refused", 20);
        one.woken();
      },
    ],
  ])("make room for another when one of them %s", (_how, end) => {
    const { upstream, others, holder } = crowd(2);
    expect(room(upstream)).toBe(MOST - 2);
    end(others[0]!, holder, upstream);
    expect(room(upstream)).toBe(MOST - 1);
  });

  test("make room when their deadline passes", () => {
    const { upstream, others } = crowd(3, { deadlineMs: 100 });
    for (const exchange of others) while (exchange.last === "wait") exchange.woken();
    expect(others.map(({ last }) => last)).toEqual(Array(3).fill("answer 504 route-timeout"));
    expect(room(upstream)).toBe(MOST);
    expect(upstream.retry?.budget.running).toBe(1);
  });

  test("leave once, however often they look, and however they end after that", () => {
    const { upstream, others, holder } = crowd(1);
    const [waiting] = others;
    for (let looks = 0; looks < 3; looks++) waiting!.woken();
    expect(room(upstream)).toBe(MOST - 1);
    holder.succeeded(60);
    waiting!.woken();
    waiting!.ended(reset, "request", 100);
    waiting!.dispatch.abandon(101);
    expect(room(upstream)).toBe(MOST);
    expect(upstream.retry?.budget.running).toBe(0);
  });
});

test("a balancer of the user's that throws at feedback does not keep the place in the budget of a dropped response", () => {
  class Deaf extends RoundRobin {
    settled() {
      throw new Error("broken feedback");
    }
  }
  const { upstream, backends } = sampleUpstream({ a: {}, b: {} }, retrying, { balancer: new Deaf() });
  const exchange = begun(upstream);
  expect(exchange.dispatch.wantsRetry(503, undefined, 1)).toBe(true);
  expect(() => exchange.dispatch.ended(success(503), "request", 1)).toThrow("broken feedback");
  exchange.dispatch.abandon(1); // as who drives it does with an exchange that failed so
  expect(upstream.retry?.budget.running).toBe(0);
  expect(active(backends)).toEqual([0, 0]);
});

describe("the deadline of the exchange", () => {
  test("ends a back-off that would go on beyond it: 504", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, retrying);
    const exchange = begun(upstream, 0, "GET", { deadlineMs: 20 });
    exchange.ended(reset, "request", 10);
    expect(exchange.woken()).toBe(20);
    expect(exchange.last).toBe("answer 504 route-timeout");
    expect(upstream.retry?.budget.running).toBe(0);
  });

  test("does not give a response up for another one that could not come in time", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, retrying);
    const exchange = begun(upstream, 0, "GET", { deadlineMs: 500 });
    expect(answered(exchange, 503, 10, 490)).toBe(false);
    expect(upstream.retry?.budget.running).toBe(0);
    expect(answered(exchange, 503, 10, 400)).toBe(true);
  });

  test("lets nothing move or be retried once it has passed", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, retrying);
    for (const progress of ["nothing", "request"] as const) {
      const exchange = begun(upstream, 0, "GET", { deadlineMs: 20 });
      expect(exchange.ended(failure("reset"), progress, 20)).toBe("answer 502 reset");
    }
  });
});

describe("perTryTimeout", () => {
  const hurried = withRetry({ perTryTimeout: 500 });

  test("holds while another attempt may follow, elsewhere", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {}, c: {} }, hurried);
    const exchange = begun(upstream);
    expect(exchange.dispatch.perTryTimeoutMs).toBe(500);
    exchange.ended(timeout("response"), "request", 500);
    exchange.woken();
    expect(exchange.dispatch.perTryTimeoutMs).toBe(Number.POSITIVE_INFINITY);
  });

  test("does not cut short what nobody else could do: no other backend, or not to be sent again", () => {
    expect(begun(sampleUpstream({ a: {} }, hurried).upstream).dispatch.perTryTimeoutMs).toBe(Number.POSITIVE_INFINITY);
    const { upstream } = sampleUpstream({ a: {}, b: {} }, hurried);
    expect(begun(upstream, 0, "POST").dispatch.perTryTimeoutMs).toBe(Number.POSITIVE_INFINITY);
  });
});
