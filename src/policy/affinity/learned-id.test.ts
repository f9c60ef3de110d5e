import fc from "fast-check";
import { expect, test } from "vitest";
import type { LearnsFrom } from "./affinity.ts";
import { learnedId } from "./learned-id.ts";

const cookie: LearnsFrom = { from: "cookie", name: "SID" };
const NOW = Date.UTC(2026, 10, 24, 12);
const header: LearnsFrom = { from: "header", name: "x-session-id" };

/** The text of fields, as heads keep them. */
function fields(...lines: readonly string[]): string {
  return lines.map((line) => `${line}\r\n`).join("");
}

test.each([
  ["Set-Cookie: SID=abc", "abc"],
  ["set-cookie:SID=abc", "abc"],
  ["SET-COOKIE: \t SID=abc \t", "abc"],
  ["Set-Cookie: SID=abc; Path=/; HttpOnly", "abc"],
  ["Set-Cookie: SID = abc ;Path=/", "abc"],
  ['Set-Cookie: SID="a b"; Path=/', '"a b"'],
  ["Set-Cookie: SID=a=b==; Path=/", "a=b=="],
  ["Set-Cookie: SID=abc; Max-Age=60", "abc"],
  ["Set-Cookie: SID=abc; Max-Age=", "abc"],
  ["Set-Cookie: SID=abc; Max-Age=soon", "abc"],
  ["Set-Cookie: SID=abc; Max-Age=0; Max-Age=5", "abc"],
  ["Set-Cookie: SID=abc; max-ages=0", "abc"],
  ["Set-Cookie: SID=abc; Expires=Tue, 24 Nov 2026 12:00:01 GMT", "abc"],
  ["Set-Cookie: SID=abc; Expires=0", "abc"],
  ["Set-Cookie: SID=abc; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Expires=Fri, 31 Dec 9999 23:59:59 GMT", "abc"],
  ["Set-Cookie: SID=abc; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "abc"],
  ["Set-Cookie: SID=caf\u00c3\u00a0; Path=/", "caf\u00c3\u00a0"],
  [`Set-Cookie: SID=${"x".repeat(8192)}`, "x".repeat(8192)],
])("%j gives its client an id", (line, id) => {
  expect(learnedId(fields("Server: x", line, "Content-Length: 0"), cookie, NOW)).toBe(id);
});

test.each([
  "Set-Cookie: sid=abc",
  "Set-Cookie: XSID=abc",
  "Set-Cookie: SIDX=abc",
  "Set-Cookie: other=1; SID=abc",
  "Set-Cookie: SID",
  "Set-Cookie: SID; x=1",
  "Set-Cookie: =SID",
  "Set-Cookie: ",
  "Set-Cookie:",
  "Set-Cookie2: SID=abc",
  "X-Set-Cookie: SID=abc",
  "X-Note: Set-Cookie: SID=abc",
  "Cookie: SID=abc",
  "Set-Cookie: SID=",
  "Set-Cookie: SID= ; Path=/",
  "Set-Cookie: SID=abc; Max-Age=0",
  "Set-Cookie: SID=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0; path=/",
  "Set-Cookie: SID=deleted; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
  "Set-Cookie: SID=deleted; expires = Thu, 01-Jan-1970 00:00:01 GMT ; HttpOnly",
  "Set-Cookie: SID=abc; Expires=Tue, 24 Nov 2026 12:00:00 GMT",
  "Set-Cookie: SID=abc; Expires=Fri, 31 Dec 9999 23:59:59 GMT; Max-Age=0",
  "Set-Cookie: SID=abc; Path=/; max-age = -1 ",
  "Set-Cookie: SID=abc; Max-Age=5; Max-Age=0",
])("%j gives its client none", (line) => {
  expect(learnedId(fields("Server: x", line, "Content-Length: 0"), cookie, NOW)).toBe("");
});

test("of several the last counts, and may take the id back", () => {
  const one = "Set-Cookie: SID=one; Path=/";
  const two = "Set-Cookie: SID=two";
  const gone = "Set-Cookie: SID=gone; Max-Age=0";
  const past = "Set-Cookie: SID=past; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
  const other = "Set-Cookie: theme=dark";
  expect(learnedId(fields(one, two), cookie, NOW)).toBe("two");
  expect(learnedId(fields(two, other, one, other), cookie, NOW)).toBe("one");
  expect(learnedId(fields(one, gone), cookie, NOW)).toBe("");
  expect(learnedId(fields(one, past), cookie, NOW)).toBe("");
  expect(learnedId(fields(gone, one), cookie, NOW)).toBe("one");
});

test.each([
  ["X-Session-Id: abc", "abc"],
  ["x-session-id:abc", "abc"],
  ["X-SESSION-ID:  a b; c=d ", "a b; c=d"],
  ["X-Session-Id: caf\u00c3\u00a0", "caf\u00c3\u00a0"],
  ["X-Session-Id:", ""],
  ["X-Session-Ids: abc", ""],
  ["XX-Session-Id: abc", ""],
  ["Set-Cookie: x-session-id=abc", ""],
])("the field %j holds %j", (line, id) => {
  expect(learnedId(fields("Server: x", line), header, NOW)).toBe(id);
  expect(learnedId(fields(line, "Server: x"), header, NOW)).toBe(id);
});

test("a response without fields gives none", () => {
  expect([learnedId("", cookie, NOW), learnedId("", header, NOW)]).toEqual(["", ""]);
});

test("no text throws, and what it gives is in it", () => {
  const piece = fc.constantFrom(
    "set-cookie",
    "SID",
    "x-session-id",
    ":",
    "=",
    ";",
    " ",
    "\t",
    "\r\n",
    "\r",
    "Max-Age",
    "Expires",
    "1 Jan 1970 00:00:00",
    "0",
  );
  const text = fc
    .array(fc.oneof(piece, fc.string({ maxLength: 3 })), { maxLength: 30 })
    .map((pieces) => pieces.join(""));
  fc.assert(
    fc.property(text, (text) => {
      expect(text).toContain(learnedId(text, cookie, NOW));
      expect(text).toContain(learnedId(text, header, NOW));
    }),
    { numRuns: 500 },
  );
});
