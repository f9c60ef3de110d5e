import { expect, test } from "vitest";
import { type Placement, WaitingPlaces } from "./waiting-places.ts";

function placement(worker: string, key: string, address: string, instead?: string, ttlMs = 1_000): Placement<string> {
  const believed = new Map([[worker, address]]);
  return {
    key,
    address,
    instead: instead === undefined ? [] : [instead],
    ttlMs,
    placedAtMs: 0,
    believed,
    isRetry: false,
  };
}

test("sessions come out in the order they came in, each once", () => {
  const places = new WaitingPlaces<string>(10);
  places.add(placement("w0", "s1", "a:1"));
  places.add(placement("w0", "s2", "b:1", "a:1"));
  places.add(placement("w0", "s1", "a:1", undefined, 2_000));
  expect(places.size).toBe(2);
  expect(places.take()).toMatchObject({ key: "s1", address: "a:1", instead: [], ttlMs: 2_000 });
  expect(places.take()).toMatchObject({ key: "s2", address: "b:1", instead: ["a:1"] });
  expect(places.take()).toBeUndefined();
});

test("a session that moves on while it waits may be taken from every backend it was at", () => {
  const places = new WaitingPlaces<string>(10);
  places.add(placement("w0", "s", "a:1", "z:1"));
  places.add(placement("w0", "s", "b:1", "a:1"));
  places.add(placement("w0", "s", "c:1", "b:1"));
  const taken = places.take()!;
  expect(taken).toMatchObject({ address: "c:1", instead: ["z:1", "a:1", "b:1"] });
  expect([...taken.believed]).toEqual([["w0", "c:1"]]);
});

test("a second worker that knows nothing of the first placement comes second, and both are known", () => {
  const places = new WaitingPlaces<string>(10);
  places.add(placement("w0", "s", "a:1"));
  places.add(placement("w1", "s", "b:1"));
  const taken = places.take()!;
  expect(taken.address).toBe("a:1");
  expect([...taken.believed]).toEqual([
    ["w0", "a:1"],
    ["w1", "b:1"],
  ]);
});

test("two workers that agree are told apart from neither", () => {
  const places = new WaitingPlaces<string>(10);
  places.add(placement("w0", "s", "a:1", "y:1"));
  places.add(placement("w1", "s", "a:1", "z:1"));
  places.add(placement("w1", "s", "a:1", "z:1"));
  expect(places.take()).toMatchObject({ address: "a:1", instead: ["y:1", "z:1"] });
});

test("it says where a session is about to be placed", () => {
  const places = new WaitingPlaces<string>(10);
  places.add(placement("w0", "s", "a:1"));
  expect(places.get("s")?.address).toBe("a:1");
  places.take();
  expect(places.get("s")?.address).toBeUndefined();
});

test("there is no room for one session too many, but for news of one that waits", () => {
  const places = new WaitingPlaces<string>(2);
  expect(places.add(placement("w0", "s1", "a:1"))).toBe(true);
  expect(places.add(placement("w0", "s2", "a:1"))).toBe(true);
  expect(places.add(placement("w0", "s3", "a:1"))).toBe(false);
  expect(places.add(placement("w0", "s2", "b:1", "a:1"))).toBe(true);
  expect(places.size).toBe(2);
});

test("one that was made before what waits is followed by it", () => {
  const places = new WaitingPlaces<string>(2);
  places.add(placement("w0", "s1", "c:1", "b:1"));
  places.add(placement("w1", "s2", "d:1"));
  expect(places.addBefore(placement("w0", "s1", "b:1", "a:1"))).toBe(true);
  expect(places.addBefore(placement("w0", "s2", "b:1", "a:1"))).toBe(true);
  expect(places.addBefore(placement("w0", "s3", "b:1", "a:1"))).toBe(false);
  expect(places.take()).toMatchObject({ key: "s1", address: "c:1", instead: ["a:1", "b:1"] });
  const second = places.take()!;
  expect(second).toMatchObject({ key: "s2", address: "b:1", instead: ["a:1"] });
  expect(second.believed.get("w1")).toBe("d:1");
});

test("one that is removed waits no longer", () => {
  const places = new WaitingPlaces<string>(2);
  const one = placement("w0", "s1", "a:1");
  places.add(one);
  expect([places.remove("s1"), places.remove("s1"), places.size, places.take()]).toEqual([
    one,
    undefined,
    0,
    undefined,
  ]);
});
