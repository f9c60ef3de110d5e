import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { requestOf, routeOf } from "../../../test/support/routes.ts";
import type { RouteOptions } from "./options.ts";
import { rewriteTarget } from "./rewrite.ts";
import { compileRoutes } from "./table.ts";

function route(options: Partial<RouteOptions>) {
  return compileRoutes([routeOf("r", options)], (name) => name).routes[0]!;
}

describe("a prefix is taken off and put on", () => {
  const both = route({ rewrite: { stripPrefix: "/v1", addPrefix: "/api" } });
  test.each([
    ["/v1/x?q=/v1", "/api/x?q=/v1"],
    ["/v1", "/api/"],
    ["/v1?x", "/api/?x"],
    ["/v1/", "/api/"],
    ["/v10/x", "/api/v10/x"],
    ["/other", "/api/other"],
    ["/v1//x", "/api//x"],
    ["/v1/a%2fb", "/api/a%2fb"],
    ["*", "*"],
  ])("%s becomes %s", (from, to) => expect(rewriteTarget(both, from)).toBe(to));
});

test("without a prefix the target goes on as it came", () => {
  const plain = route({});
  expect(plain.rewrites).toBe(false);
  for (const target of ["/a/../b", "/%2e%2e/x", "/a//b?..", "/"]) expect(rewriteTarget(plain, target)).toBe(target);
});

describe("dot segments that would leave the prefix are refused, however they are written", () => {
  const below = route({ match: { path: { kind: "prefix", prefix: "/v1/" } } });
  test.each([
    "/v1/..",
    "/v1/../",
    "/v1/../admin",
    "/v1/a/../../admin",
    "/v1/./../admin",
    "/v1//../admin",
    "/v1/a//../../x",
    "/v1/%2e%2e/admin",
    "/v1/%2E./admin",
    "/v1/.%2e/admin",
    "/v1/..%2fadmin",
    "/v1/..%2Fadmin",
    "/v1/..\\admin",
    "/v1/..%5cadmin",
    "/v1/..;x=1/admin",
    "/v1/../v1/x",
    "/v1/..?x",
  ])("%s", (target) => expect(rewriteTarget(below, target)).toBeUndefined());
});

describe("dots that stay below the prefix, or are no segment, go on as sent", () => {
  const below = route({ match: { path: { kind: "prefix", prefix: "/v1/" } } });
  test.each([
    "/v1/a/../b",
    "/v1/a/..",
    "/v1/...",
    "/v1/..a",
    "/v1/a..",
    "/v1/.",
    "/v1/a%2fb",
    "/v1/x?../..",
    "/v1/a/b/../../c",
    "/v1/%2e/x",
  ])("%s", (target) => expect(rewriteTarget(below, target)).toBe(target));
});

test("what is stripped is a prefix too, also where the route matches any path", () => {
  const strips = route({ rewrite: { stripPrefix: "/v1" } });
  expect(rewriteTarget(strips, "/v1/../x")).toBeUndefined();
  expect(rewriteTarget(strips, "/v1/a/../x")).toBe("/a/../x");
  expect(rewriteTarget(route({ rewrite: { addPrefix: "/api" } }), "/../x")).toBeUndefined();
});

describe("dots do not lead round a route that comes first", () => {
  const table = compileRoutes(
    [
      routeOf("admin", {
        match: { path: { kind: "prefix", prefix: "/admin/" } },
        action: { kind: "respond", status: 403, body: "", headers: [] },
      }),
      routeOf("exact", { match: { path: { kind: "exact", path: "/secret" } } }),
      routeOf("users", { match: { path: { kind: "expression", source: "^/u/[^/]+/" } } }),
      routeOf("rest"),
    ],
    (name) => name,
  );
  const target = (text: string) => {
    const request = requestOf(text);
    return rewriteTarget(table.match(request)!, request.target);
  };
  test.each([
    "/x/../admin/",
    "/x/../admin/y",
    "/x/%2e%2e/secret",
    "/x/y/../../admin/y",
    "/../admin/y",
    "/u/a/../../secret",
    "/u/a/../../other",
  ])("%s", (text) => expect(target(text)).toBeUndefined());
  test.each(["/x/../y", "/u/a/b/../c", "/x/../admins", "/a/../b/../c"])("%s goes on", (text) =>
    expect(target(text)).toBe(text),
  );
});

test("a route that shares its path with an earlier one is no way round it", () => {
  const path = { kind: "prefix", prefix: "/v1/" } as const;
  const table = compileRoutes(
    [routeOf("get", { match: { path, method: ["GET"] } }), routeOf("rest", { match: { path } })],
    (name) => name,
  );
  const request = requestOf("/v1/a/../b", { method: "POST" });
  expect(rewriteTarget(table.match(request)!, request.target)).toBe("/v1/a/../b");
});

test("no path that a backend resolves by the rules of URLs leaves the prefix", () => {
  const below = route({ match: { path: { kind: "prefix", prefix: "/v1/" } } });
  const piece = fc.constantFrom("..", ".", "a", "", "%2e%2e", "%2E", "%2f", "\\", ";", "...", "..;");
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), fc.constantFrom("/", ""), (pieces, glue) => {
      const target = `/v1/${pieces.join(glue)}`;
      const sent = rewriteTarget(below, target);
      if (sent !== undefined) expect(new URL(sent, "http://backend.test").pathname).toMatch(/^\/v1\//);
    }),
    { numRuns: 5000, seed: 1 },
  );
});
