import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sampleBackends } from "../balance/samples.ts";
import type { Backend } from "../model/backend.ts";
import type { PickRequest } from "../model/request.ts";
import { createAffinity, type SessionSource } from "./index.ts";
import {
  a,
  affinityOf,
  b,
  belongs,
  byCookie,
  byKey,
  c,
  digest,
  HOUR,
  options,
  request,
  requestOf,
  served,
} from "./samples.ts";

describe("a session by key", () => {
  test("begins with its first request, before that is answered", () => {
    const affinity = affinityOf();
    const first = affinity.open(request("x"), 0, 0)!;
    expect([first.key, first.backend]).toEqual(["x", undefined]);
    affinity.place(first, a, 0);
    const second = affinity.open(request("x"), 0, 1)!;
    expect(second.backend).toBe(a);
    affinity.place(second, a, 1);
    expect(affinity.answered(second, a, "", 0, 2)).toBe("begun");
    expect(affinity.answered(first, a, "", 0, 3)).toBe("kept");
    expect(affinity.figures).toMatchObject({ held: 1, evicted: 0 });
  });

  test("begins with the second, when the first that placed it is not answered", () => {
    const affinity = affinityOf();
    const [first, second] = [affinity.open(request("x"), 0, 0)!, affinity.open(request("x"), 0, 0)!];
    affinity.place(first, a, 0);
    affinity.review(second, 1);
    affinity.withdraw(first, 2);
    expect(affinity.answered(second, a, "", 0, 3)).toBe("begun");
  });

  test("whose move is undone moves all the same when one that followed it is answered there", () => {
    const affinity = affinityOf();
    served(affinity, "x", a, 0);
    const mover = affinity.open(request("x"), 0, 1)!;
    affinity.place(mover, b, 1);
    const follower = affinity.open(request("x"), 0, 2)!;
    expect(follower.backend).toBe(b);
    affinity.withdraw(mover, 3);
    expect(belongs(affinity, "x", 3)).toBe("a");
    expect(affinity.answered(follower, b, "", 0, 4)).toBe("moved");
    expect([belongs(affinity, "x", 5), served(affinity, "x", b, 5)]).toEqual(["b", "kept"]);
  });

  test("leaves nothing of where it was placed when another backend answers that is removed by then", () => {
    const affinity = affinityOf();
    const session = affinity.open(request("x"), 0, 0)!;
    affinity.place(session, a, 0);
    affinity.update([a, c]);
    expect(affinity.answered(session, b, "", 0, 1)).toBeUndefined();
    expect(affinity.figures!.held).toBe(0);
  });

  test("is where it was when its backend is added again while it waits", () => {
    const affinity = affinityOf();
    served(affinity, "x", a, 0);
    affinity.update([b, c]);
    const session = affinity.open(request("x"), 0, 1)!;
    affinity.update([a, b, c]);
    affinity.review(session, 2);
    expect(session.backend).toBe(a);
  });

  test("needs a key", () => {
    const affinity = affinityOf();
    expect(affinity.open(requestOf({}), 0, 0)).toBeUndefined();
    expect(affinity.peek(requestOf({ "x-session": "" }), 0, 0)).toBeUndefined();
    expect(affinity.answered(undefined, a, "", 0, 0)).toBeUndefined();
    expect(affinity.figures!.held).toBe(0);
  });

  test("ends when it was not used for its time to live, to the second", () => {
    const affinity = affinityOf();
    served(affinity, "x", a, 0);
    for (let now = 3_599_000; now <= 10 * 3_599_000; now += 3_599_000) {
      expect(affinity.open(request("x"), 0, now)!.backend).toBe(a);
    }
    const lastUse = 10 * 3_599_000;
    expect(affinity.wakeAtMs).toBe(lastUse + HOUR);
    expect([belongs(affinity, "x", lastUse + HOUR - 1), belongs(affinity, "x", lastUse + HOUR)]).toEqual([
      "a",
      undefined,
    ]);
    affinity.sweep(lastUse + HOUR);
    expect([affinity.figures!.held, affinity.wakeAtMs]).toEqual([0, Number.POSITIVE_INFINITY]);
    expect(served(affinity, "x", b, lastUse + HOUR)).toBe("begun");
  });

  test("is used when it is answered, too", () => {
    const affinity = affinityOf();
    const session = affinity.open(request("x"), 0, 0)!;
    affinity.place(session, a, 0);
    affinity.answered(session, a, "", 0, 30_000);
    expect(belongs(affinity, "x", 30_000 + HOUR - 1)).toBe("a");
  });

  test("is not used by looking at it", () => {
    const affinity = affinityOf();
    served(affinity, "x", a, 0);
    expect(belongs(affinity, "x", HOUR - 1)).toBe("a");
    expect(affinity.wakeAtMs).toBe(HOUR);
  });

  test("that ends while it is answered is held from then on", () => {
    const affinity = affinityOf();
    served(affinity, "x", a, 0);
    const session = affinity.open(request("x"), 0, 1)!;
    expect(affinity.answered(session, a, "", 0, 1 + HOUR)).toBe("kept");
    expect(belongs(affinity, "x", 2 * HOUR)).toBe("a");
  });

  test("goes for others when there are too many, and is counted", () => {
    const affinity = affinityOf({ maxSessions: 2 });
    for (const [now, id] of ["x", "y", "z"].entries()) served(affinity, id, a, now);
    expect(affinity.figures).toMatchObject({ held: 2, evicted: 1 });
    expect(["x", "y", "z"].map((id) => belongs(affinity, id, 3))).toEqual([undefined, "a", "a"]);
  });

  test("has no cookie of ours, and is told by no response", () => {
    const affinity = affinityOf();
    expect([affinity.setCookie(undefined, a, false, 0), affinity.learnsFrom]).toEqual(["", undefined]);
  });
});

describe("what a session is told by", () => {
  const keyOf = (by: SessionSource, request: PickRequest) =>
    createAffinity({ ...options, by }, { upstream: "web", digest }).open(request, 0, 0)?.key;

  test.each([
    ["192.0.2.7", "192.0.2.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
    ["", undefined],
  ])("the client %j is known as %j", (client, key) => {
    expect(keyOf({ kind: "key", key: "client-ip" }, requestOf({}, client))).toBe(key);
  });

  test("an IPv6 client keeps its session with its next privacy address", () => {
    const affinity = affinityOf({ by: { kind: "key", key: "client-ip" } });
    const session = affinity.open(requestOf({}, "2001:db8:1:2:aaaa:bbbb:cccc:dddd"), 0, 0)!;
    affinity.place(session, a, 0);
    expect(affinity.open(requestOf({}, "2001:db8:1:2:1111:2222:3333:4444"), 0, 1)!.backend).toBe(a);
    expect(affinity.open(requestOf({}, "2001:db8:1:3::1"), 0, 1)!.backend).toBeUndefined();
  });

  test.each<[SessionSource, string]>([
    [{ kind: "key", key: "query:user" }, "0"],
    [{ kind: "key", key: "header:X-Session" }, "s1"],
    [{ kind: "key", key: "cookie:SID" }, "s2"],
  ])("%j", (by, key) => {
    expect(keyOf(by, requestOf({ "x-session": "s1", cookie: "SID=s2" }))).toBe(key);
  });

  test("an id of more than 64 characters is known by its digest", () => {
    const [short, long] = ["s".repeat(64), "s".repeat(65)];
    const affinity = affinityOf();
    expect(affinity.open(request(short), 0, 0)!.key).toBe(short);
    expect(affinity.open(request(long), 0, 0)!.key).toBe(digest(long));
    served(affinity, "l".repeat(30_000), b, 0);
    expect(belongs(affinity, "l".repeat(30_000), 1)).toBe("b");
  });
});

describe("a session whose backend is lost", () => {
  test("moves once, with all its requests that come then", () => {
    const affinity = affinityOf();
    served(affinity, "x", a, 0);
    const sessions = [1, 2, 3].map((now) => affinity.open(request("x"), 0, now)!);
    for (const session of sessions) affinity.place(session, b, 4);
    expect(sessions.map((session) => affinity.answered(session, b, "", 0, 5))).toEqual(["moved", "kept", "kept"]);
    expect(served(affinity, "x", b, 6)).toBe("kept");
    expect(affinity.figures!.held).toBe(1);
  });

  test("may be tried in several places, and belongs to the one that answers", () => {
    const affinity = affinityOf();
    served(affinity, "x", a, 0);
    const session = affinity.open(request("x"), 0, 1)!;
    affinity.place(session, b, 1);
    affinity.place(session, c, 2);
    expect([belongs(affinity, "x", 3), affinity.answered(session, c, "", 0, 3)]).toEqual(["c", "moved"]);
  });

  test("is answered by it after all: kept, wherever else it was tried", () => {
    const affinity = affinityOf();
    served(affinity, "x", a, 0);
    const session = affinity.open(request("x"), 0, 1)!;
    affinity.place(session, b, 2);
    expect(affinity.answered(session, a, "", 0, 3)).toBe("kept");
    expect(belongs(affinity, "x", 4)).toBe("a");
  });

  test("belongs nowhere when it is removed, is placed anew, and goes home should it come back before", () => {
    const affinity = affinityOf();
    served(affinity, "x", a, 0);
    served(affinity, "y", a, 0);
    affinity.update([b, c]);
    expect([affinity.open(request("x"), 0, 1)!.backend, belongs(affinity, "y", 1)]).toEqual([undefined, undefined]);
    expect(served(affinity, "x", b, 2)).toBe("moved");
    const [anew] = sampleBackends({ a: 1 });
    affinity.update([anew!, b, c]);
    expect(affinity.open(request("y"), 0, 3)!.backend).toBe(anew);
    expect([served(affinity, "y", anew!, 4), belongs(affinity, "x", 4)]).toEqual(["kept", "b"]);
  });

  test("of two with one address the first is meant", () => {
    const affinity = affinityOf();
    const [first, second] = [...sampleBackends({ a: 1 }), ...sampleBackends({ a: 1 })];
    affinity.update([first!, second!]);
    expect(served(affinity, "x", second!, 0)).toBe("begun");
    expect(affinity.open(request("x"), 0, 1)!.backend).toBe(first);
    expect(served(affinity, "x", second!, 1)).toBe("kept");
  });

  test("does not get new sessions from what it still answers once it is removed", () => {
    const affinity = affinityOf();
    const begun = affinity.open(request("x"), 0, 0)!;
    served(affinity, "y", b, 0);
    const other = affinity.open(request("y"), 0, 0)!;
    affinity.update([b, c]);
    expect([begun, other].map((session) => affinity.answered(session, a, "", 0, 1))).toEqual([undefined, undefined]);
    expect([belongs(affinity, "x", 2), belongs(affinity, "y", 2)]).toEqual([undefined, "b"]);
  });
});

describe("two requests of a session side by side", () => {
  test("the first one to be placed says where it belongs", () => {
    const affinity = affinityOf();
    const [first, second] = [affinity.open(request("x"), 0, 0)!, affinity.open(request("x"), 0, 0)!];
    affinity.place(first, a, 1);
    affinity.place(second, b, 1);
    expect(affinity.answered(second, b, "", 0, 2)).toBeUndefined();
    expect([affinity.answered(first, a, "", 0, 3), belongs(affinity, "x", 4)]).toEqual(["begun", "a"]);
  });

  test("a late answer of the lost backend does not bring it back", () => {
    const affinity = affinityOf();
    served(affinity, "x", a, 0);
    const slow = affinity.open(request("x"), 0, 1)!;
    expect(served(affinity, "x", b, 2)).toBe("moved");
    expect([affinity.answered(slow, a, "", 0, 3), belongs(affinity, "x", 4)]).toEqual(["kept", "b"]);
  });

  test("one that has to be placed anew sees where the other has gone", () => {
    const affinity = affinityOf();
    served(affinity, "x", a, 0);
    const waiting = affinity.open(request("x"), 0, 1)!;
    served(affinity, "x", b, 2);
    affinity.found(waiting, undefined, 3);
    expect(waiting.backend).toBe(b);
    expect(affinity.answered(waiting, b, "", 0, 4)).toBe("kept");
  });
});

describe("a learned session", () => {
  test("begins with the response that sets its id", () => {
    const affinity = affinityOf({ by: byCookie });
    expect(affinity.learnsFrom).toEqual({ from: "cookie", name: "SID" });
    expect(affinity.open(requestOf({}), 0, 0)).toBeUndefined();
    expect(affinity.answered(undefined, a, "x", 0, 0)).toBe("begun");
    expect(affinity.open(request("x"), 0, 1)!.backend).toBe(a);
    expect(served(affinity, "x", a, 2)).toBe("kept");
  });

  test("is none for an id that no response has set: whoever makes one up chooses nothing", () => {
    const affinity = affinityOf({ by: byCookie });
    expect(affinity.open(request("made-up"), 0, 0)).toBeUndefined();
    expect(affinity.peek(request("made-up"), 0, 0)).toBeUndefined();
    expect(served(affinity, "made-up", a, 0)).toBeUndefined();
    expect(affinity.figures!.held).toBe(0);
  });

  test("whose id is set again stays one, and moves with it", () => {
    const affinity = affinityOf({ by: byCookie });
    served(affinity, "", a, 0, "x");
    expect(served(affinity, "x", a, 1, "x")).toBe("kept");
    expect(served(affinity, "", b, 2, "x")).toBe("moved");
    expect([affinity.figures!.held, belongs(affinity, "x", 3)]).toEqual([1, "b"]);
  });

  test("whose id has ended begins again when the application says so", () => {
    const affinity = affinityOf({ by: byCookie });
    served(affinity, "", a, 0, "x");
    expect(served(affinity, "x", b, HOUR, "x")).toBe("begun");
    expect(belongs(affinity, "x", HOUR + 1)).toBe("b");
  });

  test("gets another id at login: the new one begins where it is, the old one ends in time", () => {
    const affinity = affinityOf({ by: byCookie });
    served(affinity, "", a, 0, "guest");
    expect(served(affinity, "guest", a, 10, "member")).toBe("begun");
    expect(belongs(affinity, "member", 11)).toBe("a");
    expect([belongs(affinity, "guest", 10 + HOUR - 1), belongs(affinity, "guest", 10 + HOUR)]).toEqual([
      "a",
      undefined,
    ]);
  });

  test("moves when its backend is lost, although no response says so", () => {
    const affinity = affinityOf({ by: byCookie });
    served(affinity, "", a, 0, "x");
    expect(served(affinity, "x", b, 1)).toBe("moved");
    affinity.update([a, c]);
    expect(served(affinity, "x", c, 2)).toBe("moved");
    expect(belongs(affinity, "x", 3)).toBe("c");
  });

  test("by a field, whose name may be written in any case", () => {
    const affinity = affinityOf({ by: { kind: "learned", from: "header", name: "X-Session" } });
    expect(affinity.learnsFrom).toEqual({ from: "header", name: "x-session" });
    const long = "s".repeat(65);
    expect(affinity.answered(undefined, b, long, 0, 0)).toBe("begun");
    expect(affinity.open(request(long), 0, 1)).toMatchObject({ key: digest(long), backend: b });
  });
});

type Step = readonly [id: string, backend: number, laterMs: number, learns: boolean];

test.each([byKey, byCookie])("requests one after another belong where a Map says: %j", (by) => {
  const step = fc.tuple(
    fc.integer({ min: 0, max: 20 }).map((n) => `s${n}`),
    fc.nat({ max: 2 }),
    fc.integer({ min: 0, max: 1000 }),
    fc.boolean(),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.array(step, { size: "max", maxLength: 200 }),
      (maxSessions, steps) => {
        const affinity = affinityOf({ by, ttl: 5000, maxSessions });
        const model = new Map<string, { backend: Backend; usedAt: number }>();
        let now = 0;
        for (const [id, other, laterMs, learns] of steps satisfies readonly Step[]) {
          now += laterMs;
          affinity.sweep(now);
          for (const [key, { usedAt }] of [...model]) if (usedAt + 5000 <= now) model.delete(key);
          const known = model.get(id);
          // Now and then its backend is lost.
          const backend = other === 0 && known !== undefined ? known.backend : [a, b, c][other]!;
          const learnt = learns && by === byCookie ? id : "";
          const became = served(affinity, id, backend, now, learnt);
          if (known === undefined && by === byCookie && learnt === "") {
            expect(became).toBeUndefined();
            continue;
          }
          expect(became).toBe(known === undefined ? "begun" : known.backend === backend ? "kept" : "moved");
          if (known === undefined && model.size === maxSessions) model.delete(model.keys().next().value!);
          model.delete(id);
          model.set(id, { backend, usedAt: now });
          expect(affinity.figures!.held).toBe(model.size);
        }
        for (const [id, { backend }] of model) expect(belongs(affinity, id, now)).toBe(backend.id);
      },
    ),
    { numRuns: 100 },
  );
});
