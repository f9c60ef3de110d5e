import { expect, test } from "vitest";
import { type FakeConnection, type FakeWaiter, PoolBench, settled } from "../../test/support/pool-bench.ts";
import { PoolError } from "./pool-error.ts";

test("an idle connection is handed out at once, the one used last first", async () => {
  const bench = new PoolBench();
  await bench.idle(2);
  const waiter = bench.request();
  expect([waiter.answer, waiter.reused]).toEqual(["#2", true]);
  expect(bench.pool.tryAcquire()?.id).toBe(1);
  expect(bench.pool.tryAcquire()).toBeUndefined();
});

test("who waits is served in order, by released and by new connections alike", async () => {
  const bench = new PoolBench({ maxConnections: 2 });
  const [a] = await bench.busy(1);
  const waiters = [bench.request(), bench.request(), bench.request()];
  await bench.openings[0]!.open();
  expect(waiters.map((w) => w.answer)).toEqual(["#2", "waits", "waits"]);
  bench.pool.release(a!);
  bench.pool.release(waiters[0]!.connection);
  expect(waiters.map((w) => w.answer)).toEqual(["#2", "#1", "#2"]);
  expect(waiters.map((w) => w.reused)).toEqual([false, true, true]);
});

test("who waits too long is told that all were busy, with the counts", async () => {
  const bench = new PoolBench({ maxConnections: 2, queue: { timeoutMs: 300 } });
  await bench.busy(2);
  const waiter = bench.request();
  bench.clock.advance(299);
  expect(waiter.answer).toBe("waits");
  bench.clock.advance(1);
  expect(waiter.errors[0]).toMatchObject({
    code: "exhausted",
    message: "no connection was free within 300 ms: 2 busy and 0 opening of 2",
  });
  expect(bench.counts).toEqual([0, 2, 0, 0]);
});

test("who waits too long for a connection to open is told that the backend did not answer", () => {
  const bench = new PoolBench({ queue: { timeoutMs: 300 } });
  const waiter = bench.request();
  bench.clock.advance(300);
  expect(waiter.errors[0]).toMatchObject({ code: "unreachable", cause: { name: "TimeoutError" } });
});

test("who waits behind others is told that all were busy, though a connection is being opened for those", async () => {
  const bench = new PoolBench({ maxConnections: 2 });
  await bench.busy(1);
  bench.request({ timeoutMs: 5_000 });
  const second = bench.request({ timeoutMs: 300 });
  bench.clock.advance(300);
  expect(second.errors[0]).toMatchObject({
    code: "exhausted",
    message: "no connection was free within 300 ms: 1 busy and 1 opening of 2",
  });
});

test("each waiter may bring its own deadline, in any order", () => {
  const bench = new PoolBench({ maxConnections: 0 });
  const waiters = [500, 100, 300, Number.POSITIVE_INFINITY].map((timeoutMs) => bench.request({ timeoutMs }));
  const answers: string[] = [];
  for (let i = 0; i < 4; i++) {
    bench.clock.advance(150);
    answers.push(waiters.map((w) => w.answer[0]).join(""));
  }
  expect(answers).toEqual(["weww", "weew", "weew", "eeew"]);
  expect(bench.clock.armed).toBe(0);
});

test("the queue is bounded beyond those a connection is being opened for", () => {
  const bench = new PoolBench({ maxConnections: 2, queue: { max: 1 } });
  const waiters = [1, 2, 3, 4].map(() => bench.request());
  expect(waiters.map((w) => w.answer)).toEqual(["waits", "waits", "waits", "queue-full"]);
  expect(waiters[3]!.errors[0]!.message).toBe("1 wait for a connection already: 0 busy and 2 opening of 2");
});

test("a pool without a queue still opens connections on demand", async () => {
  const bench = new PoolBench({ maxConnections: 1, queue: { max: 0 } });
  const [first, second] = [bench.request(), bench.request()];
  await bench.openings[0]!.open();
  expect([first.answer, second.answer]).toEqual(["#1", "queue-full"]);
});

test("a waiter that waits already is refused", () => {
  const bench = new PoolBench();
  const waiter = bench.request();
  expect(() => bench.pool.request(waiter)).toThrow(TypeError);
  expect(bench.counts).toEqual([0, 0, 1, 1]);
});

test("a deadline that makes no sense is refused, and nobody waits", async () => {
  const bench = new PoolBench();
  expect(() => bench.request({ timeoutMs: Number.NaN })).toThrow("timeoutMs");
  await expect(bench.pool.acquire({ timeoutMs: -1 })).rejects.toThrow("timeoutMs");
  expect(bench.counts).toEqual([0, 0, 0, 0]);
});

test("waiters that give their connection back at once are all served, however many", async () => {
  const bench = new PoolBench({ maxConnections: 1, queue: { max: Number.POSITIVE_INFINITY } });
  const [connection] = await bench.busy(1);
  const order: number[] = [];
  for (let i = 0; i < 20_000; i++) {
    bench.pool.request({
      acquired: (c) => {
        order.push(i);
        bench.pool.release(c);
      },
      failed: () => {},
    });
  }
  bench.pool.release(connection!);
  expect(order).toHaveLength(20_000);
  expect(order.every((n, i) => n === i)).toBe(true);
  expect(bench.counts).toEqual([1, 0, 0, 0]);
});

test("a waiter that asks again from its answer waits behind the others", async () => {
  const bench = new PoolBench({ maxConnections: 1 });
  const [connection] = await bench.busy(1);
  const order: string[] = [];
  const greedy = {
    acquired: (c: typeof connection): void => {
      order.push("greedy");
      if (order.length < 3) bench.pool.request(greedy);
      bench.pool.release(c!);
    },
    failed: (): void => {},
  };
  bench.pool.request(greedy);
  bench.pool.request({
    acquired: (c) => {
      order.push("other");
      bench.pool.release(c);
    },
    failed: () => {},
  });
  bench.pool.release(connection!);
  expect(order).toEqual(["greedy", "other", "greedy"]);
});

test("a waiter that throws at its connection loses it, and the next one is served", async () => {
  const bench = new PoolBench({ maxConnections: 1 });
  const [connection] = await bench.busy(1);
  const mistake = new Error("mistake");
  bench.pool.request({
    acquired: () => {
      throw mistake;
    },
    failed: () => {},
  });
  const next = bench.request();
  bench.pool.release(connection!);
  expect(bench.errors).toEqual([mistake]);
  expect(bench.closed).toEqual(["#1 discarded"]);
  await bench.openings[0]!.open();
  expect(next.answer).toBe("#2");
});

test("a waiter that throws after it gave its connection back does not take it from the next", async () => {
  const bench = new PoolBench({ maxConnections: 1 });
  bench.pool.request({
    acquired: (connection) => {
      bench.pool.release(connection);
      throw new Error("mistake");
    },
    failed: () => {},
  });
  const next = bench.request();
  await bench.openings[0]!.open();
  expect(next.answer).toBe("#1");
  expect([bench.closed, bench.errors.length]).toEqual([[], 1]);
});

test.each([
  ["breaks", (_bench: PoolBench, c: FakeConnection) => c.die(), "#1 dead", "waits"],
  ["is closed with its pool", (bench: PoolBench) => bench.pool.close(), "#1 closed", "closed"],
])("a connection that %s on its way to the next waiter does not arrive", async (_, happen, closed, answer) => {
  const bench = new PoolBench({ maxConnections: 1, isAlive: () => true });
  const [connection] = await bench.busy(1);
  bench.pool.request({
    acquired: (c) => {
      bench.pool.release(c);
      happen(bench, c);
    },
    failed: () => {},
  });
  const next = bench.request();
  bench.pool.release(connection!);
  expect(next.answer).toBe(answer);
  expect(bench.closed).toEqual([closed]);
});

test("a waiter that throws at its error does not keep the others from theirs", () => {
  const bench = new PoolBench({ maxConnections: 0 });
  const mistake = new Error("mistake");
  bench.pool.request({
    acquired: () => {},
    failed: () => {
      throw mistake;
    },
  });
  const next = bench.request();
  bench.clock.advance(1_000);
  expect(next.answer).toBe("exhausted");
  expect(bench.errors).toEqual([mistake]);
});

test("a fresh connection is a new one, though one is idle", async () => {
  const bench = new PoolBench();
  await bench.idle(1);
  const waiter = bench.request({ fresh: true });
  expect(waiter.answer).toBe("waits");
  await bench.openings[0]!.open();
  expect([waiter.answer, waiter.reused]).toEqual(["#2", false]);
  expect(bench.counts).toEqual([1, 1, 0, 0]);
});

test("at the bound, an idle connection makes room for a fresh one", async () => {
  const bench = new PoolBench({ maxConnections: 1 });
  await bench.idle(1);
  const waiter = bench.request({ fresh: true });
  expect(bench.closed).toEqual(["#1 replaced"]);
  await bench.openings[0]!.open();
  expect(waiter.answer).toBe("#2");
});

test("when all are busy, the next one released makes room for a fresh one", async () => {
  const bench = new PoolBench({ maxConnections: 1 });
  const [connection] = await bench.busy(1);
  const waiter = bench.request({ fresh: true });
  bench.pool.release(connection!);
  expect(bench.closed).toEqual(["#1 replaced"]);
  await bench.openings[0]!.open();
  expect(waiter.answer).toBe("#2");
});

test("a released connection passes over who waits for a fresh one", async () => {
  const bench = new PoolBench({ maxConnections: 2 });
  const [a] = await bench.busy(2);
  const fresh = bench.request({ fresh: true });
  const any = bench.request();
  bench.pool.release(a!);
  expect([fresh.answer, any.answer]).toEqual(["waits", "#1"]);
});

test("a promise resolves at once with an idle connection, and later with one that opens", async () => {
  const bench = new PoolBench();
  const later = bench.pool.acquire();
  const opened = await bench.openings[0]!.open();
  expect(await later).toBe(opened);
  bench.pool.release(opened);
  expect(await bench.pool.acquire()).toBe(opened);
  expect(bench.pool.stats).toMatchObject({ created: 1, reused: 1, busy: 1 });
});

test("a promise rejects with the error a waiter would get", async () => {
  const bench = new PoolBench({ maxConnections: 0 });
  const promise = bench.pool.acquire({ timeoutMs: 10 });
  bench.clock.advance(10);
  await expect(promise).rejects.toBeInstanceOf(PoolError);
  await expect(promise).rejects.toMatchObject({ code: "exhausted" });
});

test("use releases the connection when its work is done, and when it fails", async () => {
  const bench = new PoolBench();
  await bench.idle(1);
  expect(await bench.pool.use(({ id }) => id)).toBe(1);
  await expect(bench.pool.use(() => Promise.reject(new Error("no such table")))).rejects.toThrow("no such table");
  expect(bench.counts).toEqual([1, 0, 0, 0]);
});

test("use closes a connection that its work left dead", async () => {
  const bench = new PoolBench();
  await bench.idle(1);
  const broken = bench.pool.use((connection) => {
    connection.alive = false;
    throw new Error("connection reset");
  });
  await expect(broken).rejects.toThrow("connection reset");
  expect(bench.closed).toEqual(["#1 dead"]);
});

test("use leaves alone what its work gave back by itself, also when somebody else has it by now", async () => {
  const bench = new PoolBench();
  await bench.idle(1);
  let other: FakeWaiter | undefined;
  await bench.pool.use((connection) => {
    bench.pool.release(connection);
    other = bench.request();
  });
  expect(other!.answer).toBe("#1");
  expect(bench.counts).toEqual([0, 1, 0, 0]);
  bench.pool.release(other!.connection);
  await bench.pool.use((connection) => bench.pool.discard(connection));
  expect(bench.closed).toEqual(["#1 discarded"]);
});

test("a throwing create reaches the waiter later, not in its request", async () => {
  const bench = new PoolBench({
    create: () => {
      throw new Error("no descriptor left");
    },
  });
  const waiter = bench.request();
  expect(waiter.answer).toBe("waits");
  await settled();
  expect(waiter.errors[0]).toMatchObject({
    code: "unreachable",
    message: "could not open a connection: no descriptor left",
  });
});
