import { expect, test } from "vitest";
import { SeededRandom } from "../model/random.ts";
import { CheckSchedule } from "./check-schedule.ts";

const JUST_BELOW_1 = 1 - 2 ** -32;

test("waits lie within 10 % of the interval on either side, and on it in the mean", () => {
  expect(new CheckSchedule(5_000, { next: () => 0 }).next()).toBe(4_500);
  expect(new CheckSchedule(5_000, { next: () => 0.5 }).next()).toBe(5_000);
  expect(new CheckSchedule(5_000, { next: () => JUST_BELOW_1 }).next()).toBeLessThan(5_500);
});

test("first checks are spread over a second", () => {
  const random = new SeededRandom(1);
  const firsts = Array.from({ length: 100 }, () => new CheckSchedule(5_000, random).first());
  for (let tenth = 0; tenth < 10; tenth++) {
    expect(firsts.some((ms) => ms >= tenth * 100 && ms < (tenth + 1) * 100)).toBe(true);
  }
  expect(Math.max(...firsts)).toBeLessThan(1_000);
});

test("with a short interval the first check is no later than it", () => {
  expect(new CheckSchedule(200, { next: () => JUST_BELOW_1 }).first()).toBeLessThan(200);
});

test("two backends checked at the same time do not stay in step", () => {
  const random = new SeededRandom(1);
  const one = new CheckSchedule(5_000, random);
  const other = new CheckSchedule(5_000, random);
  expect(one.next()).not.toBe(other.next());
});
