import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { inDirectory, speak } from "../../test/support/terminal.ts";

const directory = mkdtempSync(join(tmpdir(), "spillway-check-"));
afterAll(() => rmSync(directory, { recursive: true }));

const file = join(directory, "shop.yaml");
writeFileSync(
  file,
  `listeners:
  - listen: 127.0.0.1:8080
    routes:
      - match: { host: "*.shop.test", path: /v1/*, method: [GET], headers: { x-canary: "1" }, query: { beta: true }, client: 192.0.2.0/24 }
        rewrite: { stripPrefix: /v1, addPrefix: /api }
        headers: { request: { remove: [cookie] } }
        timeout: 1500ms
        upstream: api
      - { name: canary, match: { path: /checkout/* }, split: [{ upstream: web, weight: 95 }, { upstream: api, weight: 5 }] }
      - { match: { path: /old }, redirect: { to: "https://shop.test/new", status: 308 } }
      - { match: { path: { regex: "^/u/[0-9]+$" } }, respond: { status: 410 } }
      - { match: { path: /files/* }, upstream: web }
  - { listen: "unix:/run/shop.sock", upstream: web }
upstreams:
  web:
    backends: [http://10.0.0.1:3000, { url: "http://10.0.0.2:3000", id: b, weight: 3 }, { url: "http://10.0.0.3:3000", state: drain }]
  api:
    balance: { policy: consistent-hash, key: header:x-user }
    backends: [http+unix:/run/api.sock]
    healthCheck: { type: http, path: /healthz }
    pool: { queue: false }
`,
);

test("a configuration is explained in words: routes, backends, health, and what took its default", async () => {
  const { exitCode, out, err } = await speak(["check", file]);
  expect({ exitCode, err }).toEqual({ exitCode: 0, err: `${file} is fine.\n` });
  expect(out.split("\n\nNot written")[0]).toBe(
    `Listener 127.0.0.1:8080 (HTTP/1.1, no proxy in front is believed)
  route-1  host *.shop.test, paths below /v1/, method GET, header x-canary "1", query beta, clients in 192.0.2.0/24  -> upstream api, /v1 stripped, /api put in front, 1 request field changed, within 1500ms
  canary   paths below /checkout/                                        -> 95 % upstream web, 5 % upstream api
  route-3  path /old                                                     -> redirect 308 to https://shop.test/new
  route-4  paths like ^/u/[0-9]+$                                        -> answer 410
  route-5  paths below /files/                                           -> upstream web
  anything else: 404

Listener unix:/run/shop.sock (HTTP/1.1, no proxy in front is believed)
  web  everything  -> upstream web

Upstream web (weighted-round-robin, 3 backends)
  10.0.0.1:3000       weight 1, 25 %  at most 256 connections
  b at 10.0.0.2:3000  weight 3, 75 %  at most 256 connections
  10.0.0.3:3000       draining        at most 256 connections
  health: a connection every 5s; down after 3 failures in a row, up after 1 good
  when no backend has room: up to 1024 exchanges wait 1s
  when an attempt fails: what was not sent goes elsewhere, what is idempotent is sent up to 2 times, 20 % of the exchanges at most
  when a backend fails: ejected for 30s and more, one or 10 % of them at most
  time to connect 2s, to the response 30s, between parts of it 1m

Upstream api (consistent-hash, key header:x-user, virtualNodes 150, 1 backend)
  unix:/run/api.sock  weight 1, 100 %  at most 256 connections
  health: GET /healthz every 5s; down after 3 failures in a row, up after 1 good
  when no backend has room: 503 at once
  when an attempt fails: what was not sent goes elsewhere, what is idempotent is sent up to 2 times, 20 % of the exchanges at most
  when a backend fails: ejected for 30s and more, one or 10 % of them at most
  time to connect 2s, to the response 30s, between parts of it 1m

Admin API 127.0.0.1:9900
Workers: 1. Log level info, no access log.`,
  );
  expect(out).toContain("\n  workers 1\n");
  expect(out).toContain("  listeners[0].timeouts: head 10s, idle 60s, body 60s, tunnel 1h, drain 30s\n");
  expect(out).toContain(
    "  upstreams.web.healthCheck: type tcp, interval 5s, timeout 1s, unhealthyAfter 3, healthyAfter 1\n",
  );
});

test("what is switched on against faults and floods is explained too", async () => {
  const guarded = join(directory, "guarded.yaml");
  writeFileSync(
    guarded,
    `listeners:
  - listen: 127.0.0.1:8080
    routes:
      - { match: { path: /checkout/* }, priority: high, upstream: web }
      - { match: { path: /api/* }, rateLimit: { key: header:x-user, rate: 10, burst: 20 }, priority: { header: X-Priority, default: low }, upstream: web }
      - { rateLimit: { rate: 5, per: 1m }, upstream: spare }
upstreams:
  web:
    backends: [http://10.0.0.1, { url: "http://10.0.0.2", maxRequests: 8 }, { url: "http://10.0.0.3", backup: true }]
    pool: { queue: { target: 20ms } }
    circuitBreaker: { fallback: { upstream: spare, respond: { status: 503 } } }
    retry: { attempts: 3, unsafeMethods: true, perTryTimeout: 2s }
    concurrencyLimit: {}
    slowStart: {}
    panicThreshold: 50%
    hedge: {}
    throttle: {}
  spare:
    backends: [http://10.0.0.4]
    outlierDetection: false
    retry: false
`,
  );
  const { out } = await speak(["check", guarded]);
  expect(out.split("\n\nAdmin")[0]).toBe(
    `Listener 127.0.0.1:8080 (HTTP/1.1, no proxy in front is believed)
  route-1  paths below /checkout/  -> upstream web, high priority
  route-2  paths below /api/       -> upstream web, priority by x-priority, else low, at most 10 in 1s for each header:x-user, 20 at once
  route-3  everything              -> upstream spare, at most 5 in 1m for each client-ip

Upstream web (weighted-round-robin, 3 backends)
  10.0.0.1:80  weight 1, 50 %                    at most 256 connections
  10.0.0.2:80  weight 1, 50 %                    at most 256 connections, 8 exchanges
  10.0.0.3:80  weight 1, 100 % of backup tier 1  at most 256 connections
  health: a connection every 5s; down after 3 failures in a row, up after 1 good
  when no backend has room: up to 1024 exchanges wait 1s, newest first while they wait over 20ms
  when an attempt fails: what was not sent goes elsewhere, any request is sent up to 3 times, 2s each, 20 % of the exchanges at most
  when a backend fails: ejected for 30s and more, one or 10 % of them at most; circuit opens for 5s and more; with none left upstream spare, then answer 503
  exchanges at a time: 4 to 1000, as response times allow
  back again: whole weight after 30s
  panic: all get traffic when fewer than 50 % are well
  hedged: requests slower than 95 % of others
  throttled: up to 80 % refused while most fail
  time to connect 2s, to the response 30s, between parts of it 1m

Upstream spare (weighted-round-robin, 1 backend)
  10.0.0.4:80  weight 1, 100 %  at most 256 connections
  health: a connection every 5s; down after 3 failures in a row, up after 1 good
  when no backend has room: up to 1024 exchanges wait 1s
  when an attempt fails: its failure is final
  when a backend fails: it keeps its traffic
  time to connect 2s, to the response 30s, between parts of it 1m`,
  );
  expect(out).toContain(
    "  upstreams.web.circuitBreaker: on [connect, timeout, reset, malformed, truncated, 5xx], consecutiveFailures 5, errorThreshold 50%,",
  );
});

const sticky = join(directory, "sticky.yaml");
writeFileSync(
  sticky,
  `listeners:
  - listen: 127.0.0.1:8080
    trustedProxies: [10.0.0.0/8]
    clientPosition: { headers: { geo: Geolocation }, geoip: city.mmdb, default: { latitude: 52.5, longitude: 13.4 } }
    routes:
      - { match: { path: /a }, upstream: api }
      - { match: { path: /b }, upstream: app }
      - upstream: web
  - { listen: ":8081", trustedProxies: [10.0.0.0/8], clientPosition: { headers: { latitude: a, longitude: b } }, upstream: web }
upstreams:
  web:
    balance: { policy: nearest, region: seoul }
    backends: [{ url: "http://a", location: { latitude: 37.5, longitude: 127, region: seoul } }, { url: "http://b", location: { latitude: 35.7, longitude: 139.7 } }]
    affinity: { cookie: spillway, key: "a secret of 24 characters", strict: true }
  api:
    backends: [{ url: "http://c", location: { region: eu } }]
    affinity: { learned: { cookie: SID }, ttl: 10m, store: "redis://shop:secret@10.0.0.9/1", rebalance: {} }
  app:
    balance: { policy: nearest, maxKm: 100, regions: [eu, us], fallback: random }
    backends: [{ url: "http://d", location: { region: us } }, { url: "http://e", location: { region: eu } }]
    affinity: header:X-Session
`,
);

test("where clients and backends are, and what sessions go by, is explained too", async () => {
  const { out, err } = await speak(["check", sticky]);
  expect(err).toBe(`${sticky} is fine.\n`);
  const about = /where clients|Upstream|connections|sessions|tunnels/;
  expect(
    out
      .split("\n\nAdmin")[0]
      ?.split("\n")
      .filter((line) => about.test(line)),
  ).toEqual([
    "  where clients are: geolocation from trusted proxies, else city.mmdb, else 52.5, 13.4",
    "  where clients are: a and b from trusted proxies",
    "Upstream web (nearest, withinKm 0, maxKm unlimited, spillover true, region seoul, fallback weighted-round-robin, 2 backends)",
    "  a:80  weight 1, 50 %  at most 256 connections, in seoul at 37.5, 127",
    "  b:80  weight 1, 50 %  at most 256 connections, at 35.7, 139.7",
    "  sessions: by the cookie spillway, until 1h without a request; answered 503 when the backend is lost",
    "Upstream api (weighted-round-robin, 1 backend)",
    "  c:80  weight 1, 100 %  at most 256 connections, in eu",
    "  sessions: by the application's cookie SID, until 10m without a request, up to 100000 in each worker, shared through redis://shop:***@10.0.0.9/1; moved when the backend is lost",
    "  when backends are added or come back: up to 10 tunnels a second are closed in each worker",
    "Upstream app (nearest, withinKm 0, maxKm 100, spillover true, regions [eu, us], fallback random, 2 backends)",
    "  d:80  weight 1, 50 %  at most 256 connections, in us",
    "  e:80  weight 1, 50 %  at most 256 connections, in eu",
    "  sessions: by header:x-session, until 1h without a request, up to 100000 in each worker; moved when the backend is lost",
  ]);
});

test("no secret is printed, in words or as JSON", async () => {
  const words = await speak(["check", sticky]);
  const json = await speak(["check", sticky, "--json"]);
  const request = await speak(["check", sticky, "--json", "--request", "/a"]);
  for (const { exitCode, out, err } of [words, json, request]) {
    expect(exitCode).toBe(0);
    expect(out + err).not.toContain("secret");
  }
  expect(JSON.parse(json.out)).toMatchObject({
    settings: {
      upstreams: {
        web: { affinity: { key: "***", store: false } },
        api: { affinity: { store: { url: "redis://shop:***@10.0.0.9/1", timeout: 50 } } },
      },
    },
  });
});

test("--json holds the settings with what is unlimited as the file would say it", async () => {
  const { exitCode, out } = await speak(["check", file, "--json"]);
  expect(exitCode).toBe(0);
  expect(JSON.parse(out)).toMatchObject({
    ok: true,
    file,
    warnings: [],
    settings: {
      listeners: [{ limits: { bodyBytes: "unlimited" }, timeouts: { head: 10_000 } }, {}],
    },
  });
});

test("mistakes are printed all together, and as JSON where that is asked for", async () => {
  const wrong = join(directory, "wrong.yaml");
  writeFileSync(wrong, "workers: 0\nlisteners: []\nupstreams: {}\n");
  const { exitCode, out, err } = await speak(["check", wrong]);
  expect({ exitCode, out }).toEqual({ exitCode: 2, out: "" });
  expect(err).toBe(
    `${wrong}:1:10 workers: 0 is too small. Write a whole number from 1 to 256, or auto.   [CONFIG_NUMBER]\n${wrong}:2:1 listeners: there is no listener. Write at least one: - listen: 127.0.0.1:8080.   [CONFIG_LISTENERS]\n${wrong}: 2 mistakes.\n`,
  );
  const json = await speak(["check", wrong, "--json"]);
  expect(JSON.parse(json.out)).toMatchObject({
    ok: false,
    mistakes: [{ code: "CONFIG_NUMBER", position: { line: 1, column: 10 }, key: "workers" }, {}],
  });
});

test("a warning is told and stops nothing", async () => {
  const spare = join(directory, "spare.yaml");
  writeFileSync(
    spare,
    'listeners: [{ listen: ":8080", upstream: web }]\nupstreams: { web: { backends: [http://a] }, spare: { backends: [http://a] } }\n',
  );
  const { exitCode, err } = await speak(["check", spare]);
  expect(exitCode).toBe(0);
  expect(err).toContain("warning ");
  expect(err).toContain("[CONFIG_UPSTREAM_UNUSED]");
});

test("without a name, the file that lies here is taken", async () => {
  const here = join(directory, "here");
  mkdirSync(here);
  await inDirectory(here, async () => {
    writeFileSync(
      "spillway.json",
      '{ "listeners": [{ "listen": ":8080", "upstream": "web" }], "upstreams": { "web": { "backends": ["http://a"] } } }',
    );
    expect((await speak(["check"])).err).toBe("spillway.json is fine.\n");
    writeFileSync("spillway.yaml", "workers: 1\n");
    expect((await speak(["check"])).err).toContain("spillway.yaml: 2 mistakes.");
  });
});

describe("--request says which route takes a request and why those before it do not", () => {
  test("in words", async () => {
    const { exitCode, out } = await speak(["check", file, "--request", "POST http://eu.shop.test:8080/v1/x?beta"]);
    expect(exitCode).toBe(0);
    expect(out).toBe(`POST /v1/x?beta for eu.shop.test:8080 on 127.0.0.1:8080
  route-1  method POST is not GET
  canary   path /v1/x does not begin with /checkout/
  route-3  path /v1/x is not /old
  route-4  path /v1/x does not match ^/u/[0-9]+$
  route-5  path /v1/x does not begin with /files/
  -> no route takes it: 404

POST /v1/x?beta for eu.shop.test:8080 on unix:/run/shop.sock
  web  takes it
  -> upstream web: POST /v1/x?beta
`);
  });

  test("with fields and a client, down to what the backend is asked for", async () => {
    const { out } = await speak([
      "check",
      file,
      "-r",
      "GET http://eu.shop.test/v1/x?beta",
      "-H",
      "X-Canary: 1",
      "--client",
      "192.0.2.7",
    ]);
    expect(out).toContain("  route-1  takes it\n  canary   not reached\n");
    expect(out).toContain(
      "-> upstream api, /v1 stripped, /api put in front, 1 request field changed, within 1500ms: GET /api/x?beta\n",
    );
  });

  test("as JSON", async () => {
    const { exitCode, out } = await speak([
      "check",
      file,
      "--json",
      "--request",
      "/old",
      "--header",
      "Host: shop.test",
    ]);
    expect(exitCode).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      request: { method: "GET", host: "shop.test", target: "/old", client: "127.0.0.1" },
      listeners: [
        {
          taken: "route-3",
          target: null,
          refused: false,
          action: { kind: "redirect", status: 308 },
          routes: [{ verdict: "passed" }, {}, { verdict: "taken" }, {}, { verdict: "later" }],
        },
        { taken: "web", target: "/old" },
      ],
    });
  });

  test("and when its path would be refused", async () => {
    const { out } = await speak(["check", file, "--request", "http://shop.test/files/../checkout/x"]);
    expect(out).toContain("  route-5  takes it\n  -> its path leads out of the prefix, or into another route: 400\n");
  });

  test("with exit code 1 when no route of any listener takes it", async () => {
    const none = join(directory, "none.yaml");
    writeFileSync(
      none,
      'listeners: [{ listen: ":8080", routes: [{ match: { path: /a }, respond: {} }] }]\nupstreams: {}\n',
    );
    expect((await speak(["check", none, "--request", "/b"])).exitCode).toBe(1);
    expect((await speak(["check", none, "--request", "/a"])).exitCode).toBe(0);
  });
});
