import fc from "fast-check";
import { expect, test } from "vitest";
import { ChunkedDecoder } from "./chunked-decoder.ts";
import { eachField, INCOMPLETE, knownNames, REFUSED } from "./fields.ts";
import { RequestHead } from "./request-head.ts";
import { ResponseHead } from "./response-head.ts";

const SEED = 20_260_302;
const limits = { headBytes: 4096, headFields: 50, targetBytes: 1024, chunkExtensionBytes: 64 };
const names = knownNames("x-request-id");
const bytesOf = (text: string) => Buffer.from(text, "latin1");
function check<T>(property: fc.IProperty<T>, numRuns: number): void {
  fc.assert(property, { seed: SEED, numRuns });
}

// What heads are made of: names that mean something to a proxy, in any case, next to names that do not.

const HOP = ["keep-alive", "proxy-connection", "te", "proxy-authorization", "proxy-authenticate", "http2-settings"];
const FORWARDING = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "x-request-id"];
const PLAIN = ["accept", "cookie", "x-a", "x-b", "user-agent", "x-forwarded", "te-x", "hosts"];
const inAnyCase = (name: string) =>
  fc
    .array(fc.boolean(), { minLength: 1, maxLength: 8 })
    .map((upper) => [...name].map((letter, i) => (upper[i % upper.length] ? letter.toUpperCase() : letter)).join(""));
const name = fc.constantFrom(...HOP, ...FORWARDING, ...PLAIN).chain(inAnyCase);
const value = fc
  .array(fc.constantFrom("a", "B", "0", " ", "\t", ",", ";", "=", '"', ":", "\x80", "\xa0", "\xff"), { maxLength: 12 })
  .map((letters) => letters.join(""));
const padding = fc.constantFrom("", " ", "\t", "  ");
const line = fc.tuple(name, padding, value, padding).map(([n, before, v, after]) => `${n}:${before}${v}${after}\r\n`);
const connection = fc
  .array(fc.constantFrom("close", "keep-alive", "Upgrade", "X-A", "x-b", "cookie", "TE", "", "x-forwarded-for"), {
    maxLength: 4,
  })
  .map((options) => `Connection: ${options.join(" , ")}\r\n`);
const bodyFraming = fc.constantFrom(
  "",
  "Content-Length: 5\r\n",
  "content-length:0\r\n",
  "Transfer-Encoding: chunked\r\n",
);
const upgrade = fc.constantFrom("", "", "Upgrade: websocket\r\n", "Upgrade: h2c\r\n", "Expect: 100-continue\r\n");
const block = (more: fc.Arbitrary<string>) =>
  fc
    .tuple(fc.array(line, { maxLength: 8 }), fc.array(connection, { maxLength: 2 }), bodyFraming, upgrade, more)
    .chain(([lines, connections, ...rest]) => {
      const all = [...lines, ...connections, ...rest].filter((text) => text !== "");
      return fc.shuffledSubarray(all, { minLength: all.length, maxLength: all.length });
    })
    .map((lines) => `${lines.join("")}\r\n`);
const host = fc.constantFrom("a.test", "B.test:80", "[::1]:8080").map((text) => `Host: ${text}\r\n`);
const requestLine = fc
  .tuple(
    fc.constantFrom("GET", "POST", "OPTIONS", "HEAD", "X-Y"),
    fc.constantFrom("/", "/a?b", "//", "http://c.test", "https://D.test:1/x?y"),
    fc.constantFrom("HTTP/1.1", "HTTP/1.1", "HTTP/1.2"),
  )
  .map((parts) => `${parts.join(" ")}\r\n`);
const requestBlock = block(host);
const request = fc.tuple(requestLine, requestBlock).map((parts) => parts.join(""));
const statusLine = fc.constantFrom(
  "HTTP/1.1 200 OK\r\n",
  "HTTP/1.1 404\r\n",
  "HTTP/1.1 304 \r\n",
  "HTTP/1.1 500 No\r\n",
);
const response = fc.tuple(statusLine, block(fc.constant("Date: x\r\n"))).map((parts) => parts.join(""));

/** Everything a parsed request says, but the number of its block. */
function requestParts(head: RequestHead) {
  const { blockVersion, ...parts } = head;
  return { ...parts, cookie: head.header("cookie"), te: head.header("te"), bulky: head.bulky, refusal: head.refusal };
}

/** Parses `text` as it arrives: every cut must be incomplete, and what it is at last must not depend on the cuts. */
function parseInPieces(text: string, cuts: readonly number[], parse: (bytes: Buffer, to: number) => number): number {
  const bytes = bytesOf(`${text}next`);
  for (const cut of [...cuts].sort((a, b) => a - b)) expect(parse(bytes, cut % text.length)).toBe(INCOMPLETE);
  return parse(bytes, bytes.length);
}

const cuts = fc.array(fc.nat(5000), { maxLength: 6 });

test("a request head that arrives in pieces is incomplete until it is whole, and then read as if it came at once", () => {
  check(
    fc.property(request, cuts, (text, places) => {
      const whole = new RequestHead(limits, names);
      expect(whole.parse(bytesOf(text), 0, text.length)).toBe(text.length);
      const pieces = new RequestHead(limits, names);
      expect(parseInPieces(text, places, (bytes, to) => pieces.parse(bytes, 0, to))).toBe(text.length);
      expect(requestParts(pieces)).toEqual(requestParts(whole));
    }),
    1500,
  );
});

test("a response head that arrives in pieces is incomplete until it is whole, and then read as if it came at once", () => {
  check(
    fc.property(response, cuts, fc.constantFrom("GET", "HEAD"), (text, places, method) => {
      const whole = new ResponseHead(limits);
      expect(whole.parse(bytesOf(text), 0, text.length, method)).toBe(text.length);
      const pieces = new ResponseHead(limits);
      expect(parseInPieces(text, places, (bytes, to) => pieces.parse(bytes, 0, to, method))).toBe(text.length);
      expect({ ...pieces }).toEqual({ ...whole });
    }),
    1500,
  );
});

test("what is remembered of earlier requests never changes what a later one says", () => {
  // Few blocks, so that they repeat; now and then one that is cut or refused in between.
  const sequence = fc.array(requestBlock, { minLength: 1, maxLength: 3 }).chain((blocks) =>
    fc.array(
      fc.tuple(
        requestLine.map((text) => text.replace("1.2", "1.0")),
        fc.constantFrom(...blocks),
        fc.constantFrom("whole", "whole", "whole", "cut", "spoilt"),
      ),
      { minLength: 2, maxLength: 12 },
    ),
  );
  check(
    fc.property(sequence, (steps) => {
      const kept = new RequestHead(limits, names);
      for (const [first, fields, what] of steps) {
        const text = what === "spoilt" ? `${first}${fields.slice(0, -2)} x: 1\r\n\r\n` : first + fields;
        const bytes = bytesOf(text);
        const to = what === "cut" ? text.length - 1 : text.length;
        const fresh = new RequestHead(limits, names);
        const end = fresh.parse(bytes, 0, to);
        expect(kept.parse(bytes, 0, to)).toBe(end);
        if (end >= 0) expect(requestParts(kept)).toEqual(requestParts(fresh));
        else expect(kept.refusal).toBe(fresh.refusal);
      }
    }),
    1500,
  );
});

test("what is kept are the client's fields in order, without hop-by-hop ones and those named in Connection", () => {
  const dropped = [
    ...HOP,
    ...FORWARDING,
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "expect",
  ];
  check(
    fc.property(request, (text) => {
      const head = new RequestHead(limits, names);
      head.parse(bytesOf(text), 0, text.length);
      const fields = text.slice(text.indexOf("\n") + 1, -2);
      const drop = new Set(dropped);
      for (const [, options] of fields.matchAll(/^connection:(.*)\r$/gim))
        for (const option of options!.split(",")) drop.add(option.trim().toLowerCase());
      const expected = fields.match(/.+\r\n/g)!.filter((one) => !drop.has(one.split(":")[0]!.toLowerCase()));
      expect(head.kept).toBe(expected.join(""));
    }),
    1500,
  );
});

test("a response keeps no hop-by-hop fields and none named in Connection", () => {
  check(
    fc.property(response, (text) => {
      const head = new ResponseHead(limits);
      expect(head.parse(bytesOf(text), 0, text.length, "GET")).toBe(text.length);
      const named = [...text.matchAll(/^connection:(.*)\r$/gim)].flatMap(([, options]) => options!.split(","));
      const drop = new Set([...HOP, "connection", "content-length", "transfer-encoding", "upgrade"]);
      for (const option of named) drop.add(option.trim().toLowerCase());
      eachField(head.kept, (kept) => expect(drop.has(kept)).toBe(false));
    }),
    1500,
  );
});

// Chunks.

interface Decoded {
  readonly data: string;
  readonly trailer: string;
  readonly end: number;
}

/** A chunked body as RFC 9112 section 7.1 spells it, all at once; undefined when it is malformed or cut. */
function decodeNaively(text: string): Decoded | undefined {
  let data = "";
  let at = 0;
  for (;;) {
    const size = /^([0-9a-f]{1,13})((?:;[\t\x20-\x7e\x80-\xff]*)?)\r\n/i.exec(text.slice(at));
    if (size === null) return undefined;
    at += size[0].length;
    const length = Number.parseInt(size[1]!, 16);
    if (length === 0) break;
    if (text.slice(at + length, at + length + 2) !== "\r\n") return undefined;
    data += text.slice(at, at + length);
    at += length + 2;
  }
  const trailer = /^(?:[!#$%&'*+\-.^_`|~0-9a-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n/i.exec(text.slice(at));
  return trailer === null ? undefined : { data, trailer: trailer[0], end: at + trailer[0].length };
}

/** What the decoder passes on of `text`, in pieces that end at `cuts`; undefined when it refuses or waits. */
function decodeInPieces(text: string, places: readonly number[], dataOnly: boolean) {
  const decoder = new ChunkedDecoder(limits, dataOnly);
  const bytes = bytesOf(text);
  const ends = [...new Set([...places.map((place) => place % (text.length + 1)), text.length])].sort((a, b) => a - b);
  let passed = "";
  let at = 0;
  for (const to of ends) {
    if (decoder.done || decoder.refusal !== undefined) break;
    at = decoder.feed(bytes, at, to);
    passed += decoder.runs.text(bytes);
  }
  return decoder.done ? { passed: passed + decoder.trailer, end: at, dataBytes: decoder.dataBytes } : undefined;
}

const chunk = fc
  .tuple(
    fc.string({ unit: "binary-ascii", minLength: 1, maxLength: 30 }),
    fc.constantFrom("", "0", "000"),
    fc.constantFrom("", "", ";a=b", ';q="x;y"', ";"),
  )
  .map(([data, zeros, extension]) => `${zeros}${data.length.toString(16)}${extension}\r\n${data}\r\n`);
const chunkedText = fc
  .tuple(
    fc.array(chunk, { maxLength: 5 }),
    fc.constantFrom("0", "00", "0;z"),
    fc.constantFrom("", "X-Sum: 1\r\n", "A: b\r\nC:\r\n"),
    fc.constantFrom("", "next", "0\r\n\r\n"),
  )
  .map(([chunks, last, trailer, after]) => `${chunks.join("")}${last}\r\n${trailer}\r\n${after}`);
/** One or two places overwritten, inserted or removed. */
const spoiled = fc
  .tuple(
    chunkedText,
    fc.array(fc.tuple(fc.nat(5000), fc.constantFrom("\r", "\n", "0", "a", ";", " ", "\0", ":", ""), fc.nat(1)), {
      minLength: 1,
      maxLength: 2,
    }),
  )
  .map(([text, changes]) => {
    let changed = text;
    for (const [place, put, gone] of changes) {
      const at = place % changed.length;
      changed = changed.slice(0, at) + put + changed.slice(at + gone);
    }
    return changed;
  });

test("chunks are decoded as a plain reading of the grammar decodes them, whatever the cuts", () => {
  let whole = 0;
  let refused = 0;
  check(
    fc.property(fc.oneof(chunkedText, spoiled), cuts, (text, places) => {
      const expected = decodeNaively(text);
      const decoded = decodeInPieces(text, places, true);
      if (expected === undefined) {
        refused++;
        expect(decoded).toBeUndefined();
        return;
      }
      whole++;
      const { data, trailer, end } = expected;
      expect(decoded).toEqual({ passed: data, end, dataBytes: data.length });
      // Passed on as chunks, it is the same body again, without extensions.
      const passed = decodeInPieces(text, places, false)!;
      expect(passed.end).toBe(end);
      expect(decodeNaively(passed.passed)).toEqual({ data, trailer, end: passed.passed.length });
      expect(passed.passed.length - data.length).toBeLessThanOrEqual(end - data.length);
    }),
    4000,
  );
  expect(Math.min(whole, refused)).toBeGreaterThan(500);
});

test("no bytes make a parser throw, or read behind what has arrived", () => {
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    fc
      .tuple(fc.oneof(request, response, chunkedText), fc.array(fc.tuple(fc.nat(5000), fc.nat(255)), { maxLength: 6 }))
      .map(([text, changes]) => {
        const bytes = bytesOf(text);
        for (const [place, byte] of changes) bytes[place % bytes.length] = byte;
        return bytes;
      }),
  );
  const ends = (bytes: Buffer, to: number) => [
    new RequestHead(limits, names).parse(bytes, 0, to),
    new ResponseHead(limits).parse(bytes, 0, to, "GET"),
    new ChunkedDecoder(limits).feed(bytes, 0, to),
  ];
  check(
    fc.property(noise, fc.nat(300), (bytes, place) => {
      const to = place % (bytes.length + 1);
      const found = ends(bytes, to);
      for (const end of found) expect(end === INCOMPLETE || end === REFUSED || (end >= 0 && end <= to)).toBe(true);
      expect(ends(Buffer.from(bytes.subarray(0, to)), to)).toEqual(found);
    }),
    4000,
  );
});
