import { describe, expect, test } from "vitest";
import { a, affinityOf, b, belongs, byCookie, c, HOUR, request, SampleStore, served } from "./samples.ts";

describe("a shared store", () => {
  test("hears where a session begins and moves, and every tenth of its time that it goes on", () => {
    const store = new SampleStore();
    const affinity = affinityOf({}, store);
    const first = affinity.open(request("x"), 0, 0)!;
    affinity.place(first, a, 0);
    expect(store.take()).toEqual([]);
    affinity.answered(first, a, "", 0, 0);
    expect(store.take()).toEqual(["x at a.test:80"]);
    served(affinity, "x", a, HOUR / 10 - 1);
    expect(store.take()).toEqual([]);
    served(affinity, "x", a, HOUR / 10);
    expect(store.take()).toEqual(["x at a.test:80"]);
    served(affinity, "x", b, HOUR / 10 + 1);
    expect(store.take()).toEqual(["x at b.test:80 instead of a.test:80"]);
    served(affinity, "x", b, HOUR / 5);
    served(affinity, "x", b, HOUR / 5 + 1);
    expect(store.take()).toEqual(["x at b.test:80"]);
  });

  test("hears of where it was answered, and nothing of where it was tried before", () => {
    const store = new SampleStore();
    const affinity = affinityOf({}, store);
    const session = affinity.open(request("x"), 0, 0)!;
    for (const backend of [a, b, c]) affinity.place(session, backend, 0);
    affinity.answered(session, c, "", 0, 1);
    expect(store.take()).toEqual(["x at c.test:80"]);
    const next = affinity.open(request("x"), 0, 2)!;
    for (const backend of [a, b]) affinity.place(next, backend, 2);
    affinity.answered(next, b, "", 0, 3);
    expect(store.take()).toEqual(["x at b.test:80 instead of c.test:80"]);
  });

  test("hears nothing of what was withdrawn", () => {
    const store = new SampleStore();
    const affinity = affinityOf({}, store);
    const session = affinity.open(request("x"), 0, 0)!;
    affinity.place(session, a, 0);
    affinity.withdraw(session, 1);
    expect([store.take(), affinity.figures!.held]).toEqual([[], 0]);
    served(affinity, "x", a, 2);
    store.take();
    const next = affinity.open(request("x"), 0, 3)!;
    affinity.place(next, b, 3);
    affinity.withdraw(next, 4);
    expect([store.take(), belongs(affinity, "x", 5), served(affinity, "x", a, 5)]).toEqual([[], "a", "kept"]);
  });

  test("knows where a session belongs that this table does not: it is kept, and renewed there", () => {
    const store = new SampleStore();
    const affinity = affinityOf({}, store);
    const session = affinity.open(request("x"), 0, 0)!;
    affinity.found(session, "b.test:80", 1);
    expect([session.backend, belongs(affinity, "x", 1)]).toEqual([b, "b"]);
    affinity.place(session, b, 1);
    expect(affinity.answered(session, b, "", 0, 2)).toBe("kept");
    expect(store.take()).toEqual(["x at b.test:80"]);
  });

  test("knows nothing of a key: its session begins here", () => {
    const store = new SampleStore();
    const affinity = affinityOf({}, store);
    const session = affinity.open(request("x"), 0, 0)!;
    affinity.found(session, undefined, 1);
    affinity.place(session, a, 1);
    expect(affinity.answered(session, a, "", 0, 2)).toBe("begun");
    expect(store.take()).toEqual(["x at a.test:80"]);
  });

  test("knows a backend that is no member here: the session moves, instead of there", () => {
    const store = new SampleStore();
    const affinity = affinityOf({ by: byCookie }, store);
    const session = affinity.open(request("x"), 0, 0)!;
    affinity.found(session, "gone.test:80", 1);
    expect(session.backend).toBeUndefined();
    affinity.place(session, a, 1);
    expect(affinity.answered(session, a, "", 0, 2)).toBe("moved");
    expect(store.take()).toEqual(["x at a.test:80 instead of gone.test:80"]);
  });

  test("knows where others have moved a session whose backend is lost here, too", () => {
    const store = new SampleStore();
    const affinity = affinityOf({}, store);
    served(affinity, "x", a, 0);
    store.take();
    const session = affinity.open(request("x"), 0, 1)!;
    affinity.found(session, "c.test:80", 2);
    expect(session.backend).toBe(c);
    affinity.place(session, c, 2);
    expect(affinity.answered(session, c, "", 0, 3)).toBe("kept");
    expect(store.take()).toEqual(["x at c.test:80"]);
  });

  test("still has the session at the lost backend: it moves, instead of there", () => {
    const store = new SampleStore();
    const affinity = affinityOf({}, store);
    served(affinity, "x", a, 0);
    store.take();
    const session = affinity.open(request("x"), 0, 1)!;
    affinity.found(session, "a.test:80", 2);
    expect(session.backend).toBe(a);
    affinity.place(session, b, 2);
    expect(affinity.answered(session, b, "", 0, 3)).toBe("moved");
    expect(store.take()).toEqual(["x at b.test:80 instead of a.test:80"]);
  });

  test("is asked for an id that is not known, which begins nothing when the store knows it neither", () => {
    const store = new SampleStore();
    const affinity = affinityOf({ by: byCookie }, store);
    const session = affinity.open(request("made-up"), 0, 0)!;
    expect([session.key, session.backend]).toEqual(["made-up", undefined]);
    affinity.found(session, undefined, 1);
    affinity.place(session, a, 1);
    expect([affinity.answered(session, a, "", 0, 2), affinity.figures!.held, store.take()]).toEqual([undefined, 0, []]);
  });

  test("does not hear of an id for which it did not answer in time, unless the response sets it", () => {
    const store = new SampleStore();
    const affinity = affinityOf({ by: byCookie }, store);
    expect([served(affinity, "x", a, 0), store.take()]).toEqual([undefined, []]);
    expect([served(affinity, "x", a, 1, "x"), store.take()]).toEqual(["begun", ["x at a.test:80"]]);
  });

  test("answers later than another exchange of the session was placed: that is newer", () => {
    const affinity = affinityOf({}, new SampleStore());
    const [first, second] = [affinity.open(request("x"), 0, 0)!, affinity.open(request("x"), 0, 0)!];
    affinity.found(first, undefined, 1);
    affinity.place(first, a, 1);
    affinity.found(second, undefined, 1);
    expect(second.backend).toBe(a);
    const third = affinity.open(request("y"), 0, 2)!;
    const fourth = affinity.open(request("y"), 0, 2)!;
    affinity.found(third, "gone.test:80", 3);
    affinity.place(third, b, 3);
    affinity.found(fourth, "gone.test:80", 3);
    expect([fourth.backend, belongs(affinity, "y", 4)]).toEqual([b, "b"]);
  });

  test("answers when the session has ended here meanwhile", () => {
    const affinity = affinityOf({ ttl: 40 }, new SampleStore());
    for (const id of ["x", "y"]) served(affinity, id, a, 0);
    const [x, y] = ["x", "y"].map((id) => affinity.open(request(id), 0, 1)!);
    affinity.found(x!, "b.test:80", 41);
    affinity.found(y!, undefined, 41);
    expect([x!.backend, belongs(affinity, "x", 42)]).toEqual([b, "b"]);
    expect([y!.backend, belongs(affinity, "y", 42)]).toEqual([a, undefined]);
  });

  test("knows better: the session is there from then on, whoever is answered late", () => {
    const store = new SampleStore();
    const affinity = affinityOf({}, store);
    const session = affinity.open(request("x"), 0, 0)!;
    affinity.place(session, a, 0);
    affinity.correct("x", "b.test:80", 1);
    store.take();
    expect(affinity.answered(session, a, "", 0, 2)).toBeUndefined();
    expect([belongs(affinity, "x", 3), served(affinity, "x", b, 3), store.take()]).toEqual(["b", "kept", []]);
    served(affinity, "x", b, 1 + HOUR / 10);
    expect(store.take()).toEqual(["x at b.test:80"]);
  });

  test("may know better within the call that tells it", () => {
    const store = new SampleStore();
    const affinity = affinityOf({}, store);
    store.place = (key, _address, _instead) => affinity.correct(key, "c.test:80", 0);
    const session = affinity.open(request("x"), 0, 0)!;
    affinity.place(session, a, 0);
    affinity.answered(session, a, "", 0, 1);
    expect(belongs(affinity, "x", 2)).toBe("c");
  });

  test("knows of a backend that is no member: the table stays with its own", () => {
    const affinity = affinityOf({}, new SampleStore());
    served(affinity, "x", a, 0);
    affinity.correct("x", "gone.test:80", 1);
    affinity.correct("y", "gone.test:80", 1);
    expect([belongs(affinity, "x", 2), affinity.figures!.held]).toEqual(["a", 1]);
  });
});
