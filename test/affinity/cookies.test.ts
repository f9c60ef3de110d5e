import { describe, expect, test } from "vitest";
import { type Act, ask, type Cast, cast, reply } from "../isolation/cast.ts";
import { ok } from "../support/raw-backend.ts";
import { get, post, READ_MODES, type Scene, type SceneOptions, scene } from "../support/scene.ts";
import type { Message } from "../support/wire.ts";
import { type AffinityInput, cookieOf, KEY, stoppedTime } from "./visitors.ts";

interface Bakery {
  readonly stage: Scene;
  readonly company: Cast;
  /** A cookie of each backend, in order. */
  readonly cookies: readonly string[];
}

/** Two backends in turns, with sessions by a cookie. */
async function bakery(
  affinity: object = {},
  { act = ({ backend }) => ok(String(backend)), ...options }: SceneOptions & { act?: Act } = {},
): Promise<Bakery> {
  const company = cast(2, ({ backend }) => ok(String(backend)));
  const stage = await scene(company.scripts, {
    ...options,
    upstream: {
      balance: "round-robin",
      ...options.upstream,
      affinity: { cookie: "spillway", key: KEY, ...affinity } as AffinityInput,
    },
  });
  const given = [await ask(stage, get()), await ask(stage, get())].sort((a, b) => Number(a.body) - Number(b.body));
  expect(given.map(({ body }) => body)).toEqual(["0", "1"]);
  company.act = act;
  return { stage, company, cookies: given.map((response) => cookieOf(response)!) };
}

/** What a response sets, the values of Spillway's cookies left out. */
function set(response: Message): string[] {
  return response.values("set-cookie").map((value) => value.replace(/=[\w-]{22}\.[0-9a-z]+(?=;|$)/, "=VALUE"));
}

const DEFAULT = "spillway=VALUE; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax";

describe("attributes", () => {
  test.each([
    ["the defaults", {}, DEFAULT],
    [
      "all that there are",
      { cookie: { name: "s", path: "/shop", domain: "shop.test", secure: true, sameSite: "Strict" } },
      "s=VALUE; Path=/shop; Domain=shop.test; Max-Age=3600; HttpOnly; SameSite=Strict; Secure",
    ],
    [
      "as few as there can be",
      { cookie: { secure: false, httpOnly: false, sameSite: false, maxAge: false } },
      "spillway=VALUE; Path=/",
    ],
    ["for other sites", { cookie: { sameSite: "None", secure: true } }, `${DEFAULT.replace("Lax", "None")}; Secure`],
    ["a time of parts of a second", { ttl: "1500ms" }, DEFAULT.replace("3600", "2")],
    ["the shortest time", { ttl: "10ms" }, DEFAULT.replace("3600", "1")],
    ["a long time", { ttl: "30d" }, DEFAULT.replace("3600", "2592000")],
  ])("%s", async (_, affinity, expected) => {
    const { stage } = await bakery(affinity);
    expect(set(await ask(stage, get()))).toEqual([expected]);
  });

  const https = ["X-Forwarded-Proto: https"];
  test.each([
    ["auto", "a trusted peer says https", ["127.0.0.1"], https, true],
    ["auto", "a trusted peer says HTTPS", ["127.0.0.1"], ["x-forwarded-proto: HTTPS"], true],
    [
      "auto",
      "two trusted proxies say https, http: the first is who the client came to",
      ["127.0.0.1"],
      ["X-Forwarded-Proto: https, http"],
      true,
    ],
    ["auto", "two trusted proxies say http, https", ["127.0.0.1"], ["X-Forwarded-Proto: http, https"], false],
    ["auto", "a trusted peer says http", ["127.0.0.1"], ["X-Forwarded-Proto: http"], false],
    ["auto", "a trusted peer says nothing", ["127.0.0.1"], [], false],
    ["auto", "an untrusted peer says https", [], https, false],
    ["auto", "a peer that is not among the trusted says https", ["10.0.0.0/8"], https, false],
    [true, "nobody says anything", [], [], true],
    [false, "a trusted peer says https", ["127.0.0.1"], https, false],
  ] as const)("secure: %s, %s", async (secure, _, trustedProxies, fields, expected) => {
    const { stage } = await bakery({ cookie: { secure } }, { listener: { trustedProxies } });
    expect(set(await ask(stage, get("/", fields)))).toEqual([expected ? `${DEFAULT}; Secure` : DEFAULT]);
  });

  test("requests by TLS and without it on one connection each get theirs", async () => {
    const { stage } = await bakery({}, { listener: { trustedProxies: ["127.0.0.1"] } });
    const wire = await stage.client();
    for (const secure of [true, false, true, true, false]) {
      wire.write(get("/", secure ? https : []));
      expect(set(await wire.response())).toEqual([secure ? `${DEFAULT}; Secure` : DEFAULT]);
    }
  });
});

describe("when it is set", () => {
  test("once, and not again as long as a tenth of its time has not passed", async () => {
    const time = stoppedTime();
    const { stage, cookies } = await bakery();
    const come = (cookie: string) => ask(stage, get("/", [`Cookie: ${cookie}`]));
    for (const ms of [0, 1, 359_998]) {
      time.pass(ms);
      for (const [backend, cookie] of cookies.entries()) {
        const response = await come(cookie);
        expect([response.body, set(response)]).toEqual([String(backend), []]);
      }
    }
    time.pass(1);
    for (const [backend, cookie] of cookies.entries()) {
      const response = await come(cookie);
      expect([response.body, set(response)]).toEqual([String(backend), [DEFAULT]]);
      const renewed = cookieOf(response)!;
      expect(renewed.split(".")).toEqual([cookie.split(".")[0], time.wallMs.toString(36)]);
      // The one that was renewed is still good, for as long as it was before.
      expect((await come(cookie)).body).toBe(String(backend));
      expect(set(await come(renewed))).toEqual([]);
    }
    expect(stage.proxy.snapshot().upstreams[0]!.sessions).toMatchObject({ begun: 2, moved: 0 });
  });

  test("it is a value of its own for each backend, the same for all clients of one", async () => {
    const { stage, cookies } = await bakery();
    const tokens = new Set(cookies.map((cookie) => cookie.split(".")[0]));
    expect(tokens.size).toBe(2);
    for (let i = 0; i < 10; i++) tokens.add(cookieOf(await ask(stage, get()))!.split(".")[0]);
    expect(tokens.size).toBe(2);
  });

  test.each([200, 201, 204, 301, 304, 400, 404, 500])("on a response %i of a backend", async (status) => {
    const bodiless = `HTTP/1.1 ${status} x\r\n\r\n`;
    const act: Act = () => (status === 204 || status === 304 ? bodiless : reply(status, "x"));
    const { stage, cookies } = await bakery({}, { act });
    const response = await ask(stage, get());
    expect([response.status, set(response)]).toEqual([status, [DEFAULT]]);
    const kept = await ask(stage, get("/", [`Cookie: ${cookies[0]}`]));
    expect([kept.status, set(kept)]).toEqual([status, []]);
  });

  test("on a 503 of a backend, and where that is tried again the cookie is that of who answers", async () => {
    const act: Act = ({ backend }) => (backend === 0 ? reply(503, "no") : ok("1"));
    const without = await bakery({}, { act, upstream: { retry: false, outlierDetection: false } });
    const kept = await ask(without.stage, get("/", [`Cookie: ${without.cookies[0]}`]));
    expect([kept.status, set(kept)]).toEqual([503, []]);
    const { stage, cookies, company } = await bakery({}, { act, upstream: { outlierDetection: false } });
    const before = company.deliveries.length;
    const response = await ask(stage, get("/", [`Cookie: ${cookies[0]}`]));
    expect(company.deliveries.slice(before).map(({ backend }) => backend)).toEqual([0, 1]);
    expect([response.status, set(response)]).toEqual([200, [DEFAULT]]);
    expect(cookieOf(response)!.split(".")[0]).toBe(cookies[1]!.split(".")[0]);
    expect(stage.proxy.snapshot().upstreams[0]!.sessions).toMatchObject({ begun: 2, moved: 1 });
  });

  test("on a 101, and not on one of a session that stays", async () => {
    const upgrade = ["Connection: Upgrade", "Upgrade: echo"];
    const act: Act = ({ backend }) =>
      `HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\nX-From: ${backend}\r\n\r\n`;
    const { stage, cookies } = await bakery({}, { act });
    const response = await ask(stage, get("/ws", upgrade));
    expect([response.status, set(response)]).toEqual([101, [DEFAULT]]);
    const from = Number(response.value("x-from"));
    expect(cookieOf(response)!.split(".")[0]).toBe(cookies[from]!.split(".")[0]);
    for (const backend of [0, 0, 1, 1]) {
      const kept = await ask(stage, get("/ws", [...upgrade, `Cookie: ${cookies[backend]}`]));
      expect([kept.status, kept.value("x-from"), set(kept)]).toEqual([101, String(backend), []]);
    }
  });

  test("on the response itself, and not on those that announce it", async () => {
    const act: Act = () => `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n${ok("x")}`;
    const { stage } = await bakery({}, { act });
    const wire = await stage.client();
    wire.write(get());
    for (const [status, cookies] of [
      [103, []],
      [100, []],
      [200, [DEFAULT]],
    ] as const) {
      const response = await wire.response();
      expect([response.status, set(response)]).toEqual([status, cookies]);
    }
  });

  test("on a response whose body has no end of its own, and on one in chunks", async () => {
    const act: Act = ({ request, wire }) => {
      if (request.start.includes("/chunks"))
        return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nEnd: x\r\n\r\n";
      wire.end("HTTP/1.1 200 OK\r\n\r\nall");
    };
    const { stage } = await bakery({}, { act });
    const chunked = await ask(stage, get("/chunks"));
    expect([chunked.body, set(chunked)]).toEqual(["a", [DEFAULT]]);
    const endless = await ask(stage, get("/endless"));
    expect([endless.body, set(endless)]).toEqual(["all", [DEFAULT]]);
  });

  test("not on answers of Spillway's own", async () => {
    const { stage, company } = await bakery(
      {},
      {
        act: ({ wire }) => wire.reset(),
        listener: {
          limits: { bodyBytes: "10B" },
          routes: [
            { match: { path: "/old" }, redirect: { to: "/new", status: 308 } },
            { match: { path: "/ping" }, respond: { status: 200, body: "pong" } },
            { match: { path: "/limited" }, rateLimit: { key: "client-ip", rate: 1, per: "1h" }, upstream: "web" },
            { match: { path: "/late" }, timeout: "50ms", upstream: "web" },
            { match: { path: "/down/*" }, upstream: "web" },
            { match: { path: "/" }, upstream: "web" },
          ],
        },
        upstream: { outlierDetection: false, circuitBreaker: false },
      },
    );
    const expectOwn = async (request: string, status: number) => {
      const response = await ask(stage, request);
      expect([response.status, set(response)]).toEqual([status, []]);
    };
    await expectOwn(get("/nowhere"), 404);
    await expectOwn(get("/old"), 308);
    await expectOwn(get("/ping"), 200);
    await expectOwn(post("more than ten bytes"), 413);
    await expectOwn(get("/", ["Broken"]), 400);
    await expectOwn(get("/"), 502);
    await expectOwn(post("once", "/"), 502);
    await expectOwn(get("/limited"), 502);
    await expectOwn(get("/limited"), 429);
    company.act = () => {};
    await expectOwn(get("/late"), 504);
    for (const slot of [0, 1]) stage.proxy.plane.setHealth(slot, false, "by a test");
    await expectOwn(get("/down/"), 503);
    expect(stage.proxy.snapshot().upstreams[0]!.sessions).toMatchObject({ begun: 2, kept: 0, moved: 0 });
  });
});

describe("beside what others set and send", () => {
  const APPLICATION = ["Set-Cookie: a=1; Path=/x", "X-Between: 1", "set-cookie: b=2", "SET-COOKIE: c=3; Secure"];

  test("the application's own cookies keep their order, and Spillway's follows", async () => {
    const { stage, cookies } = await bakery({}, { act: () => ok("x", APPLICATION) });
    const theirs = ["a=1; Path=/x", "b=2", "c=3; Secure"];
    expect(set(await ask(stage, get()))).toEqual([...theirs, DEFAULT]);
    expect(set(await ask(stage, get("/", [`Cookie: ${cookies[0]}`])))).toEqual(theirs);
  });

  test("rules that remove or set cookies of responses are about the application's", async () => {
    const { stage } = await bakery(
      {},
      {
        act: () => ok("x", APPLICATION),
        listener: {
          routes: [
            { match: { path: "/remove" }, headers: { response: { remove: ["set-cookie"] } }, upstream: "web" },
            { match: { path: "/set" }, headers: { response: { set: { "Set-Cookie": "d=4" } } }, upstream: "web" },
            { upstream: "web" },
          ],
        },
      },
    );
    expect(set(await ask(stage, get("/remove")))).toEqual([DEFAULT]);
    expect(set(await ask(stage, get("/set")))).toEqual(["d=4", DEFAULT]);
  });

  test("a rule that takes the Cookie field away from the backend does not take the session away", async () => {
    const { stage, cookies, company } = await bakery(
      {},
      { listener: { routes: [{ headers: { request: { remove: ["cookie"] } }, upstream: "web" }] } },
    );
    for (const backend of [1, 1, 0, 0]) {
      expect((await ask(stage, get("/", [`Cookie: ${cookies[backend]}; a=1`]))).body).toBe(String(backend));
      expect(company.deliveries.at(-1)!.request.values("cookie")).toEqual([]);
    }
  });

  test("the backend gets the Cookie field as it was sent", async () => {
    const { stage, cookies, company } = await bakery();
    const field = `a=1;  ${cookies[0]}; b="2"`;
    await ask(stage, get("/", [`Cookie: ${field}`]));
    expect(company.deliveries.at(-1)!.request.values("cookie")).toEqual([field]);
  });

  const among = Array.from({ length: 200 }, (_, n) => `c${n}=${"v".repeat(n % 60)}`);
  test.each<[string, (cookies: readonly string[]) => readonly string[]]>([
    ["in a second Cookie field", ([mine]) => ["Cookie: a=1", `Cookie: ${mine}`]],
    ["in the first of three Cookie fields", ([mine]) => [`cookie: ${mine}`, "COOKIE: a=1", "Accept: x", "Cookie: b=2"]],
    ["among 200 others", ([mine]) => [`Cookie: ${among.join("; ")}; ${mine}; ${among.join(";")}`]],
    ["without blanks", ([mine]) => [`Cookie: a=1;${mine};b=2`]],
    ["with more blanks than there should be", ([mine]) => [`Cookie:\t a=1 ;  \t${mine}  ;`]],
    ["twice: the first counts", ([mine, other]) => [`Cookie: ${mine}; ${other}`]],
    ["in two fields: the first counts", ([mine, other]) => [`Cookie: ${mine}`, `Cookie: ${other}`]],
    ["behind names that are longer, or begin alike", ([mine, other]) => [`Cookie: x${other}; _${other}; ${mine}`]],
    ["behind its name in capitals", ([mine, other]) => [`Cookie: ${other!.replace("spillway", "Spillway")}; ${mine}`]],
    ["behind its name without a value", ([mine]) => [`Cookie: spillway; spillway; ${mine}`]],
    ["behind an empty one", ([mine]) => [`Cookie: spillway=; ${mine}`]],
    ["behind a forged one", ([mine]) => [`Cookie: spillway=forged; ${mine}`]],
    ["behind 500 that look like it", ([mine]) => [`Cookie: ${`spillway=${"A".repeat(22)}.mwu; `.repeat(500)}${mine}`]],
    ["behind pairs that are none", ([mine]) => [`Cookie: ;;=; =x; a; ${mine}`]],
  ])("a client's own is found: %s", async (_, fields) => {
    const { stage, cookies } = await bakery();
    for (const [backend, order] of [cookies, [cookies[1]!, cookies[0]!]].entries()) {
      for (let i = 0; i < 3; i++) {
        const response = await ask(stage, get("/", fields(order)));
        expect([response.body, set(response)]).toEqual([String(backend), []]);
      }
    }
  });

  test.each<[string, (cookie: string) => string]>([
    ["of another name", (cookie) => `Cookie: x${cookie}`],
    ["of its name in capitals", (cookie) => `Cookie: ${cookie.toUpperCase()}`],
    ["with a blank before the equals sign", (cookie) => `Cookie: ${cookie.replace("=", " =")}`],
    ["with a blank behind it", (cookie) => `Cookie: ${cookie.replace("=", "= ")}`],
    ["in quotes", (cookie) => `Cookie: ${cookie.replace("=", '="')}"`],
    ["parted by commas", (cookie) => `Cookie: a=1, ${cookie}`],
    ["in another field", (cookie) => `X-Cookie: ${cookie}`],
    ["in a Cookie2 field", (cookie) => `Cookie2: ${cookie}`],
    ["in Set-Cookie", (cookie) => `Set-Cookie: ${cookie}`],
  ])("one that is not its own counts as none: %s", async (_, field) => {
    const { stage, cookies } = await bakery();
    const served = [];
    for (let i = 0; i < 6; i++) {
      const response = await ask(stage, get("/", [field(cookies[0]!)]));
      expect(set(response)).toEqual([DEFAULT]);
      served.push(response.body);
    }
    expect(served).toEqual(["0", "1", "0", "1", "0", "1"]);
  });
});

describe("clients of every kind", () => {
  test("HTTP/1.0, with and without keep-alive", async () => {
    const { stage, cookies } = await bakery();
    const plain = await ask(stage, "GET / HTTP/1.0\r\n\r\n");
    expect([plain.status, set(plain)]).toEqual([200, [DEFAULT]]);
    const wire = await stage.client();
    for (const backend of [1, 1, 0, 0, 1]) {
      wire.write(`GET / HTTP/1.0\r\nConnection: keep-alive\r\nCookie: ${cookies[backend]}\r\n\r\n`);
      const response = await wire.response();
      expect([response.body, set(response)]).toEqual([String(backend), []]);
    }
  });

  test("HEAD", async () => {
    const { stage, cookies, company } = await bakery({}, { act: () => "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" });
    const head = (field = "") => ask(stage, `HEAD / HTTP/1.1\r\nHost: a\r\n${field}\r\n`);
    const response = await head();
    expect([response.status, response.value("content-length"), set(response)]).toEqual([200, "7", [DEFAULT]]);
    for (const backend of [1, 1, 0]) {
      expect(set(await head(`Cookie: ${cookies[backend]}\r\n`))).toEqual([]);
      expect(company.deliveries.at(-1)!.backend).toBe(backend);
    }
  });

  test("a POST with a body, short and long", async () => {
    const { stage, cookies, company } = await bakery();
    for (const size of [5, 500_000]) {
      expect(set(await ask(stage, post("x".repeat(size))))).toEqual([DEFAULT]);
      for (const backend of [1, 1]) {
        const response = await ask(stage, post("x".repeat(size), "/", [`Cookie: ${cookies[backend]}`]));
        expect([response.body, set(response)]).toEqual([String(backend), []]);
        expect(company.deliveries.at(-1)!.request.body.length).toBe(size);
      }
    }
  });

  test.each(READ_MODES)(
    "requests sent ahead on one connection each have their own session (reads by %s)",
    async (mode) => {
      const { stage, cookies } = await bakery({}, { mode });
      const wire = await stage.client();
      // None, none, and again those that were there before: what is remembered of a field block is not of the next one.
      const order = [0, 1, -1, 1, 1, 0, -1, -1, 0, 0, 1, -1, 0];
      wire.write(order.map((backend) => get("/", backend < 0 ? [] : [`Cookie: ${cookies[backend]}`])).join(""));
      const fresh = [];
      for (const backend of order) {
        const response = await wire.response();
        expect(set(response)).toEqual(backend < 0 ? [DEFAULT] : []);
        if (backend < 0) fresh.push(response.body);
        else expect(response.body).toBe(String(backend));
      }
      expect(fresh).toEqual(["0", "1", "0", "1"]);
    },
  );

  test("a request whose head comes byte by byte", async () => {
    const { stage, cookies } = await bakery();
    const wire = await stage.client();
    for (const backend of [1, 0]) {
      await wire.writeInPieces(get("/", [`Cookie: a=1; ${cookies[backend]}; b=2`]), 1);
      const response = await wire.response();
      expect([response.body, set(response)]).toEqual([String(backend), []]);
    }
  });

  test("a client that leaves before it is answered costs no session", async () => {
    const { stage, company } = await bakery({}, { act: () => {} });
    for (let i = 0; i < 10; i++) {
      const wire = await stage.client();
      wire.write(get());
      const before = company.deliveries.length;
      while (company.deliveries.length === before) await new Promise((resolve) => setImmediate(resolve));
      wire.reset();
    }
    await stage.quiet();
    expect(stage.proxy.snapshot().upstreams[0]!.sessions).toMatchObject({ begun: 2, kept: 0, moved: 0 });
  });
});
