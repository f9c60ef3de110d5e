import { EXPLAIN_PARAMETERS, explanationSchema } from "./openapi-explain.ts";

/** The answer of `/openapi.json`: what the admin server offers, for tools. */
export function openApi(version: string): object {
  const number = { type: "number" };
  const integer = { type: "integer" };
  const string = { type: "string" };
  const counts = { type: "object", additionalProperties: integer };
  const exchanges = record({
    total: integer,
    failed: integer,
    active: integer,
    meanMs: number,
    p50Ms: number,
    p99Ms: number,
    statuses: counts,
  });
  const readiness = record({ ready: { type: "boolean" }, reason: string });
  const backend = record({
    id: string,
    address: string,
    region: string,
    location: orNull(record({ latitude: number, longitude: number })),
    state: { enum: ["up", "down", "draining", "ejected", "open", "half-open"] },
    reason: string,
    since: { type: "string", format: "date-time" },
    circuit: { enum: ["closed", "half-open", "open"] },
    ejected: { type: "boolean" },
    weight: number,
    active: integer,
    connections: record({ open: integer, opened: integer, reused: integer }),
    requests: integer,
    failures: integer,
    meanMs: number,
    breakerTrips: integer,
    ejections: integer,
  });
  const affinity = record({
    by: string,
    ttlMs: number,
    strict: { type: "boolean" },
    store: { enum: ["none", "memory", "redis"] },
    maxSessions: orNull(integer),
    held: orNull(integer),
    begun: integer,
    kept: integer,
    moved: integer,
    lost: integer,
    evicted: integer,
    rebalanced: integer,
  });
  const upstream = record({
    name: string,
    requests: exchanges,
    waiting: integer,
    concurrencyLimit: integer,
    retries: integer,
    retriesDenied: integer,
    moves: integer,
    fallbacks: integer,
    hedges: integer,
    hedgesWon: integer,
    affinity: orNull(affinity),
    regions: counts,
    meanKm: orNull(number),
    backends: { type: "array", items: backend },
  });
  const store = record({
    upstream: string,
    kind: { enum: ["memory", "redis"] },
    url: string,
    up: { type: "boolean" },
  });
  const storeOperation = record({ asked: integer, meanMs: number });
  const status = record({
    version: string,
    startedAt: { type: "string", format: "date-time" },
    uptimeSeconds: integer,
    readiness,
    workers: integer,
    listeners: { type: "array", items: string },
    requests: exchanges,
    rejected: counts,
    shed: counts,
    timeouts: counts,
    positions: counts,
    sessionStore: record({ find: storeOperation, place: storeOperation, failures: integer }),
    sessionStores: { type: "array", items: store },
    upstreams: { type: "array", items: upstream },
  });
  return {
    openapi: "3.1.0",
    info: { title: "Spillway admin API", version },
    paths: {
      "/": get("An overview for people", { 200: content("text/html", string) }),
      "/metrics": get("All metrics in Prometheus' text format", { 200: content("text/plain", string) }),
      "/healthz": get("Whether the process is alive", {
        200: content("application/json", record({ alive: { const: true } })),
      }),
      "/readyz": get("Whether new traffic is welcome", {
        200: content("application/json", readiness),
        503: content("application/json", readiness, "not now; `reason` says why"),
      }),
      "/api/v1/status": get("What runs and in which state every backend is", {
        200: content("application/json", status),
      }),
      "/api/v1/report": get("The metrics as a report for people", { 200: content("text/plain", string) }),
      "/api/v1/explain": get(
        "Where a request would go that nobody has sent, and why",
        {
          200: content("application/json", explanationSchema()),
          400: content("application/json", record({ error: string }), "the request is not described"),
          503: content("application/json", record({ error: string }), "no worker answers now"),
        },
        EXPLAIN_PARAMETERS,
      ),
      "/openapi.json": get("This document", { 200: content("application/json", { type: "object" }) }),
    },
  };
}

function get(summary: string, responses: Record<number, object>, parameters: readonly object[] = []): object {
  return { get: { summary, ...(parameters.length === 0 ? {} : { parameters }), responses } };
}

function content(type: string, schema: object, description = "fine"): object {
  return { description, content: { [type]: { schema } } };
}

function orNull(schema: object): object {
  return { anyOf: [schema, { type: "null" }] };
}

/** An object that has all of `properties`. */
function record(properties: Record<string, object>): object {
  return { type: "object", properties, required: Object.keys(properties) };
}
