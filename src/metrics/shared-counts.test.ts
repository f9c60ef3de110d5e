import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { createJiti } from "jiti";
import { describe, expect, test } from "vitest";
import { createCounts, SharedCounts } from "./shared-counts.ts";

test("what one worker counts, every other sees", () => {
  const memory = createCounts(3, 2);
  const [first, second] = [new SharedCounts(memory, 0), new SharedCounts(memory, 1)];
  first.takeActive(1, Number.POSITIVE_INFINITY);
  second.takeActive(1, Number.POSITIVE_INFINITY);
  second.takeActive(2, Number.POSITIVE_INFINITY);
  first.giveActive(1);
  expect([0, 1, 2].map((slot) => first.active(slot))).toEqual([0, 1, 1]);
  expect([0, 1, 2].map((slot) => second.active(slot))).toEqual([0, 1, 1]);
});

test("connections are granted up to the limit over all workers, and again after one is given back", () => {
  const memory = createCounts(1, 2);
  const [first, second] = [new SharedCounts(memory, 0), new SharedCounts(memory, 1)];
  expect([first.takeConnection(0, 2), second.takeConnection(0, 2), first.takeConnection(0, 2)]).toEqual([
    true,
    true,
    false,
  ]);
  expect(first.connections(0)).toBe(2);
  second.giveConnection(0);
  expect(first.takeConnection(0, 2)).toBe(true);
});

test("a limit below what is open grants nothing", () => {
  const counts = new SharedCounts(createCounts(1));
  for (let i = 0; i < 5; i++) counts.takeConnection(0, 10);
  expect(counts.takeConnection(0, 3)).toBe(false);
  expect(counts.connections(0)).toBe(5);
});

test("an unlimited pool is granted always", () => {
  expect(new SharedCounts(createCounts(1)).takeConnection(0, Number.POSITIVE_INFINITY)).toBe(true);
});

test("what a dead worker held is taken back, and only that", () => {
  const memory = createCounts(2, 2);
  const [dead, alive] = [new SharedCounts(memory, 0), new SharedCounts(memory, 1)];
  for (const counts of [dead, alive]) {
    counts.takeActive(1, Number.POSITIVE_INFINITY);
    counts.takeActive(1, Number.POSITIVE_INFINITY);
    counts.takeConnection(0, 9);
  }
  dead.giveActive(1);
  alive.reclaim(0);
  expect([alive.active(1), alive.connections(0)]).toEqual([2, 1]);
  alive.reclaim(0);
  expect([alive.active(1), alive.connections(0)]).toEqual([2, 1]);
});

test("a worker the memory has no room for is refused", () => {
  expect(() => new SharedCounts(createCounts(1, 2), 2)).toThrow("no ledger for worker 2");
});

describe("threads at the same time", () => {
  test("no count is lost, and the limit is never passed", async () => {
    const workers = 3;
    const limit = 4;
    const memory = createCounts(2, workers);
    // The most connections any thread saw at once goes into `seen`.
    const seen = new Int32Array(new SharedArrayBuffer(4));
    const source = `${await compiledCounts()}
      const { memory, worker, seen } = require("node:worker_threads").workerData;
      const counts = new exports.SharedCounts(memory, worker);
      for (let i = 0; i < 20000; i++) {
        counts.takeActive(0, Number.POSITIVE_INFINITY);
        if (counts.takeConnection(1, ${limit})) {
          const open = counts.connections(1);
          if (open > Atomics.load(seen, 0)) Atomics.store(seen, 0, open);
          counts.giveConnection(1);
        }
        if (i % 4 !== 0) counts.giveActive(0);
      }
    `;
    await Promise.all(
      Array.from({ length: workers }, async (_, worker) => {
        const thread = new Worker(source, { eval: true, workerData: { memory, worker, seen } });
        expect(await once(thread, "exit")).toEqual([0]);
      }),
    );
    const counts = new SharedCounts(memory);
    expect(counts.active(0)).toBe(workers * 5000);
    expect(counts.connections(1)).toBe(0);
    expect(seen[0]).toBeGreaterThan(0);
    expect(seen[0]).toBeLessThanOrEqual(limit);
  });
});

/** The module as CommonJS: a thread of Node.js 20 cannot read TypeScript itself. */
async function compiledCounts(): Promise<string> {
  const source = await readFile(new URL("./shared-counts.ts", import.meta.url), "utf8");
  return createJiti(import.meta.url).transform({ source, ts: true });
}
