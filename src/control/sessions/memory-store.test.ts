import { expect, test } from "vitest";
import { VirtualClock } from "../../time/virtual-clock.ts";
import { MemoryStore } from "./memory-store.ts";

function storeOf(maxSessions = 100, ttlMs = 1_000) {
  const clock = new VirtualClock();
  const store = new MemoryStore(maxSessions, ttlMs, clock);
  const find = (key: string): string | undefined => {
    let found: string | undefined;
    store.find(key, (address) => {
      found = address;
    });
    return found;
  };
  const place = (key: string, address: string, ...instead: string[]): string | undefined => {
    let owner: string | undefined;
    store.place(key, address, instead, ttlMs, (answer) => {
      owner = answer;
    });
    return owner;
  };
  return { clock, store, find, place };
}

test("what nobody has belongs to who places it first", () => {
  const { find, place } = storeOf();
  expect(find("s")).toBeUndefined();
  expect(place("s", "a:1")).toBe("a:1");
  expect(place("s", "b:1")).toBe("a:1");
  expect(find("s")).toBe("a:1");
});

test("a session moves for those who know where it was, for any other it stays", () => {
  const { find, place } = storeOf();
  place("s", "a:1");
  expect(place("s", "b:1", "z:1", "a:1")).toBe("b:1");
  expect(place("s", "c:1", "a:1")).toBe("b:1");
  expect(find("s")).toBe("b:1");
});

test("a session ends when it was not used for its time to live, and being placed in vain is a use", () => {
  const { clock, find, place } = storeOf();
  place("s", "a:1");
  clock.advance(900);
  expect(place("s", "b:1")).toBe("a:1");
  clock.advance(999);
  expect(place("s", "a:1")).toBe("a:1");
  clock.advance(1_000);
  expect(find("s")).toBeUndefined();
  expect(place("s", "b:1")).toBe("b:1");
});

test("who was not used for longest goes when there is no more room", () => {
  const { find, place } = storeOf(2);
  place("s1", "a:1");
  place("s2", "b:1");
  find("s1");
  place("s3", "c:1");
  expect(["s1", "s2", "s3"].map(find)).toEqual(["a:1", undefined, "c:1"]);
});
