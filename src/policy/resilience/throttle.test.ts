import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SeededRandom } from "../model/random.ts";
import { sreRefusal, Throttle } from "./throttle.ts";

const options = { factor: 2, window: 120_000, maxRefused: 0.8 };

function settle(throttle: Throttle, accepted: number, failed: number, now: number): void {
  for (let i = 0; i < accepted; i++) throttle.settled(true, now);
  for (let i = 0; i < failed; i++) throttle.settled(false, now);
}

test.each([
  [100, 60, 2, 0],
  [100, 50, 2, 0],
  [100, 40, 2, 0.198],
  [100, 0, 2, 0.99],
  [100, 60, 1.1, 0.337],
  [0, 0, 2, 0],
  [1, 0, 2, 0.5],
])("of %i requests %i accepted, factor %f: a share of %f is refused", (requests, accepts, factor, share) => {
  expect(sreRefusal(requests, accepts, factor)).toBeCloseTo(share, 3);
});

describe("the share that is refused", () => {
  test("follows from what ended in the window", () => {
    const throttle = new Throttle(options, new SeededRandom(1));
    expect(throttle.refusalProbability(0)).toBe(0);
    settle(throttle, 40, 60, 0);
    expect(throttle.refusalProbability(0)).toBeCloseTo(0.198, 3);
    settle(throttle, 20, 0, 1_000);
    expect(throttle.refusalProbability(1_000)).toBe(0);
  });

  test("is never above the greatest, so that recovery is noticed", () => {
    const throttle = new Throttle(options, new SeededRandom(1));
    settle(throttle, 0, 10_000, 0);
    expect(throttle.refusalProbability(0)).toBe(0.8);
  });

  test("is forgotten when the window has passed", () => {
    const throttle = new Throttle(options, new SeededRandom(1));
    settle(throttle, 0, 100, 0);
    expect(throttle.refusalProbability(100_000)).toBe(0.8);
    expect(throttle.refusalProbability(120_000)).toBe(0);
  });

  test("grows with what has been refused: it is a request, too", () => {
    const throttle = new Throttle({ ...options, maxRefused: 1 }, { next: () => 0 });
    settle(throttle, 0, 1, 0);
    expect(throttle.refusalProbability(0)).toBeCloseTo(1 / 2);
    expect(throttle.admits(0)).toBe(false);
    expect(throttle.refusalProbability(0)).toBeCloseTo(2 / 3);
  });

  test("is what is refused", () => {
    const throttle = new Throttle({ ...options, maxRefused: 0.3 }, new SeededRandom(20));
    settle(throttle, 0, 100, 0);
    let refused = 0;
    for (let i = 0; i < 10_000; i++) if (!throttle.admits(0)) refused++;
    expect(Math.abs(refused - 3_000)).toBeLessThan(200);
  });
});

test("a burst of which nothing has come back yet is let through", () => {
  const throttle = new Throttle(options, { next: () => 0 });
  for (let i = 0; i < 1_000; i++) expect(throttle.admits(0)).toBe(true);
});

test("no random number is drawn while nothing is to be refused", () => {
  let drawn = 0;
  const throttle = new Throttle(options, {
    next: () => {
      drawn++;
      return 0;
    },
  });
  settle(throttle, 50, 50, 0);
  throttle.admits(0);
  expect(drawn).toBe(0);
});

/** One second of 100 requests, of which a backend accepts up to `accepts`; answers how many it gets. */
function second(throttle: Throttle, accepts: number, now: number): number {
  let sent = 0;
  for (let i = 0; i < 100; i++) if (throttle.admits(now)) throttle.settled(sent++ < accepts, now);
  return sent;
}

test("a backend that can do 20 of 100 gets about factor times that", () => {
  for (const factor of [1.5, 2, 3]) {
    const throttle = new Throttle({ ...options, factor }, new SeededRandom(20));
    let sent = 0;
    for (let at = 0; at < 360; at++) {
      const gets = second(throttle, 20, at * 1_000);
      if (at >= 300) sent += gets;
    }
    expect(Math.abs(sent / 60 - 20 * factor)).toBeLessThan(3);
  }
});

test("a dead backend gets what may not be refused", () => {
  const throttle = new Throttle(options, new SeededRandom(20));
  let sent = 0;
  for (let at = 0; at < 300; at++) sent += second(throttle, 0, at * 1_000);
  expect(Math.abs(sent / 300 - 20)).toBeLessThan(2);
});

test.each([
  [1.5, 30, 66],
  [2, 30, 40],
  [3, 30, 25],
  [1.5, 120, 264],
  [2, 120, 160],
  [3, 120, 97],
])("with factor %f and a window of %i s it gets everything %i s after it came back", (factor, window, seconds) => {
  const throttle = new Throttle({ ...options, factor, window: window * 1_000 }, new SeededRandom(20));
  let at = 0;
  while (at < 300) second(throttle, 0, at++ * 1_000);
  while (second(throttle, 100, at * 1_000) < 100) at++;
  expect(Math.abs(at - 300 - seconds)).toBeLessThan(seconds / 10);
});

test("the share is always between 0 and the greatest, and 0 while at least 1 of factor is accepted", () => {
  fc.assert(
    fc.property(
      fc.double({ min: 1, max: 5, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.array(fc.record({ accepted: fc.boolean(), after: fc.nat({ max: 20_000 }) }), { maxLength: 100 }),
      (factor, maxRefused, ends) => {
        const throttle = new Throttle({ factor, window: 120_000, maxRefused }, new SeededRandom(1));
        let now = 0;
        let accepted = 0;
        for (const [at, end] of ends.entries()) {
          if (now + end.after >= 108_000) break; // all of it is in the window
          now += end.after;
          throttle.settled(end.accepted, now);
          if (end.accepted) accepted++;
          const share = throttle.refusalProbability(now);
          expect(share).toBeGreaterThanOrEqual(0);
          expect(share).toBeLessThanOrEqual(maxRefused);
          if (accepted * factor >= at + 1) expect(share).toBe(0);
          else if (maxRefused > 0) expect(share).toBeGreaterThan(0);
        }
      },
    ),
    { seed: 20 },
  );
});
