import { describe, expect, test } from "vitest";
import type { SessionStore, StoreAsker } from "../affinity/affinity.ts";
import { createAffinity } from "../affinity/index.ts";
import type { AffinityOptions } from "../affinity/options.ts";
import { sampleRequest } from "../balance/samples.ts";
import type { PickRequest } from "../model/request.ts";
import type { Isolation } from "./isolation.ts";
import { failure, type SampleBackend, SampleExchange, sampleQueue, sampleRetry, sampleUpstream } from "./samples.ts";

const options: AffinityOptions = {
  by: { kind: "key", key: "header:x-session" },
  ttl: 3_600_000,
  maxSessions: 1000,
  strict: false,
};

/** A store that answers when a test says so. */
class SlowStore implements SessionStore {
  readonly timeoutMs = 50;
  readonly asked: string[] = [];
  readonly placed: string[] = [];
  asker: StoreAsker | undefined;

  find(key: string, asker: StoreAsker): boolean {
    this.asked.push(key);
    this.asker = asker;
    return true;
  }

  forget(asker: StoreAsker): void {
    if (this.asker === asker) this.asker = undefined;
  }

  place(key: string, address: string, instead: string | undefined): void {
    this.placed.push(`${key} at ${address}${instead === undefined ? "" : ` instead of ${instead}`}`);
  }
}

interface Extras {
  readonly strict?: boolean;
  readonly isolation?: Isolation;
  readonly store?: SessionStore;
}

/** An upstream whose sessions are known by `x-session`. */
function sticky<Name extends string>(specs: Readonly<Record<Name, SampleBackend>>, extras: Extras = {}) {
  const { strict = false, isolation = {}, store } = extras;
  const affinity = createAffinity({ ...options, strict }, { upstream: "web", digest: (text) => text, store });
  return { ...sampleUpstream(specs, isolation, { affinity }), affinity };
}

type Sticky = ReturnType<typeof sticky<"a" | "b">>;

/** A request of session `id` begins at `now`. */
function begun({ upstream }: Pick<Sticky, "upstream">, id: string, now = 0, method = "GET"): SampleExchange {
  const request: PickRequest = {
    ...sampleRequest(0),
    method,
    header: (name) => (name === "x-session" ? id : undefined),
  };
  return SampleExchange.of(upstream, request, now, { wallMs: now });
}

/** And is answered at once; says by whom. */
function served(scene: Pick<Sticky, "upstream">, id: string, now = 0): string {
  const exchange = begun(scene, id, now);
  const backend = exchange.last!;
  exchange.succeeded(now);
  return `${backend.replace("try ", "")} ${exchange.events.join(" ")}`;
}

describe("a session", () => {
  test("is placed by the balancer, and stays where it was placed", () => {
    const scene = sticky({ a: {}, b: {} });
    expect(["x", "y", "z"].map((id) => served(scene, id))).toEqual([
      "a session-begun",
      "b session-begun",
      "a session-begun",
    ]);
    expect(["x", "x", "y", "z", "y"].map((id) => served(scene, id))).toEqual([
      "a session-kept",
      "a session-kept",
      "b session-kept",
      "a session-kept",
      "b session-kept",
    ]);
  });

  test("is where the first of two requests that come together was sent, before that is answered", () => {
    const scene = sticky({ a: {}, b: {} });
    const first = begun(scene, "x");
    const second = begun(scene, "x");
    expect([first.last, second.last]).toEqual(["try a", "try a"]);
    first.succeeded(1);
    second.succeeded(2);
    expect([first.events, second.events]).toEqual([["session-begun"], ["session-kept"]]);
  });

  test("a request without one goes where the balancer says, and begins none", () => {
    const scene = sticky({ a: {}, b: {} });
    expect([1, 2, 3].map(() => served(scene, ""))).toEqual(["a ", "b ", "a "]);
    expect(scene.affinity.figures!.held).toBe(0);
  });

  test("moves once when its backend is lost, and does not come back with it", () => {
    const scene = sticky({ a: {}, b: {}, c: {} });
    expect(["x", "y", "z"].map((id) => served(scene, id)[0])).toEqual(["a", "b", "c"]);
    scene.upstream.setHealth(scene.a, false, "refused", 10);
    expect(served(scene, "y", 11)).toBe("b session-kept");
    const [to] = served(scene, "x", 12);
    expect(to).not.toBe("a");
    expect(served(scene, "x", 13)).toBe(`${to} session-kept`);
    scene.upstream.setHealth(scene.a, true, "", 20);
    expect(served(scene, "x", 21)).toBe(`${to} session-kept`);
  });

  test.each(["weight 0", "drain"])("stays with a backend that takes no new ones: %s", (how) => {
    const scene = sticky({ a: {}, b: {} });
    expect(served(scene, "x")[0]).toBe("a");
    if (how === "drain") scene.upstream.setAdminState(scene.a, "drain", "deploy", 10, 1000);
    else scene.upstream.setWeight(scene.a, 0, 10);
    expect(["new", "newer", "x"].map((id) => served(scene, id, 20)[0])).toEqual(["b", "b", "a"]);
  });

  test("moves when the drain of its backend is over, and not before", () => {
    const scene = sticky({ a: {}, b: {} });
    served(scene, "x");
    scene.upstream.setAdminState(scene.a, "drain", "deploy", 10, 1000);
    scene.upstream.advance(1009);
    expect(served(scene, "x", 1009)).toBe("a session-kept");
    scene.upstream.advance(1010);
    expect(served(scene, "x", 1010)).toBe("b session-moved");
  });

  test("moves with its request when its backend fails that, and a retry is allowed", () => {
    const scene = sticky({ a: {}, b: {} }, { isolation: { retry: sampleRetry } });
    served(scene, "x");
    const exchange = begun(scene, "x", 10);
    expect(exchange.last).toBe("try a");
    expect(exchange.ended(failure("connect"), "nothing", 11)).toBe("try b");
    exchange.succeeded(12);
    expect(exchange.events).toEqual(["moved", "session-moved"]);
    expect(served(scene, "x", 20)).toBe("b session-kept");
  });

  test("is not hedged: the other backend knows nothing of it", () => {
    const hedge = { quantile: 0.5, minimumDelay: 1, budget: 1 };
    const scene = sticky({ a: {}, b: {} }, { isolation: { hedge } });
    for (let i = 0; i < 50; i++) served(scene, "x", i);
    expect(begun(scene, "x", 100).dispatch.hedgeAtMs).toBe(Number.POSITIVE_INFINITY);
    expect(begun(scene, "new", 100).dispatch.hedgeAtMs).toBeLessThan(1000);
  });

  test("that has begun meanwhile is not hedged any more", () => {
    const hedge = { quantile: 0.5, minimumDelay: 1, budget: 1 };
    const scene = sticky({ a: {}, b: {} }, { isolation: { hedge } });
    for (let i = 0; i < 50; i++) served(scene, "x", i);
    const [slow, quick] = [begun(scene, "new", 100), begun(scene, "new", 100)];
    expect(slow.dispatch.hedgeAtMs).toBeLessThan(1000);
    quick.succeeded(101);
    expect(slow.dispatch.hedge(slow.dispatch.hedgeAtMs)).toBe(false);
  });

  test("that is on no member any more is placed anew", () => {
    const scene = sticky({ a: {}, b: {} });
    served(scene, "x");
    scene.upstream.update([scene.b], 10);
    expect(served(scene, "x", 11)[0]).toBe("b");
    expect(served(scene, "x", 12)).toBe("b session-kept");
  });
});

describe("strict", () => {
  test("a session whose backend is lost is answered 503, and finds it again when it is back", () => {
    const scene = sticky({ a: {}, b: {} }, { strict: true });
    served(scene, "x");
    scene.upstream.setHealth(scene.a, false, "refused", 10);
    const exchange = begun(scene, "x", 11);
    expect(exchange.last).toBe("answer 503 affinity-lost");
    expect(exchange.events).toEqual(["session-lost"]);
    expect(served(scene, "new", 12)).toBe("b session-begun");
    scene.upstream.setHealth(scene.a, true, "", 20);
    expect(served(scene, "x", 21)).toBe("a session-kept");
  });

  test("no other backend is tried for it, and no fallback", () => {
    const scene = sticky({ a: {}, b: {} }, { strict: true, isolation: { retry: sampleRetry } });
    const spare = sampleUpstream({ c: {} });
    scene.upstream.fallback = { upstream: spare.upstream };
    served(scene, "x");
    const exchange = begun(scene, "x", 10);
    expect(exchange.ended(failure("connect"), "nothing", 11)).toBe("answer 503 affinity-lost");
    expect(spare.c.active).toBe(0);
  });
});

describe("a backend without room", () => {
  const limited = { a: { limit: 1 }, b: { limit: 1 } };
  const isolation = { queue: sampleQueue };

  test("is waited for by its sessions, though others have room", () => {
    const scene = sticky(limited, { isolation });
    served(scene, "x");
    const running = begun(scene, "x", 10);
    const waiting = begun(scene, "x", 11);
    expect([running.last, waiting.last]).toEqual(["try a", "wait"]);
    expect(scene.upstream.waiting).toBe(1);
    expect(begun(scene, "new", 12).last).toBe("try b");
    running.succeeded(20);
    expect(waiting.last).toBe("try a");
    expect(scene.upstream.waiting).toBe(0);
  });

  test("does not keep others waiting: more sessions than anybody looks at wait in front of them", () => {
    const scene = sticky(limited, { isolation });
    served(scene, "x");
    const onA = begun(scene, "x", 10);
    const onB = begun(scene, "y", 10);
    expect([onA.last, onB.last]).toEqual(["try a", "try b"]);
    const sessions = Array.from({ length: 40 }, () => begun(scene, "x", 11));
    const other = begun(scene, "new", 12);
    expect(other.last).toBe("wait");
    onB.succeeded(20);
    expect(other.last).toBe("try b");
    expect(sessions.every(({ last }) => last === "wait")).toBe(true);
  });

  test("is shared in turns by its sessions and those that any backend would do for", () => {
    const scene = sticky({ a: { limit: 1 } }, { isolation });
    served(scene, "x");
    let running = begun(scene, "x", 10);
    const sessions = [0, 1].map(() => begun(scene, "x", 11));
    const others = [0, 1].map((id) => begun(scene, `new ${id}`, 12));
    const order: string[] = [];
    for (let now = 20; now < 24; now++) {
      running.succeeded(now);
      running = [...sessions, ...others].find(
        ({ dispatch, last }) => last === "try a" && dispatch.attempt!.startedMs === now,
      )!;
      order.push(sessions.includes(running) ? "session" : "other");
    }
    expect(order.toSorted()).toEqual(["other", "other", "session", "session"]);
    expect(new Set(order.slice(0, 2)).size).toBe(2);
  });

  test("that is lost lets those go who wait for it, as soon as there is room elsewhere", () => {
    const scene = sticky(limited, { isolation });
    served(scene, "x");
    const onA = begun(scene, "x", 10);
    const onB = begun(scene, "y", 10);
    const waiting = begun(scene, "x", 11);
    scene.upstream.setHealth(scene.a, false, "refused", 12);
    expect(waiting.last).toBe("wait");
    onB.succeeded(13);
    expect(waiting.last).toBe("try b");
    waiting.succeeded(14);
    expect(waiting.events).toEqual(["session-moved"]);
    onA.succeeded(15);
  });

  test("is waited for no longer than the queue allows", () => {
    const scene = sticky(limited, { isolation });
    served(scene, "x");
    begun(scene, "x", 10);
    const waiting = begun(scene, "x", 11);
    scene.upstream.advance(11 + sampleQueue.timeout);
    expect(waiting.last).toBe("answer 503 queue-timeout");
    expect(scene.upstream.waiting).toBe(0);
  });

  test("a client that leaves takes its place in the line with it", () => {
    const scene = sticky(limited, { isolation });
    served(scene, "x");
    const running = begun(scene, "x", 10);
    const waiting = begun(scene, "x", 11);
    waiting.dispatch.abandon(12);
    expect(scene.upstream.waiting).toBe(0);
    running.succeeded(13);
    expect(scene.a.active).toBe(0);
  });
});

describe("a shared store", () => {
  test("is asked for a session that is not known here, and obeyed", () => {
    const store = new SlowStore();
    const scene = sticky({ a: {}, b: {} }, { store });
    const exchange = begun(scene, "x", 10);
    expect([exchange.last, exchange.dispatch.wakeAtMs, store.asked]).toEqual(["wait", 60, ["x"]]);
    store.asker!.found("b.test:80", 12);
    expect(exchange.last).toBe("try b");
    exchange.succeeded(13);
    expect(exchange.events).toEqual(["session-kept"]);
    expect(begun(scene, "x", 14).last).toBe("try b");
    expect(store.asked).toHaveLength(1);
  });

  test("that knows nothing leaves it to the balancer, and is told", () => {
    const store = new SlowStore();
    const scene = sticky({ a: {}, b: {} }, { store });
    const exchange = begun(scene, "x", 10);
    store.asker!.found(undefined, 12);
    expect(exchange.last).toBe("try a");
    exchange.succeeded(13);
    expect([exchange.events, store.placed]).toEqual([["session-begun"], ["x at a.test:80"]]);
  });

  test("that does not answer in time is not waited for", () => {
    const store = new SlowStore();
    const scene = sticky({ a: {}, b: {} }, { store });
    const exchange = begun(scene, "x", 10);
    expect(exchange.woken()).toBe(60);
    expect(exchange.last).toBe("try a");
    expect(store.asker).toBeUndefined();
  });

  test("is asked again when the backend known here is lost: somebody may have moved the session", () => {
    const store = new SlowStore();
    const scene = sticky({ a: {}, b: {}, c: {} }, { store });
    const first = begun(scene, "x", 10);
    store.asker!.found(undefined, 10);
    first.succeeded(10);
    scene.upstream.setHealth(scene.a, false, "refused", 20);
    const second = begun(scene, "x", 21);
    expect(second.last).toBe("wait");
    store.asker!.found("c.test:80", 22);
    expect(second.last).toBe("try c");
  });

  test("that says the same lost backend has the session moved, and is told instead of what", () => {
    const store = new SlowStore();
    const scene = sticky({ a: {}, b: {} }, { store });
    const first = begun(scene, "x", 10);
    store.asker!.found(undefined, 10);
    first.succeeded(10);
    scene.upstream.setHealth(scene.a, false, "refused", 20);
    const second = begun(scene, "x", 21);
    store.asker!.found("a.test:80", 22);
    expect(second.last).toBe("try b");
    second.succeeded(23);
    expect(second.events).toEqual(["session-moved"]);
    expect(store.placed.at(-1)).toBe("x at b.test:80 instead of a.test:80");
  });

  test("a client that leaves meanwhile is not answered", () => {
    const store = new SlowStore();
    const scene = sticky({ a: {}, b: {} }, { store });
    const exchange = begun(scene, "x", 10);
    const { asker } = store;
    exchange.dispatch.abandon(11);
    expect(store.asker).toBeUndefined();
    asker!.found("b.test:80", 12);
    expect(exchange.log).toEqual(["wait"]);
    expect([scene.a.active, scene.b.active]).toEqual([0, 0]);
  });

  test("a deadline that passes meanwhile is answered", () => {
    const store = new SlowStore();
    const scene = sticky({ a: {}, b: {} }, { store });
    const request: PickRequest = { ...sampleRequest(0), header: () => "x" };
    const exchange = SampleExchange.of(scene.upstream, request, 10, { deadlineMs: 30 });
    expect(exchange.woken()).toBe(30);
    expect(exchange.last).toBe("answer 504 route-timeout");
  });

  test("what others have placed counts from then on", () => {
    const store = new SlowStore();
    const scene = sticky({ a: {}, b: {} }, { store });
    const first = begun(scene, "x", 9);
    store.asker!.found("a.test:80", 9);
    expect(first.last).toBe("try a");
    scene.affinity.correct("x", "b.test:80", 10);
    expect(begun(scene, "x", 11).last).toBe("try b");
  });
});

describe("a backend that gives up a tunnel", () => {
  const upgrade = (id: string): PickRequest => ({
    ...sampleRequest(0),
    header: (name) => ({ "x-session": id, upgrade: "websocket" })[name],
  });
  const to = (scene: Pick<Sticky, "upstream">, request: PickRequest, now: number) => {
    const exchange = SampleExchange.of(scene.upstream, request, now, { wallMs: now });
    exchange.succeeded(now);
    return `${exchange.log[0]} ${exchange.events.join(" ")}`;
  };

  test("lets the session it was of leave for another when it comes with the next, once, and nobody else", () => {
    const scene = sticky({ a: {}, b: {} });
    expect([served(scene, "x")[0], served(scene, "y")[0], served(scene, "z")[0]]).toEqual(["a", "b", "a"]);
    scene.upstream.mayLeave(scene.a, "x", 10);
    expect(served(scene, "x", 11)).toBe("a session-kept"); // no upgrade
    expect(to(scene, upgrade("z"), 12)).toBe("try a session-kept");
    expect(to(scene, upgrade("x"), 12)).toBe("try b session-moved");
    expect(to(scene, upgrade("x"), 13)).toBe("try b session-kept");
    expect(to(scene, upgrade("z"), 14)).toBe("try a session-kept");
  });

  test("keeps it when it does not come back within a minute, or when no other serves", () => {
    const scene = sticky({ a: {}, b: {} });
    served(scene, "x");
    scene.upstream.mayLeave(scene.a, "x", 10);
    expect(to(scene, upgrade("x"), 60_010)).toBe("try a session-kept");
    scene.upstream.mayLeave(scene.a, "x", 70_000);
    scene.upstream.setHealth(scene.b, false, "refused", 70_001);
    expect(to(scene, upgrade("x"), 70_002)).toBe("try a session-kept");
  });

  test("keeps it when sessions are not to be moved", () => {
    const scene = sticky({ a: {}, b: {} }, { strict: true });
    served(scene, "x");
    scene.upstream.mayLeave(scene.a, "x", 10);
    expect(to(scene, upgrade("x"), 11)).toBe("try a session-kept");
  });
});

describe("parallel requests of one session", () => {
  test("that wait before it is placed keep nobody behind them from another backend", () => {
    const scene = sticky({ a: { limit: 1 }, b: { limit: 1 } }, { isolation: { queue: sampleQueue } });
    const onA = begun(scene, "p", 0);
    const onB = begun(scene, "q", 0);
    const sessions = Array.from({ length: 20 }, () => begun(scene, "x", 1));
    const other = begun(scene, "", 2);
    expect([onA.last, onB.last, other.last]).toEqual(["try a", "try b", "wait"]);
    onA.succeeded(10);
    expect(sessions.filter(({ last }) => last === "try a")).toHaveLength(1);
    onB.succeeded(11);
    expect(other.last).toBe("try b");
    other.succeeded(12);
    expect(scene.b.active).toBe(0);
    expect(scene.upstream.waiting).toBe(19);
    // Changing lines gave nobody more time.
    scene.upstream.advance(1 + sampleQueue.timeout);
    expect(sessions.filter(({ last }) => last === "answer 503 queue-timeout")).toHaveLength(19);
  });

  test("move together when their backend refuses them all", () => {
    const scene = sticky({ a: {}, b: {}, c: {}, d: {} }, { isolation: { retry: sampleRetry } });
    served(scene, "x");
    const exchanges = Array.from({ length: 6 }, () => begun(scene, "x", 10));
    expect(new Set(exchanges.map(({ last }) => last))).toEqual(new Set(["try a"]));
    const next = exchanges.map((exchange) => exchange.ended(failure("connect"), "nothing", 11));
    expect(new Set(next).size).toBe(1);
    for (const exchange of exchanges) exchange.succeeded(12);
    const events = exchanges.flatMap((exchange) => exchange.events.filter((event) => event !== "moved"));
    expect(events.toSorted()).toEqual([...Array(5).fill("session-kept"), "session-moved"]);
  });
});

test("all lines together hold no more than the queue may", () => {
  const specs = { a: { limit: 1 }, b: { limit: 1 }, c: { limit: 1 } };
  const scene = sticky(specs, { isolation: { queue: { ...sampleQueue, max: 2 } } });
  const running = ["x", "y", "z"].map((id) => begun(scene, id, 0));
  const waiting = ["x", "y", "z", ""].map((id) => begun(scene, id, 1));
  expect(waiting.map(({ last }) => last)).toEqual(["wait", "wait", "answer 503 queue-full", "answer 503 queue-full"]);
  for (const exchange of running) exchange.succeeded(2);
  expect(waiting.slice(0, 2).map(({ last }) => last)).toEqual(["try a", "try b"]);
});

test("with a limit on all backends together, the sessions of each have their turn", () => {
  const concurrencyLimit = { initial: 1, min: 1, max: 1 };
  const scene = sticky({ a: {}, b: {} }, { isolation: { queue: sampleQueue, concurrencyLimit } });
  expect([served(scene, "x")[0], served(scene, "y")[0]]).toEqual(["a", "b"]);
  let running = begun(scene, "x", 10);
  const waiting = Array.from({ length: 8 }, (_, i) => ({
    id: i % 2 === 0 ? "x" : "y",
    exchange: begun(scene, i % 2 === 0 ? "x" : "y", 11),
  }));
  const order: string[] = [];
  for (let now = 20; now < 24; now++) {
    running.succeeded(now);
    const next = waiting.find(({ exchange }) => exchange.last?.startsWith("try") === true)!;
    order.push(next.id);
    running = next.exchange;
    waiting.splice(waiting.indexOf(next), 1);
  }
  expect(order.toSorted()).toEqual(["x", "x", "y", "y"]);
});

test("a session in a fallback asks the store of that", () => {
  const store = new SlowStore();
  const spare = sticky({ c: {}, d: {} }, { store });
  const scene = sticky({ a: {} });
  scene.upstream.fallback = { upstream: spare.upstream };
  scene.upstream.setHealth(scene.a, false, "refused", 1);
  const exchange = begun(scene, "x", 10);
  expect([exchange.last, store.asked]).toEqual(["wait", ["x"]]);
  store.asker!.found("d.test:80", 11);
  expect(exchange.last).toBe("try d");
});

test("a session that would leave stays when there is no other with room, and when the other fails", () => {
  const upgrade: PickRequest = {
    ...sampleRequest(0),
    header: (name) => ({ "x-session": "x", upgrade: "websocket" })[name],
  };
  const full = sticky({ a: {}, b: { limit: 1 } });
  expect([served(full, "x")[0], begun(full, "y", 1).last]).toEqual(["a", "try b"]);
  full.upstream.mayLeave(full.a, "x", 10);
  expect(SampleExchange.of(full.upstream, upgrade, 11).last).toBe("try a");

  const failing = sticky({ a: {}, b: {} }, { isolation: { retry: sampleRetry } });
  served(failing, "x");
  failing.upstream.mayLeave(failing.a, "x", 10);
  const exchange = SampleExchange.of(failing.upstream, upgrade, 11);
  expect(exchange.last).toBe("try b");
  expect(exchange.ended(failure("connect"), "nothing", 12)).toBe("try a");
});

describe("a session that nobody has answered", () => {
  test("has not begun: it is placed anew, also where sessions are not moved", () => {
    for (const strict of [false, true]) {
      const scene = sticky({ a: {}, b: {} }, { strict });
      const first = begun(scene, "x", 0);
      expect(first.last).toBe("try a");
      expect(first.ended(failure("connect"), "nothing", 1)).toBe("answer 502 connect");
      expect(scene.affinity.figures!.held).toBe(0);
      scene.upstream.setHealth(scene.a, false, "refused", 2);
      expect(served(scene, "x", 3)).toBe("b session-begun");
    }
  });

  test("is where it was, when all that were tried have failed", () => {
    const scene = sticky({ a: {}, b: {} }, { isolation: { retry: sampleRetry } });
    served(scene, "x");
    const exchange = begun(scene, "x", 10);
    expect(exchange.ended(failure("connect"), "nothing", 11)).toBe("try b");
    expect(exchange.ended(failure("connect"), "nothing", 12)).toBe("answer 502 connect");
    expect(served(scene, "x", 13)).toBe("a session-kept");
  });

  test("is where it was, when its client left before", () => {
    const scene = sticky({ a: {}, b: {} });
    served(scene, "x");
    scene.upstream.setHealth(scene.a, false, "refused", 10);
    begun(scene, "x", 11).dispatch.abandon(12);
    scene.upstream.setHealth(scene.a, true, "", 13);
    expect(served(scene, "x", 14)).toBe("a session-kept");
  });

  test("stays where another exchange of it was answered meanwhile", () => {
    const scene = sticky({ a: {}, b: {} });
    const leaves = begun(scene, "x", 0);
    const stays = begun(scene, "x", 0);
    stays.succeeded(1);
    leaves.dispatch.abandon(2);
    expect(served(scene, "x", 3)).toBe("a session-kept");
  });

  test.each([502, 503, 504])("does not begin with a %i", (status) => {
    const scene = sticky({ a: {}, b: {} });
    const exchange = begun(scene, "x", 0);
    exchange.succeeded(1, status);
    expect([exchange.events, scene.affinity.figures!.held]).toEqual([[], 0]);
    expect(served(scene, "x", 2)).toBe("b session-begun");
  });

  test("leaves no trace in a shared store", () => {
    const store = new SlowStore();
    const scene = sticky({ a: {}, b: {} }, { store });
    const exchange = begun(scene, "x", 0);
    store.asker!.found(undefined, 0);
    exchange.ended(failure("connect"), "nothing", 1);
    expect(store.placed).toEqual([]);
  });
});

test("who is more important takes the place of who waits in another line", () => {
  const specs = { a: { limit: 1 }, b: { limit: 1 } };
  const scene = sticky(specs, { isolation: { queue: { ...sampleQueue, max: 3 } } });
  const request = (id: string): PickRequest => ({ ...sampleRequest(0), header: () => id });
  const at = (id: string, priority: "high" | "low") => SampleExchange.of(scene.upstream, request(id), 1, { priority });
  for (const id of ["x", "y"]) begun(scene, id, 0);
  const low = [1, 2, 3].map(() => at("x", "low"));
  const high = [at("", "high"), at("y", "high")];
  expect(high.map(({ last }) => last)).toEqual(["wait", "wait"]);
  expect(low.map(({ last }) => last)).toEqual(["wait", "answer 503 queue-full", "answer 503 queue-full"]);
  expect(at("x", "low").last).toBe("answer 503 queue-full");
});
