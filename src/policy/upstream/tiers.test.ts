import { describe, expect, test } from "vitest";
import type { Isolation } from "./isolation.ts";
import { failure, SampleExchange, sampleQueue, sampleRetry, sampleUpstream } from "./samples.ts";

const { begun } = SampleExchange;
const isolation: Isolation = { retry: sampleRetry, queue: sampleQueue };

/** Two that serve and a backup. */
const withBackup = (options: Isolation = isolation) => sampleUpstream({ a: {}, b: {}, c: { tier: 1 } }, options);

/** How many of 100 exchanges each backend gets. */
function shares({ upstream, backends }: Pick<ReturnType<typeof sampleUpstream>, "upstream" | "backends">) {
  const running = Array.from({ length: 100 }, () => begun(upstream));
  const counts = backends.map(({ active }) => active);
  for (const exchange of running) exchange.dispatch.abandon(1);
  return counts;
}

describe("backups", () => {
  test("get nothing while those that serve are well", () => {
    expect(shares(withBackup())).toEqual([50, 50, 0]);
  });

  test("take over what is too much for those that are left: at 1 of 2, 30 of 100", () => {
    const sample = withBackup();
    sample.upstream.setHealth(sample.a, false, "connection refused", 0);
    expect(shares(sample)).toEqual([0, 70, 30]);
    sample.upstream.setHealth(sample.a, true, "check passed", 1);
    expect(shares(sample)).toEqual([50, 50, 0]);
  });

  test("take over everything when nobody else is left", () => {
    const sample = withBackup();
    for (const backend of [sample.a, sample.b]) sample.upstream.setHealth(backend, false, "connection refused", 0);
    expect(shares(sample)).toEqual([0, 0, 100]);
  });

  test("of the second rank come before those of the third", () => {
    const sample = sampleUpstream({ a: {}, b: { tier: 1 }, c: { tier: 2 } });
    sample.upstream.setHealth(sample.a, false, "connection refused", 0);
    expect(shares(sample)).toEqual([0, 100, 0]);
    sample.upstream.setHealth(sample.b, false, "connection refused", 0);
    expect(shares(sample)).toEqual([0, 0, 100]);
  });

  test("need not be of the ranks next to each other, nor be listed last", () => {
    const sample = sampleUpstream({ a: { tier: 9 }, b: { tier: 3 } });
    expect(sample.upstream.available.map(({ id }) => id)).toEqual(["a", "b"]);
    expect(shares(sample)).toEqual([0, 100]);
  });

  test("that take a share already serve when the rank whose turn it is has no room, and the other way round", () => {
    const { upstream, a, b, c } = sampleUpstream({ a: { limit: 1 }, b: {}, c: { tier: 1, limit: 5 } }, isolation);
    upstream.setHealth(b, false, "connection refused", 0);
    // Seven of ten are meant for a.
    const log = Array.from({ length: 6 }, () => begun(upstream).last);
    expect(log.toSorted()).toEqual(["try a", ...Array(5).fill("try c")]);
    expect(begun(upstream).last).toBe("wait");
    expect([a.active, b.active, c.active]).toEqual([1, 0, 5]);
  });

  test("that take a share give all the room there is, however many backends are full", () => {
    const names = Array.from({ length: 12 }, (_, n) => `a${n}`);
    const spares = Array.from({ length: 12 }, (_, n) => `c${n}`);
    const specs: Record<string, object> = {
      ...Object.fromEntries(names.map((name) => [name, { limit: 1 }])),
      ...Object.fromEntries(spares.map((name) => [name, { limit: 1, tier: 1 }])),
    };
    const { upstream, backends } = sampleUpstream(specs, isolation);
    for (const backend of backends.slice(0, 6)) upstream.setHealth(backend, false, "connection refused", 0);
    const log = Array.from({ length: 18 }, () => begun(upstream).last);
    expect(log.every((step) => step?.startsWith("try"))).toBe(true);
    expect(begun(upstream).last).toBe("wait");
  });

  test("that take no share are not used, whatever the rank before them lacks", () => {
    const { upstream, a, d } = sampleUpstream({ a: { limit: 1 }, b: {}, c: { tier: 1, limit: 1 }, d: { tier: 2 } });
    upstream.setHealth(upstream.backends[1]!, false, "connection refused", 0);
    const log = Array.from({ length: 10 }, () => begun(upstream).last);
    expect(log.filter((step) => step?.startsWith("try"))).toHaveLength(2);
    expect([a.active, d.active]).toEqual([1, 0]);
  });

  test("do not serve for want of room, be it that an exchange of before ends there", () => {
    const { upstream, a } = sampleUpstream({ a: { limit: 1 }, b: { tier: 1 } }, isolation);
    upstream.setHealth(a, false, "connection refused", 0);
    const onBackup = begun(upstream);
    expect(onBackup.last).toBe("try b");
    upstream.setHealth(a, true, "check passed", 1);
    const onA = begun(upstream, 1);
    const waiting = begun(upstream, 1);
    onBackup.succeeded(2);
    expect(waiting.last).toBe("wait");
    onA.succeeded(3);
    expect(waiting.last).toBe("try a");
  });

  test("do not serve for want of room: that is waited for", () => {
    const { upstream, c } = sampleUpstream({ a: { limit: 1 }, b: { limit: 1 }, c: { tier: 1 } }, isolation);
    const running = [1, 2].map(() => begun(upstream));
    const waiting = begun(upstream);
    expect(waiting.last).toBe("wait");
    running[1]!.succeeded(1);
    expect(waiting.last).toBe("try b");
    expect(c.active).toBe(0);
  });

  test("get an exchange that has tried all of the ranks before", () => {
    const { upstream } = withBackup();
    const exchange = begun(upstream);
    exchange.ended(failure("connect"), "nothing", 1);
    expect(exchange.ended(failure("connect"), "nothing", 2)).toBe("try c");
    expect(exchange.ended(failure("connect"), "nothing", 3)).toBe("answer 502 connect");
  });

  test("get a retry when all of the ranks before have been tried", () => {
    const { upstream } = sampleUpstream({ a: {}, c: { tier: 1 } }, isolation);
    const exchange = begun(upstream);
    exchange.ended(failure("reset"), "request", 1);
    exchange.woken();
    expect(exchange.last).toBe("try c");
  });

  test("do not keep those that serve from a retry: what the backup failed goes on to them", () => {
    const { upstream, a } = sampleUpstream({ a: {}, b: {}, c: { tier: 1 } }, isolation);
    upstream.setHealth(a, false, "connection refused", 0);
    const all = Array.from({ length: 10 }, () => begun(upstream));
    const spilled = all.filter(({ last }) => last === "try c");
    expect(spilled).toHaveLength(3);
    for (const exchange of spilled) expect(exchange.ended(failure("connect"), "nothing", 1)).toBe("try b");
  });

  test("are no matter of weight: one of weight 0 that serves is not missed", () => {
    expect(shares(sampleUpstream({ a: {}, b: { weight: 0 }, c: { tier: 1 } }))).toEqual([100, 0, 0]);
  });
});

describe("panic", () => {
  test("all of a rank are used when too few are well, but what an operator has taken out", () => {
    const sample = sampleUpstream({ a: {}, b: {}, c: {}, d: {} }, { panicThreshold: 0.5 });
    const { upstream, a, b, c, d } = sample;
    for (const backend of [a, b]) upstream.setHealth(backend, false, "connection refused", 0);
    expect(upstream.available).toEqual([c, d]);
    upstream.setHealth(c, false, "connection refused", 0);
    expect(upstream.available).toEqual([a, b, c, d]);
    upstream.setAdminState(a, "drain", "deploy", 1);
    upstream.setAdminState(d, "down", "set by an operator", 1);
    expect(upstream.available).toEqual([b, c]);
    for (const backend of [b, c]) upstream.setHealth(backend, true, "check passed", 2);
    expect(upstream.available).toEqual([b, c]);
  });

  test("without a threshold nothing is used that is not well", () => {
    const { upstream, a, b } = sampleUpstream({ a: {}, b: {} });
    for (const backend of [a, b]) upstream.setHealth(backend, false, "connection refused", 0);
    expect(upstream.available).toEqual([]);
    expect(begun(upstream).last).toBe("answer 503 no-backend");
  });
});

test("a rank that stays keeps its balancer, and each its own", () => {
  let made = 0;
  const heard: string[] = [];
  const makeBalancer = (n: number) => ({
    update() {},
    pick: () => undefined,
    settled: (backend: { id: string }) => void heard.push(`${n} ${backend.id}`),
  });
  const sample = sampleUpstream({ a: {}, b: { tier: 1 } }, isolation, {
    balancer: makeBalancer(0),
    makeBalancer: () => makeBalancer(++made),
  });
  const { upstream, a, b } = sample;
  upstream.update([a, b], 1);
  upstream.update([a], 2);
  upstream.update([a, b], 3);
  expect(made).toBe(2);
  for (const backend of [a, b]) {
    backend.take();
    upstream.settle(backend, { kind: "cancelled", durationMs: 1 }, 4);
  }
  expect(heard).toEqual(["0 a", "2 b"]);
});

test("ranks without anything that makes balancers for them are a mistake of who made the upstream", () => {
  const { upstream, backends } = sampleUpstream({ a: {}, b: { tier: 1 } });
  expect(upstream.backends).toEqual(backends);
  expect(() => {
    // biome-ignore lint/suspicious/noExplicitAny: what types forbid
    sampleUpstream({ a: {}, b: { tier: 1 } }, {}, { makeBalancer: undefined as any });
  }).toThrow("upstream web has tiers, but nothing makes balancers for them");
});
