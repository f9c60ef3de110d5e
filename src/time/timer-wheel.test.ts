import fc from "fast-check";
import { expect, test } from "vitest";
import { TimerWheel } from "./timer-wheel.ts";

/** A wheel with ticks of 10 ms and 8 slots, so that a turn is 80 ms, on a time that is set by hand. */
class Bench {
  now = 0;
  readonly fired: string[] = [];
  readonly errors: unknown[] = [];
  readonly sooner: number[] = [];
  readonly armed: boolean[] = [];
  readonly wheel = new TimerWheel({
    now: () => this.now,
    onError: (error) => this.errors.push(error),
    sooner: (atMs) => this.sooner.push(atMs),
    armedChanged: (armed) => this.armed.push(armed),
    tickMs: 10,
    slots: 8,
  });

  timer(name: string, then?: () => void) {
    return this.wheel.timer(() => {
      this.fired.push(name);
      then?.();
    });
  }

  advance(ms: number): string[] {
    this.now += ms;
    this.wheel.advance(this.now);
    return this.fired.splice(0);
  }
}

test("a timer never fires early, and fires with the tick that has reached its time", () => {
  const bench = new Bench();
  bench.now = 3;
  bench.timer("a").set(20);
  expect(bench.advance(26.9)).toEqual([]);
  expect(bench.advance(0.1)).toEqual(["a"]);
});

test("a timer further away than a turn of the wheel fires in its turn", () => {
  const bench = new Bench();
  bench.timer("hour").set(3_600_000);
  let early = 0;
  for (let elapsed = 0; elapsed < 3_599_990; elapsed += 10) early += bench.advance(10).length;
  expect(early).toBe(0);
  expect(bench.advance(10)).toEqual(["hour"]);
});

test("a timer set to a later time does not fire at the earlier one", () => {
  const bench = new Bench();
  const timer = bench.timer("a");
  timer.set(20);
  bench.advance(10);
  timer.set(30);
  expect(bench.advance(20)).toEqual([]);
  expect(bench.advance(10)).toEqual(["a"]);
});

test("a timer set to an earlier time fires at the earlier one, once", () => {
  const bench = new Bench();
  const timer = bench.timer("a");
  timer.set(60);
  timer.set(20);
  expect(bench.advance(20)).toEqual(["a"]);
  expect(bench.advance(200)).toEqual([]);
});

test("a cleared timer does not fire, and Infinity clears", () => {
  const bench = new Bench();
  const [a, b] = [bench.timer("a"), bench.timer("b")];
  a.set(20);
  b.set(20);
  a.clear();
  a.clear();
  b.set(Number.POSITIVE_INFINITY);
  expect(bench.wheel.armed).toBe(0);
  expect(bench.advance(100)).toEqual([]);
});

test("a time that has passed already fires with the next tick", () => {
  const bench = new Bench();
  bench.timer("a").set(-50);
  expect(bench.advance(10)).toEqual(["a"]);
});

test("a callback may set its own timer again, and the wheel does not fire it for ever", () => {
  const bench = new Bench();
  const timer = bench.timer("a", () => timer.set(0));
  timer.set(0);
  // `now` stands still while the wheel catches up, so each one is due again at once, and has to wait for a new tick.
  expect(bench.advance(10)).toEqual(["a"]);
  expect(bench.advance(10)).toEqual(["a"]);
});

test("a callback may clear a timer of the same tick, which then does not fire", () => {
  const bench = new Bench();
  const timers = [0, 1].map((i) => bench.timer(`${i}`, () => timers[1 - i]!.clear()));
  for (const timer of timers) timer.set(20);
  expect(bench.advance(20)).toHaveLength(1);
  expect(bench.wheel.armed).toBe(0);
});

test("a callback may put off a timer of the same tick", () => {
  const bench = new Bench();
  const timers = [0, 1].map((i) =>
    bench.timer(`${i}`, () => {
      if (bench.fired.length === 1) timers[1 - i]!.set(100);
    }),
  );
  for (const timer of timers) timer.set(20);
  expect(bench.advance(20)).toHaveLength(1);
  expect(bench.advance(90)).toHaveLength(0);
  expect(bench.advance(10)).toHaveLength(1);
});

test("a timer that throws does not lose the others of its tick, and its error is reported", () => {
  const bench = new Bench();
  const mistake = new Error("mistake");
  const timers = ["a", "b", "c"].map((name) =>
    bench.timer(name, () => {
      if (name === "b") throw mistake;
    }),
  );
  for (const timer of timers) timer.set(20);
  expect(bench.advance(20).sort()).toEqual(["a", "b", "c"]);
  expect(bench.errors).toEqual([mistake]);
});

test("after a long time in which nobody advanced, timers fire in the order of their ticks", () => {
  const bench = new Bench();
  for (const ms of [500, 30, 240, 90]) bench.timer(`${ms}`).set(ms);
  expect(bench.advance(10_000)).toEqual(["30", "90", "240", "500"]);
});

test("a timer set when nothing was armed for long is not taken for an old one", () => {
  const bench = new Bench();
  bench.now = 1_000_003;
  bench.timer("a").set(20);
  expect(bench.advance(16)).toEqual([]);
  expect(bench.advance(11)).toEqual(["a"]);
});

test("the driver is told when to come, and of a timer that cannot wait so long", () => {
  const bench = new Bench();
  expect(bench.wheel.next()).toBe(Number.POSITIVE_INFINITY);
  bench.timer("late").set(55);
  expect(bench.sooner).toEqual([60]);
  expect(bench.wheel.next()).toBe(60);
  bench.timer("later").set(65);
  expect(bench.sooner).toEqual([60]);
  bench.timer("sooner").set(15);
  expect(bench.sooner).toEqual([60, 20]);
  expect(bench.wheel.next()).toBe(20);
});

test("the driver hears of the first timer armed and of the last one gone", () => {
  const bench = new Bench();
  const [a, b] = [bench.timer("a"), bench.timer("b")];
  a.set(10);
  b.set(20);
  a.clear();
  bench.advance(20);
  expect(bench.armed).toEqual([true, false]);
});

test("NaN is refused and leaves the timer as it was", () => {
  const bench = new Bench();
  const timer = bench.timer("a");
  timer.set(20);
  expect(() => timer.set(Number.NaN)).toThrow(RangeError);
  expect(bench.advance(20)).toEqual(["a"]);
});

test("a wheel that cannot turn is refused", () => {
  const now = () => 0;
  const onError = () => {};
  expect(() => new TimerWheel({ now, onError, slots: 100 })).toThrow("power of two");
  expect(() => new TimerWheel({ now, onError, tickMs: 0 })).toThrow("above 0");
});

test("any sequence of set, clear and advance fires exactly what a plain list of times would", () => {
  const index = fc.integer({ min: 0, max: 11 });
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ set: index, ms: fc.double({ min: -5, max: 400, noNaN: true }) }) },
    { weight: 1, arbitrary: fc.record({ clear: index }) },
    { weight: 3, arbitrary: fc.record({ advance: fc.double({ min: 0, max: 150, noNaN: true }) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const bench = new Bench();
      const timers = Array.from({ length: 12 }, (_, i) => bench.timer(`${i}`));
      const due = new Map<number, number>();
      for (const s of steps) {
        if ("set" in s) {
          timers[s.set]!.set(s.ms);
          // A time of the tick that is over already waits for the next one.
          const tick = Math.max(Math.ceil((bench.now + s.ms) / 10), Math.floor(bench.now / 10) + 1);
          due.set(s.set, tick);
        } else if ("clear" in s) {
          timers[s.clear]!.clear();
          due.delete(s.clear);
        } else {
          const fired = bench.advance(s.advance);
          const expected = [...due].filter(([, tick]) => tick <= Math.floor(bench.now / 10));
          expect(fired.map(Number).sort()).toEqual(expected.map(([i]) => i).sort());
          const ticks = fired.map((i) => due.get(Number(i))!);
          expect(ticks).toEqual([...ticks].sort((a, b) => a - b));
          for (const [i] of expected) due.delete(i);
        }
        expect(bench.wheel.armed).toBe(due.size);
      }
    }),
    { numRuns: 300 },
  );
});

test("a driver that comes when it is told fires every timer in time, at most a tick late", () => {
  const step = fc.record({
    i: fc.integer({ min: 0, max: 5 }),
    ms: fc.integer({ min: 0, max: 300 }),
    wait: fc.integer({ min: 0, max: 60 }),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 100 }), (steps) => {
      let now = 0;
      let wakeMs = Number.POSITIVE_INFINITY;
      const due: (number | undefined)[] = [];
      const wheel = new TimerWheel({
        now: () => now,
        onError: (error) => {
          throw error;
        },
        sooner: (atMs) => {
          wakeMs = atMs;
        },
        tickMs: 10,
        slots: 8,
      });
      const lateMs: number[] = [];
      const timers = Array.from({ length: 6 }, (_, i) =>
        wheel.timer(() => {
          lateMs.push(now - due[i]!);
          due[i] = undefined;
        }),
      );
      const runUntil = (untilMs: number): void => {
        while (wakeMs <= untilMs) {
          now = Math.max(now, wakeMs);
          wheel.advance(now);
          wakeMs = wheel.next();
        }
        now = untilMs;
      };
      for (const { i, ms, wait } of steps) {
        timers[i]!.set(ms);
        due[i] = now + ms;
        runUntil(now + wait);
      }
      runUntil(now + 1_000);
      expect(due.filter((at) => at !== undefined)).toEqual([]);
      expect(Math.min(...lateMs)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...lateMs)).toBeLessThanOrEqual(10);
      expect(wakeMs).toBe(Number.POSITIVE_INFINITY);
    }),
    { numRuns: 300 },
  );
});
