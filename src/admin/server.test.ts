import { once } from "node:events";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent, request } from "undici";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { settingsOf } from "../../test/support/fake-plane.ts";
import { BY_HEADER, bench } from "../../test/support/metrics-bench.ts";
import type { BoundAddress, RequestDescription } from "../proxy/data-plane-api.ts";
import { explainOffline } from "../proxy/explain-offline.ts";
import { type Admin, createAdmin } from "./server.ts";
import type { AdminSource, Readiness } from "./source.ts";

const startedAt = Date.parse("2026-01-02T03:04:05Z");

interface Fake extends AdminSource {
  readiness: Readiness;
  broken: boolean;
  readonly described: RequestDescription[];
}

const explained = settingsOf({
  upstreams: {
    web: { backends: ["http://10.0.0.1:80", { url: "http://10.0.0.2:80", state: "drain" }], affinity: "header:x-user" },
  },
});

function fakeSource(name = "web"): Fake {
  const { stripes, counts, snapshot } = bench(
    2,
    { web: name, a: "10.0.0.1:80" },
    { affinity: BY_HEADER, regions: ["seoul", "tokyo"] },
  );
  for (const stripe of stripes) {
    stripe.exchangeStarted(0);
    stripe.attemptStarted(1);
    stripe.attemptEnded(1, false, 75);
    stripe.exchangeEnded(0, 200, false, 75);
    stripe.waiting(0, 3);
    stripe.concurrencyLimit(0, 20);
    stripe.retried(0);
    stripe.retryDenied(0);
    for (let i = 0; i < 2; i++) stripe.moved(0);
    stripe.fellBack(0);
    for (let i = 0; i < 2; i++) stripe.hedged(0);
    stripe.hedgeWon(0);
    stripe.ejected(1);
    stripe.sessionsHeld(0, 5);
    stripe.sessionBegun(0);
    for (let i = 0; i < 2; i++) stripe.sessionKept(0);
    for (let i = 0; i < 3; i++) stripe.sessionMoved(0);
    for (let i = 0; i < 4; i++) stripe.sessionLost(0);
    stripe.sessionsEvicted(0, 6);
    stripe.rebalanced(0);
    stripe.positionFrom("header");
  }
  for (const km of [10, 20.0004]) stripes[0]!.distance(0, km);
  for (const ms of [1, 2]) stripes[0]!.storeAsked("find", ms);
  stripes[0]!.storeFailed();
  stripes[0]!.breakerTripped(1);
  counts.takeActive(1, Number.POSITIVE_INFINITY);
  counts.takeConnection(1, 9);
  return {
    version: "1.2.3",
    startedAt,
    readiness: { ready: true, reason: "" },
    broken: false,
    described: [],
    snapshot() {
      if (this.broken) throw new Error("secret detail");
      const view = { address: "10.0.0.2:80", reason: "3 checks failed: connection refused", weight: 4 };
      const condition = { circuit: "open", ejected: true } as const;
      const store = { upstream: name, kind: "redis", url: "redis://cache.test", up: false } as const;
      return snapshot([{ ...view, ...condition, slot: 1, state: "down", since: startedAt + 1000 }], [store]);
    },
    status: () => ({ workers: 2, listeners: ["127.0.0.1:8080"] }),
    ready() {
      return this.readiness;
    },
    async explain(described) {
      this.described.push(described);
      return this.broken
        ? undefined
        : explainOffline(explained, described, { geoip: new Map(), secret: "s", wallMs: 0 });
    },
  };
}

let source: Fake;
let errors: Error[];
let admin: Admin;
let port: number;

beforeEach(async () => {
  source = fakeSource();
  errors = [];
  admin = createAdmin(source, {
    listen: { kind: "tcp", host: "127.0.0.1", port: 0 },
    onError: (error) => errors.push(error),
  });
  port = portOf(await admin.start());
});

afterEach(() => admin.stop());

function portOf(address: BoundAddress): number {
  if (address.kind !== "tcp") throw new Error("not a TCP address");
  return address.port;
}

const get = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init);

describe("answers", () => {
  test("/metrics is what Prometheus scrapes", async () => {
    const response = await get("/metrics");
    expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const text = await response.text();
    expect(text).toContain('spillway_backend_requests_total{upstream="web",backend="10.0.0.2:80"} 2\n');
    expect(text).toContain(`spillway_build_info{version="1.2.3",node="${process.version}"} 1\n`);
    expect(text).toContain("spillway_workers 2\n");
    expect(text).toMatch(/process_resident_memory_bytes \d{7,}\n/);
  });

  test("/healthz says alive even while nothing is ready", async () => {
    source.readiness = { ready: false, reason: "starting" };
    const response = await get("/healthz");
    expect([response.status, await response.json()]).toEqual([200, { alive: true }]);
  });

  test("/readyz follows readiness and gives the reason against it", async () => {
    expect((await get("/readyz")).status).toBe(200);
    source.readiness = { ready: false, reason: "draining" };
    const response = await get("/readyz");
    expect([response.status, await response.json()]).toEqual([503, { ready: false, reason: "draining" }]);
  });

  test("/api/v1/status holds an object per backend with its address, state, the reason and since when", async () => {
    const status = (await (await get("/api/v1/status")).json()) as Record<string, unknown>;
    expect(status).toMatchObject({
      version: "1.2.3",
      startedAt: "2026-01-02T03:04:05.000Z",
      readiness: { ready: true, reason: "" },
      workers: 2,
      listeners: ["127.0.0.1:8080"],
      requests: { total: 2, failed: 0, active: 0, meanMs: 75, statuses: { 200: 2 } },
    });
    expect(status.uptimeSeconds).toBeGreaterThan(0);
    const [web, api] = status.upstreams as { name: string; backends: object[] }[];
    expect(web!.backends).toHaveLength(2);
    expect(web!.backends[1]).toEqual({
      id: "10.0.0.2:80",
      address: "10.0.0.2:80",
      region: "tokyo",
      location: { latitude: 35.7, longitude: 139.7 },
      state: "down",
      reason: "3 checks failed: connection refused",
      since: "2026-01-02T03:04:06.000Z",
      circuit: "open",
      ejected: true,
      weight: 4,
      active: 1,
      connections: { open: 1, opened: 0, reused: 0 },
      requests: 2,
      failures: 0,
      meanMs: 75,
      breakerTrips: 1,
      ejections: 2,
    });
    expect(web).toMatchObject({
      waiting: 6,
      concurrencyLimit: 40,
      retries: 2,
      retriesDenied: 2,
      moves: 4,
      fallbacks: 2,
      hedges: 4,
      hedgesWon: 2,
    });
    expect(api).toMatchObject({ name: "api", backends: [{ id: "c", state: "up" }] });
  });

  test("/api/v1/status says what became of sessions, where exchanges went, and null where there is none of it", async () => {
    const status = (await (await get("/api/v1/status")).json()) as { upstreams: object[] };
    expect(status).toMatchObject({
      positions: { header: 2, geoip: 0, default: 0, none: 0 },
      sessionStore: { find: { asked: 2, meanMs: 1.5 }, place: { asked: 0, meanMs: 0 }, failures: 1 },
      sessionStores: [{ upstream: "web", kind: "redis", url: "redis://cache.test", up: false }],
    });
    expect(status.upstreams[0]).toMatchObject({
      affinity: {
        by: "header:x-session",
        ttlMs: 3_600_000,
        strict: false,
        store: "memory",
        maxSessions: 100_000,
        held: 10,
        begun: 2,
        kept: 4,
        moved: 6,
        lost: 8,
        evicted: 12,
        rebalanced: 2,
      },
      regions: { seoul: 0, tokyo: 2 },
      meanKm: 15,
    });
    expect(status.upstreams[1]).toMatchObject({
      affinity: null,
      regions: {},
      meanKm: null,
      backends: [{ region: "", location: null }],
    });
  });

  test("/api/v1/report is the report", async () => {
    const response = await get("/api/v1/report");
    expect(response.headers.get("content-type")).toMatch(/^text\/plain/);
    expect(await response.text()).toContain("50-100 ms             2 100.0 %");
  });

  test("/ links everything else and shows the report", async () => {
    const text = await (await get("/")).text();
    expect(text).toContain("Spillway 1.2.3");
    expect(text).toContain("listening on 127.0.0.1:8080");
    expect(text).toContain("50-100 ms");
    expect(text).toContain("sessions             10   held, 2 begun");
    const links = [...text.matchAll(/href="([^"]+)"/g)].map((match) => match[1]!);
    for (const link of links) expect((await get(link)).status, link).toBe(200);
    expect(links).toHaveLength(6);
  });

  test("/openapi.json names every path, and what it says of the status is so", async () => {
    const document = (await (await get("/openapi.json")).json()) as {
      paths: Record<string, { get: { responses: Record<string, { content: Record<string, { schema: Schema }> }> } }>;
    };
    for (const path of Object.keys(document.paths)) expect((await get(path)).status, path).toBe(200);
    const { schema } = document.paths["/api/v1/status"]!.get.responses["200"]!.content["application/json"]!;
    expectMatches(schema, await (await get("/api/v1/status")).json(), "status");
  });

  test("/api/v1/explain says where a request would go, as /openapi.json describes it", async () => {
    const response = await get(
      "/api/v1/explain?method=PUT&host=shop.test&target=/a?b=c&client=192.0.2.7&listener=0&header=X-User:+7&header=a:b",
    );
    expect([response.status, response.headers.get("content-type")]).toEqual([200, "application/json"]);
    const headers = [
      ["x-user", "7"],
      ["a", "b"],
    ];
    const described = { method: "PUT", host: "shop.test", target: "/a?b=c", client: "192.0.2.7", listener: 0, headers };
    expect(source.described).toEqual([described]);
    const explanation = await response.json();
    expect(explanation).toMatchObject({
      route: "web",
      rateLimit: null,
      upstreams: [
        {
          pick: {
            session: { by: "header:x-user", state: "unknown", backend: null },
            choice: { kind: "backend", backend: "10.0.0.1:80" },
            backends: [
              { verdict: "chosen", because: "its turn" },
              { verdict: "out", because: "draining: only its sessions" },
            ],
          },
        },
      ],
    });
    const document = (await (await get("/openapi.json")).json()) as {
      paths: Record<string, { get: { responses: Record<string, { content: Record<string, { schema: Schema }> }> } }>;
    };
    const { schema } = document.paths["/api/v1/explain"]!.get.responses["200"]!.content["application/json"]!;
    expectMatches(schema, explanation, "explanation");
  });

  test("a described request is GET / from this machine where nothing else is said, and its Host may be a field", async () => {
    const { upstreams, ...said } = (await (await get("/api/v1/explain?header=Host:+a.test")).json()) as Record<
      string,
      unknown
    >;
    expect(upstreams).toHaveLength(1);
    expect(said).toMatchObject({ method: "GET", host: "a.test", target: "/", client: "127.0.0.1" });
  });

  test("HEAD answers as GET does, without the body", async () => {
    const response = await get("/metrics", { method: "HEAD" });
    expect([response.status, await response.text()]).toEqual([200, ""]);
  });

  test("an upstream's name cannot put markup into the page", async () => {
    await admin.stop();
    admin = createAdmin(fakeSource("<script>alert(1)</script>"), {
      listen: { kind: "tcp", host: "127.0.0.1", port: 0 },
    });
    port = portOf(await admin.start());
    const text = await (await get("/")).text();
    expect(text).not.toContain("<script>");
    expect(text).toContain("&lt;script&gt;");
  });
});

describe("refusals", () => {
  test("an unknown path is 404 in JSON", async () => {
    const response = await get("/api/v2/status");
    expect([response.status, response.headers.get("content-type")]).toEqual([404, "application/json"]);
    expect(await response.json()).toHaveProperty("error");
  });

  test.each(["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])("%s is 405 and names what is allowed", async (method) => {
    const response = await get("/api/v1/status", { method });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  });

  test.each([
    ["metod=GET", 'there is no parameter "metod"; there are method, host, target, client, listener, header'],
    ["method=GET&method=PUT", "the parameter method is there twice"],
    ["method=G%20T", 'method: "G T" is no method, such as GET'],
    ["host=a%0d%0ax:y", 'host: "a\\r\\nx:y" is no host, such as shop.test'],
    ["target=/a%20b", 'target: "/a b" is no target, such as /v1/x?y=1'],
    ["client=shop.test", 'client: "shop.test" is no address, such as 192.0.2.7'],
    ["listener=1", 'listener: "1" is none of the 1 there are, from 0 on'],
    ["listener=-1", 'listener: "-1" is none of the 1 there are, from 0 on'],
    ["header=x", 'header: "x" is no field, such as x-canary:1'],
    ["header=x:%00", 'header: "x:\\u0000" is no field, such as x-canary:1'],
    [Array.from({ length: 101 }, () => "header=a:b").join("&"), "header: 101 fields are more than 100"],
  ])("/api/v1/explain?%s is 400 and says what is wrong", async (query, error) => {
    const response = await get(`/api/v1/explain?${query}`);
    expect([response.status, await response.json()]).toEqual([400, { error }]);
    expect(source.described).toEqual([]);
  });

  test("without a worker that answers, nothing is explained, for now", async () => {
    source.broken = true;
    expect((await get("/api/v1/explain")).status).toBe(503);
  });

  test("a body is not waited for: it is answered before its end", async () => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write("POST /api/v1/status HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\nbegin");
    const [bytes] = (await once(socket, "data")) as [Buffer];
    expect(bytes.toString()).toMatch(/^HTTP\/1\.1 405 /);
    socket.destroy();
  });

  test("a head beyond the limit is refused", async () => {
    const response = await get("/", { headers: { "x-long": "x".repeat(17 * 1024) } });
    expect(response.status).toBe(431);
  });

  test("every answer forbids sniffing, storing, framing and foreign content", async () => {
    for (const path of ["/", "/metrics", "/api/v1/status", "/nothing"]) {
      const { headers } = await get(path);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("cache-control")).toBe("no-store");
      expect(headers.get("content-security-policy")).toMatch(/^default-src 'none'; .*frame-ancestors 'none'/);
      expect(headers.has("access-control-allow-origin")).toBe(false);
    }
  });

  test("an error inside is reported, answered with 500 that tells nothing, and the next request is fine", async () => {
    source.broken = true;
    const response = await get("/api/v1/status");
    expect([response.status, response.headers.get("cache-control")]).toEqual([500, "no-store"]);
    expect(await response.text()).not.toContain("secret");
    expect(errors.map((error) => error.message)).toEqual(["secret detail"]);
    source.broken = false;
    expect((await get("/api/v1/status")).status).toBe(200);
  });

  test("what is not HTTP is cut off, and the next request is fine", async () => {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    socket.end("\u0000\u0001 nonsense\r\n\r\n");
    socket.resume();
    await once(socket, "close");
    expect((await get("/healthz")).status).toBe(200);
  });
});

describe("life", () => {
  test("an address in use is refused with the address in the error", async () => {
    const second = createAdmin(source, { listen: { kind: "tcp", host: "127.0.0.1", port } });
    await expect(second.start()).rejects.toMatchObject({
      name: "ListenError",
      code: "EADDRINUSE",
      address: `127.0.0.1:${port}`,
    });
    await second.stop();
  });

  test("stopped, nothing answers any more, and stopping again is fine", async () => {
    await (await get("/healthz")).text();
    await admin.stop();
    await admin.stop();
    await expect(get("/healthz")).rejects.toThrow();
  });

  test("an idle keep-alive connection does not hold up the stop", async () => {
    const agent = new Agent({ keepAliveTimeout: 60_000 });
    const { body } = await request(`http://127.0.0.1:${port}/healthz`, { dispatcher: agent });
    await body.text();
    await admin.stop();
    await agent.close();
  });

  test("a Unix socket is for its owner alone, and one left behind by a dead process is taken over", async () => {
    const directory = await mkdtemp(join(tmpdir(), "spillway-admin-"));
    const path = join(directory, "admin.sock");
    try {
      const onSocket = createAdmin(source, { listen: { kind: "unix", path } });
      expect(await onSocket.start()).toEqual({ kind: "unix", path });
      expect((await stat(path)).mode & 0o777).toBe(0o600);
      const agent = new Agent({ connect: { socketPath: path } });
      const { statusCode, body } = await request("http://spillway/healthz", { dispatcher: agent });
      expect([statusCode, await body.json()]).toEqual([200, { alive: true }]);
      await expect(createAdmin(source, { listen: { kind: "unix", path } }).start()).rejects.toMatchObject({
        code: "EADDRINUSE",
        address: `unix:${path}`,
      });
      await agent.close();
      await onSocket.stop();
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test("a file that is no socket is left alone", async () => {
    const directory = await mkdtemp(join(tmpdir(), "spillway-admin-"));
    const path = join(directory, "precious");
    try {
      await writeFile(path, "data");
      await expect(createAdmin(source, { listen: { kind: "unix", path } }).start()).rejects.toThrow("no socket");
      expect((await stat(path)).size).toBe(4);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

type Schema = {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly anyOf?: readonly [Schema, { readonly type: "null" }];
};

/** The part of JSON Schema the document uses; what an object has beyond its properties fails too. */
function expectMatches(schema: Schema, value: unknown, at: string): void {
  if (schema.anyOf) {
    if (value !== null) expectMatches(schema.anyOf[0], value, at);
    return;
  }
  if (schema.enum) expect(schema.enum, at).toContain(value);
  if (schema.type === "integer") expect(Number.isInteger(value), at).toBe(true);
  else if (schema.type === "array") {
    expect(Array.isArray(value), at).toBe(true);
    for (const [index, item] of (value as unknown[]).entries()) expectMatches(schema.items!, item, `${at}[${index}]`);
  } else if (schema.type) expect(typeof value, at).toBe(schema.type);
  if (schema.type !== "object") return;
  const entries = Object.entries(value as object);
  if (schema.properties) expect(entries.map(([name]) => name).sort(), at).toEqual([...schema.required!].sort());
  for (const [name, member] of entries) {
    expectMatches(schema.properties?.[name] ?? schema.additionalProperties!, member, `${at}.${name}`);
  }
}
