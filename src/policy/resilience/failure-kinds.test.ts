import { expect, test } from "vitest";
import type { FailureReason, Outcome, TimeoutPhase } from "../model/outcome.ts";
import { FailureKinds } from "./failure-kinds.ts";
import type { FailureKind } from "./options.ts";

const success = (status: number): Outcome => ({ kind: "success", status, durationMs: 1 });
const failure = (reason: FailureReason): Outcome => ({ kind: "failure", reason, durationMs: 1 });
const timeout = (phase: TimeoutPhase): Outcome => ({ kind: "timeout", phase, durationMs: 1 });
const cancelled: Outcome = { kind: "cancelled", durationMs: 1 };

const words = ["connect", "timeout", "reset", "malformed", "truncated", "5xx"] as const;
const outcomes: [string, Outcome, FailureKind[]][] = [
  ["a failure to connect", failure("connect"), ["connect"]],
  ["a reset", failure("reset"), ["reset"]],
  ["a malformed response", failure("malformed"), ["malformed"]],
  ["a truncated response", failure("truncated"), ["truncated"]],
  ["an exhausted pool", failure("exhausted"), []],
  ["a timeout to connect", timeout("connect"), ["connect", "timeout"]],
  ["a timeout of the response", timeout("response"), ["timeout"]],
  ["a timeout of the body", timeout("body"), ["timeout"]],
  ["a timeout in the queue", timeout("queue"), []],
  ["a timeout of the route", timeout("route"), ["timeout"]],
  ["a cancelled attempt", cancelled, []],
  ["a 200", success(200), []],
  ["a 429", success(429), []],
  ["a 500", success(500), ["5xx"]],
  ["a 503", success(503), ["5xx"]],
];

test.each(outcomes)("%s is listed by its words and no other", (_name, outcome, listedBy) => {
  for (const word of words) {
    expect(new FailureKinds([word]).has(outcome), word).toBe(listedBy.includes(word));
  }
});

test("a status is listed by its number alone, whatever it is", () => {
  const kinds = new FailureKinds([429, 503]);
  expect([200, 429, 500, 502, 503, 504].filter((status) => kinds.hasStatus(status))).toEqual([429, 503]);
  expect(kinds.has(success(429))).toBe(true);
  expect(kinds.has(failure("connect"))).toBe(false);
});

test("5xx is every status from 500 on, beside those listed by number", () => {
  const kinds = new FailureKinds(["5xx", 404]);
  expect([200, 404, 499, 500, 599, 999].filter((status) => kinds.hasStatus(status))).toEqual([404, 500, 599, 999]);
});

test("an empty list lists nothing", () => {
  const kinds = new FailureKinds([]);
  for (const [name, outcome] of outcomes) expect(kinds.has(outcome), name).toBe(false);
});
