const number = { type: "number" };
const integer = { type: "integer" };
const string = { type: "string" };
const flag = { type: "boolean" };

/** The schema of what `/api/v1/explain` answers. */
export function explanationSchema(): object {
  const route = record({ name: string, verdict: { enum: ["taken", "passed", "later"] }, because: orNull(string) });
  return record({
    listener: string,
    method: string,
    host: string,
    target: string,
    client: string,
    trusted: flag,
    position: orNull(record({ latitude: number, longitude: number })),
    positionFrom: { enum: ["header", "geoip", "default", "none"] },
    routes: list(route),
    route: orNull(string),
    forwardedTarget: orNull(string),
    rateLimit: orNull(record({ key: string, value: orNull(string), rate: number, perMs: number, burst: number })),
    answer: orNull(record({ status: integer, reason: string })),
    upstreams: list(
      record({
        share: number,
        pick: pickSchema(),
        fallback: orNull(record({ pick: orNull(pickSchema()), status: orNull(integer) })),
      }),
    ),
  });
}

function pickSchema(): object {
  const session = record({
    by: string,
    state: { enum: ["none", "unknown", "kept", "lost"] },
    backend: orNull(string),
    strict: flag,
    asksStore: flag,
  });
  const backend = record({
    id: string,
    address: string,
    region: string,
    tier: integer,
    state: { enum: ["up", "down", "draining", "ejected", "open", "half-open"] },
    reason: string,
    weight: number,
    active: integer,
    limit: orNull(integer),
    hasRoom: flag,
    distanceKm: orNull(number),
    verdict: { enum: ["chosen", "candidate", "out"] },
    because: string,
  });
  return record({
    upstream: string,
    balance: string,
    session: orNull(session),
    backends: list(backend),
    choice: {
      oneOf: [
        record({ kind: { const: "backend" }, backend: string }),
        record({ kind: { const: "any" } }),
        record({ kind: { const: "wait" }, backend: orNull(string), upToMs: number }),
        record({ kind: { const: "answer" }, status: integer, reason: string }),
      ],
    },
    sure: flag,
    refused: number,
  });
}

/** The parameters of `/api/v1/explain`. */
export const EXPLAIN_PARAMETERS: readonly object[] = [
  parameter("method", "GET", string),
  parameter("host", "localhost", string),
  parameter("target", "/", string),
  parameter("client", "127.0.0.1", string, "Address of the peer."),
  parameter("listener", 0, integer, "Which listener of the configuration, from 0 on."),
  {
    ...parameter("header", undefined, list(string), "A field, as `name:value`; at most 100 of them."),
    explode: true,
  },
];

function parameter(name: string, standard: string | number | undefined, schema: object, description?: string): object {
  return {
    name,
    in: "query",
    ...(description === undefined ? {} : { description }),
    schema: standard === undefined ? schema : { ...schema, default: standard },
  };
}

function list(items: object): object {
  return { type: "array", items };
}

function orNull(schema: object): object {
  return { anyOf: [schema, { type: "null" }] };
}

/** An object that has all of `properties`. */
function record(properties: Record<string, object>): object {
  return { type: "object", properties, required: Object.keys(properties) };
}
