import { z } from "zod";
import type { CookieOptions, SessionSource } from "../policy/affinity/options.ts";
import * as affinityText from "./affinity-text.ts";
import { age, duration, flag, integer, leaf, number, parseChoice, text } from "./leaf.ts";
import * as check from "./text-checks.ts";
import { describe, isWrong, type Wrong } from "./values.ts";

// What an upstream does to send the requests of a session to one backend.

const off = z.literal(false);

type Secure = CookieOptions["secure"];
type SameSite = CookieOptions["sameSite"];

const secure = leaf<Secure, Secure>({ enum: ["auto", true, false] }, (value) => {
  if (value === true || value === "true") return true;
  if (value === false || value === "false") return false;
  return parseChoice(value, ["auto", "true", "false"]) as "auto" | Wrong;
});

const sameSite = leaf<SameSite, SameSite>({ enum: ["Lax", "Strict", "None", false] }, (value) =>
  value === false || value === "false" ? false : parseChoice(value, ["Lax", "Strict", "None"] as const),
);

const cookieName = leaf<string, string>({ type: "string" }, affinityText.cookieName);

const cookieBlock = z.strictObject({
  name: cookieName.prefault("spillway").describe("Its name."),
  path: text(affinityText.cookiePath).prefault("/").describe("Its Path: paths that browsers send it with."),
  domain: text(affinityText.cookieDomain)
    .prefault("")
    .describe("Its Domain: a host that it is for, with all below. Empty: the host that set it, and no other."),
  secure: secure
    .prefault("auto")
    .describe("Its Secure: whether browsers send it by TLS alone. `auto`: where it was asked for by TLS."),
  httpOnly: flag().prefault(true).describe("Its HttpOnly: scripts of the page cannot read it."),
  sameSite: sameSite
    .prefault("Lax")
    .describe(
      "Its SameSite: whether browsers send it with requests that another site causes. `None` needs `secure`; `false` leaves it to the browser.",
    ),
  maxAge: flag()
    .prefault(true)
    .describe(
      "Whether it has a Max-Age, which is `ttl`. `false`: it ends with the browser, or when it was not used for `ttl`.",
    ),
});

const cookie = z.union([
  cookieName.transform((name): z.input<typeof cookieBlock> => ({ name })).pipe(cookieBlock),
  cookieBlock,
]);

const learned = z
  .strictObject({
    cookie: cookieName.optional().describe("Name of a cookie of the application's."),
    header: text(affinityText.idHeader)
      .transform((name) => name.toLowerCase())
      .optional()
      .describe("Field that responses set and clients send back."),
  })
  .meta({ oneOf: [{ required: ["cookie"] }, { required: ["header"] }] });

const clientIp = leaf<true, true>({ enum: [true] }, (value) => {
  if (value === true || value === "true") return true;
  return { code: "CONFIG_TYPE", wrong: `${describe(value)} says nothing here`, fix: "Write true, or leave it out" };
});

const storeBlock = z.strictObject({
  url: leaf<string, string>({ type: "string", pattern: "^rediss?://" }, affinityText.redisUrl).describe(
    "Address of a Redis: `redis://host:6379`, with `user:password@` before the host and `/NUMBER` of a database behind it where need be; `rediss://` for TLS.",
  ),
  prefix: text(affinityText.keyPrefix).prefault("spillway:").describe("What its keys begin with."),
  timeout: duration({ min: "1ms", max: "10s" })
    .prefault("50ms")
    .describe("How long an exchange waits for it at most. Then what the worker knows itself counts."),
});

const store = z
  .union([
    leaf<string, { url: string } | undefined>(
      { type: "string", examples: ["memory", "redis://10.0.0.9:6379"] },
      (value) => {
        if (value === "memory") return undefined;
        const url = affinityText.redisUrl(value);
        return isWrong(url) ? url : { url };
      },
    ).pipe(storeBlock.optional()),
    storeBlock,
  ])
  .transform((value): z.output<typeof storeBlock> | false => value ?? false);

const rebalance = z.union([
  off,
  z.strictObject({
    rate: number({ min: 0.01, max: 10_000 })
      .prefault(10)
      .describe("Tunnels closed per second, at most, in each worker."),
    jitter: duration({ min: "0", max: "1h" })
      .prefault("1s")
      .describe("Up to so much longer before each, so that clients do not come back all at once."),
  }),
]);

/** The keys that say what a session is told by; exactly one is written. */
export const SOURCES = ["cookie", "learned", "header", "query", "client-ip"] as const;

const affinityBlock = z
  .strictObject({
    cookie: cookie
      .optional()
      .describe(
        "By a cookie that Spillway sets: its name, or a block. It names the backend, readable by nobody without `key`, so nothing has to be remembered.",
      ),
    learned: learned
      .optional()
      .describe(
        "By an id of the application's own: a response that sets one begins a session, requests that carry it belong to it.",
      ),
    header: text(check.headerName).optional().describe("By a field that all requests of a session carry."),
    query: text(check.queryName)
      .optional()
      .describe("By a parameter of the query that all requests of a session carry."),
    "client-ip": clientIp.optional().describe("`true`: by the address of the client."),
    ttl: age({ min: "10ms", max: "365d" })
      .prefault("1h")
      .describe(
        "A session ends when it was not used for so long. Up to a tenth of it earlier with `cookie`, and at other workers or instances than the one that it was used at.",
      ),
    maxSessions: integer({ min: 1, max: 10_000_000 })
      .prefault(100_000)
      .describe(
        "Most sessions remembered, in each worker; those not used for longest are forgotten first. Of no effect on `cookie`.",
      ),
    strict: flag()
      .prefault(false)
      .describe(
        "Answer 503 when the backend of a session is lost, or has just failed the request itself. `false`: the session moves to another, and stays there.",
      ),
    key: leaf<string, string>({ type: "string", minLength: 16 }, affinityText.secret)
      .optional()
      .describe(
        "The secret that cookies are made with, at least 16 characters, the same in all instances; best from a variable of the environment. Left out, one is made at start: then cookies from before a restart, or of another instance, are not known. Only with `cookie`.",
      ),
    store: store
      .prefault("memory")
      .describe(
        "Where sessions are shared: `memory`, among the workers of this instance; or a Redis, among instances: its address, or a block. Not with `cookie`.",
      ),
    rebalance: rebalance
      .prefault(false)
      .describe(
        "Closes tunnels (WebSocket) little by little when backends are added or come back, so that clients spread anew. `{}` switches it on. Of no use with `strict`.",
      ),
  })
  .meta({ oneOf: SOURCES.map((key) => ({ required: [key] })) });

type AffinityBlock = z.output<typeof affinityBlock>;

/** What the short forms stand for: `client-ip`, `header:NAME`, `query:NAME`, `cookie:NAME`. */
export function parseShortAffinity(value: unknown): z.input<typeof affinityBlock> | Wrong {
  const fix =
    "Write a block with one of cookie, learned, header, query and client-ip; or cookie:NAME, header:NAME, query:NAME or client-ip";
  const wrong: Wrong = { code: "CONFIG_AFFINITY", wrong: `${describe(value)} is nothing that tells a session`, fix };
  if (typeof value !== "string") return wrong;
  if (value === "client-ip") return { "client-ip": true };
  const colon = value.indexOf(":");
  const name = value.slice(colon + 1);
  switch (value.slice(0, Math.max(colon, 0))) {
    case "cookie":
      return named("cookie", affinityText.cookieName(name));
    case "header":
      return named("header", check.headerName(name));
    case "query":
      return named("query", check.queryName(name));
    default:
      return wrong;
  }
}

function named(key: "cookie" | "header" | "query", name: string | Wrong): z.input<typeof affinityBlock> | Wrong {
  return isWrong(name) ? name : { [key]: name };
}

/** `affinity` of an upstream. */
export const affinity = z
  .union([
    off,
    leaf<string, z.input<typeof affinityBlock>>(
      { type: "string", examples: ["cookie:spillway", "header:x-session", "query:sid", "client-ip"] },
      parseShortAffinity,
    ).pipe(affinityBlock),
    affinityBlock,
  ])
  .transform((value) => {
    if (value === false) return value;
    const { ttl, maxSessions, strict, key, store, rebalance } = value;
    const by = sourceOf(value);
    // A cookie says all there is to know: a store would be connected to for nothing.
    return { by, ttl, maxSessions, strict, key, store: by.kind === "cookie" ? (false as const) : store, rebalance };
  });

/** That exactly one of the sources is written is seen to by the checks between the parts. */
function sourceOf({ cookie, learned, header, query }: AffinityBlock): SessionSource {
  if (cookie !== undefined) return { kind: "cookie", cookie };
  if (learned !== undefined) {
    return learned.cookie === undefined
      ? { kind: "learned", from: "header", name: learned.header ?? "" }
      : { kind: "learned", from: "cookie", name: learned.cookie };
  }
  if (header !== undefined) return { kind: "key", key: `header:${header.toLowerCase()}` };
  return { kind: "key", key: query === undefined ? "client-ip" : `query:${query}` };
}
