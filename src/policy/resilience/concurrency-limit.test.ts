import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SeededRandom } from "../model/random.ts";
import { ConcurrencyLimit } from "./concurrency-limit.ts";

const DEFAULTS = { initial: 20, min: 4, max: 1000 };

interface Server {
  /** How many it works on at a time; the others wait for their turn. */
  slots(now: number): number;
  serviceMs(now: number): number;
}

/**
 * As many exchanges as the limit admits run on the server until `forMs`; each that ends makes room for the next.
 * Those that take `timeoutMs` are dropped. Answers the limit after each 100 ms.
 */
function drive(limit: ConcurrencyLimit, server: Server, forMs: number, timeoutMs = Number.POSITIVE_INFINITY): number[] {
  const limits: number[] = [];
  const freeAt: number[] = [];
  const running: { endsMs: number; beganMs: number }[] = [];
  let now = 0;
  while (now < forMs) {
    while (limit.admits(running.length)) {
      const slots = server.slots(now);
      while (freeAt.length < slots) freeAt.push(now);
      freeAt.length = slots;
      const slot = freeAt.indexOf(Math.min(...freeAt));
      const done = Math.max(now, freeAt[slot]!) + server.serviceMs(now);
      freeAt[slot] = done;
      running.push({ endsMs: Math.min(done, now + timeoutMs), beganMs: now });
    }
    let first = 0;
    for (let i = 1; i < running.length; i++) if (running[i]!.endsMs < running[first]!.endsMs) first = i;
    const ended = running[first]!;
    now = ended.endsMs;
    while (limits.length < now / 100 && limits.length < forMs / 100) limits.push(limit.limit);
    limit.settled(now - ended.beganMs, running.length, now - ended.beganMs >= timeoutMs, now);
    running.splice(first, 1);
  }
  return limits;
}

/** Limits by size, without the smallest tenth: those are the probes. */
function usual(limits: number[]): { least: number; most: number } {
  const sorted = limits.toSorted((a, b) => a - b);
  return { least: sorted[Math.floor(sorted.length / 10)]!, most: sorted.at(-1)! };
}

/** Exchanges for `spans` times 800 ms, one in 20 ms, all of them with the same duration. Answers when the last ended. */
function repeat(
  limit: ConcurrencyLimit,
  spans: number,
  from: number,
  durationMs: number,
  inflight: () => number,
  dropped = false,
): number {
  let now = from;
  for (let i = 0; i < spans * 40; i++) {
    now += 20;
    limit.settled(durationMs, inflight(), dropped, now);
  }
  return now;
}

test("begins with initial, within min and max, and admits as many", () => {
  expect(new ConcurrencyLimit(DEFAULTS).limit).toBe(20);
  expect(new ConcurrencyLimit({ ...DEFAULTS, initial: 1 }).limit).toBe(4);
  expect(new ConcurrencyLimit({ ...DEFAULTS, initial: 2000 }).limit).toBe(1000);
  expect(new ConcurrencyLimit(DEFAULTS).admits(19)).toBe(true);
  expect(new ConcurrencyLimit(DEFAULTS).admits(20)).toBe(false);
});

test("grows to the maximum while more of them take no longer", () => {
  const limit = new ConcurrencyLimit({ ...DEFAULTS, max: 100 });
  const limits = drive(limit, { slots: () => 1000, serviceMs: () => 10 }, 30_000);
  expect(limits[5]).toBeGreaterThan(20);
  expect(usual(limits.slice(-100))).toEqual({ least: 100, most: 100 });
});

test("does not grow while less than half of it is used", () => {
  const limit = new ConcurrencyLimit(DEFAULTS);
  repeat(limit, 100, 0, 10, () => 9);
  expect(limit.limit).toBe(20);
  repeat(limit, 1, 100_000, 10, () => 20);
  expect(limit.limit).toBeGreaterThan(20);
});

test("falls to the minimum when all are dropped, however fast or slowly they fail", () => {
  for (const durationMs of [0, 1, 30_000]) {
    const limit = new ConcurrencyLimit({ ...DEFAULTS, initial: 500 });
    repeat(limit, 100, 0, durationMs, () => limit.limit, true);
    expect(limit.limit).toBe(4);
  }
});

test("a window of drops costs a tenth, however many there were", () => {
  const limit = new ConcurrencyLimit({ ...DEFAULTS, initial: 100 });
  for (let now = 0; now < 100; now++) limit.settled(5, 100, true, now);
  expect(limit.limit).toBe(100);
  limit.settled(5, 100, true, 100);
  expect(limit.limit).toBe(90);
});

test("one that fails in a thousand does not starve the others", () => {
  const limit = new ConcurrencyLimit(DEFAULTS);
  for (let i = 0; i < 100_000; i++) limit.settled(10, limit.limit, i % 1000 === 999, i);
  expect(limit.limit).toBeGreaterThan(100);
});

test("those too short to have been at a backend leave no trace", () => {
  const limit = new ConcurrencyLimit(DEFAULTS);
  repeat(limit, 100, 0, 0.05, () => limit.limit);
  expect(limit.limit).toBe(20);
});

test.each([
  ["below", 4],
  ["above", 1000],
])("of a server that can do 30 at a time, the limit comes to between 30 and 60 from %s", (_from, initial) => {
  const limits = drive(
    new ConcurrencyLimit({ ...DEFAULTS, initial }),
    { slots: () => 30, serviceMs: () => 20 },
    60_000,
  );
  const { least, most } = usual(limits.slice(-300));
  expect(least).toBeGreaterThanOrEqual(30);
  expect(most).toBeLessThanOrEqual(60);
});

test.each([
  ["below", 4],
  ["above", 200],
])("the same where service times vary as much as they do at random, from %s", (_from, initial) => {
  const random = new SeededRandom(7);
  const server = { slots: () => 30, serviceMs: () => -20 * Math.log(1 - random.next()) };
  const { least, most } = usual(drive(new ConcurrencyLimit({ ...DEFAULTS, initial }), server, 60_000).slice(-300));
  expect(least).toBeGreaterThanOrEqual(15); // a chance probe may take it down for a while
  expect(most).toBeLessThanOrEqual(75);
});

test("a probe takes little: most of the time, nothing of what the server can do is lost", () => {
  const limits = drive(new ConcurrencyLimit(DEFAULTS), { slots: () => 30, serviceMs: () => 20 }, 120_000).slice(-600);
  expect(limits.filter((limit) => limit < 30).length).toBeLessThan(0.06 * limits.length);
});

test("a server that loses most of its slots, and later gets them back, is followed down and up", () => {
  const server = { slots: (now: number) => (now > 20_000 && now < 50_000 ? 10 : 40), serviceMs: () => 20 };
  const limits = drive(new ConcurrencyLimit(DEFAULTS), server, 90_000);
  expect(usual(limits.slice(100, 200)).most).toBeLessThanOrEqual(80);
  expect(usual(limits.slice(400, 500)).most).toBeLessThanOrEqual(40);
  expect(usual(limits.slice(-100)).least).toBeGreaterThanOrEqual(40);
});

test("when all take twice as long for good, the limit finds out that it is not to blame, and stays where it was", () => {
  const server = { slots: () => 40, serviceMs: (now: number) => (now > 30_000 ? 40 : 20) };
  const limits = drive(new ConcurrencyLimit(DEFAULTS), server, 120_000);
  const { least, most } = usual(limits.slice(-300));
  expect(least).toBeGreaterThanOrEqual(40);
  expect(most).toBeLessThanOrEqual(80);
});

describe("what Gradient2 is known for does not happen", () => {
  test("under constant timeouts it does not rise to the maximum (Netflix/concurrency-limits 137)", () => {
    // Everything waits for so long that half of it times out.
    const server = { slots: () => 10, serviceMs: () => 20 };
    const limits = drive(new ConcurrencyLimit({ ...DEFAULTS, initial: 100 }), server, 60_000, 100);
    expect(usual(limits.slice(-300)).most).toBeLessThanOrEqual(20);
  });

  test("durations of what was dropped are not learnt, so that timeouts never become what is usual (137)", () => {
    const limit = new ConcurrencyLimit({ ...DEFAULTS, max: 100 });
    let now = repeat(limit, 20, 0, 10, () => limit.limit);
    now = repeat(limit, 50, now, 1000, () => limit.limit, true);
    expect(limit.limit).toBe(4);
    while (limit.limit < 50) now = repeat(limit, 1, now, 10, () => limit.limit);
    repeat(limit, 2, now, 40, () => limit.limit); // four times what is usual, still
    expect(limit.limit).toBeLessThan(50);
  });

  test("drops lower it although all that succeeds is as fast as ever (176)", () => {
    const limit = new ConcurrencyLimit({ ...DEFAULTS, initial: 100 });
    for (let i = 0; i < 20_000; i++) limit.settled(10, limit.limit, i % 5 === 0, i);
    expect(limit.limit).toBe(4);
  });

  test("under mild overload it does not creep up (134)", () => {
    const limits = drive(new ConcurrencyLimit(DEFAULTS), { slots: () => 20, serviceMs: () => 10 }, 600_000);
    expect(usual(limits.slice(-1000)).most).toBeLessThanOrEqual(usual(limits.slice(1000, 2000)).most + 2);
    expect(usual(limits.slice(-1000)).most).toBeLessThanOrEqual(40);
  });

  test("it does not creep up where the server grows slower little by little under what it is given (134)", () => {
    // Each that waits costs all others: twice as many take four times as long.
    const limit: ConcurrencyLimit = new ConcurrencyLimit({ ...DEFAULTS, initial: 100 });
    const server = { slots: () => 20, serviceMs: () => 10 * Math.max(1, limit.limit / 20) };
    expect(usual(drive(limit, server, 300_000).slice(-500)).most).toBeLessThanOrEqual(40);
  });
});

test("stays between min and max and is a whole number, whatever happens", () => {
  const event = fc.record({
    durationMs: fc.oneof(fc.double({ min: 0, max: 100_000, noNaN: true }), fc.constant(0), fc.constant(10)),
    inflight: fc.nat(2000),
    dropped: fc.boolean(),
    gapMs: fc.oneof(fc.constant(0), fc.nat(20_000)),
    times: fc.integer({ min: 1, max: 50 }),
  });
  const options = fc.record({
    initial: fc.integer({ min: 1, max: 1000 }),
    min: fc.integer({ min: 1, max: 10 }),
    max: fc.integer({ min: 10, max: 1000 }),
  });
  fc.assert(
    fc.property(options, fc.array(event, { size: "large", maxLength: 100 }), (options, events) => {
      const limit = new ConcurrencyLimit(options);
      let now = 0;
      for (const { durationMs, inflight, dropped, gapMs, times } of events) {
        for (let i = 0; i < times; i++) {
          now += gapMs;
          limit.settled(durationMs, inflight, dropped, now);
        }
        if (!Number.isInteger(limit.limit) || limit.limit < options.min || limit.limit > options.max) {
          expect.fail(`${limit.limit}`);
        }
      }
    }),
  );
});

test("never grows while less than half of it is used, whatever the durations", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 500 }), { size: "large", maxLength: 500 }), (durations) => {
      const limit = new ConcurrencyLimit(DEFAULTS);
      let now = 0;
      for (const durationMs of durations) {
        const before = limit.limit;
        now += 50;
        limit.settled(durationMs, Math.ceil(before / 2) - 1, false, now);
        if (limit.limit > before) expect.fail(`${before} became ${limit.limit}`);
      }
    }),
  );
});
