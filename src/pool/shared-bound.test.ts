import { expect, test } from "vitest";
import { type FakeConnection, PoolBench, settled } from "../../test/support/pool-bench.ts";
import type { Bound, PoolOptions } from "./pool-options.ts";

/** A bound as workers share it, without the threads. */
class SharedBound implements Bound {
  #held = 0;

  take(limit: number): boolean {
    if (this.#held >= limit) return false;
    this.#held++;
    return true;
  }

  give(): void {
    this.#held--;
    if (this.#held < 0) throw new Error("more was given back than taken");
  }

  held(): number {
    return this.#held;
  }
}

/** Pools under one bound that ask each other as workers do: each is told after the one that tells has finished. */
function workers(
  count: number,
  maxConnections: number,
): { bound: SharedBound; benches: PoolBench[]; wanted: number[] } {
  const bound = new SharedBound();
  const benches: PoolBench[] = [];
  const wanted = Array.from({ length: count }, () => 0);
  const others = (self: number): PoolBench[] => benches.filter((_, i) => i !== self);
  for (let i = 0; i < count; i++) {
    const options: Partial<PoolOptions<FakeConnection>> = {
      maxConnections,
      bound,
      onBoundExhausted: () => {
        wanted[i]!++;
        for (const { pool } of others(i)) queueMicrotask(() => pool.surrenderIdle());
      },
      onBoundFreed: () => {
        for (const { pool } of others(i)) queueMicrotask(() => pool.retry());
      },
    };
    benches.push(new PoolBench(options));
  }
  return { bound, benches, wanted };
}

test("two pools together never exceed the shared bound", async () => {
  const { bound, benches } = workers(2, 3);
  const [a, b] = benches as [PoolBench, PoolBench];
  await a.busy(2);
  b.request();
  b.request();
  expect(bound.held()).toBe(3);
  expect(b.counts).toEqual([0, 0, 1, 2]);
});

test("who waits because of the shared bound gets the room of another pool's idle connection", async () => {
  const { bound, benches } = workers(2, 2);
  const [a, b] = benches as [PoolBench, PoolBench];
  await a.idle(2);
  const waiter = b.request();
  await settled();
  expect(a.closed).toEqual(["#1 surrendered"]);
  await b.openings[0]!.open();
  expect(waiter.answer).toBe("#1");
  expect(bound.held()).toBe(2);
});

test("when all are busy elsewhere, the next one that would become idle makes room", async () => {
  const { benches } = workers(2, 1);
  const [a, b] = benches as [PoolBench, PoolBench];
  const [connection] = await a.busy(1);
  b.request();
  await settled();
  expect(b.openings).toHaveLength(0);
  a.pool.release(connection!);
  await settled();
  expect(a.closed).toEqual(["#1 surrendered"]);
  expect(b.openings).toHaveLength(1);
});

test("waiters of a busy pool go first, but another pool gets its turn", async () => {
  const { benches } = workers(2, 1);
  const [a, b] = benches as [PoolBench, PoolBench];
  let [connection] = await a.busy(1);
  b.request();
  await settled();
  let served = 0;
  while (b.openings.length === 0 && served < 100) {
    const next = a.request();
    a.pool.release(connection!);
    await settled();
    if (next.answer === "waits") break;
    connection = next.connection;
    served++;
  }
  expect(b.openings).toHaveLength(1);
  expect(served).toBe(16);
});

test("room that nobody needs comes back to the pool that gave it up for nothing", async () => {
  const { benches } = workers(2, 1);
  const [a, b] = benches as [PoolBench, PoolBench];
  const [connection] = await a.busy(1);
  const impatient = b.request();
  await settled();
  b.pool.cancel(impatient);
  const waiter = a.request();
  a.pool.discard(connection!);
  await settled();
  expect(a.openings).toHaveLength(1);
  await a.openings[0]!.open();
  expect(waiter.answer).toBe("#2");
});

test("a bound held by a third pool makes nobody ask in circles", async () => {
  const { benches, wanted } = workers(3, 1);
  const [a, b, c] = benches as [PoolBench, PoolBench, PoolBench];
  await c.busy(1);
  a.request();
  b.request();
  await settled();
  expect(wanted).toEqual([1, 1, 0]);
});

test("a pool that has no connection itself answers that there is room, when there is", () => {
  const told: string[] = [];
  const bound = new SharedBound();
  const { pool } = new PoolBench({ maxConnections: 1, bound, onBoundFreed: () => told.push("freed") });
  expect(pool.surrenderIdle()).toBe(false);
  expect(told).toEqual(["freed"]);
  bound.take(1);
  expect(pool.surrenderIdle()).toBe(false);
  expect(told).toEqual(["freed"]);
});

test("who still waits when another's deadline passes asks again: a message between pools may be lost", () => {
  let asked = 0;
  const bound = { take: () => false, give: () => {}, held: () => 1 };
  const bench = new PoolBench({ bound, onBoundExhausted: () => asked++ });
  bench.request({ timeoutMs: 100 });
  bench.request({ timeoutMs: 200 });
  // One question serves all who wait.
  expect(asked).toBe(1);
  bench.clock.advance(100);
  expect(asked).toBe(2);
});

test("everything taken from the shared bound is given back, however a connection ends", async () => {
  const { bound, benches } = workers(1, 8);
  const [bench] = benches as [PoolBench];
  const [a, b, c] = await bench.busy(3);
  const failing = bench.request();
  await bench.openings.shift()!.fail(new Error("refused"));
  expect(failing.answer).toBe("unreachable");
  bench.pool.discard(a!);
  bench.pool.release(b!);
  b!.die();
  bench.request();
  bench.clock.advance(10_000);
  bench.request();
  expect(bound.held()).toBe(2);
  bench.pool.close();
  bench.pool.release(c!);
  expect(bound.held()).toBe(0);
});

test("a lowered shared bound closes what comes back until all pools together fit", async () => {
  const { bound, benches } = workers(2, 4);
  const [a, b] = benches as [PoolBench, PoolBench];
  const [first, second] = await a.busy(2);
  await b.busy(2);
  a.pool.setMaxConnections(3);
  a.pool.release(first!);
  a.pool.release(second!);
  expect(a.closed).toEqual(["#1 max-connections"]);
  expect(bound.held()).toBe(3);
});
