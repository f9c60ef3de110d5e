import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { expect, test } from "vitest";
import { cookieValue } from "../model/cookie.ts";
import { SessionTable } from "./session-table.ts";

const HOUR = 3_600_000;

/** Where a session belongs, which uses it. */
function where(table: SessionTable, key: string, now: number): string | undefined {
  const slot = table.find(key, now);
  return slot === -1 ? undefined : table.address(slot);
}

test("a session is there until its time to live after its last use, to the millisecond", () => {
  const table = new SessionTable(10, HOUR);
  table.put("x", "a:80", 1000);
  expect(table.wakeAtMs).toBe(1000 + HOUR);
  expect(where(table, "x", 1000 + HOUR - 1)).toBe("a:80");
  const lastUse = 1000 + HOUR - 1;
  expect(table.wakeAtMs).toBe(lastUse + HOUR);
  expect(where(table, "x", lastUse + HOUR)).toBeUndefined();
  expect([table.held, table.wakeAtMs]).toEqual([0, Number.POSITIVE_INFINITY]);
});

test("a session used every 59 minutes lasts a day, and ends an hour after", () => {
  const table = new SessionTable(10, HOUR);
  table.put("x", "a:80", 0);
  let now = 0;
  while (now < 24 * HOUR) {
    now += 59 * 60_000;
    expect(where(table, "x", now)).toBe("a:80");
  }
  expect(where(table, "x", now + HOUR)).toBeUndefined();
});

test("a session that is put again is renewed in place", () => {
  const table = new SessionTable(2, HOUR);
  for (let now = 0; now < 1000; now++) table.put("x", now % 2 === 0 ? "a:80" : "b:80", now);
  expect([table.held, table.evicted, where(table, "x", 1000)]).toEqual([1, 0, "b:80"]);
});

test("a session that has ended and begins again is elsewhere, and is one", () => {
  const table = new SessionTable(2, HOUR);
  table.put("x", "a:80", 0);
  table.put("x", "b:80", HOUR);
  expect([table.held, table.evicted, where(table, "x", HOUR)]).toEqual([1, 0, "b:80"]);
});

test("looking without using renews nothing, and saves nobody", () => {
  const table = new SessionTable(2, HOUR);
  table.put("x", "a:80", 0);
  table.put("y", "b:80", 1);
  expect(table.address(table.peek("x", HOUR - 1))).toBe("a:80");
  expect([table.peek("x", HOUR), table.peek("z", 0)]).toEqual([-1, -1]);
  table.put("z", "c:80", 2);
  expect([table.peek("x", 2), where(table, "y", 2), where(table, "z", 2)]).toEqual([-1, "b:80", "c:80"]);
});

test("who was not used for longest goes for others, and is counted", () => {
  const table = new SessionTable(3, HOUR);
  for (const [now, key] of ["x", "y", "z"].entries()) table.put(key, "a:80", now);
  where(table, "x", 10);
  table.put("w", "a:80", 11);
  expect(table.evicted).toBe(1);
  expect(["x", "y", "z", "w"].map((key) => where(table, key, 12))).toEqual(["a:80", undefined, "a:80", "a:80"]);
});

test("who makes room after its time is not counted", () => {
  const table = new SessionTable(1, HOUR);
  table.put("x", "a:80", 0);
  table.put("y", "a:80", HOUR);
  expect([table.held, table.evicted]).toEqual([1, 0]);
  table.put("z", "a:80", 2 * HOUR - 1);
  expect([table.held, table.evicted]).toEqual([1, 1]);
});

test("sweeping forgets those that have ended, and only those", () => {
  const table = new SessionTable(1000, HOUR);
  for (let now = 0; now < 500; now++) table.put(`s${now}`, "a:80", now);
  table.sweep(HOUR - 1);
  expect(table.held).toBe(500);
  table.sweep(HOUR + 199);
  expect([table.held, table.wakeAtMs]).toEqual([300, HOUR + 200]);
  expect([table.find("s199", HOUR + 199), where(table, "s200", HOUR + 199)]).toEqual([-1, "a:80"]);
});

test("many sessions that have ended are forgotten bit by bit, and are none from the beginning", () => {
  const table = new SessionTable(25_000, HOUR);
  for (let i = 0; i < 25_000; i++) table.put(`s${i}`, "a:80", 0);
  const held = [1, 2, 3].map(() => {
    table.sweep(HOUR);
    expect(table.peek("s24999", HOUR)).toBe(-1);
    return table.held;
  });
  expect([...held, table.wakeAtMs]).toEqual([15_000, 5_000, 0, Number.POSITIVE_INFINITY]);
});

test("the store has to hear of a session that is put, and then of one that goes on every tenth of its time", () => {
  const table = new SessionTable(10, HOUR);
  const slot = table.put("x", "a:80", 0);
  expect(table.isToTell(slot, 0)).toBe(true);
  table.told(slot, 0);
  expect([table.isToTell(slot, 0), table.isToTell(slot, HOUR / 10 - 1)]).toEqual([false, false]);
  expect(table.isToTell(table.find("x", HOUR / 10), HOUR / 10)).toBe(true);
  table.told(slot, HOUR / 10);
  expect(table.isToTell(table.put("x", "b:80", HOUR / 10), HOUR / 10)).toBe(true);
});

test("a session that takes the place of another has told the store nothing yet", () => {
  const table = new SessionTable(1, HOUR);
  table.told(table.put("x", "a:80", 0), 0);
  expect(table.isToTell(table.put("y", "a:80", 1), 1)).toBe(true);
});

test("the store has to hear of every session, however many there are", () => {
  const table = new SessionTable(1000, HOUR);
  const toTell = Array.from({ length: 1000 }, (_, i) => {
    const slot = table.put(`s${i}`, "a:80", 0);
    const isToTell = table.isToTell(slot, 0);
    table.told(slot, 0);
    return isToTell && !table.isToTell(slot, 1);
  });
  expect(toTell).not.toContain(false);
});

type Step = readonly [what: "find" | "put" | "peek" | "sweep", key: string, laterMs: number, address: string];

test("holds what a Map with the times of last use holds", () => {
  const step = fc.tuple(
    fc.constantFrom<Step[0][]>("find", "find", "put", "put", "put", "peek", "sweep"),
    fc.integer({ min: 0, max: 60 }).map(String),
    fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 2000 })),
    fc.constantFrom("a:80", "b:80", "c:80"),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100 }),
      fc.integer({ min: 1, max: 1000 }),
      fc.array(step, { size: "max", maxLength: 400 }),
      (max, ttl, steps) => {
        const table = new SessionTable(max, ttl);
        const model = new Map<string, { address: string; usedAt: number }>();
        let now = 0;
        let evicted = 0;
        const isOver = (key: string) => model.has(key) && now >= model.get(key)!.usedAt + ttl;
        const used = (key: string, address: string) => {
          model.delete(key);
          model.set(key, { address, usedAt: now });
        };
        for (const [what, key, laterMs, address] of steps) {
          now += laterMs;
          switch (what) {
            case "put": {
              const [oldest] = model.keys();
              if (!model.has(key) && model.size === max) {
                if (!isOver(oldest!)) evicted++;
                model.delete(oldest!);
              }
              used(key, address);
              expect(table.address(table.put(key, address, now))).toBe(address);
              break;
            }
            case "find": {
              if (isOver(key)) model.delete(key);
              const known = model.get(key)?.address;
              if (known !== undefined) used(key, known);
              expect(where(table, key, now)).toBe(known);
              break;
            }
            case "peek": {
              const slot = table.peek(key, now);
              expect(slot === -1 ? undefined : table.address(slot)).toBe(
                isOver(key) ? undefined : model.get(key)?.address,
              );
              break;
            }
            case "sweep":
              for (const held of [...model.keys()]) if (isOver(held)) model.delete(held);
              table.sweep(now);
          }
          const [oldest] = model.values();
          expect([table.held, table.evicted, table.wakeAtMs]).toEqual([
            model.size,
            evicted,
            oldest === undefined ? Number.POSITIVE_INFINITY : oldest.usedAt + ttl,
          ]);
        }
      },
    ),
    { numRuns: 100 },
  );
});

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** What is alive, in bytes. */
function bytes(): number {
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

test("a session does not keep the field alive that its id was cut from", () => {
  const table = new SessionTable(100, HOUR);
  const before = bytes();
  for (let i = 0; i < 40; i++) {
    const field = `other=${String(i).repeat(2 ** 19)}; SID=${String(i).padStart(20, "0")}`;
    table.put(cookieValue(field, "SID")!, "a:80", 0);
  }
  expect(bytes() - before).toBeLessThan(2 ** 22);
});

test("a million sessions with room for a hundred thousand: memory stays what it is", () => {
  const idOf = (n: number): string => `session-${n.toString(36).padStart(16, "0")}`;
  const table = new SessionTable(100_000, HOUR);
  const empty = bytes();
  let full = 0;
  for (let n = 0; n < 1_000_000; n++) {
    table.put(idOf(n), "10.0.0.1:3000", n);
    // By then everything that grows in steps has.
    if (n === 399_999) full = bytes();
  }
  const end = bytes();
  expect([table.held, table.evicted]).toEqual([100_000, 900_000]);
  expect(where(table, idOf(900_000), 1_000_000)).toBe("10.0.0.1:3000");
  expect(table.find(idOf(899_999), 1_000_000)).toBe(-1);
  expect(end - full).toBeLessThan(2 ** 20);

  let found = 0;
  let best = Number.POSITIVE_INFINITY;
  for (let pass = 0; pass < 5; pass++) {
    // As a request brings them: strings never seen before, in no order.
    const ids = Array.from({ length: 100_000 }, (_, i) =>
      Buffer.from(idOf(900_000 + ((i * 7_919) % 100_000))).toString("latin1"),
    );
    const startedAt = process.hrtime.bigint();
    for (const id of ids) if (table.find(id, 1_000_000) !== -1) found++;
    best = Math.min(best, Number(process.hrtime.bigint() - startedAt) / ids.length);
  }
  expect(found).toBe(500_000);
  console.log(
    `SessionTable, 100,000 held of 1,000,000: ${Math.round((end - empty) / 100_000)} bytes each, ` +
      `${Math.round(best)} ns to find one, in no order`,
  );
});
