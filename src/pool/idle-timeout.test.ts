import { expect, test } from "vitest";
import { PoolBench } from "../../test/support/pool-bench.ts";

test("a connection idle for too long is closed, though nobody asks", async () => {
  const bench = new PoolBench({ idleTimeoutMs: 5_000 });
  await bench.idle(1);
  bench.clock.advance(4_999);
  expect(bench.closed).toEqual([]);
  bench.clock.advance(1);
  expect(bench.closed).toEqual(["#1 idle-timeout"]);
});

test("a connection in use from time to time stays, and the others go", async () => {
  const bench = new PoolBench({ idleTimeoutMs: 5_000 });
  await bench.idle(3);
  for (let i = 0; i < 4; i++) {
    bench.clock.advance(2_000);
    bench.pool.release(bench.pool.tryAcquire()!);
  }
  expect(bench.closed).toEqual(["#1 idle-timeout", "#2 idle-timeout"]);
  expect(bench.counts).toEqual([1, 0, 0, 0]);
});

test("a busy connection has no idle timeout, and gets a whole one when it is released", async () => {
  const bench = new PoolBench({ idleTimeoutMs: 5_000 });
  const [connection] = await bench.busy(1);
  bench.clock.advance(60_000);
  bench.pool.release(connection!);
  bench.clock.advance(4_999);
  expect(bench.counts).toEqual([1, 0, 0, 0]);
  bench.clock.advance(1);
  expect(bench.counts).toEqual([0, 0, 0, 0]);
});

test("a connection that is over its time is not handed out, even when the timer is late", async () => {
  let now = 0;
  const timer = { set: () => {}, clear: () => {} };
  const bench = new PoolBench({
    idleTimeoutMs: 5_000,
    clock: { now: () => now, wallTime: () => now, timer: () => timer },
  });
  await bench.idle(1);
  now = 5_000;
  expect(bench.pool.tryAcquire()).toBeUndefined();
  expect(bench.closed).toEqual(["#1 idle-timeout"]);
});

test("an idle pool has one timer, and a pool without idle connections none", async () => {
  const bench = new PoolBench({ idleTimeoutMs: 5_000, openTimeoutMs: 1_000 });
  await bench.idle(3);
  bench.clock.advance(1_000);
  expect(bench.clock.armed).toBe(1);
  bench.clock.advance(4_000);
  expect(bench.clock.armed).toBe(0);
});

test("Infinity keeps idle connections for ever, without a timer", async () => {
  const bench = new PoolBench({ idleTimeoutMs: Number.POSITIVE_INFINITY, openTimeoutMs: 1_000 });
  await bench.idle(1);
  bench.clock.advance(1_000);
  expect(bench.clock.armed).toBe(0);
  bench.clock.advance(1e12);
  expect(bench.counts).toEqual([1, 0, 0, 0]);
});
