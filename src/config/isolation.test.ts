import fc from "fast-check";
import { expect, test } from "vitest";
import { formatMistake } from "./mistakes.ts";
import { checkConfig } from "./parse.ts";
import type { ListenerSettings, SettingsInput, UpstreamSettings } from "./settings.ts";
import { isWrong, parseShare } from "./values.ts";

type UpstreamInput = SettingsInput["upstreams"][string];
type RouteInput = NonNullable<SettingsInput["listeners"][number]["routes"]>[number];

const UNLIMITED = Number.POSITIVE_INFINITY;

function upstreamOf(web: Omit<UpstreamInput, "backends"> & { backends?: UpstreamInput["backends"] }): UpstreamSettings {
  return load({ routes: [{ upstream: "web" }], web: { backends: ["http://a"], ...web } }).upstreams.web!;
}

function routeOf(route: RouteInput): ListenerSettings["routes"][number] {
  return load({ routes: [{ upstream: "web", ...route }], web: { backends: ["http://a"] } }).listeners[0]!.routes[0]!;
}

function load({ routes, web }: { routes: RouteInput[]; web: UpstreamInput }) {
  const input: SettingsInput = {
    listeners: [{ listen: ":8080", routes }],
    upstreams: { web, spare: { backends: ["http://s"] } },
  };
  const loaded = checkConfig(input, { file: "config", environment: {} });
  if (!loaded.ok) throw new Error(loaded.mistakes.map(formatMistake).join("\n"));
  return loaded.settings;
}

test("an empty block switches on, with the defaults the reference tells", () => {
  const upstream = upstreamOf({
    circuitBreaker: {},
    outlierDetection: { failureShare: {}, latency: {} },
    concurrencyLimit: {},
    slowStart: {},
    hedge: {},
    throttle: {},
  });
  expect(upstream.circuitBreaker).toEqual({
    on: ["connect", "timeout", "reset", "malformed", "truncated", "5xx"],
    consecutiveFailures: 5,
    errorThreshold: 0.5,
    minimumRequests: 20,
    window: 10_000,
    slowerThan: UNLIMITED,
    openFor: 5000,
    maxOpenFor: 60_000,
    halfOpenRequests: 1,
    fallback: undefined,
  });
  expect(upstream.outlierDetection).toMatchObject({
    failureShare: { threshold: 0.85, minimumBackends: 5, minimumRequests: 50 },
    latency: { factor: 3, minimumBackends: 3, minimumRequests: 50 },
  });
  expect(upstream.concurrencyLimit).toEqual({ initial: 20, min: 4, max: 1000 });
  expect(upstream.slowStart).toEqual({ window: 30_000, aggression: 1, minimumWeight: 0.1 });
  expect(upstream.hedge).toEqual({ quantile: 0.95, minimumDelay: 1, budget: 0.05 });
  expect(upstream.throttle).toEqual({ factor: 2, window: 120_000, maxRefused: 0.8 });
});

test("kinds of failure come once each, statuses as numbers", () => {
  const on = ["connect", 503, "503", "5xx", "connect"] as never;
  expect(upstreamOf({ circuitBreaker: { on } }).circuitBreaker).toMatchObject({ on: ["connect", 503, "5xx"] });
  expect(upstreamOf({ retry: { on: [] } }).retry).toMatchObject({ on: [] });
});

test("a fallback is another upstream, an answer like that of a route but 503, or both", () => {
  expect(upstreamOf({ circuitBreaker: { fallback: { upstream: "spare" } } }).circuitBreaker).toMatchObject({
    fallback: { upstream: "spare" },
  });
  expect(
    upstreamOf({ circuitBreaker: { fallback: { upstream: "spare", respond: { body: "later", headers: { A: "b" } } } } })
      .circuitBreaker,
  ).toMatchObject({
    fallback: { upstream: "spare", respond: { status: 503, body: "later", headers: [{ name: "A", value: "b" }] } },
  });
});

test("a backup is in tier 1, or in the one its number names", () => {
  const backends = [
    "http://a",
    { url: "http://b", backup: false },
    { url: "http://c", backup: true },
    { url: "http://d", backup: 3, maxRequests: 7 },
    { url: "http://e", backup: "true" as never, maxRequests: "unlimited" },
  ] as const;
  expect(upstreamOf({ backends }).backends.map(({ tier, maxRequests }) => [tier, maxRequests])).toEqual([
    [0, UNLIMITED],
    [0, UNLIMITED],
    [1, UNLIMITED],
    [3, 7],
    [1, UNLIMITED],
  ]);
});

test("a priority is fixed, or read from a field of the request", () => {
  expect(routeOf({ priority: "high" }).priority).toEqual({ header: undefined, default: "high" });
  expect(routeOf({ priority: { header: "X-Priority" } }).priority).toEqual({ header: "x-priority", default: "normal" });
});

test("a rate limit lets the whole rate come at once unless a burst is written", () => {
  const usual = { key: "client-ip", rate: 10, per: 1000, burst: 10, keys: 100_000 };
  expect(routeOf({ rateLimit: { rate: 10 } }).rateLimit).toEqual(usual);
  expect(routeOf({ rateLimit: { rate: 10, burst: 1, key: "cookie:SID" } }).rateLimit).toEqual({
    ...usual,
    burst: 1,
    key: "cookie:SID",
  });
});

test("factors and shares may stand in variables, so they are read from text as well", () => {
  expect(
    upstreamOf({ panicThreshold: "12.5%", outlierDetection: { successRate: { deviations: "1.5" as never } } }),
  ).toMatchObject({ panicThreshold: 0.125, outlierDetection: { successRate: { deviations: 1.5 } } });
});

test("a share is what stands before the percent sign, as a part of one", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 100_000 }), (thousandths) => {
      expect(parseShare(`${thousandths / 1000}%`)).toBeCloseTo(thousandths / 100_000, 12);
    }),
    { seed: 1 },
  );
  for (const none of ["%", "50%%", "5e1%", "Infinity%", " 50%", "50", 0.5, "", null, {}]) {
    expect(isWrong(parseShare(none)), String(none)).toBe(true);
  }
});
