import { expect, test } from "vitest";
import type { PickRequest } from "../model/request.ts";
import { isKeyName, type KeyName, keyMistake, keySource } from "./key.ts";

const fields: Readonly<Record<string, string>> = {
  "x-user": "ann",
  "x-empty": "",
  cookie: "theme=dark; session=s%201; empty=",
};
const request: PickRequest = {
  method: "GET",
  host: "shop.test:8080",
  target: "/items/7?user=bob&empty=&flag",
  client: "192.0.2.7",
  header: (name) => fields[name],
};

test.each<[KeyName, string | undefined]>([
  ["client-ip", "192.0.2.7"],
  ["uri", "/items/7?user=bob&empty=&flag"],
  ["path", "/items/7"],
  ["host", "shop.test:8080"],
  ["header:X-User", "ann"],
  ["header:x-none", undefined],
  ["header:x-empty", undefined],
  ["cookie:session", "s%201"],
  ["cookie:Session", undefined],
  ["cookie:empty", undefined],
  ["query:user", "bob"],
  ["query:none", undefined],
  ["query:empty", undefined],
  ["query:flag", undefined],
])("the key %s is %s", (key, value) => {
  expect(keySource(key)(request)).toBe(value);
});

test("a request without the thing asked for has no key", () => {
  const bare: PickRequest = { method: "GET", host: "", target: "", client: "", header: () => undefined };
  for (const key of ["client-ip", "uri", "path", "host", "header:a", "cookie:a", "query:a"] as const) {
    expect(keySource(key)(bare)).toBeUndefined();
  }
});

test.each([
  ["ip", '"ip" is not a key: write client-ip, uri, path, host, header:NAME, cookie:NAME or query:NAME'],
  ["", '"" is not a key: write client-ip, uri, path, host, header:NAME, cookie:NAME or query:NAME'],
  ["uri:x", '"uri" takes no name: write uri'],
  ["header", '"header" lacks a name: write header:NAME'],
  ["cookie:", '"cookie:" lacks a name: write cookie:NAME'],
  ["query:", '"query:" lacks a name: write query:NAME'],
  ["header:x user", '"x user" is not the name of a header'],
  ["cookie:a;b", '"a;b" is not the name of a cookie'],
  ["query:a&b", '"a&b" is not the name of a query parameter'],
])("%j is refused as a key with a reason", (text, mistake) => {
  expect(keyMistake(text)).toBe(mistake);
  expect(isKeyName(text)).toBe(false);
  expect(() => keySource(text as KeyName)).toThrow(new TypeError(mistake));
});
