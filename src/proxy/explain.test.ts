import { describe, expect, test } from "vitest";
import { settingsOf } from "../../test/support/fake-plane.ts";
import type { RequestDescription } from "./data-plane-api.ts";
import { explainOffline } from "./explain-offline.ts";
import type { RequestExplanation } from "./explanation.ts";

const settings = settingsOf({
  listeners: [
    {
      listen: "127.0.0.1:0",
      limits: { targetBytes: "64B" },
      trustedProxies: ["10.0.0.0/8"],
      routes: [
        { match: { headers: { "x-admin": true } }, respond: { status: 418 } },
        { rateLimit: { key: "client-ip", rate: 5 }, upstream: "web" },
      ],
    },
  ],
});

const PARTS = { geoip: new Map(), secret: "s", wallMs: 0 };
const BACKEND = { url: "http://127.0.0.1:1", location: { latitude: 37.5, longitude: 127 } };

function explain(described: Partial<RequestDescription>): RequestExplanation {
  const request = { listener: 0, method: "GET", host: "a.test", target: "/", client: "192.0.2.7", headers: [] };
  return explainOffline(settings, { ...request, ...described }, PARTS)!;
}

test.each([
  ["a field", { headers: [["x-a", "1\r\nx-admin: 1"]] }],
  ["a lone line feed in a field", { headers: [["x-a", "1\nx-admin: 1"]] }],
  ["a name", { headers: [["x-admin: 1\r\nx-a", "1"]] }],
  ["the host", { host: "a.test\r\nx-admin: 1" }],
  ["the target", { target: "/ HTTP/1.1\r\nx-admin: 1\r\nx: " }],
  ["the method", { method: "GET / HTTP/1.1\r\nx-admin: 1\r\n\r\nGET" }],
] as const)("what would be a line of its own is not put in by %s", (_, described) => {
  expect(explain(described)).toMatchObject({ routes: [], answer: { status: 400, reason: "bad-line-end" } });
});

test("letters beyond Latin-1 are sent as UTF-8, and none of them ends a line", () => {
  // The last 8 bits of these are a carriage return and a line feed.
  expect(explain({ headers: [["x-a", "\u010d\u010ax-admin: 1"]] })).toMatchObject({ route: "route-2" });
});

test("what the listener refuses to read is refused here, with its reason", () => {
  expect(explain({ target: `/${"x".repeat(64)}` }).answer).toEqual({ status: 414, reason: "target-too-long" });
  expect(explain({ method: "CONNECT" }).answer).toEqual({ status: 405, reason: "method-not-allowed" });
  expect(explain({ headers: [["host", "b.test"]] }).answer).toEqual({ status: 400, reason: "two-hosts" });
  expect(explain({ headers: [["x-admin", "1"]] })).toMatchObject({ route: "route-1", answer: { status: 418 } });
});

test("the client is who a trusted proxy says, and an IPv6 one is limited with its network", () => {
  const headers = [["x-forwarded-for", "2001:db8:1:2:3:4:5:6"]] as const;
  expect(explain({ headers })).toMatchObject({
    client: "192.0.2.7",
    trusted: false,
    rateLimit: { value: "192.0.2.7" },
  });
  expect(explain({ headers, client: "10.0.0.1" })).toMatchObject({
    client: "2001:db8:1:2:3:4:5:6",
    trusted: true,
    rateLimit: {
      key: "client-ip",
      value: expect.stringMatching(/^2001:db8:1:2:.*\/64$/),
      rate: 5,
      perMs: 1000,
      burst: 5,
    },
  });
});

describe("where the client is", () => {
  const SEOUL = { latitude: 37.5, longitude: 127 };
  const located = settingsOf({
    listeners: [
      {
        listen: "127.0.0.1:0",
        clientPosition: { default: SEOUL },
        routes: [
          { match: { path: "/near" }, upstream: "near" },
          { match: { path: "/far" }, upstream: "far" },
          { match: { path: "/falls" }, upstream: "falls" },
          {
            match: { path: "/both" },
            split: [
              { upstream: "far", weight: 1 },
              { upstream: "near", weight: 1 },
            ],
          },
          { match: { path: "/none" }, respond: { status: 204 } },
        ],
      },
    ],
    upstreams: {
      near: { balance: "nearest", backends: [BACKEND] },
      far: { backends: [BACKEND] },
      falls: { backends: [BACKEND], circuitBreaker: { fallback: { upstream: "near" } } },
    },
  });
  const ask = (target: string) => {
    const request = { listener: 0, method: "GET", host: "a", target, client: "192.0.2.7", headers: [] };
    const { position, positionFrom, upstreams } = explainOffline(located, request, PARTS)!;
    return [position, positionFrom, ...upstreams.map(({ pick }) => pick.backends[0]!.distanceKm)];
  };

  test("is asked where an upstream that may get the request, or its fallback, goes by it", () => {
    expect(ask("/near")).toEqual([SEOUL, "default", 0]);
    expect(ask("/falls")).toEqual([SEOUL, "default", 0]);
  });

  test("is asked nowhere else, as it is not for a request", () => {
    for (const target of ["/far", "/none", "/unknown"]) expect(ask(target).slice(0, 2)).toEqual([undefined, "none"]);
    expect(ask("/both")).toEqual([SEOUL, "default", undefined, 0]);
  });
});
