import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Hedging } from "./hedge.ts";

const options = { quantile: 0.95, minimumDelay: 1, budget: 0.05 };

/** Latencies of 1 to `greatest` ms, in equal numbers, observed at `now`. */
function observe(hedging: Hedging, count: number, greatest: number, now: number): void {
  for (let i = 0; i < count; i++) hedging.observed((((i * 37) % count) + 1) * (greatest / count), now);
}

/** The histogram is exact to one part in sixteen. */
function expectAbout(delay: number | undefined, ms: number): void {
  expect(delay).toBeGreaterThan(ms * (1 - 1 / 16));
  expect(delay).toBeLessThan(ms * (1 + 1 / 16));
}

describe("the delay", () => {
  test("is the quantile of the latencies", () => {
    for (const [quantile, ms] of [
      [0.5, 500],
      [0.95, 950],
      [0.99, 990],
    ] as const) {
      const hedging = new Hedging({ ...options, quantile });
      observe(hedging, 1_000, 1_000, 0);
      expectAbout(hedging.delayMs(3_000), ms);
    }
  });

  test("is not known before 20 responses have come, and then at once", () => {
    const hedging = new Hedging(options);
    for (let i = 0; i < 19; i++) hedging.observed(40, 100);
    expect(hedging.delayMs(100)).toBeUndefined();
    hedging.observed(40, 100);
    expectAbout(hedging.delayMs(100), 40);
  });

  test("is never below the least", () => {
    const hedging = new Hedging({ ...options, minimumDelay: 50 });
    observe(hedging, 100, 10, 0);
    expect(hedging.delayMs(0)).toBe(50);
    expect(hedging.delayMs(3_000)).toBe(50);
  });

  test("stays the same for three seconds, whatever is observed", () => {
    const hedging = new Hedging(options);
    observe(hedging, 1_000, 10, 3_000);
    hedging.delayMs(6_000);
    const delay = hedging.delayMs(6_000);
    observe(hedging, 10_000, 1_000, 7_000);
    expect(hedging.delayMs(8_999)).toBe(delay);
    expect(hedging.delayMs(9_000)).toBeGreaterThan(800);
  });

  test("follows latencies that fall: ten times faster is learnt within six rounds", () => {
    const hedging = new Hedging(options);
    observe(hedging, 1_000, 1_000, 0);
    for (let round = 1; round <= 6; round++) observe(hedging, 1_000, 100, round * 3_000);
    expectAbout(hedging.delayMs(7 * 3_000), 95);
  });

  test("is forgotten when nothing has come for long", () => {
    const hedging = new Hedging(options);
    observe(hedging, 1_000, 1_000, 0);
    expectAbout(hedging.delayMs(3_000), 950);
    expectAbout(hedging.delayMs(17_999), 950);
    expect(hedging.delayMs(21_000)).toBeUndefined();
  });

  test("ages the samples by the time that passed, not by how often it was asked for", () => {
    const asked = new Hedging(options);
    const left = new Hedging(options);
    observe(asked, 100, 100, 0);
    observe(left, 100, 100, 0);
    for (let now = 0; now <= 9_000; now += 100) asked.delayMs(now);
    expect(left.delayMs(9_000)).toBe(asked.delayMs(9_000));
    expect(left.delayMs(12_000)).toBeUndefined();
    expect(asked.delayMs(12_000)).toBeUndefined();
  });

  test("does not depend on where the clock began", () => {
    const hedging = new Hedging(options);
    observe(hedging, 20, 100, 1e12 + 1);
    expectAbout(hedging.delayMs(1e12 + 1), 95);
  });

  test("does not sink when the slowest are given up at it and counted with the time they ran", () => {
    const hedging = new Hedging(options);
    observe(hedging, 1_000, 1_000, 0);
    for (let round = 1; round <= 20; round++) {
      const delay = hedging.delayMs(round * 3_000)!;
      for (let i = 1; i <= 1_000; i++) hedging.observed(Math.min(i, delay), round * 3_000);
    }
    expectAbout(hedging.delayMs(21 * 3_000), 950);
  });
});

describe("the budget", () => {
  test("of 50 % is a hedge for every second request", () => {
    const hedging = new Hedging({ ...options, budget: 0.5 });
    const taken = Array.from({ length: 8 }, () => {
      hedging.began();
      return hedging.take();
    });
    expect(taken).toEqual([false, true, false, true, false, true, false, true]);
  });

  test("is empty at the start", () => {
    expect(new Hedging(options).take()).toBe(false);
  });

  test("of 0 allows none", () => {
    const hedging = new Hedging({ ...options, budget: 0 });
    for (let i = 0; i < 1_000; i++) hedging.began();
    expect(hedging.take()).toBe(false);
  });

  test("saves up ten hedges and no more", () => {
    const hedging = new Hedging(options);
    for (let i = 0; i < 10_000; i++) hedging.began();
    let taken = 0;
    while (hedging.take()) taken++;
    expect(taken).toBe(10);
  });

  test("is never exceeded: hedges are at most that share of the requests, and after any point at most 10 more", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.array(fc.boolean(), { maxLength: 500 }),
        fc.nat({ max: 500 }),
        (budget, steps, from) => {
          const hedging = new Hedging({ ...options, budget });
          let requests = 0;
          let hedges = 0;
          let requestsBefore = 0;
          let hedgesBefore = 0;
          for (const [at, request] of steps.entries()) {
            if (at === from) {
              requestsBefore = requests;
              hedgesBefore = hedges;
            }
            if (request) {
              requests++;
              hedging.began();
            } else if (hedging.take()) hedges++;
            expect(hedges).toBeLessThanOrEqual(budget * requests + 1e-9);
            expect(hedges - hedgesBefore).toBeLessThanOrEqual(budget * (requests - requestsBefore) + 10 + 1e-9);
          }
        },
      ),
      { seed: 20 },
    );
  });
});
