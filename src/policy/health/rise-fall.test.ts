import { expect, test } from "vitest";
import { RiseFall } from "./rise-fall.ts";

/** Results as `+` and `-`; answers the transitions, `.` where there is none. */
function run(checks: RiseFall, results: string): string {
  const marks = { up: "U", down: "D", none: "." };
  return [...results].map((result) => marks[checks.record(result === "+") ?? "none"]).join("");
}

test("three failures in a row take a backend down, one success brings it up", () => {
  const checks = new RiseFall();
  expect(run(checks, "++---")).toBe("....D");
  expect(checks.up).toBe(false);
  expect(run(checks, "--+")).toBe("..U");
  expect(checks.up).toBe(true);
});

test("a success between failures starts the row again", () => {
  expect(run(new RiseFall(), "--+--+---")).toBe("........D");
});

test("a state is told once, however long it lasts", () => {
  expect(run(new RiseFall(), "---------+++")).toBe("..D......U..");
});

test("after it came up, the old failures count no more", () => {
  expect(run(new RiseFall(), "---+--")).toBe("..DU..");
});

test("a backend that must pass twice is not up after a success and a failure", () => {
  const checks = new RiseFall({ unhealthyAfter: 1, healthyAfter: 2 });
  expect(run(checks, "-+-+-++-")).toBe("D.....UD");
});

test("one that starts down is up after the first success", () => {
  const checks = new RiseFall(undefined, false);
  expect(checks.up).toBe(false);
  expect(run(checks, "--+")).toBe("..U");
});
