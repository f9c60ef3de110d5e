import { expect, test } from "vitest";
import { answering, ok } from "../support/raw-backend.ts";
import { get, post, scene } from "../support/scene.ts";
import type { Message } from "../support/wire.ts";

type Routes = NonNullable<NonNullable<NonNullable<Parameters<typeof scene>[1]>["listener"]>["routes"]>;

/** A proxy with these routes in front of one backend, as upstream `web`, that answers with what it got. */
async function routed(routes: Routes, upstreamNames: readonly string[] = ["web"]) {
  const seen: Message[] = [];
  const { client, proxy, backends } = await scene(
    upstreamNames.map((name) =>
      answering((request) => {
        seen.push(request);
        return ok(`${name} ${request.start.split(" ")[1]}`, ["Server: secret", "X-Old: 1"]);
      }),
    ),
    {
      settings: (urls) => ({
        listeners: [{ listen: "127.0.0.1:0", routes }],
        upstreams: Object.fromEntries(upstreamNames.map((name, at) => [name, { backends: [urls[at]!] }])),
      }),
    },
  );
  const wire = await client();
  const ask = async (request: string) => {
    wire.write(request);
    return wire.response(request.startsWith("HEAD") ? "HEAD" : "GET");
  };
  return { ask, seen, proxy, backends, client };
}

test("respond answers without a backend, with its fields, and the connection goes on", async () => {
  const { ask, backends, proxy } = await routed([
    { match: { path: "/ping" }, respond: { status: 200, body: "p\u00f6ng" } },
    { match: { path: "/json" }, respond: { status: 201, body: "{}", headers: { "Content-Type": "application/json" } } },
    { match: { path: "/empty" }, respond: { status: 204 } },
    { upstream: "web" },
  ]);
  const pong = await ask(get("/ping"));
  expect(pong.status).toBe(200);
  expect(pong.body).toBe(Buffer.from("p\u00f6ng").toString("latin1"));
  expect(pong.value("content-type")).toBe("text/plain; charset=utf-8");
  expect(pong.value("content-length")).toBe("5");
  expect(pong.value("date")).toBeDefined();
  const json = await ask(get("/json"));
  expect([json.status, json.value("content-type"), json.body]).toEqual([201, "application/json", "{}"]);
  const empty = await ask(get("/empty"));
  expect([empty.status, empty.value("content-length")]).toEqual([204, undefined]);
  const head = await ask(get("/ping").replace("GET", "HEAD"));
  expect([head.status, head.value("content-length"), head.body]).toEqual([200, "5", ""]);
  expect((await ask(post("a body nobody wants", "/ping"))).status).toBe(200);
  expect((await ask(get("/other"))).body).toBe("web /other");
  expect(backends[0]!.connections).toHaveLength(1);
  expect(proxy.snapshot().own).toMatchObject({ requests: 5, failed: 0, active: 0 });
  expect(proxy.snapshot().upstreams[0]).toMatchObject({ requests: 1 });
});

test("respond to a large body that is still coming answers and closes", async () => {
  const { client } = await routed([{ respond: { status: 403, body: "no" } }]);
  const wire = await client();
  wire.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n${"x".repeat(100_000)}`);
  const response = await wire.response();
  expect([response.status, response.value("connection")]).toEqual([403, "close"]);
  await wire.gone();
});

test("redirect sends the client elsewhere", async () => {
  const { ask } = await routed([
    { match: { path: "/old" }, redirect: { to: "https://shop.test/new", status: 308 } },
    { redirect: { to: "/login" } },
  ]);
  const moved = await ask(get("/old"));
  expect([moved.status, moved.value("location")]).toEqual([308, "https://shop.test/new"]);
  const login = await ask(get("/x"));
  expect([login.status, login.value("location")]).toEqual([307, "/login"]);
});

test("no route takes it: 404, and the connection goes on", async () => {
  const { ask, proxy } = await routed([{ match: { path: "/only" }, upstream: "web" }]);
  expect((await ask(get("/other"))).status).toBe(404);
  expect((await ask(get("/only"))).status).toBe(200);
  expect(proxy.snapshot().own).toMatchObject({ requests: 1, failed: 0 });
});

test("a split gives each upstream its share", async () => {
  const { ask, proxy } = await routed(
    [
      {
        split: [
          { upstream: "stable", weight: 90 },
          { upstream: "canary", weight: 10 },
          { upstream: "never", weight: 0 },
        ],
      },
    ],
    ["stable", "canary", "never"],
  );
  for (let i = 0; i < 1_000; i++) await ask(get());
  const [stable, canary, never] = proxy.snapshot().upstreams.map(({ requests }) => requests) as [
    number,
    number,
    number,
  ];
  expect(stable + canary).toBe(1_000);
  expect(never).toBe(0);
  // Four standard deviations of a binomial with p = 0.1.
  expect(Math.abs(canary - 100)).toBeLessThan(38);
}, 20_000);

test("stripPrefix and addPrefix rewrite the path and nothing else", async () => {
  const { ask } = await routed([
    { match: { path: "/v1/*" }, rewrite: { stripPrefix: "/v1", addPrefix: "/api" }, upstream: "web" },
    { match: { path: "/bare/*" }, rewrite: { stripPrefix: "/bare" }, upstream: "web" },
    { rewrite: { addPrefix: "/all" }, upstream: "web" },
  ]);
  expect((await ask(get("/v1/x/../y%2f?q=/v1"))).body).toBe("web /api/x/../y%2f?q=/v1");
  expect((await ask(get("/bare/"))).body).toBe("web /");
  expect((await ask(get("/bare//x"))).body).toBe("web //x");
  expect((await ask(get("/v10/x"))).body).toBe("web /all/v10/x");
  expect((await ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")).body).toBe("web *");
});

test.each([
  "/v1/../admin",
  "/v1/x/../../admin",
  "/v1/%2e%2e/admin",
  "/v1/..%2fadmin",
  "/v1/.%2E%5cadmin",
  "/v1/..;x/admin",
  "/v1/x/../..",
])("%s would leave its prefix: 400, and nothing reaches the backend", async (target) => {
  const { ask, seen } = await routed([{ match: { path: "/v1/*" }, rewrite: { stripPrefix: "/v1" }, upstream: "web" }]);
  expect((await ask(get(target))).status).toBe(400);
  expect(seen).toHaveLength(0);
  expect((await ask(get("/v1/fine"))).body).toBe("web /fine");
});

test("field rules remove, set and add, in requests and responses, with variables", async () => {
  const { ask, seen, backends } = await routed([
    {
      name: "shop",
      headers: {
        request: {
          remove: ["cookie", "via"],
          set: { "x-tenant": "a", "x-who": "{client}|{route}|{request-id}|{backend}" },
          add: { accept: "text/plain" },
        },
        response: {
          remove: ["server"],
          set: { "x-backend": "{backend}", "x-old": "new" },
          add: { "x-id": "{request-id}" },
        },
      },
      upstream: "web",
    },
  ]);
  const response = await ask(get("/", ["Cookie: a=b", "X-Tenant: evil", "X-TENANT: evil", "Accept: a/b"]));
  const up = seen[0]!;
  const backend = `127.0.0.1:${backends[0]!.port}`;
  expect(up.values("cookie")).toEqual([]);
  expect(up.values("via")).toEqual([]);
  expect(up.values("x-tenant")).toEqual(["a"]);
  expect(up.values("accept")).toEqual(["a/b", "text/plain"]);
  expect(up.value("x-who")).toBe(`127.0.0.1|shop|${up.value("x-request-id")}|${backend}`);
  expect(response.values("server")).toEqual([]);
  expect(response.value("x-backend")).toBe(backend);
  expect(response.values("x-old")).toEqual(["new"]);
  expect(response.value("x-id")).toBe(up.value("x-request-id"));
});

test("response rules hold for answers of our own, too", async () => {
  const { ask } = await routed([
    { headers: { response: { set: { "x-frame-options": "DENY" } } }, respond: { body: "hi" } },
  ]);
  expect((await ask(get())).value("x-frame-options")).toBe("DENY");
});

test("a request goes by method, host, fields, query and client", async () => {
  const names = ["method", "host", "wild", "field", "query", "client", "rest"];
  const { ask, client } = await routed(
    [
      { match: { client: ["192.0.2.0/24"] }, respond: { status: 403 } },
      { match: { method: ["PUT", "DELETE"] }, upstream: "method" },
      { match: { host: "exact.test" }, upstream: "host" },
      { match: { host: "*.wild.test" }, upstream: "wild" },
      { match: { headers: { "x-canary": "1" } }, upstream: "field" },
      { match: { query: { beta: "1" } }, upstream: "query" },
      { match: { path: { regex: "^/u/[0-9]+$" }, client: "127.0.0.0/8" }, upstream: "client" },
      { upstream: "rest" },
    ],
    names,
  );
  const to = async (request: string) => (await ask(request)).body.split(" ")[0];
  expect(await to("PUT / HTTP/1.1\r\nHost: a\r\n\r\n")).toBe("method");
  expect(await to("GET / HTTP/1.1\r\nHost: EXACT.test:8080\r\n\r\n")).toBe("host");
  expect(await to("GET / HTTP/1.1\r\nHost: a.b.wild.test\r\n\r\n")).toBe("wild");
  expect(await to("GET / HTTP/1.1\r\nHost: wild.test\r\n\r\n")).toBe("rest");
  expect(await to(get("/", ["X-Canary: 1"]))).toBe("field");
  expect(await to(get("/", ["X-Canary: 1", "X-Canary: 2"]))).toBe("rest");
  expect(await to(get("/?a=b&beta=1"))).toBe("query");
  expect(await to(get("/u/42"))).toBe("client");
  expect(await to(get("/u/42x"))).toBe("rest");
  // A stranger cannot say that it comes from elsewhere.
  expect(await to(get("/", ["X-Forwarded-For: 192.0.2.9"]))).toBe("rest");
  expect(client).toBeDefined();
});

test("requests of one connection go each by its own fields, though most of them repeat", async () => {
  const { ask } = await routed(
    [
      { match: { headers: { "x-canary": "1" } }, upstream: "canary" },
      { match: { host: "api.test" }, upstream: "api" },
      { upstream: "web" },
    ],
    ["canary", "api", "web"],
  );
  const to = async (request: string) => (await ask(request)).body.split(" ")[0];
  for (let i = 0; i < 3; i++) {
    expect(await to(get("/"))).toBe("web");
    expect(await to(get("/", ["X-Canary: 1"]))).toBe("canary");
    expect(await to(get("/"))).toBe("web");
    expect(await to("GET http://api.test/ HTTP/1.1\r\nHost: shop.test\r\n\r\n")).toBe("api");
    expect(await to(get("/"))).toBe("web");
    expect(await to("GET / HTTP/1.1\r\nHost: api.test\r\n\r\n")).toBe("api");
  }
});
