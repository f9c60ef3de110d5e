import fc from "fast-check";
import { expect, test } from "vitest";
import { cookieAttributes, cookieText, issuedAt, tokenIn } from "./cookie-value.ts";
import type { CookieOptions } from "./options.ts";
import { sampleCookie } from "./samples.ts";

const token = "Zm9vYmFyYmF6cXV4LV9fZA";
const made = Date.UTC(2026, 10, 24);
const cookie = sampleCookie;

test("says who it belongs to, and when it was made, in base 36", () => {
  expect(cookieText(token, made)).toBe(`${token}.mwtxhc00`);
  expect(cookieText(token, made + 0.75)).toBe(`${token}.mwtxhc00`);
});

test("what is written is read again, at any time until the year 5000", () => {
  const base64url = fc.constantFrom(..."ABCXYZabcxyz0189-_");
  const tokens = fc.string({ unit: base64url, minLength: 22, maxLength: 22 });
  fc.assert(
    fc.property(tokens, fc.integer({ min: 0, max: Date.UTC(5000, 0) }), (token, ms) => {
      const value = cookieText(token, ms);
      expect([tokenIn(value), issuedAt(value)]).toEqual([token, ms]);
    }),
  );
});

test.each([
  ["nothing", ""],
  ["a dot", "."],
  ["a token alone", token],
  ["no time", `${token}.`],
  ["a token that lacks a character", `${token.slice(1)}.mwtxhc00`],
  ["a token with one more", `${token}A.mwtxhc00`],
  ["another sign before the time", `${token}-mwtxhc00`],
  ["a time too long to be one", `${token}.mwtxhc0000`],
  ["quotes", `"${token}.mwtxhc00"`],
  ["a name", "10.0.0.1:3000"],
  ["8 KiB", `${token}.${"0".repeat(8192)}`],
])("%s is none of ours", (_what, value) => {
  expect(tokenIn(value)).toBeUndefined();
});

test.each(["MWTXHC00", "0mwtxftc", "mwtx thc", "-mwtxfth", "mwtxfth.", "1e5+", "é"])(
  "a time written %s is none, beside a token that counts",
  (time) => {
    const value = `${token}.${time}`;
    expect(tokenIn(value)).toBe(token);
    expect(issuedAt(value)).toBeNaN();
  },
);

test("nothing a client sends throws, or is read as more than 22 characters", () => {
  const like = fc
    .tuple(fc.string({ minLength: 21, maxLength: 23, unit: "binary" }), fc.string({ maxLength: 12, unit: "binary" }))
    .map(([token, time]) => `${token}.${time}`);
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary", maxLength: 200 }), like), (value) => {
      const token = tokenIn(value);
      expect([undefined, value.slice(0, 22)]).toContain(token);
      const time = issuedAt(value);
      expect(Number.isNaN(time) || time >= 0).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test.each<[Partial<CookieOptions>, boolean, string]>([
  [{}, false, "; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"],
  [{}, true, "; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"],
  [
    { path: "/shop", domain: "shop.test" },
    false,
    "; Path=/shop; Domain=shop.test; Max-Age=3600; HttpOnly; SameSite=Lax",
  ],
  [{ maxAge: false, httpOnly: false, sameSite: false }, false, "; Path=/"],
  [{ sameSite: "None" }, true, "; Path=/; Max-Age=3600; HttpOnly; SameSite=None; Secure"],
  [{ sameSite: "Strict" }, false, "; Path=/; Max-Age=3600; HttpOnly; SameSite=Strict"],
])("%j, secure %j, comes with %j", (change, secure, attributes) => {
  expect(cookieAttributes({ ...cookie, ...change }, 3_600_000, secure)).toBe(attributes);
});

test.each([
  [1, 1],
  [999, 1],
  [1000, 1],
  [1001, 2],
  [90_000, 90],
])("of %i ms to live the browser keeps it %i whole seconds", (ttl, seconds) => {
  expect(cookieAttributes(cookie, ttl, false)).toContain(`; Max-Age=${seconds};`);
});
