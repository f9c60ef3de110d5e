import { expect, test } from "vitest";
import { WaitingPlaces } from "./waiting-places.ts";

test("sessions come out in the order they came in, each once", () => {
  const places = new WaitingPlaces<string>(10);
  places.add("w0", "s1", "a:1", undefined, 1_000);
  places.add("w0", "s2", "b:1", "a:1", 1_000);
  places.add("w0", "s1", "a:1", undefined, 2_000);
  expect(places.size).toBe(2);
  expect(places.take()).toMatchObject({ key: "s1", address: "a:1", instead: [], ttlMs: 2_000 });
  expect(places.take()).toMatchObject({ key: "s2", address: "b:1", instead: ["a:1"] });
  expect(places.take()).toBeUndefined();
});

test("a session that moves on while it waits may be taken from every backend it was at", () => {
  const places = new WaitingPlaces<string>(10);
  places.add("w0", "s", "a:1", "z:1", 1_000);
  places.add("w0", "s", "b:1", "a:1", 1_000);
  places.add("w0", "s", "c:1", "b:1", 1_000);
  const placement = places.take()!;
  expect(placement).toMatchObject({ address: "c:1", instead: ["z:1", "a:1", "b:1"] });
  expect([...placement.believed]).toEqual([["w0", "c:1"]]);
});

test("a second worker that knows nothing of the first placement comes second, and both are known", () => {
  const places = new WaitingPlaces<string>(10);
  places.add("w0", "s", "a:1", undefined, 1_000);
  places.add("w1", "s", "b:1", undefined, 1_000);
  const placement = places.take()!;
  expect(placement.address).toBe("a:1");
  expect([...placement.believed]).toEqual([
    ["w0", "a:1"],
    ["w1", "b:1"],
  ]);
});

test("two workers that agree are told apart from neither", () => {
  const places = new WaitingPlaces<string>(10);
  places.add("w0", "s", "a:1", "y:1", 1_000);
  places.add("w1", "s", "a:1", "z:1", 1_000);
  places.add("w1", "s", "a:1", "z:1", 1_000);
  expect(places.take()).toMatchObject({ address: "a:1", instead: ["y:1", "z:1"] });
});

test("it says where a session is about to be placed", () => {
  const places = new WaitingPlaces<string>(10);
  places.add("w0", "s", "a:1", undefined, 1_000);
  expect(places.addressOf("s")).toBe("a:1");
  places.take();
  expect(places.addressOf("s")).toBeUndefined();
});

test("there is no room for one session too many, but for news of one that waits", () => {
  const places = new WaitingPlaces<string>(2);
  expect(places.add("w0", "s1", "a:1", undefined, 1_000)).toBe(true);
  expect(places.add("w0", "s2", "a:1", undefined, 1_000)).toBe(true);
  expect(places.add("w0", "s3", "a:1", undefined, 1_000)).toBe(false);
  expect(places.add("w0", "s2", "b:1", "a:1", 1_000)).toBe(true);
  expect(places.size).toBe(2);
});
