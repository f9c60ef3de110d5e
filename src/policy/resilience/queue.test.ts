import { expect, test } from "vitest";
import type { Priority, QueueOptions } from "./options.ts";
import { type ShedFromQueue, type Waiter, WaitingQueue } from "./queue.ts";
import type { Place } from "./waiting-line.ts";

const NEVER = Number.POSITIVE_INFINITY;

class Guest implements Waiter {
  readonly name: string;
  readonly priority: Priority;
  readonly deadlineMs: number;
  place: Place | undefined = undefined;

  constructor(name: string, priority: Priority = "normal", deadlineMs = NEVER) {
    this.name = name;
    this.priority = priority;
    this.deadlineMs = deadlineMs;
  }
}

function queueWith(options: Partial<QueueOptions> = {}) {
  const shed: string[] = [];
  const queue = new WaitingQueue<Guest>(
    { max: 100, timeout: 1000, target: NEVER, ...options },
    (guest: Guest, why: ShedFromQueue, now: number) => shed.push(`${guest.name}: ${why} at ${now}`),
  );
  const join = (now: number, ...guests: Guest[]) => guests.map((guest) => queue.join(guest, now));
  const all = (now: number) => {
    const names: string[] = [];
    for (let guest = queue.next(now); guest !== undefined; guest = queue.next(now)) names.push(guest.name);
    return names.join(" ");
  };
  return { queue, shed, join, all };
}

const guests = (names: string, priority: Priority = "normal") =>
  names.split(" ").map((name) => new Guest(name, priority));

/** Served one every `everyMs` from 0 on, while there are always others waiting. */
function servedSteadily(count: number, everyMs: number, options: Partial<QueueOptions> = {}) {
  const bench = queueWith({ timeout: NEVER, ...options });
  const { queue } = bench;
  for (let i = 0; i <= count; i++) queue.join(new Guest(`early ${i}`), 0);
  for (let i = 1; i <= count; i++) queue.next(i * everyMs);
  return { ...bench, now: count * everyMs };
}

test("high goes before normal, normal before low, and within one the oldest goes first", () => {
  const { join, all } = queueWith();
  join(0, new Guest("l1", "low"), new Guest("n1"), new Guest("h1", "high"));
  join(1, new Guest("n2"), new Guest("l2", "low"), new Guest("h2", "high"));
  expect(all(2)).toBe("h1 h2 n1 n2 l1 l2");
});

test("who leaves is not served, and has left only once", () => {
  const { queue, join, all, shed } = queueWith();
  const [a, b, c] = guests("a b c") as [Guest, Guest, Guest];
  join(0, a, b, c);
  expect(queue.leave(b)).toBe(true);
  expect(queue.leave(b)).toBe(false);
  expect(all(1)).toBe("a c");
  expect(queue.leave(a)).toBe(false);
  expect(shed).toEqual([]);
});

test("who waits in another queue does not leave by this one", () => {
  const here = queueWith();
  const there = queueWith();
  const guest = new Guest("a");
  there.join(0, guest);
  expect(here.queue.leave(guest)).toBe(false);
  expect(there.all(0)).toBe("a");
});

test("who waits cannot join again", () => {
  const { queue, join } = queueWith();
  const guest = new Guest("a");
  join(0, guest);
  expect(() => queue.join(guest, 1)).toThrow("It waits already");
});

test("nobody waits longer than the timeout", () => {
  const { queue, shed, join } = queueWith({ timeout: 100 });
  join(0, new Guest("a"));
  join(40, new Guest("b", "high"));
  expect(queue.wakeAtMs).toBe(100);
  queue.advance(99);
  expect(shed).toEqual([]);
  queue.advance(100);
  expect(shed).toEqual(["a: queue-timeout at 100"]);
  expect(queue.wakeAtMs).toBe(140);
  queue.advance(500);
  expect(shed).toEqual(["a: queue-timeout at 100", "b: queue-timeout at 500"]);
  expect(queue.wakeAtMs).toBe(NEVER);
});

test("nobody waits beyond its own deadline", () => {
  const { queue, shed, join } = queueWith({ timeout: 100 });
  join(0, new Guest("a", "normal", 90), new Guest("b", "normal", 30), new Guest("c", "normal", 100));
  expect(queue.wakeAtMs).toBe(30);
  queue.advance(30);
  expect(shed).toEqual(["b: deadline at 30"]);
  expect(queue.wakeAtMs).toBe(90);
  queue.advance(200);
  expect(shed.slice(1)).toEqual(["a: deadline at 200", "c: queue-timeout at 200"]);
});

test("who is overdue is shed, not served", () => {
  const { queue, shed, join } = queueWith({ timeout: 100 });
  join(0, new Guest("a"));
  join(50, new Guest("b"));
  expect(queue.next(120)?.name).toBe("b");
  expect(shed).toEqual(["a: queue-timeout at 120"]);
});

test("whose deadline has passed does not join", () => {
  const { queue, join } = queueWith();
  expect(join(10, new Guest("a", "high", 10))).toEqual(["deadline"]);
  expect(queue.size).toBe(0);
});

test("a queue that is full of equals refuses", () => {
  const { join, all, shed } = queueWith({ max: 2 });
  expect(join(0, ...guests("a b c"))).toEqual([undefined, undefined, "queue-full"]);
  expect(shed).toEqual([]);
  expect(all(0)).toBe("a b");
});

test("a full queue sheds the newest of its lowest priority for a better one, and refuses a worse one", () => {
  const { join, all, shed } = queueWith({ max: 4 });
  join(0, new Guest("n1"), new Guest("l1", "low"), new Guest("l2", "low"), new Guest("h1", "high"));
  expect(join(1, new Guest("l3", "low"))).toEqual(["queue-full"]);
  expect(join(2, new Guest("n2"))).toEqual([undefined]);
  expect(join(3, new Guest("h2", "high"))).toEqual([undefined]);
  expect(join(4, new Guest("h3", "high"))).toEqual([undefined]);
  expect(shed).toEqual(["l2: queue-full at 2", "l1: queue-full at 3", "n2: queue-full at 4"]);
  expect(join(5, new Guest("n3"))).toEqual(["queue-full"]);
  expect(all(6)).toBe("h1 h2 h3 n1");
});

test("who is overdue holds no place", () => {
  const { join, shed, all } = queueWith({ max: 1, timeout: 100 });
  join(0, new Guest("a"));
  expect(join(100, new Guest("b"))).toEqual([undefined]);
  expect(shed).toEqual(["a: queue-timeout at 100"]);
  expect(all(100)).toBe("b");
});

test.each([{ max: 0 }, { timeout: 0 }, { target: 0 }])("with %j nobody waits", (options) => {
  const { join, queue } = queueWith(options);
  expect(join(0, new Guest("a", "high"))).toEqual(["queue-full"]);
  expect(queue.size).toBe(0);
});

test("whom the caller cannot serve keeps its place, and the next is offered", () => {
  const { queue, join, all } = queueWith();
  join(0, ...guests("a b"), ...guests("x y", "low"));
  expect(queue.next(1, (guest) => guest.name === "b")?.name).toBe("b");
  expect(queue.next(1, (guest) => guest.name === "y")?.name).toBe("y");
  expect(queue.next(1, () => false)).toBeUndefined();
  expect(all(2)).toBe("a x");
});

test("of each priority no more than 16 are offered, so that one look is bounded", () => {
  const { queue, join } = queueWith();
  for (let i = 0; i < 30; i++) join(0, new Guest(`h${i}`, "high"), new Guest(`l${i}`, "low"));
  const offered: string[] = [];
  queue.next(0, (guest) => offered.push(guest.name) < 0);
  expect(offered).toHaveLength(32);
  expect(offered.at(-1)).toBe("l15");
});

test("a burst that passes is served oldest first", () => {
  const { queue, join, all } = queueWith({ target: 20 });
  join(0, ...guests("a b c"));
  queue.advance(99);
  expect(queue.overloaded).toBe(false);
  expect(all(99)).toBe("a b c");
});

test("a queue not empty for 5 times the target serves the newest first and sheds who has waited the target", () => {
  const { queue, shed, join, all } = queueWith({ target: 20 });
  join(0, new Guest("a"));
  join(85, new Guest("b"), new Guest("x", "low"));
  join(95, new Guest("c"));
  expect(queue.wakeAtMs).toBe(100);
  queue.advance(100);
  expect(queue.overloaded).toBe(true);
  expect(shed).toEqual(["a: queue-timeout at 100"]);
  expect(queue.wakeAtMs).toBe(105);
  expect(all(104)).toBe("c b x");
});

test("an overloaded queue that has been empty is a queue like any other", () => {
  const { queue, join, all } = queueWith({ target: 20 });
  join(0, new Guest("a"));
  join(90, new Guest("b"));
  queue.advance(100);
  expect(all(100)).toBe("b");
  expect(queue.overloaded).toBe(false);
  join(101, ...guests("c d"));
  expect(queue.wakeAtMs).toBe(201);
  expect(all(102)).toBe("c d");
});

test("under standing overload nobody waits longer than the target", () => {
  const { queue, shed } = queueWith({ target: 20, max: 1000 });
  const waits: number[] = [];
  // Ten join every millisecond and one of them can be served.
  for (let now = 0; now < 1000; now++) {
    for (let i = 0; i < 10; i++) queue.join(new Guest(`${now}`), now);
    const served = queue.next(now)!;
    if (now >= 100) waits.push(now - Number(served.name));
  }
  expect(Math.max(...waits)).toBe(0);
  for (const line of shed) {
    const [, joined, at] = line.match(/^(\d+): .* at (\d+)$/)!;
    if (Number(at) > 100) expect(Number(at) - Number(joined)).toBeLessThanOrEqual(20);
  }
});

test("when it is full and overloaded, the oldest of the lowest priority makes room for an equal", () => {
  const { queue, shed, join, all } = queueWith({ target: 20, max: 3 });
  join(0, new Guest("a"));
  join(90, new Guest("b"), new Guest("x", "low"));
  join(100, new Guest("c")); // a is overdue
  expect(queue.size).toBe(3);
  shed.length = 0;
  expect(join(101, new Guest("y", "low"), new Guest("d"), new Guest("e"))).toEqual([undefined, undefined, undefined]);
  expect(shed).toEqual(["x: queue-full at 101", "y: queue-full at 101", "b: queue-full at 101"]);
  expect(join(102, new Guest("z", "low"))).toEqual(["queue-full"]);
  expect(all(102)).toBe("e d c");
});

test("to make room for a better one does not end an overload, not even where one place is all there is", () => {
  const { queue, join } = queueWith({ target: 20, max: 1 });
  for (let now = 0; now <= 150; now += 10) {
    join(now, new Guest(`l${now}`, "low"));
    join(now, new Guest(`h${now}`, "high"));
    expect(queue.overloaded).toBe(now >= 100);
  }
});

test("an overloaded queue that is empty because all were shed stays overloaded, unless nobody comes for a while", () => {
  const { queue, shed, join } = queueWith({ target: 20 });
  join(0, new Guest("a"));
  queue.advance(100);
  expect(shed).toEqual(["a: queue-timeout at 100"]);
  join(119, new Guest("b"));
  expect(queue.overloaded).toBe(true);
  queue.advance(139);
  expect(queue.size).toBe(0);
  join(159, new Guest("c"));
  expect(queue.overloaded).toBe(false);
  expect(queue.wakeAtMs).toBe(259);
});

test("who has hopelessly little time for the line before it is refused at once", () => {
  const { join, queue, now } = servedSteadily(20, 10); // one is left, 100 per second
  for (let i = 0; i < 29; i++) queue.join(new Guest(`${i}`), now);
  expect(queue.expectedWaitMs("normal", now)).toBeCloseTo(300);
  const left = (ms: number, priority: Priority = "normal") => new Guest(`has ${ms} ms`, priority, now + ms);
  expect(join(now, left(240), left(240, "low"))).toEqual(["deadline", "deadline"]);
  expect(join(now, left(240, "high"), left(260))).toEqual([undefined, undefined]);
});

test("who would wait longer than the timeout is refused at once", () => {
  const { join, queue, now } = servedSteadily(20, 10, { timeout: 300 });
  for (let i = 0; queue.expectedWaitMs("normal", now) <= 360; i++) {
    expect(queue.join(new Guest(`${i}`), now)).toBeUndefined();
  }
  expect(join(now, new Guest("late"))).toEqual(["deadline"]);
  expect(join(now, new Guest("high", "high"))).toEqual([undefined]);
});

test("nobody is refused for a wait that is only a guess", () => {
  const { join, queue, now } = servedSteadily(9, 100);
  for (let i = 0; i < 50; i++) queue.join(new Guest(`${i}`), now);
  expect(queue.expectedWaitMs("normal", now)).toBeNaN();
  expect(join(now, new Guest("a", "low", now + 1))).toEqual([undefined]);
});

test("nobody is refused for the length of the line while the newest go first", () => {
  const { join, queue, now } = servedSteadily(20, 10, { target: 50 });
  expect(now).toBe(200);
  for (let i = 0; i < 50; i++) queue.join(new Guest(`${i}`, "low"), 240);
  queue.advance(250);
  expect(queue.size).toBe(50);
  expect(queue.overloaded).toBe(true);
  expect(join(250, new Guest("a", "low", 251), new Guest("b", "normal", 251))).toEqual([undefined, undefined]);
  expect(queue.expectedWaitMs("normal", 250)).toBe(0);
  expect(queue.expectedWaitMs("low", 250)).toBeCloseTo(1 / (20 / 250));
});

test("who is shed may join again at once, and waits like any other", () => {
  const shed: string[] = [];
  const queue: WaitingQueue<Guest> = new WaitingQueue<Guest>(
    { max: 2, timeout: 100, target: NEVER },
    (guest, why, now) => {
      shed.push(`${guest.name}: ${why} at ${now}, ${queue.join(guest, now) ?? "waits"}`);
    },
  );
  const [a, b] = guests("a b", "low") as [Guest, Guest];
  queue.join(a, 0);
  queue.join(b, 0);
  queue.join(new Guest("c"), 50);
  expect(shed).toEqual(["b: queue-full at 50, queue-full"]);
  queue.advance(100);
  expect(shed.slice(1)).toEqual(["a: queue-timeout at 100, waits"]);
  expect(queue.size).toBe(2);
  expect(queue.wakeAtMs).toBe(150);
});

test("two that give each other no peace do not take turns for ever", () => {
  const refused: string[] = [];
  const queue: WaitingQueue<Guest> = new WaitingQueue<Guest>(
    { max: 1, timeout: NEVER, target: 20 },
    (guest, why, now) => {
      if (why === "queue-full") refused.push(`${guest.name}: ${queue.join(guest, now)}`);
    },
  );
  queue.join(new Guest("a"), 0);
  queue.advance(100);
  queue.join(new Guest("b"), 110);
  expect(queue.overloaded).toBe(true);
  queue.join(new Guest("c"), 111);
  queue.join(new Guest("d"), 112);
  expect(refused).toEqual(["b: queue-full", "c: queue-full"]);
  expect(queue.next(113)?.name).toBe("d");
});
