import { expect, test } from "vitest";
import { mayBeStale, mayRepeat } from "./repeat.ts";

test("only idempotent methods may reach a backend twice", () => {
  expect(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"].every(mayRepeat)).toBe(true);
  expect(["POST", "PATCH", "get", "LOCK", ""].some(mayRepeat)).toBe(false);
});

test("a connection idle for more than a second may have been closed meanwhile", () => {
  expect(mayBeStale(5_000, 6_000)).toBe(false);
  expect(mayBeStale(5_000, 6_001)).toBe(true);
});
