import { expect, test } from "vitest";
import { PoolBench } from "../../test/support/pool-bench.ts";

test("a connection that arrives for a cancelled waiter goes to the next waiter", async () => {
  const bench = new PoolBench();
  const [first, second] = [bench.request(), bench.request()];
  expect(bench.pool.cancel(first)).toBe(true);
  await bench.openings[0]!.open();
  expect([first.answer, second.answer]).toEqual(["waits", "#1"]);
});

test("a connection that arrives when all waiters are cancelled becomes idle", async () => {
  const bench = new PoolBench();
  bench.pool.cancel(bench.request());
  await bench.openings[0]!.open();
  expect(bench.counts).toEqual([1, 0, 0, 0]);
});

test("a waiter that has its answer, or never asked, cannot be cancelled", async () => {
  const bench = new PoolBench();
  const waiter = bench.request();
  await bench.openings[0]!.open();
  expect(bench.pool.cancel(waiter)).toBe(false);
  expect(bench.counts).toEqual([0, 1, 0, 0]);
});

test("a cancelled waiter is not told of its deadline", () => {
  const bench = new PoolBench({ maxConnections: 0 });
  const waiter = bench.request();
  bench.pool.cancel(waiter);
  bench.clock.advance(10_000);
  expect(waiter.answer).toBe("waits");
});

test("an aborted signal rejects the promise with its reason, and no connection is lost", async () => {
  const bench = new PoolBench();
  const abort = new AbortController();
  const promise = bench.pool.acquire({ signal: abort.signal });
  abort.abort(new Error("client left"));
  await expect(promise).rejects.toThrow("client left");
  expect(bench.counts).toEqual([0, 0, 1, 0]);
  await bench.openings[0]!.open();
  expect(bench.counts).toEqual([1, 0, 0, 0]);
});

test("a signal aborted before takes no connection", async () => {
  const bench = new PoolBench();
  await bench.idle(1);
  await expect(bench.pool.acquire({ signal: AbortSignal.abort(new Error("too late")) })).rejects.toThrow("too late");
  expect(bench.counts).toEqual([1, 0, 0, 0]);
});

test("a signal aborted after the connection was handed over changes nothing", async () => {
  const bench = new PoolBench();
  const abort = new AbortController();
  const promise = bench.pool.acquire({ signal: abort.signal });
  const connection = await bench.openings[0]!.open();
  abort.abort();
  expect(await promise).toBe(connection);
  expect(bench.counts).toEqual([0, 1, 0, 0]);
});

test("an answered promise leaves no listener on a long-lived signal", async () => {
  const listeners = new Set<unknown>();
  const { signal } = new AbortController();
  signal.addEventListener = (_: string, listener: unknown) => void listeners.add(listener);
  signal.removeEventListener = (_: string, listener: unknown) => void listeners.delete(listener);
  const bench = new PoolBench();
  const failed = bench.pool.acquire({ signal });
  const acquired = bench.pool.acquire({ signal });
  expect(listeners.size).toBe(2);
  await bench.openings[0]!.fail(new Error("refused"));
  const connection = await bench.openings[1]!.open();
  await expect(failed).rejects.toThrow("refused");
  expect(await acquired).toBe(connection);
  bench.pool.release(connection);
  expect(await bench.pool.acquire({ signal })).toBe(connection);
  expect(listeners.size).toBe(0);
});
