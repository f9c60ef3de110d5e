import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { defineConfig } from "./define.ts";
import { formatMistake, mistakeCodes } from "./mistakes.ts";
import { checkConfig, type Loaded, parseConfig } from "./parse.ts";
import { loadQuick } from "./quick.ts";
import type { Settings, SettingsInput } from "./settings.ts";

const environment = {};
const yaml = (text: string): Loaded => parseConfig(text, { file: "spillway.yaml", format: "yaml", environment });
const value = (config: unknown): Loaded => checkConfig(config, { file: "config", environment });

function settings(loaded: Loaded): Settings {
  if (!loaded.ok) throw new Error(loaded.mistakes.map(formatMistake).join("\n"));
  return loaded.settings;
}

const SMALL: SettingsInput = defineConfig({
  listeners: [{ listen: ":8080", upstream: "web" }],
  upstreams: { web: { backends: ["http://10.0.0.1:3000"] } },
});

test("what is left out takes the defaults of the design", () => {
  const { workers, admin, log, listeners, upstreams } = settings(value(SMALL));
  expect({ workers, admin, log }).toEqual({
    workers: 1,
    admin: { listen: { kind: "tcp", host: "127.0.0.1", port: 9900 } },
    log: { level: "info", access: { format: "off", path: "stdout" } },
  });
  const [listener] = listeners;
  expect(listener).toMatchObject({
    listen: { kind: "tcp", host: undefined, port: 8080 },
    protocol: "http",
    trustedProxies: [],
    clientPosition: false,
    limits: {
      headBytes: 32_768,
      headFields: 100,
      targetBytes: 8192,
      chunkExtensionBytes: 1024,
      bodyBytes: Number.POSITIVE_INFINITY,
      connections: 10_000,
      requestsPerConnection: Number.POSITIVE_INFINITY,
    },
    timeouts: { head: 10_000, idle: 60_000, body: 60_000, tunnel: 3_600_000, drain: 30_000 },
    forwarded: { xForwarded: true, rfc7239: false, via: true, requestId: "x-request-id", deadline: "x-deadline-ms" },
    routes: [
      {
        name: "web",
        timeout: Number.POSITIVE_INFINITY,
        priority: { header: undefined, default: "normal" },
        rateLimit: false,
        action: { kind: "upstream", upstream: "web" },
      },
    ],
  });
  expect(upstreams.web).toEqual({
    balance: { policy: "weighted-round-robin" },
    hostHeader: "keep",
    affinity: false,
    backends: [
      {
        id: "10.0.0.1:3000",
        address: "10.0.0.1:3000",
        endpoint: { kind: "tcp", host: "10.0.0.1", port: 3000 },
        weight: 1,
        state: "up",
        maxConnections: 256,
        maxRequests: Number.POSITIVE_INFINITY,
        tier: 0,
        position: undefined,
        region: "",
      },
    ],
    pool: {
      maxConnections: 256,
      maxIdle: 64,
      idleTimeout: 60_000,
      maxRequests: Number.POSITIVE_INFINITY,
      maxAge: Number.POSITIVE_INFINITY,
      queue: { max: 1024, timeout: 1000, target: Number.POSITIVE_INFINITY },
    },
    healthCheck: { type: "tcp", interval: 5000, timeout: 1000, unhealthyAfter: 3, healthyAfter: 1 },
    timeouts: { connect: 2000, response: 30_000, idle: 60_000 },
    circuitBreaker: false,
    outlierDetection: {
      consecutiveFailures: 5,
      consecutiveGatewayFailures: Number.POSITIVE_INFINITY,
      interval: 10_000,
      ejectFor: 30_000,
      maxEjectFor: 300_000,
      maxEjected: 0.1,
      successRate: { deviations: 1.9, minimumBackends: 5, minimumRequests: 100 },
      failureShare: false,
      latency: false,
    },
    retry: {
      attempts: 2,
      on: ["connect", "reset", "timeout", "malformed", 502, 503],
      unsafeMethods: false,
      budget: 0.2,
      minimumBudget: 3,
      perTryTimeout: Number.POSITIVE_INFINITY,
      backoff: { base: 25, max: 250 },
      bodyBytes: 65_536,
    },
    concurrencyLimit: false,
    slowStart: false,
    panicThreshold: false,
    hedge: false,
    throttle: false,
  });
});

test("settings are plain data that a worker gets whole", () => {
  const loaded = settings(value(SMALL));
  expect(structuredClone(loaded)).toEqual(loaded);
});

test("switched off is written false", () => {
  const { admin, log, listeners, upstreams } = settings(
    value({
      admin: false,
      log: { access: false },
      listeners: [{ listen: ":8080", upstream: "web", forwarded: { requestId: false, deadline: false } }],
      upstreams: {
        web: {
          backends: ["http://a"],
          healthCheck: false,
          pool: { queue: false },
          outlierDetection: false,
          retry: false,
        },
      },
    }),
  );
  expect(admin).toBe(false);
  expect(log.access.format).toBe("off");
  expect(listeners[0]?.forwarded).toMatchObject({ requestId: false, deadline: false });
  expect(upstreams.web?.healthCheck).toBe(false);
  expect(upstreams.web?.pool.queue).toEqual({ max: 0, timeout: 0, target: Number.POSITIVE_INFINITY });
  expect(upstreams.web).toMatchObject({ outlierDetection: false, retry: false });
});

describe("addresses of listeners are parsed", () => {
  test.each([
    ["127.0.0.1:8080", { kind: "tcp", host: "127.0.0.1", port: 8080 }],
    ["[::]:8080", { kind: "tcp", host: "::", port: 8080 }],
    ["[2001:DB8::1]:1", { kind: "tcp", host: "2001:db8::1", port: 1 }],
    [":0", { kind: "tcp", host: undefined, port: 0 }],
    ["localhost:8080", { kind: "tcp", host: "localhost", port: 8080 }],
    ["unix:/run/x.sock", { kind: "unix", path: "/run/x.sock" }],
  ])("%s", (listen, expected) => {
    expect(settings(value({ ...SMALL, listeners: [{ listen, upstream: "web" }] })).listeners[0]?.listen).toEqual(
      expected,
    );
  });
});

describe("addresses of backends are parsed, and name them", () => {
  test.each([
    ["http://10.0.0.1", "10.0.0.1:80", { kind: "tcp", host: "10.0.0.1", port: 80 }],
    ["http://[::1]:3000/", "[::1]:3000", { kind: "tcp", host: "::1", port: 3000 }],
    ["HTTP://App_1.Internal:3000", "app_1.internal:3000", { kind: "tcp", host: "app_1.internal", port: 3000 }],
    ["http+unix:/run/app.sock", "unix:/run/app.sock", { kind: "unix", path: "/run/app.sock" }],
    ["http+unix:///run/app.sock", "unix:/run/app.sock", { kind: "unix", path: "/run/app.sock" }],
  ])("%s", (url, id, endpoint) => {
    const [backend] = settings(value({ ...SMALL, upstreams: { web: { backends: [url] } } })).upstreams.web!.backends;
    expect(backend).toMatchObject({ id, address: id, endpoint });
  });
});

test("a route that says which paths it takes is resolved to what the route room compiles", () => {
  const loaded = yaml(`
listeners:
  - listen: :8080
    routes:
      - match: { host: [Shop.Test, "*.shop.test"], path: /v1/*, method: GET, headers: { X-Canary: true }, query: { beta: "1" }, client: 192.0.2.0/24 }
        rewrite: { stripPrefix: /v1/ }
        headers: { request: { set: { X-Tenant: a } } }
        upstream: web
upstreams: { web: { backends: [http://a] } }
`);
  expect(settings(loaded).listeners[0]?.routes[0]).toEqual({
    name: "route-1",
    match: {
      host: ["shop.test", "*.shop.test"],
      path: { kind: "prefix", prefix: "/v1/" },
      method: ["GET"],
      headers: [{ name: "x-canary", value: true }],
      query: [{ name: "beta", value: "1" }],
      client: ["192.0.2.0/24"],
    },
    rewrite: { stripPrefix: "/v1" },
    headers: {
      request: { set: [{ name: "X-Tenant", value: "a" }], add: [], remove: [] },
      response: { set: [], add: [], remove: [] },
    },
    timeout: Number.POSITIVE_INFINITY,
    priority: { header: undefined, default: "normal" },
    rateLimit: false,
    action: { kind: "upstream", upstream: "web" },
  });
});

test("the environment goes into texts, with $${ for the characters themselves", () => {
  const loaded = parseConfig(
    `listeners: [{ listen: ":8080", routes: [{ match: { path: /a }, respond: { body: "$\${A} \${A} \${B:-b} \${EMPTY:-c}\${EMPTY}$" } }, { upstream: web }] }]\nupstreams: { web: { backends: [http://a] } }`,
    { file: "f", format: "yaml", environment: { A: `\${B}`, EMPTY: "" } },
  );
  expect(settings(loaded).listeners[0]?.routes[0]?.action).toMatchObject({ body: `\${A} \${B} b c$` });
});

test("what is on the command line goes through the same schema, and is named by its options", () => {
  const loaded = loadQuick(
    { listen: ":8080", balance: "least-connections", urls: ["http://10.0.0.1", "http://10.0.0.2"] },
    environment,
  );
  expect(settings(loaded)).toMatchObject({
    listeners: [{ listen: { port: 8080 }, routes: [{ action: { upstream: "web" } }] }],
    upstreams: {
      web: { balance: { policy: "least-connections" }, backends: [{ id: "10.0.0.1:80" }, { id: "10.0.0.2:80" }] },
    },
  });
  const wrong = loadQuick(
    {
      listen: "8080",
      balance: "rr",
      workers: "many",
      admin: "x",
      accessLog: "x",
      logLevel: "x",
      urls: ["10.0.0.1:3000"],
    },
    environment,
  );
  expect(wrong.ok ? [] : wrong.mistakes.map(({ key }) => key).sort()).toEqual([
    "--access-log",
    "--admin",
    "--balance",
    "--listen",
    "--log-level",
    "--workers",
    "addresses[0]",
  ]);
  expect(settings(loadQuick({ admin: false, urls: ["http://a"] }, environment)).admin).toBe(false);
});

test("a value that is no data is told, whatever it is", () => {
  const ring: Record<string, unknown> = {};
  ring.self = ring;
  const throwing = {
    get listeners() {
      throw new Error("not today");
    },
  };
  for (const junk of [
    undefined,
    null,
    5,
    "x",
    Symbol("s"),
    5n,
    () => 1,
    [],
    ring,
    new Map(),
    new Date(0),
    throwing,
    new Proxy(
      {},
      {
        ownKeys: () => {
          throw new Error("no");
        },
      },
    ),
  ]) {
    const loaded = value(junk);
    expect(loaded.ok).toBe(false);
    expect(!loaded.ok && loaded.mistakes.length).toBeGreaterThan(0);
  }
});

/** Configurations that are right, with any part of them left out. */
const duration = fc.constantFrom("10ms", "250ms", "5s", "1m", "1h");
const backend = fc.integer({ min: 1, max: 254 }).map((last) => `http://10.0.0.${last}:3000`);
const backends = fc.uniqueArray(backend, { minLength: 1, maxLength: 5 }).chain((urls) =>
  fc.tuple(
    ...urls.map((url) =>
      fc.oneof(
        fc.constant(url),
        fc.record(
          {
            url: fc.constant(url),
            weight: fc.integer({ min: 1, max: 256 }),
            state: fc.constantFrom("up", "drain", "down"),
            backup: fc.oneof(fc.boolean(), fc.integer({ min: 0, max: 9 })),
            maxRequests: fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.constant("unlimited")),
            location: fc.constantFrom({ region: "eu" }, { latitude: -1.5, longitude: 2, region: "eu" }),
          },
          { requiredKeys: ["url"] },
        ),
      ),
    ),
  ),
);
const percent = fc.integer({ min: 1, max: 100 }).map((share) => `${share}%`);
const kinds = fc.array(fc.constantFrom("connect", "timeout", "reset", "malformed", "truncated", "5xx", 429, "503"));
const optional = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(model, { requiredKeys: [] });
const upstream = fc
  .tuple(
    backends,
    optional({
      balance: fc.constantFrom(
        "round-robin",
        "random",
        { policy: "consistent-hash", key: "header:x-user" },
        { policy: "ip-hash" },
        "nearest",
        { policy: "nearest", withinKm: 1.5, maxKm: "unlimited", spillover: false, regions: ["eu"], fallback: "random" },
      ),
      hostHeader: fc.constantFrom("keep", "backend", "shop.test:8080"),
      pool: optional({
        maxConnections: fc.integer({ min: 1, max: 65535 }),
        maxAge: fc.oneof(duration, fc.constant("unlimited")),
        queue: fc.oneof(fc.constant(false), optional({ timeout: duration })),
      }),
      healthCheck: fc.oneof(
        fc.constant(false),
        optional({ interval: duration }),
        fc.record({ type: fc.constant("http"), expectStatus: fc.constantFrom(200, "200-299", [200, "300-399"]) }),
      ),
      timeouts: optional({ connect: duration, response: duration, idle: duration }),
      circuitBreaker: fc.oneof(
        fc.constant(false),
        optional({
          on: kinds,
          errorThreshold: percent,
          slowerThan: duration,
          fallback: fc.constant({ respond: { status: 502 } }),
        }),
      ),
      outlierDetection: fc.oneof(
        fc.constant(false),
        optional({ maxEjected: percent, latency: optional({ factor: fc.integer({ min: 1, max: 9 }) }) }),
      ),
      retry: fc.oneof(
        fc.constant(false),
        optional({ on: kinds, budget: percent, perTryTimeout: duration, unsafeMethods: fc.boolean() }),
      ),
      panicThreshold: fc.oneof(fc.constant(false), percent),
      throttle: fc.oneof(fc.constant(false), optional({ maxRefused: percent })),
      affinity: fc.oneof(
        fc.constantFrom(false, "client-ip", "cookie:a", "header:x-a", "query:sid"),
        fc
          .tuple(
            fc.constantFrom(
              { cookie: { name: "a", path: "/a", secure: true, sameSite: false } },
              { learned: { cookie: "SID" } },
              { header: "X-A" },
              { "client-ip": true },
            ),
            optional({
              ttl: duration,
              maxSessions: fc.integer({ min: 1, max: 1000 }),
              strict: fc.boolean(),
              store: fc.constantFrom("memory", "redis://10.0.0.9", { url: "redis://10.0.0.9/1", timeout: "1s" }),
              rebalance: fc.constantFrom(false, {}, { rate: 0.5 }),
            }),
          )
          .map(([by, rest]) => ({ ...by, ...rest })),
      ),
    }),
  )
  .map(([list, rest]) => ({ backends: list, ...rest }));
const action = fc.oneof(
  fc.constant({ upstream: "web" }),
  fc.integer({ min: 1, max: 100 }).map((weight) => ({
    split: [
      { upstream: "web", weight },
      { upstream: "api", weight: 1 },
    ],
  })),
  fc.constantFrom(301, 302, 308).map((status) => ({ redirect: { to: "/new", status } })),
  fc.integer({ min: 400, max: 599 }).map((status) => ({ respond: { status, body: "no" } })),
);
const segment = fc.stringMatching(/^[a-z0-9-]{1,8}$/);
const route = fc
  .tuple(
    action,
    optional({
      match: optional({
        host: fc.constantFrom("shop.test", "*.shop.test", ["a.test", "b.test"]),
        path: fc.oneof(
          segment.map((name) => `/${name}`),
          segment.map((name) => `/${name}/*`),
          fc.constant({ regex: "^/u/[0-9]+$" }),
        ),
        method: fc.constantFrom("GET", ["GET", "HEAD"]),
        headers: fc.dictionary(segment, fc.constantFrom("1", true), { maxKeys: 3 }),
        client: fc.constantFrom("10.0.0.0/8", ["::1", "192.0.2.1"]),
      }),
      timeout: duration,
      priority: fc.constantFrom("high", "low", { header: "x-priority" }, { header: "X-P", default: "low" }),
      rateLimit: fc.oneof(
        fc.constant(false),
        fc.record(
          { rate: fc.integer({ min: 1, max: 1000 }), burst: fc.integer({ min: 1, max: 1000 }), per: duration },
          { requiredKeys: ["rate"] },
        ),
      ),
      headers: optional({
        response: fc.record({
          set: fc.dictionary(
            segment.map((name) => `x-${name}`),
            fc.constantFrom("a", "{backend}", "{request-id}"),
            { maxKeys: 3 },
          ),
        }),
      }),
    }),
  )
  .map(([does, rest]) => ({ ...does, ...rest }));
const config = fc
  .record({
    web: upstream,
    api: upstream,
    routes: fc.array(route, { minLength: 1, maxLength: 5 }),
    position: optional({
      clientPosition: fc.constantFrom(
        false,
        { geoip: "city.mmdb" },
        { headers: { geo: "geolocation" } },
        { headers: { latitude: "x-a", longitude: "x-b" }, default: { latitude: 1, longitude: -0.5 } },
      ),
    }),
    rest: optional({
      workers: fc.oneof(fc.integer({ min: 1, max: 256 }), fc.constant("auto")),
      admin: fc.constantFrom(false, { listen: "127.0.0.1:9901" }),
      log: fc.constantFrom({ level: "debug" }, { access: { format: "json" } }),
    }),
  })
  .map(({ web, api, routes, position, rest }) => ({
    listeners: [{ listen: "127.0.0.1:8080", routes, ...position }],
    upstreams: { web, api },
    ...rest,
  }));

test("every configuration that keeps the rules loads, the same from YAML, JSON and a value", () => {
  fc.assert(
    fc.property(config, (input) => {
      const expected = settings(value(input));
      expect(settings(yaml(stringify(input)))).toEqual(expected);
      expect(settings(parseConfig(JSON.stringify(input), { file: "f.json", format: "json", environment }))).toEqual(
        expected,
      );
    }),
    { numRuns: 100, seed: 1 },
  );
});

function expectTold(loaded: Loaded): void {
  if (loaded.ok) return;
  expect(loaded.mistakes.length).toBeGreaterThan(0);
  for (const { code, wrong, fix } of loaded.mistakes) {
    expect(Object.hasOwn(mistakeCodes, code)).toBe(true);
    expect(wrong).not.toBe("");
    expect(fix).not.toBe("");
  }
}

test("no text at all makes reading throw", () => {
  const shred = fc.string({
    unit: fc.constantFrom(..."listeners:upstreams- {}[]\"'&*!|>%@`#\n\t\r ,?0123\\$\u00e9\ud83d\0"),
    maxLength: 200,
  });
  fc.assert(
    fc.property(fc.oneof(fc.string(), shred), fc.constantFrom("yaml" as const, "json" as const), (text, format) => {
      expectTold(parseConfig(text, { file: "f", format, environment }));
    }),
    { numRuns: 2000, seed: 1 },
  );
});

test("no value in any place makes checking throw", () => {
  const junk = fc.anything({
    maxDepth: 2,
    withBigInt: true,
    withDate: true,
    withMap: true,
    withNullPrototype: true,
    withSparseArray: true,
  });
  const paths = [
    "workers",
    "admin",
    "log",
    "listeners",
    "upstreams",
    "listeners.0",
    "listeners.0.listen",
    "listeners.0.routes",
    "listeners.0.routes.0",
    "listeners.0.routes.0.match",
    "listeners.0.routes.0.headers",
    "listeners.0.routes.0.priority",
    "listeners.0.routes.0.rateLimit",
    "upstreams.web",
    "upstreams.web.backends",
    "upstreams.web.backends.0",
    "upstreams.web.balance",
    "upstreams.web.healthCheck",
    "upstreams.web.pool",
    "upstreams.web.circuitBreaker",
    "upstreams.web.circuitBreaker.fallback",
    "upstreams.web.circuitBreaker.on",
    "upstreams.web.outlierDetection",
    "upstreams.web.outlierDetection.latency",
    "upstreams.web.retry",
    "upstreams.web.retry.backoff",
    "upstreams.web.concurrencyLimit",
    "upstreams.web.panicThreshold",
    "upstreams.web.hedge",
    "upstreams.web.affinity",
    "upstreams.web.affinity.cookie",
    "upstreams.web.affinity.cookie.name",
    "upstreams.web.affinity.learned",
    "upstreams.web.affinity.store",
    "upstreams.web.backends.0.location",
    "listeners.0.clientPosition",
    "listeners.0.clientPosition.headers",
    "listeners.0.clientPosition.headers.latitude",
  ];
  fc.assert(
    fc.property(config, fc.constantFrom(...paths), junk, (input, path, wrong) => {
      const copy = structuredClone(input) as unknown as Record<string, unknown>;
      const steps = path.split(".");
      let place = copy;
      for (const step of steps.slice(0, -1)) {
        if (typeof place[step] !== "object") place[step] = {};
        place = place[step] as Record<string, unknown>;
      }
      place[steps.at(-1)!] = wrong;
      expectTold(value(copy));
    }),
    { numRuns: 400, seed: 1 },
  );
});

test("a deep nest, a wide file and a long line are read or refused, not suffered", () => {
  for (const text of ["[".repeat(20_000), "{a: ".repeat(5000), "- a\n".repeat(10_000), `a: ${"x".repeat(1_000_000)}`]) {
    expectTold(yaml(text));
    expectTold(parseConfig(text, { file: "f", format: "json", environment }));
  }
});
