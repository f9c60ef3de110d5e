import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TierRotation, tierLoads } from "./priorities.ts";

/** Tiers of 100 backends, of which so many are healthy. */
function loadsOf(healthy: readonly number[], panicThreshold = 0): number[] {
  return tierLoads(
    healthy,
    healthy.map(() => 100),
    panicThreshold,
  ).loads;
}

function panicOf(healthy: readonly number[], panicThreshold: number): boolean[] {
  return tierLoads(
    healthy,
    healthy.map(() => 100),
    panicThreshold,
  ).panic;
}

const repeatable = { seed: 20 };
const tiers = fc.array(
  fc.nat({ max: 300 }).chain((total) => fc.record({ total: fc.constant(total), healthy: fc.nat({ max: total }) })),
  { maxLength: 10 },
);
const split = (some: readonly { total: number; healthy: number }[]) =>
  [some.map(({ healthy }) => healthy), some.map(({ total }) => total)] as const;
const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);

describe("loads", () => {
  test.each([
    [[100], [100]],
    [
      [72, 72],
      [100, 0],
    ],
    [
      [71, 71],
      [99, 1],
    ],
    [
      [50, 50],
      [70, 30],
    ],
    [
      [75, 100],
      [100, 0],
    ],
    [
      [50, 100],
      [70, 30],
    ],
    [
      [25, 100],
      [35, 65],
    ],
    [
      [25, 25],
      [50, 50],
    ],
    [
      [25, 25, 100],
      [35, 35, 30],
    ],
    [
      [25, 25, 20],
      [37, 35, 28],
    ],
    [
      [5, 65],
      [8, 92],
    ],
    [
      [0, 100],
      [0, 100],
    ],
    [
      [0, 25],
      [0, 100],
    ],
    [
      [5, 0],
      [100, 0],
    ],
    [
      [0, 5, 65],
      [0, 8, 92],
    ],
  ])("with %j percent healthy are %j", (healthy, loads) => {
    expect(loadsOf(healthy)).toEqual(loads);
  });

  test.each([
    [[3], [4], [100]],
    [
      [3, 2],
      [4, 2],
      [100, 0],
    ],
    [
      [2, 2],
      [4, 2],
      [70, 30],
    ],
    [
      [1, 0],
      [3, 2],
      [100, 0],
    ],
    [
      [5, 1],
      [7, 1],
      [100, 0],
    ],
  ])("are whole percent of the backends there are: %j healthy of %j take %j", (healthy, total, loads) => {
    expect(tierLoads(healthy, total, 0).loads).toEqual(loads);
  });

  test("go past a tier that has no backends", () => {
    expect(tierLoads([0, 2], [0, 2], 0.5)).toEqual({ loads: [0, 100], panic: [false, false] });
  });

  test("keep one healthy backend among a thousand in use", () => {
    expect(tierLoads([1], [1_000], 0).loads).toEqual([100]);
    expect(tierLoads([1, 1], [1_000, 1], 0).loads).toEqual([1, 99]);
  });

  test("add up to 100 when a backend is healthy, and a tier without one has none", () => {
    fc.assert(
      fc.property(tiers, (some) => {
        const [healthy, total] = split(some);
        const { loads, panic } = tierLoads(healthy, total, 0);
        expect(sum(loads)).toBe(sum(healthy) > 0 ? 100 : 0);
        for (const [tier, load] of loads.entries()) {
          expect(Number.isInteger(load) && load >= 0).toBe(true);
          if (healthy[tier] === 0) expect(load).toBe(0);
        }
        expect(panic).not.toContain(true);
      }),
      repeatable,
    );
  });

  test("of the first tier do not grow when one of its backends fails", () => {
    fc.assert(
      fc.property(tiers, (some) => {
        const [healthy, total] = split(some);
        fc.pre(sum(healthy.slice(1)) > 0 && healthy[0] !== 0);
        const [before = 0] = tierLoads(healthy, total, 0).loads;
        const [after = 0] = tierLoads([healthy[0]! - 1, ...healthy.slice(1)], total, 0).loads;
        // Rounding leaves the first tier up to one percent for each tier.
        expect(after).toBeLessThanOrEqual(before + total.length);
      }),
      repeatable,
    );
  });
});

describe("panic", () => {
  test.each([
    [[50], [false]],
    [[49], [true]],
    [[71], [false]],
    [
      [25, 25],
      [true, true],
    ],
    [
      [5, 65],
      [true, false],
    ],
    [
      [0, 25],
      [true, true],
    ],
  ])("with %j percent healthy, too few in all, is %j at a threshold of a half", (healthy, panic) => {
    expect(panicOf(healthy, 0.5)).toEqual(panic);
  });

  test.each([[[25, 100]], [[0, 72]], [[50, 50]], [[25, 25, 100]]])(
    "never comes while all tiers together are enough: %j percent healthy",
    (healthy) => {
      expect(panicOf(healthy, 1)).not.toContain(true);
    },
  );

  test("does not change the loads as long as a backend is healthy", () => {
    expect(loadsOf([25, 25, 20], 0.5)).toEqual([37, 35, 28]);
  });

  test("with nobody healthy sends everything to the first tier that has backends", () => {
    expect(tierLoads([0, 0], [4, 2], 0.5)).toEqual({ loads: [100, 0], panic: [true, true] });
    expect(tierLoads([0, 0], [0, 2], 0.5)).toEqual({ loads: [0, 100], panic: [false, true] });
  });

  test("without a threshold there is none, and nobody healthy takes nothing", () => {
    expect(tierLoads([0, 0], [4, 2], 0)).toEqual({ loads: [0, 0], panic: [false, false] });
  });

  test("of an upstream without backends is none", () => {
    expect(tierLoads([], [], 0.5)).toEqual({ loads: [], panic: [] });
    expect(tierLoads([0], [0], 0.5)).toEqual({ loads: [0], panic: [false] });
  });
});

describe("the rotation", () => {
  function over(loads: readonly number[]): TierRotation {
    const rotation = new TierRotation();
    rotation.update(loads);
    return rotation;
  }
  const deal = (rotation: TierRotation, count: number) => Array.from({ length: count }, () => rotation.next());
  const countsOf = (dealt: readonly number[], size: number) =>
    Array.from({ length: size }, (_, tier) => dealt.filter((one) => one === tier).length);
  const someLoads = tiers.map((some) => tierLoads(...split(some), 0.5).loads);

  test("answers the one tier that has all of the load, and -1 when none has any", () => {
    expect(deal(over([100]), 3)).toEqual([0, 0, 0]);
    expect(deal(over([0, 100, 0]), 3)).toEqual([1, 1, 1]);
    expect(deal(over([0, 0]), 3)).toEqual([-1, -1, -1]);
    expect(deal(new TierRotation(), 2)).toEqual([-1, -1]);
  });

  test("spreads the smaller load evenly", () => {
    expect(deal(over([70, 30]), 10).join("")).toBe("0100010010");
    expect(deal(over([35, 35, 30]), 7).join("")).toBe("0120120");
    expect(deal(over([50, 50]), 6).join("")).toBe("010101");
  });

  test("deals every tier exactly its load in 100", () => {
    fc.assert(
      fc.property(someLoads, (loads) => {
        const dealt = deal(over(loads), 100);
        if (sum(loads) === 100) expect(countsOf(dealt, loads.length)).toEqual(loads);
        else expect(new Set(dealt)).toEqual(new Set([-1]));
      }),
      repeatable,
    );
  });

  test("never deals a tier without load, however the loads change", () => {
    fc.assert(
      fc.property(fc.array(someLoads, { maxLength: 30 }), (changes) => {
        const rotation = new TierRotation();
        for (const loads of changes) {
          rotation.update(loads);
          for (const tier of deal(rotation, 3)) {
            if (tier === -1) expect(sum(loads)).toBe(0);
            else expect(loads[tier]).toBeGreaterThan(0);
          }
        }
      }),
      repeatable,
    );
  });

  test("does not restart its cycle when the same loads come again", () => {
    const rotation = over([70, 30]);
    let dealt = "";
    for (let i = 0; i < 10; i++) {
      rotation.update([70, 30]);
      dealt += rotation.next();
    }
    expect(dealt).toBe("0100010010");
  });

  test("owes a tier little, and is owed little by it, however the loads have changed before", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ loads: someLoads, answers: fc.nat({ max: 5 }) }), { maxLength: 100 }),
        someLoads,
        (changes, loads) => {
          fc.pre(sum(loads) === 100);
          const rotation = new TierRotation();
          for (const change of changes) {
            rotation.update(change.loads);
            deal(rotation, change.answers);
          }
          rotation.update(loads);
          const counts = countsOf(deal(rotation, 100), loads.length);
          for (const [tier, load] of loads.entries()) expect(Math.abs(counts[tier]! - load)).toBeLessThanOrEqual(3);
        },
      ),
      repeatable,
    );
  });

  test("pays no burst to a tier that comes and goes, however often it left when it was owed", () => {
    const rotation = over([35, 35, 30]);
    for (let i = 0; i < 1_000; i++) {
      if (rotation.next() === 2) rotation.next();
      rotation.update([50, 50, 0]);
      deal(rotation, 3);
      rotation.update([35, 35, 30]);
    }
    const counts = countsOf(deal(rotation, 20), 3);
    expect(counts[2]).toBeLessThanOrEqual(8);
  });
});
