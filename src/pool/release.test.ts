import { expect, test } from "vitest";
import { PoolBench } from "../../test/support/pool-bench.ts";

test("a connection released twice is refused, and handed out once", async () => {
  const bench = new PoolBench();
  const [connection] = await bench.idle(1);
  expect(() => bench.pool.release(connection!)).toThrow("released before");
  expect(() => bench.pool.discard(connection!)).toThrow("released before");
  expect(bench.counts).toEqual([1, 0, 0, 0]);
});

test("a connection of somebody else, or one discarded before, is refused", async () => {
  const bench = new PoolBench();
  const [connection] = await bench.busy(1);
  expect(() => bench.pool.release({ ...connection! })).toThrow("does not hold");
  bench.pool.discard(connection!);
  expect(() => bench.pool.release(connection!)).toThrow("does not hold");
  expect(() => bench.pool.discard(connection!)).toThrow("does not hold");
  expect(bench.closed).toEqual(["#1 discarded"]);
});

test("what does not fit under maxIdle is closed when it is released", async () => {
  const bench = new PoolBench({ maxIdle: 2 });
  await bench.idle(3);
  expect(bench.closed).toEqual(["#3 max-idle"]);
  expect(bench.counts).toEqual([2, 0, 0, 0]);
});

test("a connection is closed after its last allowed use", async () => {
  const bench = new PoolBench({ maxRequests: 3 });
  const [connection] = await bench.idle(1);
  for (let use = 2; use <= 3; use++) {
    expect(bench.closed).toEqual([]);
    expect(bench.pool.tryAcquire()).toBe(connection);
    bench.pool.release(connection!);
  }
  expect(bench.closed).toEqual(["#1 max-requests"]);
});

test("closeIdle closes what is idle and leaves what is busy", async () => {
  const bench = new PoolBench();
  const [a] = await bench.busy(3);
  bench.pool.release(a!);
  bench.pool.closeIdle("backend down");
  expect(bench.closed).toEqual(["#1 backend down"]);
  expect(bench.counts).toEqual([0, 2, 0, 0]);
});

test("a destroy that throws or rejects is reported, and the pool goes on", async () => {
  const mistake = new Error("mistake");
  const bench = new PoolBench({
    destroy: ({ id }) => {
      if (id === 1) throw mistake;
      return Promise.reject(mistake);
    },
  });
  await bench.idle(2);
  bench.pool.closeIdle("test");
  await bench.pool.drain();
  expect(bench.errors).toEqual([mistake, mistake]);
  expect(bench.pool.stats).toMatchObject({ idle: 0, destroyed: 2 });
});
