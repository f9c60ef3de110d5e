import fc from "fast-check";
import { expect, test } from "vitest";
import { ServiceRate } from "./service-rate.ts";

test("nothing is known before 10 were served", () => {
  const rate = new ServiceRate();
  rate.begin(0);
  for (let now = 10; now <= 90; now += 10) rate.departed(now);
  expect(rate.perMs(100)).toBeNaN();
  rate.departed(100);
  expect(rate.perMs(100)).toBe(0.1);
});

test("when nobody is served any more, the rate falls, and after two seconds it is not known", () => {
  const rate = new ServiceRate();
  rate.begin(0);
  for (let now = 10; now <= 500; now += 10) rate.departed(now);
  expect(rate.perMs(500)).toBe(0.1);
  expect(rate.perMs(999)).toBeCloseTo(0.05, 3);
  expect(rate.perMs(1500)).toBeCloseTo(50 / 1500);
  expect(rate.perMs(2500)).toBeNaN();
});

test("after the queue was empty, what was before does not count", () => {
  const rate = new ServiceRate();
  rate.begin(0);
  for (let now = 10; now <= 500; now += 10) rate.departed(now);
  rate.begin(600);
  expect(rate.perMs(600)).toBeNaN();
});

test("a steady rate is measured right at any moment", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 20, max: 2000 }), (everyMs, count) => {
      const rate = new ServiceRate();
      rate.begin(0);
      for (let i = 1; i <= count; i++) {
        rate.departed(i * everyMs);
        if (i >= 10) expect(rate.perMs(i * everyMs)).toBeCloseTo(1 / everyMs, 9);
      }
    }),
    { numRuns: 20 },
  );
});
