import { expect, test } from "vitest";
import { pathOf, queryValue } from "./target.ts";

test.each([
  ["/a/b", "/a/b"],
  ["/a?x=1", "/a"],
  ["/a?x=1?y=2", "/a"],
  ["/?", "/"],
  ["*", "*"],
  ["/a%3Fb", "/a%3Fb"],
])("the path of %j is %j", (target, path) => {
  expect(pathOf(target)).toBe(path);
});

test.each([
  ["/?user=1", "1"],
  ["/?a=b&user=1", "1"],
  ["/?user=1&a=b", "1"],
  ["/?user=first&user=second", "first"],
  ["/?user", ""],
  ["/?user=", ""],
  ["/?user&a=b", ""],
  ["/?user=a=b", "a=b"],
  ["/?user=a%20b+c", "a%20b+c"],
  ["/?users=0&user=1", "1"],
  ["/?xuser=0&user=1", "1"],
  ["/?a=user=0&user=1", "1"],
  ["/?&&user=1", "1"],
  ["/?a=1?user=0&user=1", "1"],
])("%j holds the user %j", (target, value) => {
  expect(queryValue(target, "user")).toBe(value);
});

test.each(["/", "/?", "/user=1", "/?User=1", "/?us%65r=1", "/?a=b&", "/?use"])("%j holds no user", (target) => {
  expect(queryValue(target, "user")).toBeUndefined();
});
