import { describe, expect, test } from "vitest";
import type { SessionStore } from "../affinity/affinity.ts";
import { createAffinity } from "../affinity/index.ts";
import type { SessionSource } from "../affinity/options.ts";
import type { Balancer } from "../balance/balancer.ts";
import { type BalanceSettings, createBalancer } from "../balance/index.ts";
import { sampleRequest } from "../balance/samples.ts";
import { SeededRandom } from "../model/random.ts";
import type { PickRequest } from "../model/request.ts";
import { explainPick, type PickExplanation } from "./explain.ts";
import type { Isolation } from "./isolation.ts";
import { failure, type SampleBackend, SampleExchange, sampleBreaker, sampleQueue, sampleUpstream } from "./samples.ts";
import type { Upstream } from "./upstream.ts";

const seoul = { latitude: 37.5, longitude: 127 };
const tokyo = { latitude: 35.7, longitude: 139.7 };
const frankfurt = { latitude: 50.1, longitude: 8.7 };
const queue = { ...sampleQueue, max: 5, timeout: 700 };
const busan = { latitude: 35.1, longitude: 129 };

interface Case {
  readonly balance?: BalanceSettings;
  readonly isolation?: Isolation;
  readonly by?: SessionSource;
  readonly strict?: boolean;
  readonly store?: SessionStore;
}

/** An upstream whose balancer is the one of the configuration, with what explains it. */
function sample<Name extends string>(specs: Readonly<Record<Name, SampleBackend>>, of: Case = {}) {
  const { balance = { policy: "round-robin" }, isolation = {}, by, strict = false, store } = of;
  const affinity =
    by &&
    createAffinity(
      { by, ttl: 1000, maxSessions: 2, strict },
      {
        upstream: "web",
        digest: (text) =>
          text
            .padEnd(22)
            .slice(-22)
            .replaceAll(/[^a-z]/g, "x"),
        store,
      },
    );
  const makeBalancer = (): Balancer => createBalancer(balance, new SeededRandom(1));
  const made = sampleUpstream(specs, isolation, { balancer: makeBalancer(), makeBalancer, affinity });
  const explain = (request: Partial<PickRequest> = {}, now = 0): PickExplanation =>
    explainPick(made.upstream, { ...sampleRequest(0), ...request }, now, now, { by, balance });
  return { ...made, explain };
}

/** `a chosen: its turn` for each backend. */
const words = ({ backends }: PickExplanation): string[] =>
  backends.map(({ id, verdict, because }) => `${id} ${verdict}: ${because}`);

const field = (name: string, value: string): Partial<PickRequest> => ({
  header: (asked) => (asked === name ? value : undefined),
});

describe("the choice", () => {
  test("is what is picked next, and explaining it does not change what that is", () => {
    const { upstream, explain } = sample({ a: {}, b: {}, c: {} });
    const order: string[] = [];
    for (let i = 0; i < 6; i++) {
      const { choice, sure } = explain();
      expect([explain().choice, sure]).toEqual([choice, true]);
      const exchange = SampleExchange.begun(upstream);
      expect(choice).toEqual({ kind: "backend", backend: exchange.dispatch.backend!.id });
      order.push(exchange.dispatch.backend!.id);
    }
    expect(order).toEqual(["a", "b", "c", "a", "b", "c"]);
    expect(upstream.running).toBe(6);
  });

  test("is left to chance by a random balancer, which says how likely each is", () => {
    const explanation = sample({ a: {}, b: { weight: 3 } }, { balance: { policy: "random" } }).explain();
    expect(explanation).toMatchObject({ choice: { kind: "any" }, sure: false });
    expect(words(explanation)).toEqual(["a candidate: chance: 25 %", "b candidate: chance: 75 %"]);
  });

  test("is 503 where nobody can be picked, circuit-open where a trial is to come", () => {
    const { upstream, explain, a } = sample(
      { a: {} },
      { isolation: { circuitBreaker: { ...sampleBreaker, consecutiveFailures: 1 } } },
    );
    SampleExchange.begun(upstream).ended(failure("connect"), "nothing", 0);
    expect(explain()).toMatchObject({
      choice: { kind: "answer", status: 503, reason: "circuit-open" },
      sure: true,
      backends: [{ state: "open", verdict: "out" }],
    });
    upstream.setHealth(a, false, "connection refused", 1);
    expect(explain().choice).toEqual({ kind: "answer", status: 503, reason: "no-backend" });
    expect(words(explain())).toEqual(["a out: down: connection refused"]);
  });

  test("is to wait where none has room, and 503 where nobody may wait", () => {
    const waits = sample({ a: { limit: 1 } }, { isolation: { queue } });
    SampleExchange.begun(waits.upstream);
    expect(waits.explain().choice).toEqual({ kind: "wait", backend: undefined, upToMs: 700 });
    expect(words(waits.explain())).toEqual(["a out: full: 1 of 1"]);
    const refuses = sample({ a: { limit: 1 } });
    SampleExchange.begun(refuses.upstream);
    expect(refuses.explain().choice).toEqual({ kind: "answer", status: 503, reason: "queue-full" });
  });

  test("says when the concurrency limit is what is waited for", () => {
    const { upstream, explain } = sample(
      { a: {} },
      { isolation: { concurrencyLimit: { initial: 1, min: 1, max: 1 }, queue } },
    );
    SampleExchange.begun(upstream);
    expect(explain().choice).toMatchObject({ kind: "wait" });
    expect(words(explain())).toEqual(["a candidate: no more run at a time (concurrencyLimit)"]);
  });

  test("is 500 where a balancer throws, as its exchange would be", () => {
    const broken: Balancer = {
      update: () => {},
      pick: () => undefined,
      peek: () => {
        throw new Error("a fault of the user's");
      },
    };
    const { upstream } = sampleUpstream({ a: {} }, {}, { balancer: broken });
    expect(explainPick(upstream, sampleRequest(0), 0, 0).choice).toEqual({
      kind: "answer",
      status: 500,
      reason: "policy-threw",
    });
  });
});

describe("each backend says why it is not the one", () => {
  test("by its state, its weight, its tier and its room", () => {
    const { upstream, explain, a, b } = sample({
      a: {},
      b: {},
      c: { weight: 0 },
      d: { limit: 0 },
      e: { tier: 1 },
      f: {},
      g: {},
      h: {},
      i: {},
      j: {},
    });
    upstream.setHealth(a, false, "connection refused", 0);
    upstream.setAdminState(b, "drain", "by hand", 0);
    expect(words(explain()).slice(0, 7)).toEqual([
      "a out: down: connection refused",
      "b out: draining",
      "c out: weight 0: no new traffic",
      "d out: full: 0 of 0",
      "e out: backup: others serve",
      "f chosen: its turn",
      "g candidate: not its turn",
    ]);
  });

  test("backups are candidates while they share the traffic, and chosen when they are all there is", () => {
    const { upstream, explain, a, b } = sample({ a: {}, b: {}, c: { tier: 1 } });
    upstream.setHealth(a, false, "timeout", 0);
    expect(words(explain())).toEqual([
      "a out: down: timeout",
      "b chosen: its turn",
      "c candidate: tier 0 has its turn",
    ]);
    upstream.setHealth(b, false, "timeout", 0);
    expect(words(explain())[2]).toBe("c chosen: its turn");
  });

  test("in panic, states are not believed", () => {
    const { upstream, explain, a, b } = sample({ a: {}, b: {} }, { isolation: { panicThreshold: 0.6 } });
    upstream.setHealth(a, false, "timeout", 0);
    upstream.setHealth(b, false, "timeout", 0);
    expect(words(explain())).toEqual([
      "a chosen: its turn; that it is down (timeout) is not believed, too few are well",
      "b candidate: not its turn; that it is down (timeout) is not believed, too few are well",
    ]);
  });

  test("by what runs on it, for its weight", () => {
    const { upstream, explain } = sample(
      { a: {}, b: { weight: 2 }, c: {} },
      { balance: { policy: "least-connections" } },
    );
    expect(words(explain())[0]).toBe("a candidate: busier for its weight: 0 at weight 1 against 0 at weight 2");
    for (let i = 0; i < 3; i++) SampleExchange.begun(upstream);
    expect(words(explain())).toEqual([
      "a candidate: busier: 1 against 0",
      "b candidate: busier for its weight: 2 at weight 2 against 0 at weight 1",
      "c chosen: fewest exchanges for its weight",
    ]);
  });

  test("by where the hash leads, or by turns where there is nothing to hash", () => {
    const { explain } = sample({ a: {}, b: {} }, { balance: { policy: "consistent-hash", key: "header:x-user" } });
    const lines = words(explain(field("x-user", "7"))).sort();
    expect(lines).toContainEqual(expect.stringMatching(/^[ab] chosen: header:x-user leads to it$/));
    expect(lines).toContainEqual(expect.stringMatching(/^[ab] candidate: header:x-user leads to [ab]$/));
    expect(words(explain({ header: () => undefined })).sort()).toContainEqual(
      expect.stringMatching(/^[ab] chosen: its turn$/),
    );
  });

  test("without facts about the balancer, in plainer words", () => {
    const { upstream } = sample({ a: {}, b: {} });
    expect(words(explainPick(upstream, sampleRequest(0), 0, 0))).toEqual([
      "a chosen: the balancer's choice",
      "b candidate: a is picked",
    ]);
  });
});

describe("nearest", () => {
  const places = { a: { position: seoul }, b: { position: tokyo }, c: { position: frankfurt }, d: {} };

  test("says how far each is, and that the others are farther", () => {
    const explanation = sample(places, { balance: { policy: "nearest" } }).explain({ position: busan });
    expect(words(explanation)).toEqual([
      "a chosen: nearest: 321 km",
      "b candidate: farther: 972 km against 321 km",
      "c candidate: farther: 8,878 km against 321 km",
      "d candidate: its location is not known",
    ]);
    expect(explanation.backends.map(({ distanceKm }) => distanceKm && Math.round(distanceKm))).toEqual([
      321,
      972,
      8878,
      undefined,
    ]);
  });

  test("goes on to the next when the nearest is full, and says so", () => {
    const { upstream, explain } = sample(
      { ...places, a: { position: seoul, limit: 1 } },
      { balance: { policy: "nearest", maxKm: 5000 } },
    );
    upstream.pick({ ...sampleRequest(0), position: busan }, 0);
    expect(words(explain({ position: busan })).slice(0, 3)).toEqual([
      "a out: full: 1 of 1",
      "b chosen: nearest: 972 km",
      "c out: too far: 8,878 km, at most 5,000 km (maxKm)",
    ]);
  });

  test("waits for it without spillover", () => {
    const { upstream, explain } = sample(
      { a: { position: seoul, limit: 1 }, b: { position: tokyo } },
      { balance: { policy: "nearest", spillover: false }, isolation: { queue } },
    );
    upstream.pick({ ...sampleRequest(0), position: busan }, 0);
    expect(explain({ position: busan }).choice).toEqual({ kind: "wait", backend: undefined, upToMs: 700 });
    expect(words(explain({ position: busan }))).toEqual([
      "a out: full: 1 of 1",
      "b candidate: farther: 972 km against 321 km, which is full (no spillover)",
    ]);
  });

  test("among those that are near enough the least busy one is chosen", () => {
    const { upstream, explain } = sample(
      { a: { position: seoul }, b: { position: tokyo } },
      { balance: { policy: "nearest", withinKm: 700 } },
    );
    upstream.pick({ ...sampleRequest(0), position: busan }, 0);
    expect(words(explain({ position: busan }))).toEqual([
      "a candidate: near enough, but busier: 1 against 0",
      "b chosen: near enough: 972 km, within 700 km of the nearest",
    ]);
  });

  test("goes by regions, and else by its fallback, where the client's position is not known", () => {
    const specs = { a: { region: "us", position: seoul }, b: { region: "eu" }, c: {} };
    const byRegion = sample(specs, { balance: { policy: "nearest", region: "eu", regions: ["us"] } });
    expect(words(byRegion.explain())).toEqual([
      "a candidate: region us comes after eu",
      "b chosen: region eu comes first",
      "c candidate: region none comes after eu",
    ]);
    const byFallback = sample(specs, { balance: { policy: "nearest", fallback: "random" } });
    expect(words(byFallback.explain())[0]).toBe("a candidate: chance: 33.3 %");
  });
});

describe("sessions", () => {
  const by: SessionSource = { kind: "key", key: "header:x-session" };
  const begin = (upstream: Upstream, id: string, now = 0): string => {
    const request = { ...sampleRequest(0), ...field("x-session", id) };
    const session = upstream.affinity!.open(request, now, now)!;
    const backend = upstream.pick(request, now);
    if (typeof backend === "string") throw new Error(backend);
    upstream.affinity!.answered(session, backend, "", now, now);
    return backend.id;
  };

  test("what a request lacks, and what belongs nowhere yet, leave it to the balancer", () => {
    const { explain } = sample({ a: {}, b: {} }, { by });
    const none = explain();
    expect(none).toMatchObject({
      session: { by: "header:x-session", state: "none" },
      choice: { backend: "a" },
      sure: true,
    });
    const unknown = explain(field("x-session", "s1"));
    expect(unknown).toMatchObject({ session: { state: "unknown", backend: undefined }, choice: { backend: "a" } });
    expect(explain(field("x-session", "s1"))).toEqual(unknown);
  });

  test("a session goes to its backend, drains it or weighs nothing, and the others say where it is", () => {
    const { upstream, explain, a } = sample({ a: {}, b: {} }, { by });
    expect(begin(upstream, "s1")).toBe("a");
    upstream.setAdminState(a, "drain", "by hand", 0);
    const explanation = explain(field("x-session", "s1"));
    expect(explanation).toMatchObject({
      session: { state: "kept", backend: "a" },
      choice: { backend: "a" },
      sure: true,
    });
    expect(words(explanation)).toEqual(["a chosen: its session is here", "b candidate: its session is on a"]);
  });

  test("it waits for its backend, and for no other", () => {
    const { upstream, explain } = sample({ a: { limit: 1 }, b: {} }, { by, isolation: { queue } });
    begin(upstream, "s1");
    const explanation = explain(field("x-session", "s1"));
    expect(explanation.choice).toEqual({ kind: "wait", backend: "a", upToMs: 700 });
    expect(words(explanation)).toEqual([
      "a candidate: its session is here and waits: full: 1 of 1",
      "b candidate: its session is on a",
    ]);
  });

  test("a lost session moves, a strict one is 503", () => {
    const specs = { a: {}, b: {} };
    const moves = sample(specs, { by });
    begin(moves.upstream, "s1");
    moves.upstream.setHealth(moves.a, false, "timeout", 0);
    const moved = moves.explain(field("x-session", "s1"));
    expect(moved).toMatchObject({ session: { state: "lost", backend: "a", strict: false }, choice: { backend: "b" } });
    expect(words(moved)).toEqual(["a out: down: timeout", "b chosen: its turn"]);

    const stays = sample(specs, { by, strict: true });
    begin(stays.upstream, "s1");
    stays.upstream.setHealth(stays.a, false, "timeout", 0);
    const lost = stays.explain(field("x-session", "s1"));
    expect(lost.choice).toEqual({ kind: "answer", status: 503, reason: "affinity-lost" });
    expect(words(lost)).toEqual(["a out: down: timeout", "b candidate: its session is on a, and stays there (strict)"]);
  });

  test("an explanation does not use the session: it ends when it would have, and goes first when it would have", () => {
    const { upstream, explain } = sample({ a: {}, b: {} }, { by });
    begin(upstream, "s1", 0);
    expect(explain(field("x-session", "s1"), 999).session).toMatchObject({ state: "kept" });
    expect(explain(field("x-session", "s1"), 1000).session).toMatchObject({ state: "unknown" });
    begin(upstream, "s2", 1000);
    begin(upstream, "s3", 1001);
    explain(field("x-session", "s2"), 1002);
    begin(upstream, "s4", 1003);
    expect(explain(field("x-session", "s2"), 1004).session).toMatchObject({ state: "unknown" });
    expect(explain(field("x-session", "s3"), 1004).session).toMatchObject({ state: "kept" });
  });

  test("where a store may know better, nothing is sure, and it is not asked", () => {
    const asked: string[] = [];
    const store: SessionStore = {
      timeoutMs: 50,
      find: (key) => {
        asked.push(key);
        return true;
      },
      forget: () => {},
      place: () => {},
    };
    const { explain } = sample({ a: {} }, { by, store });
    expect(explain(field("x-session", "s1"))).toMatchObject({
      session: { state: "unknown", asksStore: true },
      sure: false,
    });
    expect(explain()).toMatchObject({ session: { state: "none", asksStore: false }, sure: true });
    expect(asked).toEqual([]);
  });

  test("learned ids and cookies are named; what an application did not give, or nobody signed, belongs nowhere", () => {
    const learned = sample({ a: {} }, { by: { kind: "learned", from: "cookie", name: "SID" } });
    expect(learned.explain(field("cookie", "SID=made-up")).session).toMatchObject({
      by: "learned cookie:SID",
      state: "unknown",
    });
    const cookie = {
      name: "spillway",
      path: "/",
      domain: "",
      secure: false,
      httpOnly: true,
      sameSite: false,
      maxAge: true,
    } as const;
    const { upstream, explain, a } = sample({ a: {}, b: {} }, { by: { kind: "cookie", cookie } });
    expect(explain(field("cookie", "spillway=forged")).session).toMatchObject({
      by: "cookie:spillway",
      state: "unknown",
    });
    expect(explain().session).toMatchObject({ state: "none" });
    const [text] = upstream.affinity!.setCookie(undefined, a, false, 0).split(";");
    expect(explain(field("cookie", text!)).session).toMatchObject({ state: "kept", backend: "a" });
  });
});
