import { expect, test } from "vitest";
import { VirtualClock } from "../../time/virtual-clock.ts";
import type { SharedStore, StoreAnswer, StoreView } from "./shared-store.ts";
import { UpstreamSessions } from "./upstream-sessions.ts";

interface Told {
  readonly key: string;
  readonly address: string;
  readonly instead: readonly string[];
  readonly ttlMs: number;
  readonly answer: StoreAnswer;
}

/** A store that answers at once as it is set, or when a test does it. */
class ShakyStore implements SharedStore {
  up = true;
  answersBy: "itself" | "failure" | "test" = "itself";
  readonly owners = new Map<string, string>();
  readonly told: Told[] = [];
  recovered = (): void => {};

  get view(): StoreView {
    return { kind: "redis", url: "redis://cache.test", up: this.up };
  }

  listen(recovered: () => void): void {
    this.recovered = recovered;
  }

  async start(): Promise<void> {}

  find(key: string, answer: StoreAnswer): void {
    if (this.answersBy === "failure") answer(undefined, true);
    else answer(this.owners.get(key), false);
  }

  place(key: string, address: string, instead: readonly string[], ttlMs: number, answer: StoreAnswer): void {
    this.told.push({ key, address, instead: [...instead], ttlMs, answer });
    if (this.answersBy === "test") return;
    if (this.answersBy === "failure") return answer(undefined, true);
    const owner = this.owners.get(key);
    if (owner === undefined || instead.includes(owner)) this.owners.set(key, address);
    answer(this.owners.get(key), false);
  }

  close(): void {}

  /** What it was told since it was last asked so. */
  take(): string[] {
    return this.told
      .splice(0)
      .map(({ key, address, instead }) => `${key} at ${address}${instead.length === 0 ? "" : ` not ${instead}`}`);
  }
}

function sessionsOf() {
  const clock = new VirtualClock();
  const store = new ShakyStore();
  const heard: string[] = [];
  const sessions = new UpstreamSessions<string>({
    store,
    clock,
    counters: { storeAsked: () => {}, storeFailed: () => {} },
    corrected: (key, address, instead, believed) =>
      heard.push(`${key} is at ${address}, not ${instead}; ${[...believed].map((pair) => pair.join(" ")).join()}`),
    forgotten: () => heard.push(`forgotten at ${clock.now()}`),
    overloaded: () => {},
  });
  const place = (key: string, address: string, instead?: string, ttlMs = 60_000) =>
    sessions.place("w0", key, address, instead, ttlMs);
  const find = (key: string): string => {
    let found = "";
    sessions.find(key, (address, failed) => {
      found = failed ? "failed" : (address ?? "unknown");
    });
    return found;
  };
  return { clock, store, sessions, heard: () => heard.splice(0), place, find };
}

test("a placement that fails once is told again after a second, with all it replaces", () => {
  const { clock, store, place, heard } = sessionsOf();
  store.owners.set("s", "a:1");
  store.answersBy = "failure";
  place("s", "b:1", "a:1");
  store.answersBy = "itself";
  clock.advance(999);
  expect(store.take()).toEqual(["s at b:1 not a:1"]);
  clock.advance(1);
  expect([store.take(), store.owners.get("s")]).toEqual([["s at b:1 not a:1"], "b:1"]);
  expect(heard()).toEqual(["s is at b:1, not a:1; w0 b:1"]);
  clock.advance(600_000);
  expect([store.take(), clock.armed]).toEqual([[], 0]);
});

test("whoever was first meanwhile wins, and is told", () => {
  const { clock, store, place, heard } = sessionsOf();
  store.answersBy = "failure";
  place("s", "b:1");
  store.answersBy = "itself";
  store.owners.set("s", "c:1");
  clock.advance(1_000);
  expect(heard()).toEqual(["s is at c:1, not b:1; w0 b:1"]);
});

test("until it is told again the session is found where it was placed, and not longer than it lives", () => {
  const { clock, store, place, find } = sessionsOf();
  store.answersBy = "failure";
  store.up = false;
  place("s", "b:1");
  expect([find("s"), find("other")]).toEqual(["b:1", "failed"]);
  clock.advance(59_999);
  expect(find("s")).toBe("b:1");
  clock.advance(1);
  expect(find("s")).toBe("failed");
  store.answersBy = "itself";
  store.take();
  store.recovered();
  expect([store.take(), store.owners.size]).toEqual([[], 0]);
});

test("a store that recovers is told at once what it has missed, for as long as that still lives; workers tell the rest", () => {
  const { clock, store, place, heard } = sessionsOf();
  store.up = false;
  store.answersBy = "failure";
  place("s", "b:1", "a:1");
  place("t", "a:1");
  clock.advance(500.25);
  store.take();
  store.up = true;
  store.answersBy = "itself";
  store.owners.set("s", "a:1");
  store.recovered();
  expect(store.told.map(({ ttlMs }) => ttlMs)).toEqual([59_500, 59_500]);
  expect(store.take()).toEqual(["s at b:1 not a:1", "t at a:1"]);
  expect(heard()).toEqual(["s is at b:1, not a:1; w0 b:1", "forgotten at 500.25"]);
});

test("a session that goes on while its placement waits to be told again is told where it is by then", () => {
  const { store, place, find } = sessionsOf();
  store.answersBy = "failure";
  place("s", "b:1", "a:1");
  place("s", "c:1", "b:1");
  store.take();
  expect(find("s")).toBe("c:1");
  store.owners.set("s", "a:1");
  store.answersBy = "itself";
  store.recovered();
  expect([store.take(), store.owners.get("s")]).toEqual([["s at c:1 not a:1,b:1"], "c:1"]);
});

test("of two that are under way for one session the later one counts, whatever becomes of the first", () => {
  const { clock, store, place } = sessionsOf();
  store.answersBy = "test";
  place("s", "b:1", "a:1");
  place("s", "a:1", "b:1");
  const [first, second] = store.told;
  first!.answer(undefined, true);
  second!.answer("a:1", false);
  store.take();
  clock.advance(600_000);
  expect(store.take()).toEqual([]);
});

test("what fails while a later one of the session waits is told with that", () => {
  const { store, place } = sessionsOf();
  store.answersBy = "test";
  place("s", "b:1", "a:1");
  for (let n = 1; n < 1024; n++) place(`busy${n}`, "a:1");
  place("s", "c:1", "b:1");
  const [first] = store.told;
  store.take();
  first!.answer(undefined, true);
  expect(store.take()).toEqual(["s at c:1 not a:1,b:1"]);
});

test("while nothing that is told again succeeds it is told ever more seldom, up to once a minute, and no more at once", () => {
  const { clock, store, place } = sessionsOf();
  store.answersBy = "failure";
  for (const key of ["s", "t", "u"]) place(key, "a:1", undefined, 3_600_000);
  const times: number[] = [];
  for (let second = 1; second <= 200; second++) {
    store.take();
    clock.advance(1_000);
    const { length } = store.told;
    if (length > 0) times.push(second);
    expect([0, 3]).toContain(length);
  }
  expect(times).toEqual([1, 2, 4, 8, 16, 32, 64, 124, 184]);
});

test("a store that is down is asked with one, to find out whether it can be asked again", () => {
  const { clock, store, place } = sessionsOf();
  store.answersBy = "failure";
  store.up = false;
  for (const key of ["s", "t", "u"]) place(key, "a:1");
  store.take();
  clock.advance(1_000);
  expect(store.take()).toEqual(["s at a:1"]);
  clock.advance(1_000);
  expect(store.take()).toEqual(["t at a:1"]);
});

test("of more than 10,000 that have failed the oldest are given up, and workers tell of all their sessions instead", () => {
  const { clock, store, place, heard, find } = sessionsOf();
  store.answersBy = "failure";
  for (let n = 0; n < 10_002; n++) place(`s${n}`, "a:1");
  expect([find("s1"), find("s2"), find("s10001")]).toEqual(["failed", "a:1", "a:1"]);
  store.answersBy = "itself";
  clock.advance(1_000);
  expect([store.owners.size, heard()]).toEqual([10_000, ["forgotten at 1000"]]);
  clock.advance(600_000);
  expect([heard(), clock.armed]).toEqual([[], 0]);
});

test("after placements for which there was no room workers tell of all their sessions, when nothing waits any more", () => {
  const { clock, store, place, heard } = sessionsOf();
  store.answersBy = "test";
  const flood = () => {
    for (let n = 0; n < 11_025; n++) place(`s${n}`, "a:1");
  };
  const answerAll = () => {
    for (let told = store.told.shift(); told !== undefined; told = store.told.shift()) told.answer("a:1", false);
  };
  flood();
  clock.advance(5_000);
  expect(heard()).toEqual([]);
  answerAll();
  clock.advance(1_000);
  expect(heard()).toEqual(["forgotten at 6000"]);
  // Not all the time, should that be what there is no room for.
  flood();
  answerAll();
  clock.advance(9_000);
  expect(heard()).toEqual([]);
  clock.advance(2_000);
  expect(heard()).toEqual(["forgotten at 16000"]);
});

test("after its end nothing is told again, and no timer runs", () => {
  const { clock, store, sessions, place, heard } = sessionsOf();
  store.answersBy = "failure";
  place("s", "a:1");
  store.answersBy = "test";
  place("t", "a:1");
  sessions.close();
  store.told.at(-1)!.answer(undefined, true);
  store.recovered();
  store.take();
  clock.advance(600_000);
  expect([store.take(), heard(), clock.armed]).toEqual([[], [], 0]);
});
