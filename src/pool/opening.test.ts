import { expect, test } from "vitest";
import { PoolBench, settled } from "../../test/support/pool-bench.ts";

const refused = Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:1"), { code: "ECONNREFUSED" });

test("a failed opening tells the oldest waiter at once, with the cause", async () => {
  const bench = new PoolBench({ maxConnections: 1 });
  const [first, second] = [bench.request(), bench.request()];
  await bench.openings[0]!.fail(refused);
  expect(first.errors[0]).toMatchObject({
    code: "unreachable",
    message: "could not open a connection: connect ECONNREFUSED 127.0.0.1:1",
    cause: refused,
  });
  expect(second.answer).toBe("waits");
});

test("a backend that refuses gets one try a waiter, and then it is quiet", async () => {
  let tries = 0;
  const bench = new PoolBench({
    maxConnections: 2,
    create: () => {
      tries++;
      return Promise.reject(refused);
    },
  });
  const waiters = Array.from({ length: 7 }, () => bench.request());
  for (let i = 0; i < 10; i++) await settled();
  expect(waiters.map((w) => w.answer)).toEqual(Array(7).fill("unreachable"));
  expect(tries).toBe(7);
  expect(bench.counts).toEqual([0, 0, 0, 0]);
});

test("a failure of an opening that nobody waits for any more bothers nobody", async () => {
  const bench = new PoolBench();
  bench.pool.cancel(bench.request());
  await bench.openings[0]!.fail(refused);
  expect(bench.counts).toEqual([0, 0, 0, 0]);
  expect(bench.errors).toEqual([]);
});

test("an opening that takes too long is aborted, its waiter told, and its place free again", async () => {
  const bench = new PoolBench({ maxConnections: 1, openTimeoutMs: 2_000 });
  const [first, second] = [bench.request({ timeoutMs: 5_000 }), bench.request({ timeoutMs: 5_000 })];
  bench.clock.advance(2_000);
  expect(bench.openings[0]!.signal.aborted).toBe(true);
  expect(first.errors[0]).toMatchObject({ code: "unreachable", cause: { name: "TimeoutError" } });
  expect(bench.counts).toEqual([0, 0, 1, 1]);
  await bench.openings[1]!.open();
  expect(second.answer).toBe("#1");
});

test("what opens after it was given up is closed, and what fails then is forgotten", async () => {
  const bench = new PoolBench({ openTimeoutMs: 2_000 });
  bench.request();
  bench.request();
  bench.clock.advance(2_000);
  await bench.openings[0]!.open();
  await bench.openings[1]!.fail(refused);
  expect(bench.closed).toEqual(["#1 late"]);
  expect(bench.pool.stats).toMatchObject({ idle: 0, busy: 0, opening: 0, created: 1, destroyed: 1 });
});

test("an opening outlives the waiter it was begun for, so that short deadlines do not prevent it for ever", async () => {
  const bench = new PoolBench({ queue: { timeoutMs: 100 }, openTimeoutMs: 2_000 });
  bench.request();
  bench.clock.advance(150);
  const second = bench.request();
  bench.clock.advance(50);
  await bench.openings[0]!.open();
  expect(second.answer).toBe("#1");
  expect(bench.openings).toHaveLength(1);
});

test("a connection that is dead when it has opened counts as one that failed to", async () => {
  const bench = new PoolBench({ isAlive: () => false });
  const waiter = bench.request();
  await bench.openings[0]!.open();
  expect(waiter.answer).toBe("unreachable");
  expect(bench.closed).toEqual(["#1 dead"]);
  expect(bench.counts).toEqual([0, 0, 0, 0]);
});

test("a failed waiter that asks again at once gets a new try, not an endless loop", async () => {
  const bench = new PoolBench();
  const again = bench.request();
  bench.pool.cancel(again);
  let failures = 0;
  const stubborn = {
    acquired: (): void => {},
    failed: (): void => {
      failures++;
      bench.pool.request(stubborn);
    },
  };
  bench.pool.request(stubborn);
  await bench.openings[0]!.fail(refused);
  expect(failures).toBe(1);
  expect(bench.counts).toEqual([0, 0, 1, 1]);
});
