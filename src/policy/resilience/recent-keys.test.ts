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

test("remembers the keys seen last, and the number of each, like a Map with deletion", () => {
  const name = fc.integer({ min: 0, max: 300 }).map(String);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.array(name, { size: "max", maxLength: 600 }), (max, names) => {
      const keys = new RecentKeys(max);
      const model = new Map<string, number>();
      for (const [i, name] of names.entries()) {
        const known = model.get(name);
        let slot = keys.find(name);
        expect(slot === -1 ? undefined : keys.value(slot)).toBe(known);
        if (slot === -1) {
          expect(keys.isFull).toBe(model.size === max);
          const oldest = model.entries().next().value;
          if (oldest !== undefined) expect(keys.oldestValue).toBe(oldest[1]);
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
