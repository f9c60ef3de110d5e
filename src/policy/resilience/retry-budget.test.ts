import fc from "fast-check";
import { expect, test } from "vitest";
import { RetryBudget } from "./retry-budget.ts";

/** How many can be taken in a row while `active` exchanges run or wait. */
function room(budget: RetryBudget, active: number): number {
  let taken = 0;
  while (budget.take(active)) taken++;
  return taken;
}

test.each([
  [0, 3],
  [1, 3],
  [15, 3],
  [19, 3],
  [20, 4],
  [99, 19],
  [100, 20],
  [1024, 204],
])("20 % and at least 3: of %i exchanges %i may be retried at a time", (active, retries) => {
  expect(room(new RetryBudget(0.2, 3), active)).toBe(retries);
});

test("without a minimum, an upstream with little to do retries nothing", () => {
  const budget = new RetryBudget(0.2, 0);
  expect(budget.take(4)).toBe(false);
  expect(budget.take(5)).toBe(true);
});

test("a share of 0 leaves the minimum, and both 0 forbid retries", () => {
  expect(room(new RetryBudget(0, 2), 1_000_000)).toBe(2);
  expect(room(new RetryBudget(0, 0), 1_000_000)).toBe(0);
});

test("one that ends makes room for one", () => {
  const budget = new RetryBudget(0.2, 3);
  expect(room(budget, 0)).toBe(3);
  budget.give();
  expect(room(budget, 0)).toBe(1);
});

test("when the load falls, those that run may end, but none begins until they are below the bound", () => {
  const budget = new RetryBudget(0.5, 1);
  expect(room(budget, 10)).toBe(5);
  expect(budget.take(4)).toBe(false);
  for (let i = 0; i < 4; i++) budget.give();
  expect(budget.take(4)).toBe(true);
  expect(budget.running).toBe(2);
});

test("at the time one is taken, never more run than the bound, and one is refused only at the bound", () => {
  const step = fc.oneof(
    { weight: 2, arbitrary: fc.record({ take: fc.constant(true), active: fc.nat({ max: 200 }) }) },
    { weight: 1, arbitrary: fc.record({ take: fc.constant(false), active: fc.constant(0) }) },
  );
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.nat({ max: 10 }),
      fc.array(step, { maxLength: 200 }),
      (share, minimum, steps) => {
        const budget = new RetryBudget(share, minimum);
        let running = 0;
        for (const { take, active } of steps) {
          if (take) {
            const bound = Math.max(minimum, Math.floor(share * active));
            const taken = budget.take(active);
            expect(taken).toBe(running < bound);
            if (taken) running++;
          } else if (running > 0) {
            budget.give();
            running--;
          }
          expect(budget.running).toBe(running);
        }
      },
    ),
    { seed: 20 },
  );
});
