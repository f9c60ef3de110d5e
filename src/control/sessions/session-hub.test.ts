import { expect, test } from "vitest";
import { VirtualClock } from "../../time/virtual-clock.ts";
import { MemoryStore } from "./memory-store.ts";
import { SessionHub } from "./session-hub.ts";
import type { SharedStore, StoreAnswer, StoreView } from "./shared-store.ts";

/** A store that answers when the test does it. */
class SlowStore implements SharedStore {
  readonly view: StoreView = { kind: "redis", url: "redis://cache.test", up: true };
  readonly finds: { key: string; answer: StoreAnswer }[] = [];
  readonly places: { key: string; address: string; instead: readonly string[]; ttlMs: number; answer: StoreAnswer }[] =
    [];
  closed = false;
  recovered = (): void => {};

  listen(recovered: () => void): void {
    this.recovered = recovered;
  }

  async start(): Promise<void> {}

  find(key: string, answer: StoreAnswer): void {
    this.finds.push({ key, answer });
  }

  place(key: string, address: string, instead: readonly string[], ttlMs: number, answer: StoreAnswer): void {
    this.places.push({ key, address, instead, ttlMs, answer });
  }

  close(): void {
    this.closed = true;
  }
}

const atOnce = (run: () => void): void => run();

function hubOf<Store extends SharedStore>(makeStore: (clock: VirtualClock) => Store, later = atOnce) {
  const clock = new VirtualClock();
  const store = makeStore(clock);
  const answers: string[] = [];
  const entries: string[] = [];
  const asked: string[] = [];
  const counts = { failed: 0 };
  const hub = new SessionHub({
    stores: new Map([["web", store]]),
    answers: {
      sessionFound: (worker, id, address, failed) =>
        answers.push(`${worker}: ${id} ${failed ? "failed" : (address ?? "unknown")}`),
      sessionCorrected: (worker, upstream, key, address, instead) =>
        answers.push(`${worker}: ${upstream} ${key} is at ${address}, not ${instead.join()}`),
      sessionsForgotten: (upstream) => answers.push(`all: ${upstream} forgotten`),
    },
    counters: {
      storeAsked: (operation, ms) => asked.push(`${operation} ${ms}`),
      storeFailed: () => counts.failed++,
    },
    clock,
    later,
    log: { write: (level, code) => entries.push(`${level} ${code}`), flush: () => {} },
  });
  const take = (): string[] => answers.splice(0);
  return { hub, store, clock, take, entries, asked, counts };
}

const slow = () => hubOf(() => new SlowStore());
const memory = () => hubOf((clock) => new MemoryStore(1_000, 60_000, clock));

test("a question is answered to the worker that asked, with its number, and counted with its time", () => {
  const { hub, store, clock, take, asked, counts } = slow();
  hub.sessionWanted(1, 7, "web", "s1");
  hub.sessionWanted(0, 7, "web", "s2");
  hub.sessionWanted(0, 8, "web", "s3");
  clock.advance(3);
  store.finds[1]!.answer(undefined, false);
  store.finds[0]!.answer("a:1", false);
  store.finds[2]!.answer(undefined, true);
  expect(take()).toEqual(["0: 7 unknown", "1: 7 a:1", "0: 8 failed"]);
  expect(asked).toEqual(["find 3", "find 3", "find 3"]);
  expect(counts.failed).toBe(1);
});

test("sessions that nobody shares are known to nobody, at once", () => {
  const { hub, take, counts } = slow();
  hub.sessionWanted(0, 1, "other", "s");
  hub.sessionPlaced(0, "other", "s", "a:1", undefined, 1_000);
  expect(take()).toEqual(["0: 1 unknown"]);
  expect(counts.failed).toBe(0);
});

test("a question is answered by all that is read meanwhile: other workers may have said it before", () => {
  const later: (() => void)[] = [];
  const { hub, take } = hubOf(
    (clock) => new MemoryStore(1_000, 60_000, clock),
    (run) => later.push(run),
  );
  hub.sessionWanted(1, 7, "web", "s");
  hub.sessionPlaced(0, "web", "s", "a:1", undefined, 60_000);
  expect(take()).toEqual([]);
  later.shift()!();
  expect(take()).toEqual(["1: 7 a:1"]);
});

test("for a worker that has died meanwhile, or after the end, the store is not asked", () => {
  const later: (() => void)[] = [];
  const { hub, store, take } = hubOf(
    () => new SlowStore(),
    (run) => later.push(run),
  );
  hub.sessionWanted(0, 1, "web", "s");
  hub.workerDied(0);
  hub.sessionWanted(1, 1, "web", "s");
  hub.close();
  for (const run of later) run();
  expect([store.finds.length, take()]).toEqual([0, []]);
});

test("what the worker that died had asked is not answered to the one in its place", () => {
  const { hub, store, take } = slow();
  hub.sessionWanted(0, 1, "web", "s1");
  hub.sessionWanted(1, 1, "web", "s2");
  hub.sessionPlaced(0, "web", "s3", "a:1", undefined, 1_000);
  hub.workerDied(0);
  hub.sessionWanted(0, 1, "web", "s4");
  store.finds[0]!.answer("a:1", false);
  store.places[0]!.answer("b:1", false);
  // Where a session belongs concerns all.
  expect(take()).toEqual(["0: web s3 is at b:1, not a:1", "1: web s3 is at b:1, not a:1"]);
  store.finds[1]!.answer("b:1", false);
  store.finds[2]!.answer("c:1", false);
  expect(take()).toEqual(["1: 1 b:1", "0: 1 c:1"]);
});

test("a placement tells the store all it knows; the worker hears of it only when somebody else was first", () => {
  const { hub, store, clock, take, asked, counts } = slow();
  hub.sessionPlaced(0, "web", "s1", "a:1", "z:1", 5_000);
  expect(store.places[0]).toMatchObject({ key: "s1", address: "a:1", instead: ["z:1"], ttlMs: 5_000 });
  clock.advance(2);
  store.places[0]!.answer("a:1", false);
  expect(take()).toEqual([]);
  hub.sessionPlaced(0, "web", "s2", "a:1", undefined, 5_000);
  store.places[1]!.answer("b:1", false);
  expect(take()).toEqual(["0: web s2 is at b:1, not a:1"]);
  hub.sessionPlaced(0, "web", "s3", "a:1", undefined, 5_000);
  store.places[2]!.answer(undefined, true);
  expect(take()).toEqual([]);
  expect(asked).toEqual(["place 2", "place 0", "place 0"]);
  expect(counts.failed).toBe(1);
});

test("with a store in memory, who places a session first wins, and the other is corrected", () => {
  const { hub, take } = memory();
  hub.sessionPlaced(0, "web", "s", "a:1", undefined, 60_000);
  hub.sessionPlaced(1, "web", "s", "b:1", undefined, 60_000);
  hub.sessionWanted(1, 9, "web", "s");
  expect(take()).toEqual(["0: web s is at a:1, not b:1", "1: web s is at a:1, not b:1", "1: 9 a:1"]);
  hub.sessionPlaced(1, "web", "s", "b:1", "a:1", 60_000);
  hub.sessionWanted(0, 1, "web", "s");
  expect(take()).toEqual(["0: web s is at b:1, not a:1", "0: 1 b:1"]);
});

test("1024 questions wait for a store; those beyond have failed at once, and are logged once a minute", () => {
  const { hub, store, clock, take, entries, counts } = slow();
  for (let id = 0; id < 1024; id++) hub.sessionWanted(0, id, "web", `s${id}`);
  expect(take()).toEqual([]);
  for (let id = 1024; id < 1124; id++) hub.sessionWanted(0, id, "web", `s${id}`);
  expect(take().length).toBe(100);
  expect([store.finds.length, counts.failed]).toEqual([1024, 100]);
  expect(entries).toEqual(["warn session_store_overloaded"]);
  clock.advance(60_000);
  hub.sessionWanted(0, 2_000, "web", "s");
  expect(entries.length).toBe(2);
  store.finds[0]!.answer("a:1", false);
  take();
  hub.sessionWanted(0, 2_001, "web", "s");
  expect(take()).toEqual([]);
});

test("placements beyond 1024 wait for their turn, one for each session; beyond 10,000 more they are given up", () => {
  const { hub, store, counts, entries } = slow();
  for (let n = 0; n < 1024; n++) hub.sessionPlaced(0, "web", `busy${n}`, "a:1", undefined, 1_000);
  for (let n = 0; n < 10_000; n++) hub.sessionPlaced(0, "web", `s${n}`, "a:1", undefined, 1_000);
  for (let n = 0; n < 10_000; n++) hub.sessionPlaced(0, "web", `s${n}`, "b:1", "a:1", 1_000);
  expect([store.places.length, counts.failed]).toEqual([1024, 0]);
  hub.sessionPlaced(0, "web", "one too many", "a:1", undefined, 1_000);
  expect(counts.failed).toBe(1);
  expect(entries).toEqual(["warn session_store_overloaded"]);
  store.places[0]!.answer("a:1", false);
  expect(store.places.length).toBe(1025);
  expect(store.places[1024]).toMatchObject({ key: "s0", address: "b:1", instead: ["a:1"] });
});

test("a session that waits to be placed is found where it will be", () => {
  const { hub, store, take } = slow();
  for (let n = 0; n < 1024; n++) hub.sessionPlaced(0, "web", `busy${n}`, "a:1", undefined, 1_000);
  hub.sessionPlaced(0, "web", "s", "b:1", undefined, 1_000);
  hub.sessionWanted(1, 5, "web", "s");
  expect(take()).toEqual(["1: 5 b:1"]);
  expect(store.finds.length).toBe(0);
});

test("all workers with a part in a placement that waited hear where the session went instead", () => {
  const { hub, store, take } = slow();
  for (let n = 0; n < 1024; n++) hub.sessionPlaced(0, "web", `busy${n}`, "a:1", undefined, 1_000);
  hub.sessionPlaced(0, "web", "s", "a:1", undefined, 1_000);
  hub.sessionPlaced(1, "web", "s", "b:1", undefined, 1_000);
  store.places[0]!.answer("a:1", false);
  store.places[1024]!.answer("c:1", false);
  expect(take()).toEqual(["0: web s is at c:1, not a:1,b:1", "1: web s is at c:1, not a:1,b:1"]);
});

test("a store that fails at once empties the line without end", () => {
  const { hub, store, counts } = slow();
  for (let n = 0; n < 5_000; n++) hub.sessionPlaced(0, "web", `s${n}`, "a:1", undefined, 1_000);
  store.place = (_key, _address, _instead, _ttlMs, answer) => answer(undefined, true);
  for (const { answer } of store.places.splice(0)) answer(undefined, true);
  expect(counts.failed).toBe(5_000);
});

test("it shows its stores, and closes them", () => {
  const { hub, store } = slow();
  expect(hub.views()).toEqual([{ upstream: "web", kind: "redis", url: "redis://cache.test", up: true }]);
  hub.close();
  expect(store.closed).toBe(true);
});
