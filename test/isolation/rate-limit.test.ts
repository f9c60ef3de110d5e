import { expect, test } from "vitest";
import { ok } from "../support/raw-backend.ts";
import { get, post, scene } from "../support/scene.ts";
import type { Message } from "../support/wire.ts";
import { ask, cast } from "./cast.ts";

/** A scene whose only route has this limit. */
function limited(rateLimit: object, route: object = { upstream: "web" }, listener: object = {}) {
  const company = cast(1, () => ok("served"));
  return {
    company,
    start: () =>
      scene(company.scripts, { listener: { ...listener, routes: [{ rateLimit, ...route }] as never } }).then(
        (stage) => ({
          ...stage,
          statuses: async (requests: readonly string[]) => {
            const statuses: number[] = [];
            for (const request of requests) statuses.push((await ask(stage, request)).status);
            return statuses;
          },
        }),
      ),
  };
}

function expectRefused(response: Message, retryAfter: number): void {
  expect(response.status).toBe(429);
  expect(response.value("spillway-reason")).toBe("rate");
  expect(Number(response.value("retry-after"))).toBe(retryAfter);
}

test("a client has its burst, then 429 without its backend hearing of it, and can read how it stands", async () => {
  const { company, start } = limited({ rate: 6, per: "1m", burst: 3 });
  const stage = await start();
  for (let left = 2; left >= 0; left--) {
    const response = await ask(stage, get());
    expect(response).toMatchObject({ status: 200, body: "served" });
    expect(response.value("ratelimit-policy")).toBe('"default";q=6;w=60');
    expect(response.value("ratelimit")).toMatch(new RegExp(`^"default";r=${left};t=\\d+$`));
    expect(response.value("retry-after")).toBeUndefined();
  }
  const response = await ask(stage, get());
  expectRefused(response, 10);
  expect(response.value("ratelimit-policy")).toBe('"default";q=6;w=60');
  expect(response.value("ratelimit")).toBe('"default";r=0;t=10');
  expectRefused(await ask(stage, post("order")), 10);
  expect(company.deliveries).toHaveLength(3);
  expect(stage.proxy.snapshot()).toMatchObject({ shed: { rate: 2 }, upstreams: [{ statuses: { 200: 3, 429: 2 } }] });
});

test("the connection of a refused request serves on, whatever its body was", async () => {
  const { start } = limited({ key: "header:x-user", rate: 1, per: "1m" });
  const stage = await start();
  const wire = await stage.client();
  wire.write(get("/", ["X-User: a"]));
  expect((await wire.response()).status).toBe(200);
  wire.write(get("/", ["X-User: a"]) + post("short", "/", ["X-User: a"]) + get("/", ["X-User: b"]));
  expect((await wire.response()).status).toBe(429);
  expect((await wire.response()).status).toBe(429);
  expect((await wire.response()).status).toBe(200);
});

test("a refused request with a long body is answered without it, and its connection closes", async () => {
  const { start } = limited({ rate: 1, per: "1m" });
  const stage = await start();
  await ask(stage, get());
  const wire = await stage.client();
  wire.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n${"x".repeat(500)}`);
  const response = await wire.response();
  expect(response.status).toBe(429);
  expect(response.value("connection")).toBe("close");
});

test("tokens come back with time", async () => {
  const { start } = limited({ rate: 10, per: "1s", burst: 1 });
  const stage = await start();
  const from = performance.now();
  let served = 0;
  while (served < 5) if ((await ask(stage, get())).status === 200) served++;
  const took = performance.now() - from;
  expect(took).toBeGreaterThan(380);
});

test("key header:NAME: each value has its own, and who has none is not limited", async () => {
  const stage = await limited({ key: "header:x-user", rate: 1, per: "1m" }).start();
  const of = (user: string) => get("/", [`x-USER: ${user}`]);
  expect(await stage.statuses([of("a"), of("b"), of("a"), of("b"), of("c")])).toEqual([200, 200, 429, 429, 200]);
  expect(await stage.statuses([get(), get(), get()])).toEqual([200, 200, 200]);
  expect((await ask(stage, get())).value("ratelimit")).toBeUndefined();
});

test("key cookie:NAME: each session has its own", async () => {
  const stage = await limited({ key: "cookie:SID", rate: 1, per: "1m" }).start();
  const of = (cookie: string) => get("/", [`Cookie: ${cookie}`]);
  expect(await stage.statuses([of("a=1; SID=x"), of("SID=y"), of("SID=x; b=2"), of("SID=y"), of("other=x")])).toEqual([
    200, 200, 429, 429, 200,
  ]);
});

test("key client-ip: behind a trusted proxy it is the client's own address", async () => {
  const stage = await limited({ rate: 1, per: "1m" }, undefined, { trustedProxies: ["127.0.0.1"] }).start();
  const of = (chain: string) => get("/", [`X-Forwarded-For: ${chain}`]);
  expect(
    await stage.statuses([
      of("192.0.2.1"),
      of("192.0.2.2"),
      of("192.0.2.1"),
      of("198.51.100.7, 192.0.2.2"),
      of("192.0.2.3"),
    ]),
  ).toEqual([200, 200, 429, 429, 200]);
});

test("key client-ip: whoever has one address of an IPv6 network has all of them", async () => {
  const stage = await limited({ rate: 1, per: "1m" }, undefined, { trustedProxies: ["127.0.0.1"] }).start();
  const of = (chain: string) => get("/", [`X-Forwarded-For: ${chain}`]);
  expect(
    await stage.statuses([
      of("2001:db8:1:2::1"),
      of("2001:db8:1:2:ffff:ffff:ffff:ffff"),
      of("2001:0DB8:1:2:3::"),
      of("[2001:db8:1:2::9]:4711"),
      of("2001:db8:1:3::1"),
      of("2001:db8:1:3::2"),
    ]),
  ).toEqual([200, 429, 429, 429, 200, 429]);
});

test("key client-ip: IPv4 addresses count one by one, however they are written", async () => {
  const stage = await limited({ rate: 1, per: "1m" }, undefined, { trustedProxies: ["127.0.0.1"] }).start();
  const of = (chain: string) => get("/", [`X-Forwarded-For: ${chain}`]);
  expect(
    await stage.statuses([of("::ffff:192.0.2.1"), of("192.0.2.1"), of("::ffff:192.0.2.2"), of("::FFFF:192.0.2.2")]),
  ).toEqual([200, 429, 200, 429]);
});

test("key client-ip: nobody escapes by naming another address", async () => {
  const stage = await limited({ rate: 1, per: "1m" }).start();
  const of = (chain: string) => get("/", [`X-Forwarded-For: ${chain}`]);
  expect(await stage.statuses([of("192.0.2.1"), of("192.0.2.2"), get()])).toEqual([200, 429, 429]);
});

test("each route counts for itself", async () => {
  const company = cast(1, () => ok());
  const rateLimit = { rate: 1, per: "1m" } as const;
  const { client } = await scene(company.scripts, {
    listener: {
      routes: [
        { match: { path: "/a/*" }, rateLimit, upstream: "web" },
        { match: { path: "/b/*" }, rateLimit, upstream: "web" },
        { upstream: "web" },
      ],
    },
  });
  const statuses: number[] = [];
  for (const path of ["/a/1", "/b/1", "/a/2", "/b/2", "/c", "/c"]) {
    statuses.push((await ask({ client }, get(path))).status);
  }
  expect(statuses).toEqual([200, 200, 429, 429, 200, 200]);
});

test.each([
  ["respond", { respond: { status: 200, body: "pong" } }, 200],
  ["redirect", { redirect: { to: "/new" } }, 307],
] as const)("a route that answers by itself (%s) is limited, too", async (_what, action, status) => {
  const stage = await limited({ rate: 2, per: "1m" }, action).start();
  for (let i = 0; i < 2; i++) {
    const response = await ask(stage, get());
    expect(response.status).toBe(status);
    expect(response.value("ratelimit")).toMatch(/^"default";r=[01];t=\d+$/);
  }
  expectRefused(await ask(stage, get()), 30);
  expect(stage.proxy.snapshot()).toMatchObject({ shed: { rate: 1 }, own: { requests: 3, statuses: { 429: 1 } } });
});

test("keys: the ones not seen for longest are forgotten, and memory stays bounded", async () => {
  const stage = await limited({ key: "header:x-user", rate: 1, per: "1h", keys: 2 }).start();
  const of = (user: string) => get("/", [`X-User: ${user}`]);
  expect(await stage.statuses([of("a"), of("b"), of("a"), of("c"), of("a"), of("b")])).toEqual([
    200, 200, 429, 200, 429, 200,
  ]);
});
