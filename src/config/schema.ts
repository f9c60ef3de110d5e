import { z } from "zod";
import type { RouteOptions } from "../policy/route/options.ts";
import { affinity } from "./affinity-schema.ts";
import { balance } from "./balance-schema.ts";
import { choice, duration, flag, integer, leaf, size, text } from "./leaf.ts";
import { concurrencyLimit, hedge, queue, throttle } from "./load-schema.ts";
import { clientPosition, location } from "./place-schema.ts";
import { circuitBreaker, outlierDetection, panicThreshold, retry, slowStart } from "./resilience-schema.ts";
import { routeSchema } from "./route-schema.ts";
import * as check from "./text-checks.ts";
import { type Endpoint, formatAddress, type ListenAddress, parseBackendUrl, parseListen } from "./values.ts";

const listen = leaf<string, ListenAddress>(
  { type: "string", examples: ["127.0.0.1:8080", "unix:/run/spillway.sock"] },
  parseListen,
);

const off = z.literal(false);

const limits = z.strictObject({
  headBytes: size({ min: "1KiB", max: "1MiB" })
    .prefault("32KiB")
    .describe(
      "Longest request head, from the first byte of the request line to the empty line. A longer one is answered 431. Each connection may hold this much memory.",
    ),
  headFields: integer({ min: 1, max: 10_000 })
    .prefault(100)
    .describe("Most fields in a request head. One more is answered 431."),
  targetBytes: size({ min: "64B", max: "1MiB" })
    .prefault("8KiB")
    .describe("Longest request target, path and query together. A longer one is answered 414."),
  chunkExtensionBytes: size({ min: "0", max: "64KiB" })
    .prefault("1KiB")
    .describe(
      "Most bytes of chunk extensions in one body. Extensions are read and dropped; more of them than this are answered 400.",
    ),
  bodyBytes: size({ min: "0", unlimited: true })
    .prefault("unlimited")
    .describe(
      "Longest request body. A longer one is answered 413, at once where Content-Length says so. Bodies are passed on as they come, so memory does not grow with this.",
    ),
  connections: integer({ min: 1, max: 1_000_000, unlimited: true })
    .prefault(10_000)
    .describe(
      "Most client connections of the listener at a time, in each worker. Beyond it new ones are closed at once.",
    ),
  requestsPerConnection: integer({ min: 1, max: 1_000_000_000, unlimited: true })
    .prefault("unlimited")
    .describe(
      "After so many requests a client connection is closed, so that clients spread anew over the machines of a group.",
    ),
});

const listenerTimeouts = z.strictObject({
  head: duration({ min: "10ms", max: "1h" })
    .prefault("10s")
    .describe(
      "From the first byte of a request to the end of its head; then 408. What stops clients that send a head byte by byte.",
    ),
  idle: duration({ min: "10ms", max: "1d", unlimited: true })
    .prefault("60s")
    .describe(
      "How long a client connection is kept without a request on it. Keep it longer than the load balancer in front, if there is one.",
    ),
  body: duration({ min: "10ms", max: "1d", unlimited: true })
    .prefault("60s")
    .describe(
      "How long a body may stand still, the client neither sending nor taking a byte, before the exchange is given up.",
    ),
  tunnel: duration({ min: "10ms", max: "24d", unlimited: true })
    .prefault("1h")
    .describe("How long an upgraded connection (WebSocket) may be silent in both directions before it is closed."),
  drain: duration({ min: "0", max: "1d" })
    .prefault("30s")
    .describe("When Spillway stops: how long running exchanges may go on before they are cut."),
});

const forwarded = z.strictObject({
  xForwarded: flag()
    .prefault(true)
    .describe(
      "Tell backends the client's address, scheme and host in X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host. Values that arrive are kept only from `trustedProxies`.",
    ),
  rfc7239: flag().prefault(false).describe("Tell the same in a Forwarded field (RFC 7239)."),
  via: flag()
    .prefault(true)
    .describe("Add Spillway to the Via field of requests, as RFC 9110 section 7.6.3 asks of a gateway."),
  requestId: z
    .union([off, text(check.headerName)])
    .prefault("x-request-id")
    .describe(
      "Field that carries an id for each request: kept when it comes from `trustedProxies`, otherwise made. `false` for none.",
    ),
  deadline: z
    .union([off, text(check.changeableHeader)])
    .prefault("x-deadline-ms")
    .describe(
      "Field that says how many milliseconds are left until nobody waits for the response any more. Believed only from `trustedProxies`; an exchange with a deadline, from there or from `timeout` of its route, tells backends what is left of it. `false` for none.",
    ),
});

const listenerSchema = z
  .strictObject({
    listen: listen.describe(
      "Address to accept connections on: `127.0.0.1:8080`, `[::1]:8080`, `:8080` for every address of the machine, `localhost:8080`, `unix:/run/spillway.sock`. Port 0 takes a free one.",
    ),
    protocol: choice(["http"])
      .prefault("http")
      .describe("What is spoken on the listener: `http` is HTTP/1.1 and HTTP/1.0."),
    trustedProxies: z
      .array(text(check.cidr))
      .prefault([])
      .describe(
        "Addresses and blocks of proxies in front of Spillway. What they say of the client in X-Forwarded-For and Forwarded, their request ids and deadlines, is believed; nobody else's is.",
      ),
    clientPosition: clientPosition
      .prefault(false)
      .describe(
        "How Spillway finds out where a client is, for `balance: nearest` and the metrics: the first of `headers`, `geoip` and `default` that tells.",
      ),
    limits: limits.prefault({}).describe("Bounds on what a client may send. They hold before anything is passed on."),
    timeouts: listenerTimeouts.prefault({}).describe("How long the listener waits for clients."),
    forwarded: forwarded.prefault({}).describe("What backends are told about the request besides the request itself."),
    routes: z
      .array(routeSchema)
      .optional()
      .describe(
        "Where requests go. The first route whose `match` holds takes the request; where none does, the answer is 404.",
      ),
    upstream: text(check.name)
      .optional()
      .describe("Send every request of the listener to this upstream, instead of `routes`."),
  })
  .transform(({ upstream, routes, ...listener }) => ({
    ...listener,
    routes: (routes ?? [toUpstream(upstream ?? "")]).map(
      (route, index): RouteOptions => ({
        ...route,
        name: route.name ?? `route-${index + 1}`,
      }),
    ),
  }));

function toUpstream(upstream: string): RouteOptions {
  const none = { set: [], add: [], remove: [] };
  return {
    name: upstream,
    match: {},
    rewrite: {},
    headers: { request: none, response: none },
    timeout: Number.POSITIVE_INFINITY,
    priority: { header: undefined, default: "normal" },
    rateLimit: false,
    action: { kind: "upstream", upstream },
  };
}

const backendUrl = leaf<string, Endpoint>(
  { type: "string", examples: ["http://127.0.0.1:9001", "http+unix:/run/app.sock"] },
  parseBackendUrl,
);

const backendState = choice(["up", "drain", "down"]);

const backup = leaf<boolean | number, number>(
  { anyOf: [{ type: "boolean" }, { type: "integer", minimum: 0, maximum: 9 }] },
  check.backupTier,
);

const backendObject = z.strictObject({
  url: backendUrl.describe(
    "Address of the backend: `http://host:port` (port 80 where none is given) or `http+unix:/path`.",
  ),
  id: text(check.backendId)
    .optional()
    .describe("Name of the backend in logs, metrics and the admin API. Default: its `host:port`."),
  weight: integer({ min: 0, max: 256 })
    .prefault(1)
    .describe(
      "Share of the traffic relative to the other backends. 0 takes no new traffic; affinity still reaches it.",
    ),
  maxConnections: integer({ min: 1, max: 65_535 })
    .optional()
    .describe("Most connections to this backend, over all workers. Default: `pool.maxConnections` of the upstream."),
  maxRequests: integer({ min: 1, max: 1_000_000, unlimited: true })
    .prefault("unlimited")
    .describe("Most exchanges at a time on this backend, over all workers. More wait in `pool.queue`."),
  backup: backup
    .prefault(false)
    .describe(
      "`true`: takes traffic only as far as the other backends are not well enough to carry it. A number from 1 to 9 puts backups in an order: the second tier stands in for the first.",
    ),
  location: location
    .optional()
    .describe("Where it stands, for `balance: nearest` and the metrics: latitude and longitude, a region, or both."),
  state: backendState
    .prefault("up")
    .describe(
      "`up`: takes traffic while health checks agree. `drain`: no new exchanges, running ones end. `down`: none, whatever the checks say.",
    ),
});

const backendSchema = z.union([backendUrl, backendObject]).transform((backend) => {
  const full =
    "url" in backend
      ? backend
      : {
          url: backend,
          weight: 1,
          state: "up" as const,
          id: undefined,
          maxConnections: undefined,
          maxRequests: Number.POSITIVE_INFINITY,
          backup: 0,
          location: undefined,
        };
  const address = formatAddress(full.url);
  return {
    id: full.id ?? address,
    address,
    endpoint: full.url,
    weight: full.weight,
    state: full.state,
    maxConnections: full.maxConnections,
    maxRequests: full.maxRequests,
    tier: full.backup,
    position: full.location?.position,
    region: full.location?.region ?? "",
  };
});

const pool = z.strictObject({
  maxConnections: integer({ min: 1, max: 65_535 })
    .prefault(256)
    .describe(
      "Most connections to one backend, idle, busy and opening together, over all workers. When all backends have as many exchanges, more wait in the queue.",
    ),
  maxIdle: integer({ min: 0, max: 65_535 })
    .prefault(64)
    .describe(
      "Most idle connections kept to one backend, in each worker. The rest is closed when its exchange ends. 0 reuses none.",
    ),
  idleTimeout: duration({ min: "10ms", max: "1d", unlimited: true })
    .prefault("60s")
    .describe(
      "How long a connection is kept without an exchange on it. Keep it shorter than the backend's own keep-alive timeout.",
    ),
  maxRequests: integer({ min: 1, max: 1_000_000_000, unlimited: true })
    .prefault("unlimited")
    .describe("Exchanges after which a connection is closed."),
  maxAge: duration({ min: "10ms", max: "24d", unlimited: true })
    .prefault("unlimited")
    .describe(
      "Age at which a connection is closed once its exchange has ended. Some connections are closed a little earlier, so that they do not all go at once.",
    ),
  queue: queue
    .prefault({})
    .describe(
      "Exchanges that wait because no backend has room, or the `concurrencyLimit` is reached, in each worker; those whose backend alone will do, by `affinity` or `nearest`, in a line of that backend's. `false`: none waits, the answer is 503 at once.",
    ),
});

const healthCheck = z
  .union([
    off,
    z.strictObject({
      type: choice(["tcp", "http"])
        .prefault("tcp")
        .describe("`tcp`: a connection can be opened. `http`: a request is answered as expected."),
      interval: duration({ min: "10ms", max: "1d" })
        .prefault("5s")
        .describe(
          "Time from one check of a backend to the next, give or take a tenth, so that checks do not run in step.",
        ),
      timeout: duration({ min: "1ms", max: "1h" }).prefault("1s").describe("A check that takes longer has failed."),
      unhealthyAfter: integer({ min: 1, max: 1000 })
        .prefault(3)
        .describe("Failed checks in a row that take a backend down; its idle connections are closed."),
      healthyAfter: integer({ min: 1, max: 1000 }).prefault(1).describe("Good checks in a row that bring it up again."),
      path: text(check.requestTarget).optional().describe("`type: http`: target of the request. Default: `/`."),
      method: choice(["GET", "HEAD"]).optional().describe("`type: http`: method of the request. Default: `GET`."),
      host: text(check.authority)
        .optional()
        .describe("`type: http`: value of the Host field. Default: the backend's address."),
      expectStatus: leaf<number | string | readonly (number | string)[], [number, number][]>(
        { examples: [200, "200-399", ["200-299", 404]] },
        check.statusRanges,
      )
        .optional()
        .describe("`type: http`: statuses of a good answer: one, a range, or a list of both. Default: `200-399`."),
      expectBody: text((value) => value)
        .optional()
        .describe("`type: http`: text the answer has to contain within its first 64 KiB. Default: any body will do."),
    }),
  ])
  .transform((value) => {
    if (value === false) return false;
    const { type, interval, timeout, unhealthyAfter, healthyAfter } = value;
    const common = { interval, timeout, unhealthyAfter, healthyAfter };
    if (type === "tcp") return { type, ...common };
    return {
      type,
      ...common,
      path: value.path ?? "/",
      method: value.method ?? ("GET" as const),
      host: value.host,
      expectStatus: value.expectStatus ?? [[200, 399] as [number, number]],
      expectBody: value.expectBody,
    };
  });

const upstreamTimeouts = z.strictObject({
  connect: duration({ min: "1ms", max: "1h" })
    .prefault("2s")
    .describe("How long opening a connection to a backend may take. Then another backend is tried."),
  response: duration({ min: "1ms", max: "24d", unlimited: true })
    .prefault("30s")
    .describe("From the end of the request to the head of the response. Then the answer is 504."),
  idle: duration({ min: "10ms", max: "24d", unlimited: true })
    .prefault("60s")
    .describe("How long the backend may pause within a response body. Then the exchange is cut."),
});

const upstreamSchema = z
  .strictObject({
    balance: balance
      .prefault("weighted-round-robin")
      .describe(
        "How a backend is picked for each attempt: the name of a policy, or a block with `policy` and its options.",
      ),
    hostHeader: text(check.hostHeader)
      .prefault("keep")
      .describe(
        "The Host field a backend gets: `keep` what the client sent, `backend` for the backend's own address, or any other name as it stands.",
      ),
    backends: z.array(backendSchema).describe("The servers of the upstream: addresses, or blocks with `url` and more."),
    affinity: affinity
      .prefault(false)
      .describe(
        "Sticky sessions: sends all requests of a session to one backend, as long as it is there. `cookie:NAME`, `header:NAME`, `query:NAME` or `client-ip`; or a block with one of `cookie`, `learned`, `header`, `query` and `client-ip`, and more. `false`: every request is balanced by itself.",
      ),
    pool: pool.prefault({}).describe("Connections to each backend, which are kept and used again."),
    healthCheck: healthCheck
      .prefault({})
      .describe("How Spillway finds out that a backend is down. `false`: every backend counts as up."),
    timeouts: upstreamTimeouts.prefault({}).describe("How long backends may take."),
    circuitBreaker: circuitBreaker
      .prefault(false)
      .describe(
        "Stops sending exchanges to a backend that keeps failing, and tries it again after a while. Each worker watches for itself. `{}` switches it on.",
      ),
    outlierDetection: outlierDetection
      .prefault({})
      .describe(
        "Ejects a backend for a time when it does worse than it should, or than the others. By default one at a time, up to a tenth of them. `false` switches it off.",
      ),
    retry: retry
      .prefault({})
      .describe(
        "Lets a request go on to a backend that has not had it: at once when nothing of it was sent, and a second time when that is safe, its method being idempotent (GET, HEAD, OPTIONS, PUT, DELETE). `false`: neither, the first failure is final.",
      ),
    concurrencyLimit: concurrencyLimit
      .prefault(false)
      .describe(
        "Finds out from response times how many exchanges at a time the backends can do, in each worker; more wait in `pool.queue`. `{}` switches it on.",
      ),
    slowStart: slowStart
      .prefault(false)
      .describe(
        "Gives a backend that has come back its traffic little by little, and its room too, so that its caches can fill. `{}` switches it on.",
      ),
    panicThreshold: panicThreshold
      .prefault(false)
      .describe(
        "When fewer than this share of the backends (of a tier) are well, traffic goes to all of them, down or ejected or not: better than to bring down the rest. `false`: never.",
      ),
    hedge: hedge
      .prefault(false)
      .describe(
        "Sends an idempotent request that takes long to a second backend too; the first response counts, the other attempt is given up. `{}` switches it on.",
      ),
    throttle: throttle
      .prefault(false)
      .describe(
        "Refuses a share of the exchanges at once, with 503, while the backends fail most of them. `{}` switches it on.",
      ),
  })
  .transform((upstream) => ({
    ...upstream,
    backends: upstream.backends.map((backend) => ({
      ...backend,
      maxConnections: backend.maxConnections ?? upstream.pool.maxConnections,
    })),
  }));

const admin = z
  .union([
    off,
    z.strictObject({
      listen: listen
        .prefault("127.0.0.1:9900")
        .describe("Address of the admin API and the metrics. Keep it away from the world."),
    }),
  ])
  .prefault({});

const access = z
  .union([
    off,
    z.strictObject({
      format: choice(["off", "combined", "json"])
        .prefault("off")
        .describe("`combined` is the format of Apache and nginx, `json` one object a line."),
      path: text(check.filePath).prefault("stdout").describe("`stdout`, or a file that lines are added to."),
    }),
  ])
  .transform((value) => (value === false ? { format: "off" as const, path: "stdout" } : value));

const log = z.strictObject({
  level: choice(["debug", "info", "warn", "error", "silent"])
    .prefault("info")
    .describe("Least serious entries that are written to stderr."),
  access: access
    .prefault({})
    .describe(
      "One line for each exchange. Lines that cannot be written in time are dropped and counted; traffic never waits for them. `false` is the same as `format: off`.",
    ),
});

/** The configuration: the one source of its types, defaults, JSON Schema, reference page and mistakes. */
export const settingsSchema = z.strictObject({
  workers: leaf<number | "auto", number | "auto">(
    { anyOf: [{ type: "integer", minimum: 1, maximum: 256 }, { const: "auto" }] },
    check.workers,
  )
    .prefault(1)
    .describe(
      "Threads that carry traffic: a number, or `auto` for one per core. Each has its own connections; limits that say so hold over all of them.",
    ),
  admin: admin.describe(
    "The admin API: metrics, health of Spillway itself, state of the backends. `false` switches it off.",
  ),
  log: log.prefault({}).describe("What is written down."),
  listeners: z
    .array(listenerSchema)
    .describe("Addresses Spillway accepts connections on, and where their requests go."),
  upstreams: z.record(z.string(), upstreamSchema).describe("Named sets of interchangeable backends."),
});
