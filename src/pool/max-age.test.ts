import { expect, test } from "vitest";
import { PoolBench } from "../../test/support/pool-bench.ts";

const options = { maxAgeMs: 10_000, idleTimeoutMs: Number.POSITIVE_INFINITY };

test("connections opened together are closed at ages spread over 10 % more and less", async () => {
  const bench = new PoolBench(options);
  await bench.idle(50);
  const agesMs: number[] = [];
  for (let ms = 100; ms <= 12_000; ms += 100) {
    bench.clock.advance(100);
    while (agesMs.length < bench.closed.length) agesMs.push(ms);
  }
  expect(new Set(bench.closed.map((line) => line.split(" ")[1]))).toEqual(new Set(["max-age"]));
  expect(agesMs).toHaveLength(50);
  expect(agesMs[0]).toBeGreaterThan(9_000);
  expect(agesMs.at(-1)).toBeLessThanOrEqual(11_000);
  expect(new Set(agesMs).size).toBeGreaterThan(10);
});

test("a busy connection that is too old is closed when it is released", async () => {
  const bench = new PoolBench(options);
  const [connection] = await bench.busy(1);
  bench.clock.advance(11_000);
  expect(bench.closed).toEqual([]);
  bench.pool.release(connection!);
  expect(bench.closed).toEqual(["#1 max-age"]);
});

test("use does not make a connection younger", async () => {
  const bench = new PoolBench(options);
  await bench.idle(1);
  for (let i = 0; i < 11 && bench.pool.stats.idle > 0; i++) {
    bench.clock.advance(1_000);
    const connection = bench.pool.tryAcquire();
    if (connection !== undefined) bench.pool.release(connection);
  }
  expect(bench.closed).toEqual(["#1 max-age"]);
});

test("of age and idle timeout, whichever comes first closes the connection", async () => {
  const bench = new PoolBench({ maxAgeMs: 10_000, idleTimeoutMs: 6_000, openTimeoutMs: 1_000 });
  const [a] = await bench.busy(2);
  bench.pool.release(a!);
  bench.clock.advance(6_000);
  expect(bench.closed).toEqual(["#1 idle-timeout"]);
  const [b] = await bench.busy(1);
  bench.pool.release(b!);
  bench.clock.advance(6_000);
  expect(bench.closed).toEqual(["#1 idle-timeout", "#3 idle-timeout"]);
});
