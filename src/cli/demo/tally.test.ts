import fc from "fast-check";
import { expect, test } from "vitest";
import { Tally } from "./tally.ts";

test("shares and mean are those of what was answered, failures apart", () => {
  const tally = new Tally(3);
  tally.answered(0, 10);
  tally.answered(0, 20);
  tally.answered(2, 60);
  tally.answered(0, 30);
  tally.fail();
  expect(tally.shares()).toEqual([75, 0, 25]);
  expect([tally.requests, tally.failed, tally.meanMs()]).toEqual([4, 1, 30]);
});

test("a quantile is within two percent of the exact one", () => {
  const times = fc.array(fc.double({ min: 0.02, max: 60_000, noNaN: true }), { minLength: 1, maxLength: 300 });
  fc.assert(
    fc.property(times, fc.double({ min: 0.01, max: 1, noNaN: true }), (durations, share) => {
      const tally = new Tally(1);
      for (const ms of durations) tally.answered(0, ms);
      const exact = durations.sort((a, b) => a - b)[Math.ceil(share * durations.length) - 1]!;
      const estimate = tally.quantileMs(share);
      expect(estimate / exact).toBeGreaterThan(0.999);
      expect(estimate / exact).toBeLessThan(1.021);
    }),
  );
});

test("nothing answered is zero, not a division by zero", () => {
  const tally = new Tally(2);
  expect([tally.meanMs(), tally.quantileMs(0.99), ...tally.shares()]).toEqual([0, 0, 0, 0]);
});
