import { expect, test } from "vitest";
import { PoolBench, settled } from "../../test/support/pool-bench.ts";

test("drain fails who waits, closes what is idle, aborts what opens, and waits for what is busy", async () => {
  const bench = new PoolBench({ maxConnections: 3 });
  const [a, b] = await bench.busy(2);
  bench.pool.release(b!);
  const fresh = bench.request({ fresh: true });
  let drained = false;
  const promise = bench.pool.drain().then(() => {
    drained = true;
  });
  expect(fresh.answer).toBe("closed");
  expect(bench.closed).toEqual(["#2 closed"]);
  expect(bench.openings[0]!.signal.aborted).toBe(true);
  expect(bench.counts).toEqual([0, 1, 0, 0]);
  await settled();
  expect(drained).toBe(false);
  bench.pool.release(a!);
  await promise;
  expect(bench.closed).toEqual(["#2 closed", "#1 closed"]);
  expect(bench.clock.armed).toBe(0);
});

test("a draining and a closed pool take no more requests", async () => {
  const bench = new PoolBench();
  const [connection] = await bench.busy(1);
  const drained = bench.pool.drain();
  expect(bench.request().errors[0]).toMatchObject({ code: "closed", message: "the pool is draining" });
  expect(bench.pool.tryAcquire()).toBeUndefined();
  bench.pool.discard(connection!);
  await drained;
  await expect(bench.pool.acquire()).rejects.toMatchObject({ code: "closed", message: "the pool is closed" });
  bench.pool.retry();
  bench.pool.setMaxConnections(10);
  expect(bench.pool.surrenderIdle()).toBe(false);
  expect(bench.openings).toHaveLength(0);
});

test("an empty pool drains at once, and drains as often as it is asked to", async () => {
  const bench = new PoolBench();
  await bench.pool.drain();
  await bench.pool.drain();
  bench.pool.close();
  await bench.pool.drain();
  expect(bench.counts).toEqual([0, 0, 0, 0]);
});

test("drain waits for what destroy promised", async () => {
  const ends: (() => void)[] = [];
  const bench = new PoolBench({ destroy: () => new Promise<void>((resolve) => ends.push(resolve)) });
  await bench.idle(1);
  let drained = false;
  const promise = bench.pool.drain().then(() => {
    drained = true;
  });
  await settled();
  expect(drained).toBe(false);
  ends[0]!();
  await promise;
});

test("close closes busy connections too, which may still be released, once", async () => {
  const bench = new PoolBench();
  const [a, b] = await bench.busy(2);
  bench.pool.release(b!);
  bench.pool.close();
  expect(bench.closed).toEqual(["#2 closed", "#1 closed"]);
  expect(bench.counts).toEqual([0, 0, 0, 0]);
  bench.pool.release(a!);
  expect(() => bench.pool.release(a!)).toThrow("does not hold");
});

test("close ends a drain that waits", async () => {
  const bench = new PoolBench();
  await bench.busy(1);
  const drained = bench.pool.drain();
  bench.pool.close();
  await drained;
  expect(bench.closed).toEqual(["#1 closed"]);
});

test("a connection that opens after the pool was closed is closed", async () => {
  const bench = new PoolBench();
  const waiter = bench.request();
  bench.pool.close();
  expect([waiter.answer, bench.openings[0]!.signal.aborted]).toEqual(["closed", true]);
  await bench.openings[0]!.open();
  expect(bench.closed).toEqual(["#1 closed"]);
  expect(bench.counts).toEqual([0, 0, 0, 0]);
});

test("a pool at the end of its scope is drained", async () => {
  const bench = new PoolBench();
  await bench.idle(1);
  await bench.pool[Symbol.asyncDispose]();
  expect(bench.closed).toEqual(["#1 closed"]);
});
