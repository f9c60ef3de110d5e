import { expect, test } from "vitest";
import { parseRedisUrl } from "./redis-url.ts";

test("a host is enough", () => {
  expect(parseRedisUrl("redis://cache.test")).toEqual({
    host: "cache.test",
    port: 6379,
    username: undefined,
    password: undefined,
    db: 0,
    tls: false,
    shown: "redis://cache.test",
  });
});

test("everything a URL may say is used, and what is shown has no password", () => {
  expect(parseRedisUrl("rediss://app:p%40ss%3Aword@10.0.0.9:6380/3")).toEqual({
    host: "10.0.0.9",
    port: 6380,
    username: "app",
    password: "p@ss:word",
    db: 3,
    tls: true,
    shown: "rediss://app@10.0.0.9:6380/3",
  });
  expect(parseRedisUrl("redis://:secret@h:1/").shown).toBe("redis://h:1/");
});

test("an IPv6 address loses its brackets", () => {
  expect(parseRedisUrl("redis://[::1]:6379").host).toBe("::1");
});
