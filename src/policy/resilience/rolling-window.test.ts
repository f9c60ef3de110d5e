import fc from "fast-check";
import { expect, test } from "vitest";
import { RollingWindow } from "./rolling-window.ts";

test("what happened is counted for nine tenths of the window at least, and for no longer than the whole", () => {
  const early = new RollingWindow(10_000);
  early.add(0, 1, 5_000); // the first moment of its bucket
  expect(early.failures(14_999)).toBe(1);
  expect(early.failures(15_000)).toBe(0);
  const late = new RollingWindow(10_000);
  late.add(0, 1, 5_999); // the last moment of its bucket
  expect(late.failures(14_999)).toBe(1);
  expect(late.failures(15_000)).toBe(0);
});

test("a quiet time longer than the window leaves nothing, however much longer", () => {
  for (const quiet of [10_000, 10_001, 20_000, 1e9]) {
    const window = new RollingWindow(10_000);
    window.add(3, 4, 0);
    expect(window.total(quiet), `${quiet}`).toBe(0);
    window.add(1, 0, quiet);
    expect(window.total(quiet)).toBe(1);
  }
});

test("a window without end forgets only when told to", () => {
  const window = new RollingWindow(Number.POSITIVE_INFINITY);
  window.add(1, 2, 0);
  expect(window.total(1e12)).toBe(3);
  window.clear();
  expect(window.total(1e12)).toBe(0);
});

test("it counts what a list of everything that happened would", () => {
  const operations = fc.array(
    fc.record({
      wait: fc.oneof(fc.constant(0), fc.nat(300), fc.nat(3_000), fc.double({ min: 0, max: 50, noNaN: true })),
      successes: fc.nat(3),
      failures: fc.nat(3),
      clear: fc.integer({ min: 0, max: 19 }).map((roll) => roll === 0),
    }),
    { maxLength: 100 },
  );
  fc.assert(
    fc.property(operations, fc.integer({ min: 1, max: 12 }), fc.nat(100_000), (steps, buckets, start) => {
      const windowMs = 1_000;
      const window = new RollingWindow(windowMs, buckets);
      const bucketOf = (time: number) => Math.floor(time / (windowMs / buckets));
      let events: { at: number; successes: number; failures: number }[] = [];
      let now = start;
      for (const { wait, successes, failures, clear } of steps) {
        now += wait;
        if (clear) {
          window.clear();
          events = [];
        }
        window.add(successes, failures, now);
        events.push({ at: now, successes, failures });
        const current = events.filter(({ at }) => bucketOf(at) > bucketOf(now) - buckets);
        const failed = current.reduce((sum, event) => sum + event.failures, 0);
        expect(window.failures(now)).toBe(failed);
        expect(window.total(now)).toBe(current.reduce((sum, event) => sum + event.successes, failed));
      }
    }),
    { numRuns: 300 },
  );
});
