import { describe, expect, test } from "vitest";
import { formatMistake } from "./mistakes.ts";
import { checkConfig } from "./parse.ts";
import type { AffinitySettings, SettingsInput } from "./settings.ts";

type AffinityInput = NonNullable<SettingsInput["upstreams"][string]["affinity"]>;

function affinityOf(affinity: AffinityInput): AffinitySettings {
  const input: SettingsInput = {
    listeners: [{ listen: ":8080", upstream: "web" }],
    upstreams: { web: { backends: ["http://a"], affinity } },
  };
  const loaded = checkConfig(input, { file: "config", environment: {} });
  if (!loaded.ok) throw new Error(loaded.mistakes.map(formatMistake).join("\n"));
  return loaded.settings.upstreams.web!.affinity;
}

const DEFAULTS = {
  ttl: 3_600_000,
  maxSessions: 100_000,
  strict: false,
  key: undefined,
  store: false,
  rebalance: false,
};

const COOKIE = {
  name: "spillway",
  path: "/",
  domain: "",
  secure: "auto",
  httpOnly: true,
  sameSite: "Lax",
  maxAge: true,
};

describe("a session is told by one thing, the rest takes its defaults", () => {
  test.each<[AffinityInput, unknown]>([
    [{ cookie: {} }, { kind: "cookie", cookie: COOKIE }],
    [{ cookie: "shop" }, { kind: "cookie", cookie: { ...COOKIE, name: "shop" } }],
    [{ learned: { cookie: "SID" } }, { kind: "learned", from: "cookie", name: "SID" }],
    [{ learned: { header: "X-Session-Id" } }, { kind: "learned", from: "header", name: "x-session-id" }],
    [{ header: "X-Session" }, { kind: "key", key: "header:x-session" }],
    [{ query: "Sid" }, { kind: "key", key: "query:Sid" }],
    [{ "client-ip": true }, { kind: "key", key: "client-ip" }],
  ])("%j", (affinity, by) => {
    expect(affinityOf(affinity)).toEqual({ ...DEFAULTS, by });
  });
});

test.each<[AffinityInput, AffinityInput]>([
  ["client-ip", { "client-ip": true }],
  ["cookie:shop", { cookie: "shop" }],
  ["header:X-Session", { header: "X-Session" }],
  ["query:sid", { query: "sid" }],
])("%s is short for %j", (short, long) => {
  expect(affinityOf(short)).toEqual(affinityOf(long));
});

test("a cookie is set as it is written, its domain as browsers compare it", () => {
  const cookie = {
    name: "a",
    path: "/a b",
    domain: ".Shop.test.",
    secure: true,
    httpOnly: false,
    sameSite: false,
  } as const;
  expect(affinityOf({ cookie: { ...cookie, maxAge: false } })).toMatchObject({
    by: { cookie: { ...cookie, domain: "shop.test", maxAge: false } },
  });
  expect(affinityOf({ cookie: { secure: "false" as never, sameSite: "false" as never } })).toMatchObject({
    by: { cookie: { secure: false, sameSite: false } },
  });
});

test("a time to live may be longer than a timer can wait", () => {
  expect(affinityOf({ header: "a", ttl: "365d" })).toMatchObject({ ttl: 365 * 86_400_000 });
});

test("a store is shared by instances, memory by none, and a cookie needs neither", () => {
  const url = "rediss://user:p%40ss@[::1]:6380/2";
  const usual = { url, prefix: "spillway:", timeout: 50 };
  expect(affinityOf({ header: "a", store: "memory" })).toMatchObject({ store: false });
  expect(affinityOf({ header: "a", store: url })).toMatchObject({ store: usual });
  expect(affinityOf({ header: "a", store: { url, prefix: "shop:", timeout: "1s" } })).toMatchObject({
    store: { url, prefix: "shop:", timeout: 1000 },
  });
  expect(affinityOf({ cookie: "a", store: url })).toMatchObject({ store: false });
});

test("rebalancing is switched on by a block", () => {
  expect(affinityOf({ header: "a", rebalance: {} })).toMatchObject({ rebalance: { rate: 10, jitter: 1000 } });
  expect(affinityOf({ header: "a", rebalance: { rate: 0.5, jitter: "0" } })).toMatchObject({
    rebalance: { rate: 0.5, jitter: 0 },
  });
});
