import { expect, test } from "vitest";
import { PoolBench, settled } from "../../test/support/pool-bench.ts";

test("idle, busy and opening connections together never exceed the bound", async () => {
  const bench = new PoolBench({ maxConnections: 3 });
  const [a] = await bench.busy(2);
  bench.pool.release(a!);
  const waiters = Array.from({ length: 5 }, () => bench.request());
  expect(waiters.map((w) => w.answer)).toEqual(["#1", "waits", "waits", "waits", "waits"]);
  expect(bench.counts).toEqual([0, 2, 1, 4]);
  expect(bench.openings).toHaveLength(1);
});

test("no connection is opened before somebody asks, and none more than there are waiters", async () => {
  const bench = new PoolBench();
  expect(bench.openings).toHaveLength(0);
  bench.request();
  bench.request();
  expect(bench.counts).toEqual([0, 0, 2, 2]);
  await bench.openings[0]!.open();
  expect(bench.openings).toHaveLength(2);
});

test("a released connection makes an opening superfluous; it becomes idle and opens nothing more", async () => {
  const bench = new PoolBench();
  const [a] = await bench.busy(1);
  const waiter = bench.request();
  bench.pool.release(a!);
  expect(waiter.answer).toBe("#1");
  expect(bench.counts).toEqual([0, 1, 1, 0]);
  await bench.openings[0]!.open();
  expect(bench.counts).toEqual([1, 1, 0, 0]);
});

test("an opening under way is used by the next who asks, instead of a second one", async () => {
  const bench = new PoolBench();
  const gone = bench.request();
  bench.pool.cancel(gone);
  const next = bench.request();
  expect(bench.openings).toHaveLength(1);
  await bench.openings[0]!.open();
  expect(next.answer).toBe("#1");
});

test("a discarded connection makes room for who waits", async () => {
  const bench = new PoolBench({ maxConnections: 1 });
  const [a] = await bench.busy(1);
  const waiter = bench.request();
  bench.pool.discard(a!, "broken reply");
  expect(bench.closed).toEqual(["#1 broken reply"]);
  await bench.openings[0]!.open();
  expect(waiter.answer).toBe("#2");
});

test("a pool of no connections lets its waiters run into their deadline", () => {
  const bench = new PoolBench({ maxConnections: 0 });
  const waiter = bench.request();
  bench.clock.advance(1_000);
  expect(waiter.answer).toBe("exhausted");
});

test("raising the bound opens connections for who waits", async () => {
  const bench = new PoolBench({ maxConnections: 1 });
  await bench.busy(1);
  bench.request();
  bench.request();
  bench.pool.setMaxConnections(2);
  expect(bench.counts).toEqual([0, 1, 1, 2]);
});

test("lowering the bound closes idle connections now and busy ones as they come back", async () => {
  const bench = new PoolBench();
  const [a, b, c, d] = await bench.busy(4);
  bench.pool.release(d!);
  bench.pool.setMaxConnections(2);
  expect(bench.closed).toEqual(["#4 max-connections"]);
  bench.pool.release(a!);
  bench.pool.release(b!);
  bench.pool.release(c!);
  expect(bench.closed).toEqual(["#4 max-connections", "#1 max-connections"]);
  expect(bench.counts).toEqual([2, 0, 0, 0]);
});

test("a limit that makes no sense is refused by name", () => {
  expect(() => new PoolBench({ maxConnections: -1 })).toThrow("maxConnections");
  expect(() => new PoolBench({ maxIdle: 1.5 })).toThrow("maxIdle");
  expect(() => new PoolBench({ maxRequests: 0 })).toThrow("maxRequests");
  expect(() => new PoolBench({ maxAgeMs: Number.NaN })).toThrow("maxAgeMs");
  expect(() => new PoolBench({ openTimeoutMs: 0 })).toThrow("openTimeoutMs");
  expect(() => new PoolBench({ queue: { max: -1 } })).toThrow("queue.max");
  expect(() => new PoolBench({ queue: { timeoutMs: -1 } })).toThrow("queue.timeoutMs");
  expect(() => new PoolBench().pool.setMaxConnections(Number.NaN)).toThrow("maxConnections");
});

test("a connection that create returns twice is counted once, and its second waiter told", async () => {
  const connection = { id: 1, alive: true, die: () => {} };
  const bench = new PoolBench({ create: async () => connection });
  const [first, second] = [bench.request(), bench.request()];
  await settled();
  expect([first.answer, second.answer]).toEqual(["#1", "unreachable"]);
  expect(second.errors[0]!.message).toContain("in the pool already");
  expect(bench.counts).toEqual([0, 1, 0, 0]);
});
