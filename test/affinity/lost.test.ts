import { describe, expect, onTestFinished, test } from "vitest";
import type { SettingsInput } from "../../src/config/settings.ts";
import { type Act, ask, Gate, queued, reply } from "../isolation/cast.ts";
import { startProxy } from "../support/proxy.ts";
import { ok, type RawBackend, rawBackend } from "../support/raw-backend.ts";
import { get, post, type SceneOptions, scene } from "../support/scene.ts";
import { dial, eventually, type Message } from "../support/wire.ts";
import {
  type AffinityInput,
  type Crowd,
  type CrowdOptions,
  cookieOf,
  crowd,
  KEY,
  KINDS,
  kindOf,
  Visitor,
} from "./visitors.ts";

/** Nothing but sessions. */
const BARE = { circuitBreaker: false, outlierDetection: false, retry: false } as const;
/** What does not reach a backend goes to another one. */
const MOVING = { circuitBreaker: false, outlierDetection: false } as const;

/** Two equal backends in turns, and a visitor at home on each, in order. */
async function pair(
  kind: string,
  affinity: object = {},
  upstream: SceneOptions["upstream"] = BARE,
  backend: CrowdOptions["backend"] = {},
): Promise<Crowd & { readonly guests: readonly [Visitor, Visitor] }> {
  const all = await crowd(kindOf(kind), {
    visitors: 2,
    connections: 1,
    weights: [1, 1],
    affinity,
    backend,
    upstream: { balance: "round-robin", ...upstream },
  });
  await all.rounds(1);
  const guests = all.visitors.toSorted((a, b) => a.served[0]! - b.served[0]!) as unknown as [Visitor, Visitor];
  expect(guests.map(({ served }) => served)).toEqual([[0], [1]]);
  return { ...all, guests };
}

/** Its backend refuses connections from now on. */
async function refuse({ stage }: Crowd, backend: number): Promise<void> {
  await stage.backends[backend]!.close();
  await eventually(() => stage.proxy.plane.inspect().backends[backend]!.idle === 0, "its connections are gone");
}

/** A backend where one was before. */
async function comeBack({ stage }: Crowd, backend: number): Promise<RawBackend> {
  const { script, port } = stage.backends[backend]!;
  const again = await rawBackend(script, port);
  onTestFinished(() => again.close());
  return again;
}

/** Another proxy in front of the same backends, with the same key. */
async function another(settings: SettingsInput) {
  const proxy = await startProxy(settings);
  onTestFinished(() => {
    proxy.close();
    expect(proxy.logs.filter(({ code }) => code === "fault" || code === "pool")).toEqual([]);
  });
  const client = async () => {
    const wire = await dial(proxy.port);
    onTestFinished(() => wire.destroy());
    return wire;
  };
  return { proxy, ask: (request: string): Promise<Message> => ask({ client }, request), client };
}

function expectLost(response: Message): void {
  expect(response.status).toBe(503);
  expect(response.value("spillway-reason")).toBe("affinity-lost");
  expect(Number(response.value("retry-after"))).toBeGreaterThan(0);
  expect(response.values("set-cookie")).toEqual([]);
}

describe.each(KINDS)("strict, sessions by $name", ({ name }) => {
  test("a session whose backend is down is answered 503 until that is back; all others are served", async () => {
    const { stage, guests, visit, visitors, sessions } = await pair(name, { strict: true });
    const [own, other] = guests;
    stage.proxy.plane.setHealth(0, false, "down by a test");
    for (let i = 0; i < 5; i++) {
      expectLost(await visit(own));
      expect((await visit(other)).body).toBe("1");
    }
    expect(sessions()).toMatchObject({ begun: 2, kept: 5, moved: 0, lost: 5 });
    const fresh = new Visitor(visitors.length);
    for (let i = 0; i < 3; i++) expect((await visit(fresh)).body).toBe("1");
    stage.proxy.plane.setHealth(0, true, "up by a test");
    expect((await visit(own)).body).toBe("0");
    expect(sessions()).toMatchObject({ begun: 3, kept: 8, moved: 0, lost: 5 });
    expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ failed: 5, retries: 0, moves: 0 });
  });
});

describe("strict", () => {
  test("a session whose backend refuses connections is lost, served by no other backend, and finds it again", async () => {
    const all = await pair("header", { strict: true }, MOVING);
    const { guests, visit, company, sessions } = all;
    await refuse(all, 0);
    for (let i = 0; i < 3; i++) {
      expectLost(await visit(guests[0]));
    }
    expect(company.counts).toEqual([1, 1]);
    await comeBack(all, 0);
    expect((await visit(guests[0])).body).toBe("0");
    expect(sessions()).toMatchObject({ begun: 2, kept: 1, moved: 0, lost: 3 });
  });

  test("what its own backend answers is what it gets, however willing another is", async () => {
    const { stage, guests, visit, company } = await pair("cookie", { strict: true }, MOVING);
    company.act = ({ backend }) => (backend === 0 ? reply(503, "own") : ok("1"));
    const response = await visit(guests[0]);
    expect([response.status, response.body, response.values("spillway-reason")]).toEqual([503, "own", []]);
    company.act = ({ backend, wire }) => (backend === 0 ? wire.reset() : ok("1"));
    expectLost(await visit(guests[0]));
    // What may not be sent again has failed, and that is all there is to say of it.
    const failed = await ask(stage, post("order", "/", [`Cookie: ${guests[0].given}`]));
    expect([failed.status, failed.value("spillway-reason")]).toEqual([502, "reset"]);
    expect(company.counts[1]).toBe(1);
  });

  test("while its circuit is open its sessions are lost, and one of them is the trial that closes it", async () => {
    const { stage, guests, visit, company, sessions } = await pair(
      "header",
      { strict: true },
      {
        retry: false,
        outlierDetection: false,
        circuitBreaker: { minimumRequests: 2, errorThreshold: "50%", openFor: "200ms" },
      },
    );
    company.act = ({ backend, wire }) => (backend === 0 ? wire.reset() : ok("1"));
    expect((await visit(guests[0])).status).toBe(502);
    company.act = ({ backend }) => ok(String(backend));
    expectLost(await visit(guests[0]));
    expect((await visit(guests[1])).body).toBe("1");
    await eventually(() => stage.proxy.logs.some(({ code }) => code === "circuit_half_open"), "it is half-open");
    expect((await visit(guests[0])).body).toBe("0");
    expect(stage.proxy.logs.map(({ code }) => code)).toContain("circuit_closed");
    expect(sessions()).toMatchObject({ moved: 0, lost: 1 });
  });

  test("neither the upstream nor the response of a fallback stands for a lost backend", async () => {
    for (const fallback of [{ upstream: "spare" }, { respond: { status: 200, body: "all is well" } }]) {
      const company = ["0", "1", "spare"];
      const stage = await scene(
        company.map((body) => async (wire) => {
          for (;;) {
            await wire.request();
            wire.write(ok(body));
          }
        }),
        {
          settings: (urls) => ({
            listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
            upstreams: {
              web: {
                backends: urls.slice(0, 2),
                affinity: { header: "x-session", strict: true },
                circuitBreaker: { fallback },
              },
              spare: { backends: urls.slice(2) },
            },
          }),
        },
      );
      const request = get("/", ["X-Session: a"]);
      const home = (await ask(stage, request)).body;
      stage.proxy.plane.setHealth(Number(home), false, "by a test");
      expectLost(await ask(stage, request));
      // Who is nobody's yet is not refused for want of a backend of his own.
      stage.proxy.plane.setHealth(1 - Number(home), false, "by a test");
      expect((await ask(stage, get("/", ["X-Session: new"]))).status).toBe(200);
    }
  });
});

describe("a backend that takes no new sessions", () => {
  test.each([
    ["draining", { state: "drain" }],
    ["of weight 0", { weight: 0 }],
  ] as const)("%s: keeps those that it has, and those begin elsewhere that are new", async (_, retiring) => {
    const { stage, guests } = await pair("cookie");
    const [one, other] = stage.backends.map(({ url }) => url) as [string, string];
    const affinity = { cookie: "spillway", key: KEY };
    for (const strict of [false, true]) {
      const late = await another({
        listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
        upstreams: { web: { backends: [{ url: one, ...retiring }, other], affinity: { ...affinity, strict } } },
      });
      const fresh = new Set<string>();
      for (let i = 0; i < 20; i++) {
        for (const [backend, guest] of guests.entries()) {
          const response = await late.ask(get("/", [`Cookie: ${guest.given}`]));
          expect([response.body, response.values("set-cookie")]).toEqual([String(backend), []]);
        }
        const response = await late.ask(get("/", i % 2 === 0 ? [] : ["Cookie: spillway=forged"]));
        expect(response.body).toBe("1");
        fresh.add(cookieOf(response)!.split(".")[0]!);
      }
      expect([...fresh]).toEqual([guests[1].given.split(".")[0]]);
      const { sessions } = late.proxy.snapshot().upstreams[0]!;
      expect(sessions).toMatchObject({ begun: 20, kept: 40, moved: 0, lost: 0 });
      // And down is down, draining or not.
      late.proxy.plane.setHealth(0, false, "by a test");
      const response = await late.ask(get("/", [`Cookie: ${guests[0].given}`]));
      if (strict) expectLost(response);
      else expect([response.status, response.body]).toEqual([200, "1"]);
    }
  });

  test("down by the configuration: its sessions move, or are lost", async () => {
    const { stage, guests } = await pair("cookie");
    const [one, other] = stage.backends.map(({ url }) => url) as [string, string];
    for (const strict of [false, true]) {
      const late = await another({
        listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
        upstreams: {
          web: { backends: [{ url: one, state: "down" }, other], affinity: { cookie: "spillway", key: KEY, strict } },
        },
      });
      const response = await late.ask(get("/", [`Cookie: ${guests[0].given}`]));
      if (strict) expectLost(response);
      else {
        expect(response.body).toBe("1");
        expect(cookieOf(response)!.split(".")[0]).toBe(guests[1].given.split(".")[0]);
      }
      expect(late.proxy.snapshot().upstreams[0]!.sessions).toMatchObject(strict ? { lost: 1 } : { moved: 1 });
    }
  });

  test("all of them draining: the sessions that are there are served, new ones are not", async () => {
    const { stage, guests } = await pair("cookie");
    const late = await another({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: {
        web: {
          backends: stage.backends.map(({ url }) => ({ url, state: "drain" as const })),
          affinity: { cookie: "spillway", key: KEY },
        },
      },
    });
    for (const [backend, { given }] of guests.entries()) {
      expect((await late.ask(get("/", [`Cookie: ${given}`]))).body).toBe(String(backend));
    }
    const refused = await late.ask(get());
    expect([refused.status, refused.value("spillway-reason")]).toEqual([503, "no-backend"]);
  });

  test("a WebSocket stays where its session is while that drains, and one that begins goes there, too", async () => {
    const upgrade = ["Connection: Upgrade", "Upgrade: echo"];
    const { stage, guests, company } = await pair("cookie");
    const [one, other] = stage.backends.map(({ url }) => url) as [string, string];
    const late = await another({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: {
        web: { backends: [{ url: one, state: "drain" }, other], affinity: { cookie: "spillway", key: KEY } },
      },
    });
    company.act = async ({ backend, wire }) => {
      wire.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
      for (;;) wire.write(`${backend}:${await wire.read(1)}`);
    };
    const tunnels = await Promise.all(guests.map(() => late.client()));
    for (let round = 0; round < 3; round++) {
      for (const [backend, wire] of tunnels.entries()) {
        if (round === 0) {
          wire.write(get("/ws", [...upgrade, `Cookie: ${guests[backend]!.given}`]));
          const response = await wire.response();
          expect([response.status, response.values("set-cookie")]).toEqual([101, []]);
        }
        wire.write("x");
        expect(await wire.read(3)).toBe(`${backend}:x`);
      }
    }
    expect(late.proxy.snapshot()).toMatchObject({ tunnelsActive: 2 });
    for (const wire of tunnels) wire.destroy();
    await eventually(() => late.proxy.plane.inspect().tunnels === 0, "all are closed");
  });
});

describe("what traffic says of a backend", () => {
  const failing: Act = ({ backend }) => (backend === 0 ? reply(500, "bad") : ok(String(backend)));

  test.each(["cookie", "header", "learned cookie"])(
    "one that is ejected loses its sessions by %s, which move once and stay when it is back",
    async (kind) => {
      const { stage, guests, visit, company, sessions } = await pair(
        kind,
        {},
        { retry: false, circuitBreaker: false, outlierDetection: { consecutiveFailures: 3, ejectFor: "300ms" } },
      );
      company.act = failing;
      for (let i = 0; i < 3; i++) expect((await visit(guests[0])).status).toBe(500);
      expect(stage.proxy.logs.map(({ code }) => code)).toEqual(["backend_ejected"]);
      for (let i = 0; i < 3; i++) expect((await visit(guests[0])).body).toBe("1");
      expect(sessions()).toMatchObject({ moved: 1, lost: 0 });
      company.act = ({ backend }) => ok(String(backend));
      await eventually(() => stage.proxy.logs.some(({ code }) => code === "backend_returned"), "it is back");
      for (let i = 0; i < 3; i++) expect((await visit(guests[0])).body).toBe("1");
      expect(sessions()).toMatchObject({ begun: 2, moved: 1 });
    },
  );

  test("one whose circuit is open loses its sessions, which move once and stay when it closes", async () => {
    const { stage, guests, visit, company, sessions } = await pair(
      "cookie",
      {},
      { retry: false, outlierDetection: false, circuitBreaker: { minimumRequests: 3, openFor: "200ms" } },
    );
    company.act = ({ backend, wire }) => (backend === 0 ? wire.reset() : ok("1"));
    for (let i = 0; i < 2; i++) expect((await visit(guests[0])).status).toBe(502);
    for (let i = 0; i < 3; i++) expect((await visit(guests[0])).body).toBe("1");
    company.act = ({ backend }) => ok(String(backend));
    await eventually(() => stage.proxy.logs.some(({ code }) => code === "circuit_half_open"), "it is half-open");
    for (let i = 0; i < 3; i++) expect((await visit(guests[0])).body).toBe("1");
    expect(sessions()).toMatchObject({ moved: 1, lost: 0 });
  });
});

describe("a backend without room", () => {
  const held: (gate: Gate, kind?: string) => Act =
    (gate, kind = "header") =>
    ({ backend, request }) =>
      request.value("x-hold") === undefined
        ? ok(String(backend), kindOf(kind).application?.(request))
        : gate.hold(ok("held"));
  /** A request of a visitor that its backend keeps until the gate opens. */
  const holding = (kind: string, visitor: Visitor) =>
    kindOf(kind).request(visitor).replace("\r\n\r\n", "\r\nX-Hold: 1\r\n\r\n");
  const QUEUE = { ...BARE, pool: { queue: { timeout: "10s" } } } as const;

  test.each(KINDS)("is waited for by its sessions by $name, while others are served elsewhere", async ({ name }) => {
    const { stage, guests, visit, company, sessions } = await pair(name, {}, QUEUE, { maxRequests: 1 });
    const gate = new Gate();
    company.act = held(gate, name);
    const first = ask(stage, holding(name, guests[0]));
    await gate.filled(1);
    const waiting = [];
    for (let n = 1; n <= 3; n++) {
      waiting.push(visit(guests[0], await stage.client()));
      await queued(stage, n);
    }
    for (let i = 0; i < 5; i++) expect((await visit(guests[1])).body).toBe("1");
    const fresh = Array.from({ length: 5 }, (_, n) => new Visitor(10 + n));
    for (const visitor of fresh) expect((await visit(visitor)).body).toBe("1");
    expect(stage.proxy.snapshot().upstreams[0]!.waiting).toBe(3);
    gate.release();
    expect((await first).body).toBe("held");
    for (const response of waiting) expect((await response).body).toBe("0");
    expect(sessions()).toMatchObject({ begun: 7, kept: 9, moved: 0 });
    await stage.quiet();
    expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ waiting: 0, failed: 0 });
  });

  test.each([false, true])("who waits for it in vain is shed, and has not moved (strict: %s)", async (strict) => {
    const { stage, guests, visit, company, sessions } = await pair(
      "cookie",
      { strict },
      { ...BARE, pool: { queue: { max: 1, timeout: "100ms" } } },
      { maxRequests: 1 },
    );
    const gate = new Gate();
    company.act = held(gate);
    const first = ask(stage, holding("cookie", guests[0]));
    await gate.filled(1);
    const late = visit(guests[0]);
    await queued(stage, 1);
    const full = await visit(guests[0], await stage.client());
    expect([full.status, full.value("spillway-reason")]).toEqual([503, "queue-full"]);
    const response = await late;
    expect([response.status, response.value("spillway-reason")]).toEqual([503, "queue-timeout"]);
    gate.release();
    expect((await first).body).toBe("held");
    expect((await visit(guests[0])).body).toBe("0");
    expect(sessions()).toMatchObject({ begun: 2, kept: 2, moved: 0, lost: 0 });
  });

  test("that is lost meanwhile is waited for no longer: its sessions go where there is room", async () => {
    const { stage, guests, visit, company, sessions } = await pair("header", {}, QUEUE, { maxRequests: 1 });
    const gate = new Gate();
    company.act = held(gate);
    const first = ask(stage, holding("header", guests[0]));
    await gate.filled(1);
    const waiting = [visit(guests[0], await stage.client()), visit(guests[0], await stage.client())];
    await queued(stage, 2);
    stage.proxy.plane.setHealth(0, false, "down by a test");
    for (const response of waiting) expect((await response).body).toBe("1");
    gate.release();
    expect((await first).body).toBe("held");
    expect(sessions()).toMatchObject({ begun: 2, moved: 1 });
  });

  test("that is lost meanwhile loses its strict sessions at once", async () => {
    const { stage, guests, visit, company } = await pair("header", { strict: true }, QUEUE, { maxRequests: 1 });
    const gate = new Gate();
    company.act = held(gate);
    const first = ask(stage, holding("header", guests[0]));
    await gate.filled(1);
    const waiting = visit(guests[0], await stage.client());
    await queued(stage, 1);
    stage.proxy.plane.setHealth(0, false, "down by a test");
    expectLost(await waiting);
    gate.release();
    expect((await first).body).toBe("held");
  });

  test("clients that leave while they wait for it leave nothing behind", async () => {
    const { stage, guests, visit, company } = await pair("header", {}, QUEUE, { maxRequests: 1 });
    const gate = new Gate();
    company.act = held(gate);
    const first = ask(stage, holding("header", guests[0]));
    await gate.filled(1);
    const wires = await Promise.all(Array.from({ length: 10 }, () => stage.client()));
    for (const wire of wires) wire.write(holding("header", guests[0]));
    await queued(stage, 10);
    for (const wire of wires) wire.reset();
    await queued(stage, 0);
    gate.release();
    expect((await first).body).toBe("held");
    expect((await visit(guests[0])).body).toBe("0");
    await stage.quiet();
  });
});

describe("a session whose backend fails its request", () => {
  test.each(["cookie", "learned cookie", "header"])(
    "by %s: refused is moved at once, a POST too, and stays where it went when its backend is back",
    async (kind) => {
      const all = await pair(kind, {}, MOVING);
      const { stage, guests, visit, sessions } = all;
      await refuse(all, 0);
      const request = kindOf(kind).request(guests[0]).replace("GET", "POST");
      const response = await ask(stage, request.replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nhi"));
      expect([response.status, response.body]).toEqual([200, "1"]);
      const given = cookieOf(response);
      if (kind === "cookie") {
        expect(response.values("set-cookie").length).toBe(1);
        expect(given!.split(".")[0]).toBe(guests[1].given.split(".")[0]);
        guests[0].given = given!;
      } else expect(given).toBeUndefined();
      await comeBack(all, 0);
      for (let i = 0; i < 3; i++) {
        const kept = await visit(guests[0]);
        expect([kept.body, kept.values("set-cookie")]).toEqual(["1", []]);
      }
      expect(sessions()).toMatchObject({ begun: 2, kept: 3, moved: 1 });
      expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ failed: 0, moves: 1, retries: 0 });
    },
  );

  test.each<[string, Act]>([
    ["breaks", ({ wire }) => wire.reset()],
    ["answers 503", () => reply(503, "no")],
  ])("one that %s: a GET is answered by another backend, which has the session from then on", async (_, act) => {
    const { guests, visit, company, sessions, stage } = await pair("cookie", {}, MOVING);
    company.act = (delivery) => (delivery.backend === 0 ? act(delivery) : ok("1"));
    const response = await visit(guests[0]);
    expect([response.body, response.values("set-cookie").length]).toEqual(["1", 1]);
    company.act = ({ backend }) => ok(String(backend));
    const kept = await visit(guests[0]);
    expect([kept.body, kept.values("set-cookie")]).toEqual(["1", []]);
    expect(sessions()).toMatchObject({ begun: 2, kept: 1, moved: 1 });
    expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ retries: 1 });
  });

  test.each(["cookie", "header", "learned header"])(
    "by %s: a POST that may not be sent again is 502, and has not moved it",
    async (kind) => {
      const { stage, guests, visit, company, sessions } = await pair(kind, {}, MOVING);
      company.act = ({ wire }) => wire.reset();
      const request = kindOf(kind).request(guests[0]).replace("GET", "POST");
      const response = await ask(stage, request.replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nhi"));
      expect([response.status, response.values("set-cookie")]).toEqual([502, []]);
      company.act = ({ backend }) => ok(String(backend));
      expect((await visit(guests[0])).body).toBe("0");
      expect(sessions()).toMatchObject({ begun: 2, kept: 1, moved: 0 });
    },
  );

  test("what is no HTTP is 502, and has not moved it", async () => {
    const { guests, visit, company, sessions } = await pair("cookie", {}, MOVING);
    company.act = ({ wire }) => wire.end("nonsense\r\n\r\n");
    const response = await visit(guests[0]);
    expect([response.status, response.values("set-cookie")]).toEqual([502, []]);
    company.act = ({ backend }) => ok(String(backend));
    expect((await visit(guests[0])).body).toBe("0");
    expect(sessions()).toMatchObject({ begun: 2, kept: 1, moved: 0 });
  });

  const nobodyAnswers = async (kind: string) => {
    const all = await pair(kind, {}, MOVING);
    const { guests, visit, sessions } = all;
    await refuse(all, 0);
    await refuse(all, 1);
    for (const guest of guests) expect((await visit(guest)).status).toBe(502);
    await comeBack(all, 0);
    await comeBack(all, 1);
    expect((await visit(guests[0])).body).toBe("0");
    expect((await visit(guests[1])).body).toBe("1");
    expect(sessions()).toMatchObject({ begun: 2, kept: 2, moved: 0 });
  };
  test.each(["cookie", "header", "learned header"])(
    "by %s: nobody answers: it is where it was, once that is back",
    nobodyAnswers,
  );

  const countedWhenAnswered = async (kind: string) => {
    const { stage, visit, company, sessions } = await pair(kind, {}, BARE);
    company.act = ({ wire }) => wire.reset();
    const fresh = new Visitor(9);
    expect((await visit(fresh)).status).toBe(502);
    expect(sessions().begun).toBe(2);
    company.act = ({ backend }) => ok(String(backend));
    for (let i = 0; i < 3; i++) expect((await visit(fresh)).status).toBe(200);
    expect(new Set(fresh.served.slice(1)).size).toBe(1);
    expect(sessions()).toMatchObject({ begun: 3, kept: 2, moved: 0 });
    await stage.quiet();
  };
  test.each(["cookie", "header"])("by %s: one that begins is counted when it is answered first", countedWhenAnswered);

  test("all are down: 503, and whichever is back first serves it: its own, if that is the one", async () => {
    for (const kind of ["cookie", "header"]) {
      const { stage, guests, visit, sessions } = await pair(kind);
      const { plane } = stage.proxy;
      for (const slot of [0, 1]) plane.setHealth(slot, false, "by a test");
      for (const guest of guests) {
        const response = await visit(guest);
        expect([response.status, response.value("spillway-reason")]).toEqual([503, "no-backend"]);
      }
      plane.setHealth(0, true, "by a test");
      for (const guest of guests) expect((await visit(guest)).body).toBe("0");
      plane.setHealth(1, true, "by a test");
      for (const guest of guests) expect((await visit(guest)).body).toBe("0");
      expect(sessions()).toMatchObject({ begun: 2, kept: 3, moved: 1, lost: 0 });
    }
  });
});

describe("an upstream with a fallback", () => {
  /** `web` with two backends and `spare` with one, whose responses say who they are. */
  async function withSpare(web: AffinityInput, spare: AffinityInput) {
    const stage = await scene(
      ["0", "1", "spare"].map((body) => async (wire) => {
        for (;;) {
          await wire.request();
          wire.write(ok(body));
        }
      }),
      {
        settings: (urls) => ({
          listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
          upstreams: {
            web: {
              balance: "round-robin",
              backends: urls.slice(0, 2),
              affinity: web,
              circuitBreaker: { fallback: { upstream: "spare" } },
            },
            spare: { backends: urls.slice(2), affinity: spare },
          },
        }),
      },
    );
    const health = (up: boolean) => {
      for (const slot of [0, 1]) stage.proxy.plane.setHealth(slot, up, "by a test");
    };
    const figures = () =>
      stage.proxy.snapshot().upstreams.map(({ sessions: { begun, kept, moved, lost } }) => [begun, kept, moved, lost]);
    return { stage, health, figures };
  }
  const WEB = { cookie: "spillway", key: KEY };

  test("a session that it serves meanwhile keeps its cookie, and its backend once that is back", async () => {
    const { stage, health, figures } = await withSpare(WEB, false);
    await ask(stage, get());
    const own = await ask(stage, get());
    const request = get("/", [`Cookie: ${cookieOf(own)}`]);
    health(false);
    for (let i = 0; i < 3; i++) {
      const response = await ask(stage, request);
      expect([response.status, response.body, response.values("set-cookie")]).toEqual([200, "spare", []]);
    }
    health(true);
    for (let i = 0; i < 3; i++) expect((await ask(stage, request)).body).toBe(own.body);
    expect(figures()).toEqual([
      [2, 3, 0, 0],
      [0, 0, 0, 0],
    ]);
  });

  test("so does one of a table, which has not moved", async () => {
    const { stage, health, figures } = await withSpare({ header: "x-session" }, false);
    await ask(stage, get());
    const request = get("/", ["X-Session: a"]);
    const own = await ask(stage, request);
    health(false);
    for (let i = 0; i < 3; i++) expect((await ask(stage, request)).body).toBe("spare");
    health(true);
    for (let i = 0; i < 3; i++) expect((await ask(stage, request)).body).toBe(own.body);
    expect(figures()[0]).toEqual([1, 3, 0, 0]);
  });

  test("with sessions of its own each has its cookie, and neither is lost", async () => {
    const { stage, health, figures } = await withSpare(WEB, { cookie: "spare", key: KEY });
    await ask(stage, get());
    const own = await ask(stage, get());
    health(false);
    const first = await ask(stage, get("/", [`Cookie: ${cookieOf(own)}`]));
    expect([first.body, first.values("set-cookie").length]).toEqual(["spare", 1]);
    expect(cookieOf(first)).toMatch(/^spare=/);
    const both = get("/", [`Cookie: ${cookieOf(first)}; ${cookieOf(own)}`]);
    const second = await ask(stage, both);
    expect([second.body, second.values("set-cookie")]).toEqual(["spare", []]);
    health(true);
    const back = await ask(stage, both);
    expect([back.body, back.values("set-cookie")]).toEqual([own.body, []]);
    expect(figures()).toEqual([
      [2, 1, 0, 0],
      [1, 1, 0, 0],
    ]);
  });

  test("with sessions in a cookie of the same name they begin anew when the upstream is back, and nothing fails", async () => {
    const { stage, health, figures } = await withSpare(WEB, WEB);
    const own = await ask(stage, get());
    health(false);
    const first = await ask(stage, get("/", [`Cookie: ${cookieOf(own)}`]));
    expect(first.body).toBe("spare");
    health(true);
    const back = await ask(stage, get("/", [`Cookie: ${cookieOf(first)}`]));
    expect([back.status, back.values("set-cookie").length]).toEqual([200, 1]);
    expect(figures()).toEqual([
      [2, 0, 0, 0],
      [1, 0, 0, 0],
    ]);
  });
});

test("a backend that fails others is left by its session though the client sends all at once", async () => {
  const all = await pair("header", {}, MOVING);
  const { stage, guests, sessions } = all;
  await refuse(all, 0);
  const wire = await stage.client();
  wire.write(kindOf("header").request(guests[0]).repeat(20));
  for (let i = 0; i < 20; i++) expect((await wire.response()).body).toBe("1");
  expect(sessions()).toMatchObject({ begun: 2, kept: 19, moved: 1 });
});
