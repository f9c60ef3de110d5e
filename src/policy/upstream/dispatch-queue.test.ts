import { describe, expect, test } from "vitest";
import { RoundRobin } from "../balance/round-robin.ts";
import { sampleBackends } from "../balance/samples.ts";
import type { Backend } from "../model/backend.ts";
import type { Isolation } from "./isolation.ts";
import {
  active,
  cancelled,
  failure,
  SampleExchange,
  sampleQueue,
  sampleRetry,
  sampleUpstream,
  timeout,
} from "./samples.ts";

const { begun } = SampleExchange;
const queued: Isolation = { queue: sampleQueue, retry: sampleRetry };

/** One backend with room for one exchange, which runs. */
function busy(isolation: Isolation = queued) {
  const sample = sampleUpstream({ a: { limit: 1 } }, isolation);
  return { ...sample, first: begun(sample.upstream) };
}

describe("an exchange for which no backend has room", () => {
  test("waits, and goes on when a running one ends, in the same call", () => {
    const { upstream, a, first } = busy();
    const second = begun(upstream, 1);
    expect(second.log).toEqual(["wait"]);
    expect(upstream.waiting).toBe(1);
    first.succeeded(5);
    expect(second.log).toEqual(["wait", "try a"]);
    expect(second.dispatch.attempt?.startedMs).toBe(5);
    expect(a.active).toBe(1);
    expect(second.succeeded(6)).toBe("done");
    expect(a.active).toBe(0);
    expect(upstream.waiting).toBe(0);
  });

  test("takes a backend with room rather than wait for the one that is due", () => {
    const { upstream } = sampleUpstream({ a: { limit: 1 }, b: {}, c: { limit: 1 } }, queued);
    const log = [1, 2, 3, 4, 5, 6].map(() => begun(upstream).last);
    expect(log.filter((step) => step === "wait")).toEqual([]);
    expect(log.filter((step) => step === "try b")).toHaveLength(4);
  });

  test("finds the one of many backends that has room, though its balancer would not name it soon", () => {
    const names = Array.from({ length: 12 }, (_, n) => `b${n}`);
    const specs = Object.fromEntries(names.map((name) => [name, { limit: 1 }]));
    const { upstream } = sampleUpstream(specs, queued);
    const log = names.map(() => begun(upstream).last);
    expect(log.toSorted()).toEqual(names.map((name) => `try ${name}`).toSorted());
    expect(begun(upstream).last).toBe("wait");
  });

  test("does not overtake those that wait, though there is room by now", () => {
    const { upstream, a, counts } = sampleUpstream({ a: { limit: 1 } }, queued);
    counts.takeActive(a.slot, 1);
    const first = begun(upstream, 0);
    counts.giveActive(a.slot);
    const second = begun(upstream, 1);
    expect([first.last, second.last]).toEqual(["wait", "wait"]);
    upstream.advance(upstream.wakeAtMs);
    expect([first.last, second.last]).toEqual(["try a", "wait"]);
  });

  test("finds room that another worker gave within 10 ms, by an alarm", () => {
    const { upstream, a, counts, alarms } = sampleUpstream({ a: { limit: 1 } }, queued);
    counts.takeActive(a.slot, 1);
    const exchange = begun(upstream, 100);
    expect(exchange.last).toBe("wait");
    expect(alarms).toEqual([110]);
    upstream.advance(110);
    expect(exchange.last).toBe("wait");
    counts.giveActive(a.slot);
    expect(alarms.at(-1)).toBe(120);
    upstream.advance(120);
    expect(exchange.last).toBe("try a");
    expect(upstream.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
  });

  test("goes to a backend that comes up, or is added", () => {
    const { upstream, a, first } = busy();
    const [b, c] = sampleBackends({ b: 1, c: 1 }) as [Backend, Backend];
    const second = begun(upstream, 1);
    upstream.setHealth(a, false, "connection refused", 2);
    expect(second.last).toBe("answer 503 no-backend");
    upstream.setHealth(a, true, "check passed", 3);
    const third = begun(upstream, 4);
    upstream.update([a, b], 5);
    expect(third.last).toBe("try b");
    upstream.update([a, c], 6);
    expect(begun(upstream, 6).last).toBe("try c");
    first.succeeded(7);
  });
});

describe("nobody waits for ever", () => {
  test("who has waited for the timeout is answered 503, not a millisecond late", () => {
    const { upstream, a } = busy({ queue: { ...sampleQueue, timeout: 25 } });
    const second = begun(upstream, 1);
    while (upstream.wakeAtMs < 26) upstream.advance(upstream.wakeAtMs);
    expect(second.last).toBe("wait");
    expect(upstream.wakeAtMs).toBe(26);
    upstream.advance(26);
    expect(second.last).toBe("answer 503 queue-timeout");
    expect(second.dispatch.retryAfterSeconds).toBe(1);
    expect(a.active).toBe(1);
    expect(upstream.waiting).toBe(0);
  });

  test("whose deadline passes in the queue has run out of time: 504, and no word of coming again", () => {
    const { upstream } = busy();
    const second = begun(upstream, 0, "GET", { deadlineMs: 33 });
    while (second.last === "wait") upstream.advance(upstream.wakeAtMs);
    expect(second.last).toBe("answer 504 route-timeout");
    expect(second.dispatch.retryAfterSeconds).toBe(0);
  });

  test("who has not enough time for the queue that there is, is refused at once: 503", () => {
    const { upstream, first } = busy();
    let running = first;
    // Ten are served, one each 100 ms, while others wait: that is how fast this queue moves.
    const waiting = Array.from({ length: 15 }, () => begun(upstream, 0));
    for (let n = 1; n <= 10; n++) {
      running.succeeded(n * 50);
      running = waiting.shift()!;
      expect(running.last).toBe("try a");
    }
    const hopeless = begun(upstream, 500, "GET", { deadlineMs: 600 });
    expect(hopeless.last).toBe("answer 503 deadline");
    expect(hopeless.dispatch.retryAfterSeconds).toBe(1);
    expect(begun(upstream, 500, "GET", { deadlineMs: 900 }).last).toBe("wait");
  });

  test("the newest is refused when all places are taken: 503", () => {
    const { upstream } = busy({ queue: { ...sampleQueue, max: 1 } });
    expect(begun(upstream, 0).last).toBe("wait");
    expect(begun(upstream, 0).last).toBe("answer 503 queue-full");
  });

  test("without a queue everybody is refused while there is no room, and served again once there is", () => {
    const { upstream, first } = busy({});
    const second = begun(upstream, 1);
    expect(second.last).toBe("answer 503 queue-full");
    expect(second.dispatch.retryAfterSeconds).toBe(1);
    first.succeeded(2);
    expect(begun(upstream, 3).last).toBe("try a");
  });

  test("without a queue, too, the room that another worker gave is found within 10 ms", () => {
    const { upstream, a, counts } = sampleUpstream({ a: { limit: 1 } }, { queue: { ...sampleQueue, max: 0 } });
    counts.takeActive(a.slot, 1);
    expect(begun(upstream, 0).last).toBe("answer 503 queue-full");
    counts.giveActive(a.slot);
    expect(begun(upstream, 10).last).toBe("try a");
  });
});

describe("who goes first", () => {
  test("the oldest does", () => {
    const { upstream, first } = busy();
    const waiting = [1, 2, 3].map((now) => begun(upstream, now));
    first.succeeded(10);
    expect(waiting.map(({ last }) => last)).toEqual(["try a", "wait", "wait"]);
    waiting[0]!.succeeded(11);
    expect(waiting.map(({ last }) => last)).toEqual(["done", "try a", "wait"]);
  });

  test("the newest does, once the queue has been overloaded for long, and who waited beyond the target is shed", () => {
    const { upstream, first } = busy({ queue: { ...sampleQueue, target: 20 } });
    const early = begun(upstream, 0);
    const late = [85, 95].map((now) => begun(upstream, now));
    first.succeeded(100);
    expect(early.last).toBe("answer 503 queue-timeout");
    expect(late.map(({ last }) => last)).toEqual(["wait", "try a"]);
  });

  test("high before normal before low, and a better one takes the place of the worst", () => {
    const { upstream, first } = busy({ queue: { ...sampleQueue, max: 3 } });
    const priorities = ["low", "low", "normal", "high"] as const;
    const [low, lower, normal, high] = priorities.map((priority) => begun(upstream, 0, "GET", { priority }));
    expect(lower?.last).toBe("answer 503 queue-full");
    first.succeeded(1);
    expect([low, normal, high].map((each) => each?.last)).toEqual(["wait", "wait", "try a"]);
    high?.succeeded(2);
    expect([low, normal].map((each) => each?.last)).toEqual(["wait", "try a"]);
    normal?.succeeded(3);
    expect(low?.last).toBe("try a");
  });

  test("a client that leaves gives its place up, and is served nothing", () => {
    const { upstream, a, first } = busy();
    const [second, third] = [begun(upstream, 1), begun(upstream, 2)];
    second.dispatch.abandon(3);
    expect(upstream.waiting).toBe(1);
    first.succeeded(4);
    expect([second.log, third.last]).toEqual([["wait"], "try a"]);
    third.succeeded(5);
    expect(a.active).toBe(0);
  });
});

describe("an exchange that moves or is retried", () => {
  test("waits for the room that the others have not, and never goes back", () => {
    const { upstream, a, b, backends } = sampleUpstream({ a: {}, b: { limit: 1 } }, queued);
    const blocker = new SampleExchange(upstream);
    upstream.setHealth(a, false, "connection refused", 0);
    blocker.proceed(blocker.dispatch.begin(0));
    upstream.setHealth(a, true, "check passed", 0);
    const exchange = begun(upstream, 1);
    expect(exchange.ended(failure("connect"), "nothing", 2)).toBe("wait");
    upstream.advance(upstream.wakeAtMs);
    expect(exchange.last).toBe("wait");
    blocker.succeeded(20);
    expect(exchange.log).toEqual(["try a", "wait", "try b"]);
    exchange.succeeded(21);
    expect(active(backends)).toEqual([0, 0]);
    expect(b.active).toBe(0);
  });

  test("does not keep others from the room that is of no use to it, nor has them shed", () => {
    const { upstream, b } = sampleUpstream(
      { a: {}, b: { limit: 1 } },
      { ...queued, queue: { ...sampleQueue, max: 1 } },
    );
    const [exchange, blocker] = [begun(upstream), begun(upstream)];
    expect([exchange.last, blocker.last]).toEqual(["try a", "try b"]);
    expect(exchange.ended(failure("connect"), "nothing", 1)).toBe("wait");
    expect([begun(upstream, 2).last, begun(upstream, 2).last]).toEqual(["try a", "try a"]);
    blocker.succeeded(3);
    expect(exchange.last).toBe("try b");
    expect(b.active).toBe(1);
  });

  test("is answered as it failed when nothing is left that it could wait for", () => {
    const { upstream, b } = sampleUpstream({ a: {}, b: { limit: 1 } }, queued);
    const first = begun(upstream);
    const blocker = begun(upstream);
    expect([first.last, blocker.last]).toEqual(["try a", "try b"]);
    expect(first.ended(timeout("connect"), "nothing", 1)).toBe("wait");
    upstream.setHealth(b, false, "connection refused", 2);
    expect(first.last).toBe("answer 504 connect-timeout");
    expect(upstream.waiting).toBe(0);
  });
});

/** Counts how often it is asked. */
class Counting extends RoundRobin {
  picks = 0;
  override pick(...args: Parameters<RoundRobin["pick"]>) {
    this.picks++;
    return super.pick(...args);
  }
}

describe("a place that becomes free", () => {
  test("goes to the next that waits, and no balancer is asked, however many wait", () => {
    const names = Array.from({ length: 30 }, (_, n) => `b${n}`);
    const specs: Record<string, object> = Object.fromEntries(names.map((name) => [name, { limit: 1 }]));
    const balancer = new Counting();
    const { upstream, backends } = sampleUpstream(specs, queued, { balancer });
    const running = names.map(() => begun(upstream));
    const waiting = Array.from({ length: 40 }, () => begun(upstream));
    expect(waiting.every(({ last }) => last === "wait")).toBe(true);
    balancer.picks = 0;
    for (const exchange of running.slice(0, 20)) {
      const freed = exchange.dispatch.backend!.id;
      exchange.succeeded(1);
      expect(waiting.shift()!.last).toBe(`try ${freed}`);
    }
    expect(balancer.picks).toBe(0);
    expect(active(backends)).toEqual(Array(30).fill(1));
  });

  test("goes to the next one when who waits first has been there before; that one waits for another place", () => {
    const balancer = new Counting();
    const { upstream, a, b } = sampleUpstream({ a: { limit: 1 }, b: { limit: 1 } }, queued, { balancer });
    const [first, other] = [begun(upstream), begun(upstream)];
    // It leaves a for want of a connection, and waits for b; others take a.
    expect(first.ended(failure("connect"), "nothing", 1)).toBe("wait");
    const onA = begun(upstream, 2);
    const next = begun(upstream, 2);
    expect([onA.last, next.last]).toEqual(["try a", "wait"]);
    balancer.picks = 0;
    onA.succeeded(3);
    expect([first.last, next.last]).toEqual(["wait", "try a"]);
    other.succeeded(4);
    expect(first.last).toBe("try b");
    expect(balancer.picks).toBe(0);
    for (const exchange of [first, next]) exchange.succeeded(5);
    expect(active([a, b])).toEqual([0, 0]);
  });

  test("below a concurrency limit is no place on a backend: the balancer says where the next one goes", () => {
    const limit = { initial: 2, min: 2, max: 2 };
    const { upstream } = sampleUpstream(
      { a: {}, b: {}, c: {}, d: {} },
      { queue: sampleQueue, concurrencyLimit: limit },
    );
    let [, failing] = [begun(upstream), begun(upstream)];
    const tried: string[] = [];
    for (let n = 0; n < 4; n++) {
      const waiting = begun(upstream);
      expect(waiting.last).toBe("wait");
      failing.ended(failure("reset"), "request", 1);
      tried.push(waiting.last!);
      failing = waiting;
    }
    // Who fails fast must not get everybody who waits.
    expect(tried).toEqual(["try c", "try d", "try a", "try b"]);
  });

  test("below a concurrency limit is one for who has been on the backend of the one that ended, too", () => {
    const limit = { initial: 1, min: 1, max: 1 };
    const { upstream } = sampleUpstream({ a: {}, b: {} }, { ...queued, concurrencyLimit: limit });
    const exchange = begun(upstream);
    const other = begun(upstream);
    exchange.ended(failure("connect"), "nothing", 1);
    expect([exchange.last, other.last]).toEqual(["wait", "try b"]);
    other.ended(failure("exhausted"), "nothing", 2);
    expect(exchange.last).toBe("try b");
  });

  test("on a backend that takes no more requests goes to nobody", () => {
    const { upstream, a, b } = sampleUpstream({ a: { limit: 1 }, b: { limit: 1 } }, queued);
    const [onA, onB] = [begun(upstream), begun(upstream)];
    upstream.setAdminState(a, "drain", "deploy", 1);
    const waiting = begun(upstream, 2);
    onA.succeeded(3);
    expect(waiting.last).toBe("wait");
    onB.succeeded(4);
    expect(waiting.last).toBe("try b");
    expect(active([a, b])).toEqual([0, 1]);
  });

  test("serves those whose exchanges end at once, one after the other, all of them", () => {
    const { upstream, a, first } = busy();
    const waiting = Array.from({ length: 500 }, () => begun(upstream));
    // Each ends within the call that lets it begin, as one does whose connection cannot be had.
    for (const exchange of waiting) {
      exchange.proceed = (step) => {
        SampleExchange.prototype.proceed.call(exchange, step);
        if (step === "try") exchange.succeeded(1);
      };
    }
    first.succeeded(1);
    expect(waiting.every(({ last }) => last === "done")).toBe(true);
    expect([a.active, upstream.waiting, upstream.running]).toEqual([0, 0, 0]);
  });
});

describe("concurrencyLimit", () => {
  const limited: Isolation = { concurrencyLimit: { initial: 2, min: 2, max: 2 } };

  test("lets no more run at a time, whatever room the backends have: 503 for what the queue cannot take", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, limited);
    const [first, second, third] = [begun(upstream), begun(upstream), begun(upstream)];
    expect([first.last, second.last, third.last]).toEqual(["try a", "try b", "answer 503 concurrency"]);
    expect(third.dispatch.retryAfterSeconds).toBe(1);
    first.succeeded(1);
    expect(begun(upstream, 2).last).toBe("try a");
  });

  test("what finds room in the queue waits there", () => {
    const { upstream } = sampleUpstream({ a: {} }, { ...limited, queue: { ...sampleQueue, max: 1 } });
    const [first, , third] = [begun(upstream), begun(upstream), begun(upstream)];
    expect(third.last).toBe("wait");
    expect(begun(upstream).last).toBe("answer 503 concurrency");
    first.succeeded(1);
    expect(third.last).toBe("try a");
  });

  test("is about answers, not about what follows: a WebSocket or an unfinished download holds no place", () => {
    const { upstream, a, b } = sampleUpstream({ a: {}, b: {} }, limited);
    const long = [];
    for (let n = 0; n < 20; n++) {
      const exchange = begun(upstream, n);
      expect(exchange.last).toMatch("try");
      exchange.dispatch.responded(n % 2 === 0 ? 101 : 200, n, exchange.dispatch.attempt);
      long.push(exchange);
    }
    expect([upstream.running, active([a, b])]).toEqual([0, [10, 10]]);
    const [first, second, third] = [begun(upstream, 30), begun(upstream, 30), begun(upstream, 30)];
    expect([first.last, second.last, third.last]).toEqual(["try a", "try b", "answer 503 concurrency"]);
    // Their end gives no place back for a second time.
    for (const exchange of long) exchange.ended(cancelled, "response", 40);
    expect(upstream.running).toBe(2);
    expect(begun(upstream, 41).last).toBe("answer 503 concurrency");
    for (const exchange of [first, second]) exchange.succeeded(50);
    expect([upstream.running, active([a, b])]).toEqual([0, [0, 0]]);
  });

  test("lets the next one go when a response begins, not when it ends", () => {
    const { upstream } = sampleUpstream({ a: {} }, { ...limited, queue: sampleQueue });
    const [first, , third] = [begun(upstream), begun(upstream), begun(upstream)];
    expect(third.last).toBe("wait");
    first.dispatch.responded(200, 5, first.dispatch.attempt);
    expect(third.last).toBe("try a");
  });

  test("is no share for the retry budget either: what only goes on being sent asks for no retries", () => {
    const { upstream } = sampleUpstream({ a: {}, b: {} }, queued);
    for (let n = 0; n < 100; n++) {
      const exchange = begun(upstream);
      exchange.dispatch.responded(101, 1, exchange.dispatch.attempt);
    }
    expect(upstream.active).toBe(0);
  });

  test("nobody waits for it where there is no backend to go to", () => {
    const { upstream, a } = sampleUpstream({ a: {} }, { ...limited, queue: sampleQueue });
    begun(upstream);
    begun(upstream);
    upstream.setHealth(a, false, "connection refused", 1);
    expect(begun(upstream, 2).last).toBe("answer 503 no-backend");
  });

  test("learns nothing from clients that leave, nor from what never reached a backend", () => {
    const { upstream } = sampleUpstream({ a: {} }, { concurrencyLimit: { initial: 50, min: 1, max: 100 } });
    const round = (now: number, howLong: number, end: (one: SampleExchange, at: number) => void) => {
      const running = Array.from({ length: 40 }, () => begun(upstream, now));
      for (const one of running) end(one, now + howLong);
    };
    for (let now = 0; now < 1_000; now += 200) round(now, 110, (one, at) => one.succeeded(at));
    const before = upstream.limit!.limit;
    for (let now = 1_000; now < 9_000; now += 1_000) {
      round(now, 900, (one, at) => one.dispatch.abandon(at));
      round(now, 900, (one, at) => one.ended(failure("exhausted"), "nothing", at));
    }
    expect(upstream.limit!.limit).toBe(before);
  });
});
