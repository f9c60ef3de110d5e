import fc from "fast-check";
import { expect, test } from "vitest";
import { formatDeadline, parseDeadline } from "./deadline.ts";

test.each([
  ["0", 0],
  ["1", 1],
  ["250", 250],
  ["007", 7],
  ["000000000", 0],
  ["999999999", 999_999_999],
])("%j leaves %i ms", (value, ms) => {
  expect(parseDeadline(value)).toBe(ms);
});

test.each([
  "",
  " ",
  "1000000000",
  "0000000001",
  "-1",
  "+1",
  "1.5",
  "1e3",
  "0x10",
  " 1",
  "1 ",
  "1,2",
  "5s",
  "NaN",
  "٣",
  "1\n",
])("%j is no deadline", (value) => {
  expect(parseDeadline(value)).toBeUndefined();
});

test.each([
  [0, "0"],
  [-0, "0"],
  [-1, "0"],
  [-Infinity, "0"],
  [0.9, "0"],
  [1, "1"],
  [249.999, "249"],
  [999_999_999, "999999999"],
  [1e9, "999999999"],
  [1e21, "999999999"],
  [Infinity, "999999999"],
])("%d ms left is written %j", (ms, value) => {
  expect(formatDeadline(ms)).toBe(value);
});

test("what is passed on is understood, and never more than what is left", () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true }), (ms) => {
      const passedOn = parseDeadline(formatDeadline(ms));
      expect(passedOn).toBeGreaterThanOrEqual(0);
      expect(passedOn).toBeLessThanOrEqual(Math.max(0, ms));
    }),
    { seed: 20 },
  );
});
