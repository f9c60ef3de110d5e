import fc from "fast-check";
import { expect, test } from "vitest";
import { RecentKeys } from "./recent-keys.ts";

test("the key not seen for longest makes room", () => {
  const keys = new RecentKeys(2);
  keys.add("a");
  keys.add("b");
  keys.find("a");
  keys.add("c");
  expect([keys.find("a"), keys.find("b"), keys.find("c")].map((slot) => slot !== -1)).toEqual([true, false, true]);
  expect(keys.size).toBe(2);
});

test("peeking at a key is not seeing it", () => {
  const keys = new RecentKeys(2);
  const a = keys.add("a");
  keys.add("b");
  expect(keys.peek("a")).toBe(a);
  keys.add("c");
  expect([keys.peek("a"), keys.peek("b")]).toEqual([-1, expect.any(Number)]);
});

test("a removed key leaves its slot to the next one", () => {
  const keys = new RecentKeys(100);
  const slots = ["a", "b", "c"].map((key) => keys.add(key));
  expect(keys.oldest).toBe(slots[0]);
  keys.remove(slots[1]!);
  keys.remove(slots[0]!);
  expect([keys.size, keys.find("a"), keys.find("b"), keys.oldest]).toEqual([1, -1, -1, slots[2]]);
  expect(new Set([keys.add("d"), keys.add("e")])).toEqual(new Set([slots[0], slots[1]]));
  for (const key of ["c", "d", "e"]) keys.remove(keys.find(key));
  expect([keys.size, keys.oldest]).toEqual([0, -1]);
});

type Step = readonly [what: "see" | "forget" | "forget the oldest", name: string];

test("remembers the keys seen last, and the number of each, like a Map with deletion", () => {
  const what = fc.constantFrom<Step[0][]>("see", "see", "see", "forget", "forget the oldest");
  const steps = fc.array(fc.tuple(what, fc.integer({ min: 0, max: 300 }).map(String)), {
    size: "max",
    maxLength: 600,
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), steps, (max, steps) => {
      const keys = new RecentKeys(max);
      const model = new Map<string, number>();
      for (const [i, [what, name]] of steps.entries()) {
        const oldest = model.entries().next().value;
        expect(keys.oldest === -1).toBe(oldest === undefined);
        if (oldest !== undefined) expect(keys.oldestValue).toBe(oldest[1]);
        if (what === "forget the oldest") {
          if (oldest === undefined) continue;
          keys.remove(keys.oldest);
          model.delete(oldest[0]);
          continue;
        }
        const known = model.get(name);
        let slot = keys.peek(name);
        expect(slot === -1 ? undefined : keys.value(slot)).toBe(known);
        if (what === "forget") {
          if (slot !== -1) keys.remove(slot);
          model.delete(name);
          continue;
        }
        expect(keys.find(name)).toBe(slot);
        if (slot === -1) {
          expect(keys.isFull).toBe(model.size === max);
          if (oldest !== undefined && model.size === max) model.delete(oldest[0]);
          slot = keys.add(name);
        }
        keys.setValue(slot, i);
        model.delete(name);
        model.set(name, i);
      }
      expect(keys.size).toBe(model.size);
      for (const [name, value] of model) expect(keys.value(keys.find(name))).toBe(value);
    }),
    { numRuns: 50 },
  );
});
