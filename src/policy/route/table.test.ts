import fc from "fast-check";
import { expect, test } from "vitest";
import { requestOf, routeOf } from "../../../test/support/routes.ts";
import { SeededRandom } from "../model/random.ts";
import { explainRoute } from "./explain.ts";
import type { MatchOptions, PathPattern } from "./options.ts";
import { chooseSplit } from "./route.ts";
import { compileRoutes, type RouteTable } from "./table.ts";

const exact = (path: string): PathPattern => ({ kind: "exact", path });
const prefix = (text: string): PathPattern => ({ kind: "prefix", prefix: text });

function table(routes: Record<string, MatchOptions>): RouteTable<string> {
  return compileRoutes(
    Object.entries(routes).map(([name, match]) => routeOf(name, { match })),
    (name) => name,
  );
}

function taken(routes: RouteTable<string>, ...request: Parameters<typeof requestOf>): string | undefined {
  return routes.match(requestOf(...request))?.name;
}

test("the first route that fits takes the request", () => {
  const routes = table({ a: { path: prefix("/v1/") }, b: { path: prefix("/v1/x/") }, c: {} });
  expect(taken(routes, "/v1/x/y")).toBe("a");
  expect(taken(routes, "/other")).toBe("c");
});

test("no route that fits is no route", () => {
  expect(taken(table({ a: { path: exact("/a") } }), "/b")).toBeUndefined();
  expect(taken(table({}), "/b")).toBeUndefined();
});

test("a first route without conditions needs no matching", () => {
  const routes = table({ all: {}, never: { path: exact("/x") } });
  expect(routes.only?.name).toBe("all");
  expect(table({ some: { method: ["GET"] }, all: {} }).only).toBeUndefined();
});

test("an exact path is that path alone, with any query", () => {
  const routes = table({ a: { path: exact("/a") } });
  expect(taken(routes, "/a")).toBe("a");
  expect(taken(routes, "/a?x=1")).toBe("a");
  expect(taken(routes, "/a?")).toBe("a");
  expect(taken(routes, "/a/")).toBeUndefined();
  expect(taken(routes, "/ab")).toBeUndefined();
  expect(taken(routes, "/A")).toBeUndefined();
  expect(taken(routes, "/%61")).toBeUndefined();
});

test("a prefix is everything below it, not the path without its slash", () => {
  const routes = table({ a: { path: prefix("/v1/") } });
  expect(taken(routes, "/v1/")).toBe("a");
  expect(taken(routes, "/v1/x?y")).toBe("a");
  expect(taken(routes, "/v1")).toBeUndefined();
  expect(taken(routes, "/v10/x")).toBeUndefined();
  expect(taken(routes, "/v1?/v1/")).toBeUndefined();
});

test("an expression sees the path and not the query", () => {
  const routes = table({ a: { path: { kind: "expression", source: "^/u/[0-9]+$" } } });
  expect(taken(routes, "/u/12")).toBe("a");
  expect(taken(routes, "/u/12?x")).toBe("a");
  expect(taken(routes, "/u/x?/u/12")).toBeUndefined();
});

test("hosts are compared without port and without the dot at the end", () => {
  const routes = table({ a: { host: ["shop.test", "[::1]"] } });
  for (const host of ["shop.test", "shop.test:8080", "shop.test.", "shop.test.:80", "[::1]", "[::1]:80"]) {
    expect([host, taken(routes, "/", { host })]).toEqual([host, "a"]);
  }
  for (const host of ["www.shop.test", "shop.tes", "", "[::2]", "."]) {
    expect([host, taken(routes, "/", { host })]).toEqual([host, undefined]);
  }
});

test("a star stands for one label or more, not for none", () => {
  const routes = table({ a: { host: ["*.shop.test"] } });
  expect(taken(routes, "/", { host: "www.shop.test" })).toBe("a");
  expect(taken(routes, "/", { host: "a.b.shop.test:1" })).toBe("a");
  expect(taken(routes, "/", { host: "shop.test" })).toBeUndefined();
  expect(taken(routes, "/", { host: "xshop.test" })).toBeUndefined();
});

test("order decides between a name, a star and no host at all, whatever is more exact", () => {
  const routes = table({
    wide: { host: ["*.shop.test"], path: prefix("/w/") },
    name: { host: ["eu.shop.test"] },
    narrow: { host: ["*.eu.shop.test"] },
    rest: {},
  });
  expect(taken(routes, "/w/x", { host: "eu.shop.test" })).toBe("wide");
  expect(taken(routes, "/x", { host: "eu.shop.test" })).toBe("name");
  expect(taken(routes, "/w/x", { host: "a.eu.shop.test" })).toBe("wide");
  expect(taken(routes, "/x", { host: "a.eu.shop.test" })).toBe("narrow");
  expect(taken(routes, "/x", { host: "other.test" })).toBe("rest");
});

test("methods, fields, query parameters and clients all have to fit", () => {
  const routes = table({
    a: {
      method: ["GET", "HEAD"],
      headers: [
        { name: "x-canary", value: "1" },
        { name: "cookie", value: true },
      ],
      query: [{ name: "beta", value: "1" }],
      client: ["192.0.2.0/24"],
    },
  });
  const fits = { headers: { "x-canary": "1", cookie: "" }, client: "192.0.2.9" };
  expect(taken(routes, "/?a=2&beta=1", fits)).toBe("a");
  expect(taken(routes, "/?beta=1", { ...fits, method: "POST" })).toBeUndefined();
  expect(taken(routes, "/?beta=1", { ...fits, method: "get" })).toBeUndefined();
  expect(taken(routes, "/?beta=2", fits)).toBeUndefined();
  expect(taken(routes, "/?abeta=1", fits)).toBeUndefined();
  expect(taken(routes, "/?beta=1", { ...fits, client: "198.51.100.1" })).toBeUndefined();
  expect(taken(routes, "/?beta=1", { ...fits, client: "" })).toBeUndefined();
  expect(taken(routes, "/?beta=1", { ...fits, headers: { "x-canary": "1" } })).toBeUndefined();
  expect(taken(routes, "/?beta=1", { ...fits, headers: { "x-canary": "10", cookie: "a" } })).toBeUndefined();
});

test("a request for everything (*) fits routes without a path alone", () => {
  expect(taken(table({ a: { path: prefix("/") }, b: {} }), "*", { method: "OPTIONS" })).toBe("b");
});

test("look-ups find what walking the routes one by one finds", () => {
  const segment = fc.constantFrom("a", "b", "cd", "e");
  const path = fc.array(segment, { maxLength: 3 }).map((parts) => `/${parts.join("/")}`);
  const pattern: fc.Arbitrary<PathPattern> = fc.oneof(
    path.map(exact),
    path.map((text) => prefix(text === "/" ? text : `${text}/`)),
    fc.constantFrom("^/a", "b$", "c").map((source): PathPattern => ({ kind: "expression", source })),
  );
  const name = fc
    .array(fc.constantFrom("x", "y", "zz"), { minLength: 1, maxLength: 3 })
    .map((labels) => `${labels.join(".")}.test`);
  const host = fc.oneof(
    name,
    name.map((text) => `*.${text}`),
  );
  const match: fc.Arbitrary<MatchOptions> = fc.record(
    {
      host: fc.array(host, { minLength: 1, maxLength: 2 }),
      path: pattern,
      method: fc.constantFrom(["GET"], ["POST", "GET"]),
    },
    { requiredKeys: [] },
  );
  const request = fc.record({
    target: fc.tuple(path, fc.constantFrom("", "/", "?q")).map((parts) => parts.join("")),
    host: name,
    method: fc.constantFrom("GET", "POST"),
  });
  fc.assert(
    fc.property(
      fc.array(match, { maxLength: 25 }),
      fc.array(request, { minLength: 1, maxLength: 20 }),
      (matches, requests) => {
        const routes = compileRoutes(
          matches.map((each, at) => routeOf(`r${at}`, { match: each })),
          (upstream) => upstream,
        );
        for (const { target, ...rest } of requests) {
          const one = requestOf(target, rest);
          expect(routes.match(one)?.name).toBe(explainRoute(routes, one).taken?.name);
        }
      },
    ),
    { numRuns: 1000, seed: 1 },
  );
});

test("an action holds what its upstream stands for, looked up once", () => {
  const upstream = { picked: 0 };
  const routes = compileRoutes([routeOf("a")], () => upstream);
  expect(routes.only?.action).toEqual({ kind: "upstream", upstream });
});

test("a split gives each upstream the share of its weight", () => {
  const [route] = compileRoutes(
    [
      routeOf("s", {
        action: {
          kind: "split",
          split: [
            { upstream: "web", weight: 95 },
            { upstream: "none", weight: 0 },
            { upstream: "api", weight: 5 },
          ],
        },
      }),
    ],
    (name) => name,
  ).routes;
  const action = route!.action;
  if (action.kind !== "split") throw new Error("no split");
  const counts: Record<string, number> = {};
  const random = new SeededRandom(1);
  for (let at = 0; at < 20_000; at++) {
    const upstream = chooseSplit(action, random.next());
    counts[upstream] = (counts[upstream] ?? 0) + 1;
  }
  expect(Object.keys(counts).sort()).toEqual(["api", "web"]);
  expect(counts.web! / 20_000).toBeCloseTo(0.95, 2);
  expect(chooseSplit(action, 0)).toBe("web");
  expect(chooseSplit(action, 0.9499)).toBe("web");
  expect(chooseSplit(action, 0.9501)).toBe("api");
  expect(chooseSplit(action, 1 - Number.EPSILON / 2)).toBe("api");
});

test("changes to fields are compiled to lower-case names, none of them to nothing", () => {
  const [plain, changed] = compileRoutes(
    [
      routeOf("plain"),
      routeOf("changed", {
        headers: {
          request: { set: [{ name: "X-Tenant", value: "a" }], add: [], remove: ["Cookie"] },
          response: { set: [], add: [{ name: "X-Backend", value: "{backend}" }], remove: [] },
        },
      }),
    ],
    (name) => name,
  ).routes;
  expect(plain!.requestHeaders).toBeUndefined();
  expect(changed!.requestHeaders).toMatchObject({
    remove: ["cookie"],
    set: [{ name: "X-Tenant", lower: "x-tenant" }],
    perBackend: false,
  });
  expect(changed!.responseHeaders).toMatchObject({ perBackend: true });
});

test("why a route was not taken is told by the first thing that does not hold", () => {
  const routes = table({
    host: { host: ["*.other.test"] },
    exact: { path: exact("/a") },
    prefix: { path: prefix("/a/") },
    expression: { path: { kind: "expression", source: "^/a" } },
    method: { method: ["POST"] },
    client: { client: ["10.0.0.0/8"] },
    header: { headers: [{ name: "x-canary", value: "1" }] },
    query: { query: [{ name: "beta", value: "1" }] },
    taken: {},
    later: {},
  });
  const { routes: each, taken: route, target } = explainRoute(routes, requestOf("/x?beta=2"));
  expect(each.map(({ verdict, because }) => because ?? verdict)).toEqual([
    "host shop.test is not *.other.test",
    "path /x is not /a",
    "path /x does not begin with /a/",
    "path /x does not match ^/a",
    "method GET is not POST",
    "client 192.0.2.1 is not in 10.0.0.0/8",
    "header x-canary is missing",
    'query parameter beta is "2", not "1"',
    "taken",
    "later",
  ]);
  expect([route?.name, target]).toEqual(["taken", "/x?beta=2"]);
});
