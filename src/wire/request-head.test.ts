import { expect, test } from "vitest";
import { INCOMPLETE, knownNames, REFUSED } from "./fields.ts";
import { CHUNKED, RequestHead } from "./request-head.ts";

const limits = { headBytes: 32768, headFields: 100, targetBytes: 8192 };
const parse = (text: string) => {
  const head = new RequestHead(limits, knownNames("x-request-id"));
  const bytes = Buffer.from(text, "latin1");
  const end = head.parse(bytes, 0, bytes.length);
  return { head, end, code: head.refusal?.code };
};

test("a plain request is taken apart and its hop-by-hop fields are dropped", () => {
  const { head, end } = parse(
    "GET /a?b=c HTTP/1.1\r\nHost: Shop.Test:80\r\nAccept: */*\r\nConnection: keep-alive, X-Gone\r\nX-Gone: 1\r\nX-Kept: 2\r\n\r\nrest",
  );
  expect(end).toBe(110);
  expect(head.method).toBe("GET");
  expect(head.target).toBe("/a?b=c");
  expect(head.host).toBe("shop.test:80");
  expect(head.kept).toBe("Accept: */*\r\nX-Kept: 2\r\n");
  expect(head.keepAlive).toBe(true);
});

test("a head cut anywhere is incomplete and never refused", () => {
  const text =
    "POST http://a.test:8080/x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
  for (let cut = 0; cut < text.length; cut++) expect(parse(text.slice(0, cut)).end).toBe(INCOMPLETE);
  const { head, end } = parse(text);
  expect(end).toBe(text.length);
  expect([head.framing, head.host, head.target, head.expectsContinue]).toEqual([CHUNKED, "a.test:8080", "/x", true]);
});

test("an equal field block is not parsed again and still belongs to the new request line", () => {
  const head = new RequestHead(limits);
  const first = Buffer.from("GET /1 HTTP/1.1\r\nHost: a\r\nCookie: x\r\n\r\n");
  const second = Buffer.from("GET http://b/2 HTTP/1.1\r\nHost: a\r\nCookie: x\r\n\r\n");
  expect(head.parse(first, 0, first.length)).toBe(first.length);
  const version = head.blockVersion;
  expect(head.parse(second, 0, second.length)).toBe(second.length);
  expect([head.blockVersion, head.host, head.target]).toEqual([version, "b", "/2"]);
  expect(head.parse(first, 0, first.length)).toBe(first.length);
  expect([head.host, head.target, head.header("cookie")]).toEqual(["a", "/1", "x"]);
  const cut = Buffer.from("GET /1 HTTP/1.0\r\nHost: a\r\nCookie: x\r\n\r\n");
  expect(head.parse(cut, 0, cut.length)).toBe(cut.length);
  expect([head.minor, head.keepAlive]).toEqual([0, false]);
});

test.each([
  ["GET / HTTP/1.1\r\n\r\n", "no-host"],
  ["GET / HTTP/1.1\nHost: a\n\n", "bad-line-end"],
  ["GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "bad-request-line"],
  ["GET / HTTP/2.0\r\nHost: a\r\n\r\n", "bad-version"],
  ["GET /\r\n\r\n", "bad-request-line"],
  ["GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "two-hosts"],
  ["GET / HTTP/1.1\r\nHost : a\r\n\r\n", "bad-field-name"],
  ["GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "bad-field-name"],
  ["GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "bad-host"],
  ["GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", "bad-field-value"],
  ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "two-framings"],
  ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", "bad-content-length"],
  ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", "two-content-lengths"],
  ["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", "unknown-transfer-coding"],
  ["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", "chunked-not-final"],
  ["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "unknown-transfer-coding"],
  ["POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked-in-1.0"],
  ["CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", "method-not-allowed"],
  ["GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "bad-target"],
  ["POST / HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\n\r\n", "unknown-expectation"],
])("%j is refused: %s", (text, code) => {
  const result = parse(text);
  expect([result.end, result.code]).toEqual([REFUSED, code]);
});
