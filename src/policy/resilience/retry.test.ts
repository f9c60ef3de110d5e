import { describe, expect, test } from "vitest";
import type { FailureReason, Outcome, TimeoutPhase } from "../model/outcome.ts";
import type { RetryOptions } from "./options.ts";
import { Retry } from "./retry.ts";
import { sampleRetry } from "./samples.ts";

const retryWith = (options: Partial<RetryOptions> = {}, drawn = 0.5) =>
  new Retry({ ...sampleRetry, ...options }, { next: () => drawn });
const failed = (reason: FailureReason): Outcome => ({ kind: "failure", reason, durationMs: 1 });
const late = (phase: TimeoutPhase): Outcome => ({ kind: "timeout", phase, durationMs: 1 });

describe("nothing of the request was sent", () => {
  test.each([failed("connect"), failed("reset"), late("connect"), failed("exhausted"), late("queue")])(
    "%j: another backend may have it, whatever its method and however often it has moved",
    (outcome) => {
      expect(retryWith().after(outcome, "nothing", 0, true)).toBe("move");
      expect(retryWith().after(outcome, "nothing", 99, false)).toBe("move");
    },
  );

  test("what `on` does not list is final", () => {
    const retry = retryWith({ on: [503] });
    expect(retry.after(failed("connect"), "nothing", 0, true)).toBe("no");
    expect(retry.after(late("connect"), "nothing", 0, true)).toBe("no");
  });

  test("what was never the backend's doing moves, although no list can hold it", () => {
    const retry = retryWith({ on: [] });
    expect(retry.after(failed("exhausted"), "nothing", 0, false)).toBe("move");
    expect(retry.after(late("queue"), "nothing", 0, false)).toBe("move");
  });
});

describe("the request was sent", () => {
  test.each([failed("reset"), failed("malformed"), late("response"), late("body"), failed("connect")])(
    "%j: once more, if it may be repeated and has not been sent too often",
    (outcome) => {
      const retry = retryWith();
      expect(retry.after(outcome, "request", 1, true)).toBe("again");
      expect(retry.after(outcome, "request", 1, false)).toBe("no");
      expect(retry.after(outcome, "request", 2, true)).toBe("no");
      expect(retryWith({ attempts: 3 }).after(outcome, "request", 2, true)).toBe("again");
    },
  );

  test("what `on` does not list is final", () => {
    expect(retryWith().after(failed("truncated"), "request", 1, true)).toBe("no");
    expect(retryWith().after(failed("exhausted"), "request", 1, true)).toBe("no");
  });
});

test("once some of the response went out, everything is final", () => {
  const retry = retryWith({ attempts: 9, on: ["reset", "truncated", "timeout"] });
  for (const outcome of [failed("reset"), failed("truncated"), late("body")]) {
    expect(retry.after(outcome, "response", 1, true)).toBe("no");
  }
});

test("once the time of the whole exchange is up, everything is final", () => {
  expect(retryWith().after(late("route"), "nothing", 0, true)).toBe("no");
  expect(retryWith().after(late("route"), "request", 1, true)).toBe("no");
});

describe("a response", () => {
  test("is one to try again for when its status is listed, and the request was not sent too often", () => {
    const retry = retryWith();
    expect(retry.wants(503, undefined, 1)).toBe(true);
    expect(retry.wants(502, undefined, 1)).toBe(true);
    expect(retry.wants(500, undefined, 1)).toBe(false);
    expect(retry.wants(200, undefined, 1)).toBe(false);
    expect(retry.wants(503, undefined, 2)).toBe(false);
    expect(retryWith({ on: ["5xx"] }).wants(599, undefined, 1)).toBe(true);
  });

  test("that asks to wait for up to a second is waited for, one that asks for more is the client's", () => {
    const retry = retryWith();
    expect(retry.wants(503, 0, 1)).toBe(true);
    expect(retry.wants(503, 1_000, 1)).toBe(true);
    expect(retry.wants(503, 1_001, 1)).toBe(false);
  });
});

test("the back-off is drawn from an interval that doubles with each retry, up to its maximum", () => {
  const delays = (drawn: number) => [1, 2, 3, 4, 5, 99].map((n) => retryWith({}, drawn).delayMs(n));
  expect(delays(0)).toEqual([0, 0, 0, 0, 0, 0]);
  expect(delays(0.5)).toEqual([12.5, 25, 50, 100, 125, 125]);
});

test("the budget is that of the options", () => {
  const { budget } = retryWith({ budget: 0.5, minimumBudget: 1 });
  expect([budget.take(4), budget.take(4), budget.take(4)]).toEqual([true, true, false]);
});

test("so many may wait for the budget at a time, and another one for each that leaves", () => {
  const retry = retryWith();
  for (let n = 0; n < 256; n++) expect(retry.join()).toBe(true);
  expect(retry.join()).toBe(false);
  expect(retry.join()).toBe(false);
  retry.leave();
  expect([retry.join(), retry.join()]).toEqual([true, false]);
});
