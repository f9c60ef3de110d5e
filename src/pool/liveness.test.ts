import { expect, test } from "vitest";
import { PoolBench } from "../../test/support/pool-bench.ts";

test("an idle connection that breaks is closed in the same tick", async () => {
  const bench = new PoolBench();
  const [a] = await bench.idle(2);
  a!.die();
  expect(bench.closed).toEqual(["#1 dead"]);
  expect(bench.counts).toEqual([1, 0, 0, 0]);
});

test("a busy connection that breaks counts until it is released, and is closed then", async () => {
  const bench = new PoolBench({ isAlive: () => true });
  const [a] = await bench.busy(1);
  a!.die();
  expect(bench.counts).toEqual([0, 1, 0, 0]);
  bench.pool.release(a!);
  expect(bench.closed).toEqual(["#1 dead"]);
});

test("a dead connection is not handed out: the next idle one is", async () => {
  const bench = new PoolBench();
  const [, b] = await bench.idle(2);
  b!.alive = false;
  expect(bench.request().answer).toBe("#1");
  expect(bench.closed).toEqual(["#2 dead"]);
});

test("a connection that is dead at release does not reach a waiter, who gets a new one", async () => {
  const bench = new PoolBench({ maxConnections: 1 });
  const [a] = await bench.busy(1);
  const waiter = bench.request();
  a!.alive = false;
  bench.pool.release(a!);
  expect(waiter.answer).toBe("waits");
  await bench.openings[0]!.open();
  expect(waiter.answer).toBe("#2");
});

test("a liveness check that throws counts as dead, and is reported", async () => {
  let broken = false;
  const mistake = new Error("mistake");
  const bench = new PoolBench({
    isAlive: () => {
      if (broken) throw mistake;
      return true;
    },
  });
  const [a] = await bench.busy(1);
  broken = true;
  bench.pool.release(a!);
  expect(bench.closed).toEqual(["#1 dead"]);
  expect(bench.errors).toEqual([mistake]);
});

test("a connection that cannot be watched is not used", async () => {
  const mistake = new Error("mistake");
  const bench = new PoolBench({
    watch: () => {
      throw mistake;
    },
  });
  const waiter = bench.request();
  await bench.openings[0]!.open();
  expect(waiter.answer).toBe("unreachable");
  expect(bench.errors).toEqual([mistake]);
});

test("a connection that breaks after it was closed is old news", async () => {
  const bench = new PoolBench();
  const [a, b] = await bench.busy(2);
  bench.pool.discard(a!);
  a!.die();
  bench.pool.close();
  b!.die();
  expect(bench.closed).toEqual(["#1 discarded", "#2 closed"]);
});
