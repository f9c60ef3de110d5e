import fc from "fast-check";
import { expect, test } from "vitest";
import { VirtualClock } from "./virtual-clock.ts";

function recorder(clock: VirtualClock): { timer(name: string): ReturnType<VirtualClock["timer"]>; fired: string[] } {
  const fired: string[] = [];
  return { fired, timer: (name) => clock.timer(() => fired.push(`${name}@${clock.now()}`)) };
}

test("timers fire exactly when they are due, in the order of their times", () => {
  const clock = new VirtualClock();
  const { timer, fired } = recorder(clock);
  timer("b").set(20);
  timer("c").set(30.5);
  timer("a").set(10);
  clock.advance(30);
  expect(fired).toEqual(["a@10", "b@20"]);
  expect([clock.now(), clock.next(), clock.armed]).toEqual([30, 30.5, 1]);
});

test("equal times fire in the order they were set, also when set again", () => {
  const clock = new VirtualClock();
  const { timer, fired } = recorder(clock);
  const first = timer("first");
  first.set(5);
  timer("second").set(5);
  timer("third").set(5);
  first.set(5);
  clock.advance(5);
  expect(fired).toEqual(["second@5", "third@5", "first@5"]);
});

test("a timer that a callback sets fires in the same advance when it is due in it", () => {
  const clock = new VirtualClock();
  const times: number[] = [];
  const timer = clock.timer(() => {
    times.push(clock.now());
    timer.set(10);
  });
  timer.set(10);
  clock.advance(35);
  expect(times).toEqual([10, 20, 30]);
});

test("a cleared timer does not fire, and Infinity clears", () => {
  const clock = new VirtualClock();
  const { timer, fired } = recorder(clock);
  const [a, b] = [timer("a"), timer("b")];
  a.set(1);
  b.set(1);
  a.clear();
  b.set(Number.POSITIVE_INFINITY);
  clock.advance(10);
  expect(fired).toEqual([]);
  expect(clock.armed).toBe(0);
});

test("what a callback throws stops the clock there, and nothing else is lost", () => {
  const clock = new VirtualClock();
  const { timer, fired } = recorder(clock);
  clock
    .timer(() => {
      throw new Error("mistake");
    })
    .set(5);
  timer("a").set(5);
  timer("b").set(7);
  expect(() => clock.advance(10)).toThrow("mistake");
  expect(clock.now()).toBe(5);
  clock.advance(5);
  expect(fired).toEqual(["a@5", "b@7"]);
});

test("wall time runs along from where it was put", () => {
  const clock = new VirtualClock(Date.UTC(2026, 10, 27));
  clock.advance(1500);
  expect(new Date(clock.wallTime()).toISOString()).toBe("2026-11-27T00:00:01.500Z");
});

test("NaN is refused", () => {
  expect(() => new VirtualClock().timer(() => {}).set(Number.NaN)).toThrow(RangeError);
});

test("any sequence of set, clear and advance fires what a sorted list would", () => {
  const timers = fc.integer({ min: 0, max: 9 });
  const step = fc.oneof(
    fc.record({ set: timers, ms: fc.integer({ min: 0, max: 50 }) }),
    fc.record({ clear: timers }),
    fc.record({ advance: fc.integer({ min: 0, max: 40 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const clock = new VirtualClock();
      const fired: string[] = [];
      const handles = Array.from({ length: 10 }, (_, i) => clock.timer(() => fired.push(`${i}@${clock.now()}`)));
      let list: { i: number; due: number }[] = [];
      const expected: string[] = [];
      let now = 0;
      for (const s of steps) {
        if ("set" in s) {
          handles[s.set]!.set(s.ms);
          list = list.filter(({ i }) => i !== s.set);
          list.push({ i: s.set, due: now + s.ms });
        } else if ("clear" in s) {
          handles[s.clear]!.clear();
          list = list.filter(({ i }) => i !== s.clear);
        } else {
          clock.advance(s.advance);
          now += s.advance;
          // Array.prototype.sort is stable: equal times stay in the order of setting.
          const due = list.filter(({ due }) => due <= now).sort((a, b) => a.due - b.due);
          for (const { i, due: at } of due) expected.push(`${i}@${at}`);
          list = list.filter(({ due }) => due > now);
        }
      }
      expect(fired).toEqual(expected);
      expect(clock.armed).toBe(list.length);
    }),
    { numRuns: 300 },
  );
});
