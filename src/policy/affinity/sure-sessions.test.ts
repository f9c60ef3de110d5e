import { expect, test } from "vitest";
import { sampleBackends, sampleRequest } from "../balance/samples.ts";
import type { Backend } from "../model/backend.ts";
import { type Affinity, createAffinity, type SessionStore } from "./index.ts";
import { SessionTable } from "./session-table.ts";

const HOUR = 3_600_000;
const NEVER = Number.NEGATIVE_INFINITY;
const [a, b, c] = sampleBackends({ a: 1, b: 1, c: 1 }) as [Backend, Backend, Backend];

function affinityOf(isShared = true): { affinity: Affinity; told: string[] } {
  const told: string[] = [];
  const store: SessionStore = {
    timeoutMs: 50,
    find: () => true,
    forget: () => {},
    place: (key, address) => told.push(`${key} at ${address}`),
  };
  const affinity = createAffinity(
    { by: { kind: "key", key: "header:x-session" }, ttl: HOUR, maxSessions: 100, strict: false },
    { upstream: "web", digest: (text) => text, store: isShared ? store : undefined },
  );
  affinity.update([a, b, c]);
  return { affinity, told };
}

function opened(affinity: Affinity, id: string, now: number) {
  return affinity.open({ ...sampleRequest(0), header: () => id }, 0, now)!;
}

function served(affinity: Affinity, id: string, backend: Backend, now: number): void {
  const session = opened(affinity, id, now);
  affinity.place(session, backend, now);
  affinity.answered(session, backend, "", 0, now);
}

test("a table is sure of a session since the store was last told of it", () => {
  const { affinity } = affinityOf();
  expect(opened(affinity, "x", 0).sureAtMs).toBe(NEVER);
  served(affinity, "x", a, 10);
  served(affinity, "x", a, 20);
  expect(opened(affinity, "x", 30).sureAtMs).toBe(10);
  served(affinity, "x", a, 10 + HOUR / 10);
  expect(opened(affinity, "x", 10 + HOUR / 10).sureAtMs).toBe(10 + HOUR / 10);
  served(affinity, "x", b, HOUR / 2);
  expect(opened(affinity, "x", HOUR / 2).sureAtMs).toBe(HOUR / 2);
});

test("without a store it never is", () => {
  const { affinity } = affinityOf(false);
  served(affinity, "x", a, 10);
  expect(opened(affinity, "x", 20).sureAtMs).toBe(NEVER);
});

test("it is sure since the store has said so, for this exchange and the next, and the store is told when that is due", () => {
  const { affinity, told } = affinityOf();
  served(affinity, "x", a, 0);
  told.length = 0;
  const session = opened(affinity, "x", 100);
  affinity.found(session, "a.test:80", 101);
  expect([session.sureAtMs, opened(affinity, "x", 102).sureAtMs]).toEqual([101, 101]);
  served(affinity, "x", a, HOUR / 10 - 1);
  expect(told).toEqual([]);
  served(affinity, "x", a, HOUR / 10);
  expect(told).toEqual(["x at a.test:80"]);
});

test("it is sure of what the store knows of a session that is not known here", () => {
  const { affinity, told } = affinityOf();
  const session = opened(affinity, "x", 0);
  affinity.found(session, "b.test:80", 5);
  expect([session.sureAtMs, session.backend]).toEqual([5, b]);
  affinity.place(session, b, 6);
  affinity.answered(session, b, "", 0, 7);
  expect(told).toEqual(["x at b.test:80"]);
});

test("a store that knows nothing of a session that is known here is not asked again, and told by the next exchange", () => {
  const { affinity, told } = affinityOf();
  served(affinity, "x", a, 0);
  told.length = 0;
  const session = opened(affinity, "x", 100);
  affinity.found(session, undefined, 101);
  expect([session.backend, session.sureAtMs]).toEqual([a, 101]);
  affinity.place(session, a, 102);
  affinity.answered(session, a, "", 0, 102);
  served(affinity, "x", a, 103);
  expect(told).toEqual(["x at a.test:80"]);
});

test("what happened here since the store was asked stays as sure as it was", () => {
  const { affinity } = affinityOf();
  served(affinity, "x", a, 0);
  const session = opened(affinity, "x", 1);
  served(affinity, "x", b, 2);
  affinity.found(session, "a.test:80", 3);
  expect([session.backend, session.sureAtMs]).toEqual([b, 2]);
});

test("after the store has forgotten it is told of every session once more, as they are used", () => {
  const { affinity, told } = affinityOf();
  for (const id of ["x", "y", "z"]) served(affinity, id, a, 0);
  told.length = 0;
  affinity.tellAnew();
  expect(opened(affinity, "x", 1).sureAtMs).toBe(NEVER);
  for (const now of [1, 2, 3]) served(affinity, "x", a, now);
  served(affinity, "y", a, 4);
  served(affinity, "new", a, 5);
  expect(told.splice(0)).toEqual(["x at a.test:80", "y at a.test:80", "new at a.test:80"]);
  expect(opened(affinity, "x", 5).sureAtMs).toBe(1);
  affinity.tellAnew();
  served(affinity, "z", a, 6);
  expect(told).toEqual(["z at a.test:80"]);
});

test("what the store says after it has forgotten counts, and it is told all the same", () => {
  const { affinity, told } = affinityOf();
  served(affinity, "x", a, 0);
  told.length = 0;
  affinity.tellAnew();
  affinity.found(opened(affinity, "x", 1), "a.test:80", 2);
  expect(opened(affinity, "x", 3).sureAtMs).toBe(2);
  served(affinity, "x", a, 4);
  expect(told).toEqual(["x at a.test:80"]);
});

test("a correction makes sure, and enters nobody", () => {
  const { affinity, told } = affinityOf();
  served(affinity, "x", a, 0);
  told.length = 0;
  affinity.correct("x", "b.test:80", 5, ["c.test:80", "a.test:80"]);
  affinity.correct("stranger", "b.test:80", 5, ["a.test:80"]);
  expect(opened(affinity, "x", 6)).toMatchObject({ backend: b, sureAtMs: 5 });
  expect(affinity.figures!.held).toBe(1);
  served(affinity, "x", b, 7);
  expect(told).toEqual([]);
});

test("a correction of where a session no longer is changes nothing", () => {
  const { affinity } = affinityOf();
  served(affinity, "x", a, 0);
  served(affinity, "x", c, 1);
  affinity.correct("x", "b.test:80", 2, ["a.test:80"]);
  expect(opened(affinity, "x", 3)).toMatchObject({ backend: c, sureAtMs: 1 });
  affinity.correct("x", "b.test:80", 4);
  expect(opened(affinity, "x", 5).backend).toBe(b);
});

test("a session that has ended is not corrected", () => {
  const { affinity } = affinityOf();
  served(affinity, "x", a, 0);
  affinity.correct("x", "b.test:80", HOUR, ["a.test:80"]);
  expect(opened(affinity, "x", HOUR).backend).toBeUndefined();
});

test("whoever takes the place of another session in the table is sure of nothing", () => {
  const table = new SessionTable(1, HOUR);
  table.told(table.put("x", "a:80", 0), 0);
  const slot = table.put("y", "a:80", 1);
  expect([table.sureAt(slot), table.isToTell(slot, 1)]).toEqual([NEVER, true]);
});

test("growing loses nothing of what the store has heard", () => {
  const table = new SessionTable(1_000, HOUR);
  table.tellAnew();
  for (let n = 0; n < 500; n++) table.told(table.put(`s${n}`, "a:80", n), n);
  for (let n = 0; n < 500; n++) {
    const slot = table.find(`s${n}`, 500);
    expect([table.sureAt(slot), table.isToTell(slot, 500)]).toEqual([n, false]);
  }
});
