import { describe, expect, test } from "vitest";
import { answering, ok } from "../support/raw-backend.ts";
import { get, READ_MODES, type SceneOptions, scene } from "../support/scene.ts";
import { eventually, turn } from "../support/wire.ts";

const H = "Host: a\r\n";

/** What is refused before anything of it reaches a backend: name, bytes, status, word in the log. */
const REFUSED: readonly (readonly [what: string, bytes: string, status: number, code: string])[] = [
  ["a method that is no token", `G(T / HTTP/1.1\r\n${H}\r\n`, 400, "bad-method"],
  ["no method", ` / HTTP/1.1\r\n${H}\r\n`, 400, "bad-method"],
  ["a method longer than any", `${"M".repeat(40)} / HTTP/1.1\r\n${H}\r\n`, 501, "unknown-method"],
  ["CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, "method-not-allowed"],
  ["TRACE", `TRACE / HTTP/1.1\r\n${H}\r\n`, 405, "method-not-allowed"],
  ["HTTP/0.9", "GET /\r\n\r\n", 400, "bad-request-line"],
  ["two spaces in the request line", `GET  / HTTP/1.1\r\n${H}\r\n`, 400, "bad-request-line"],
  ["a space in the target", `GET /a b HTTP/1.1\r\n${H}\r\n`, 400, "bad-request-line"],
  ["something behind the version", `GET / HTTP/1.1 x\r\n${H}\r\n`, 400, "bad-request-line"],
  ["a version in lower case", `GET / http/1.1\r\n${H}\r\n`, 400, "bad-request-line"],
  ["HTTP/2.0", `GET / HTTP/2.0\r\n${H}\r\n`, 505, "bad-version"],
  ["the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "bad-version"],
  ["a relative target", `GET x HTTP/1.1\r\n${H}\r\n`, 400, "bad-target"],
  ["a target with a fragment", `GET /#x HTTP/1.1\r\n${H}\r\n`, 400, "bad-target"],
  ["a target with a byte above ASCII", `GET /\xe4 HTTP/1.1\r\n${H}\r\n`, 400, "bad-target"],
  ["a target with a control byte", `GET /\x01 HTTP/1.1\r\n${H}\r\n`, 400, "bad-target"],
  ["* for anything but OPTIONS", `GET * HTTP/1.1\r\n${H}\r\n`, 400, "bad-target"],
  ["a foreign scheme", `GET ftp://a/ HTTP/1.1\r\n${H}\r\n`, 400, "bad-target"],
  ["an authority with user information", `GET http://u@a/ HTTP/1.1\r\n${H}\r\n`, 400, "bad-target"],
  ["a target beyond the limit", `GET /${"x".repeat(9000)} HTTP/1.1\r\n${H}\r\n`, 414, "target-too-long"],
  ["a bare LF behind the request line", `GET / HTTP/1.1\n${H}\r\n`, 400, "bad-line-end"],
  ["a bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "bad-line-end"],
  ["a bare LF as empty line", `GET / HTTP/1.1\r\n${H}\n`, 400, "bad-line-end"],
  ["a bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400, "bad-line-end"],
  ["a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, "bad-field-name"],
  ["a space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n", 400, "bad-field-name"],
  ["a space before the first name", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "bad-field-name"],
  ["an empty name", `GET / HTTP/1.1\r\n${H}: x\r\n\r\n`, 400, "bad-field-name"],
  ["a field without a colon", `GET / HTTP/1.1\r\n${H}nothing\r\n\r\n`, 400, "bad-field-name"],
  ["a NUL in a value", `GET / HTTP/1.1\r\n${H}X: a\0b\r\n\r\n`, 400, "bad-field-value"],
  ["a DEL in a value", `GET / HTTP/1.1\r\n${H}X: a\x7fb\r\n\r\n`, 400, "bad-field-value"],
  ["a head beyond the limit", `GET / HTTP/1.1\r\n${H}X: ${"x".repeat(40_000)}\r\n\r\n`, 431, "head-too-large"],
  ["too many fields", `GET / HTTP/1.1\r\n${H}${"X: y\r\n".repeat(100)}\r\n`, 431, "too-many-fields"],
  ["no Host", "GET / HTTP/1.1\r\n\r\n", 400, "no-host"],
  ["two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "two-hosts"],
  ["two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, "two-hosts"],
  ["an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "bad-host"],
  ["a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "bad-host"],
  ["a Host with user information", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "bad-host"],
  ["a Host with two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", 400, "bad-host"],
  ["a Host list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "bad-host"],
  ["a port out of range", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400, "bad-host"],
  ["a negative Content-Length", `POST / HTTP/1.1\r\n${H}Content-Length: -1\r\n\r\n`, 400, "bad-content-length"],
  ["a signed Content-Length", `POST / HTTP/1.1\r\n${H}Content-Length: +3\r\n\r\nabc`, 400, "bad-content-length"],
  ["a hexadecimal Content-Length", `POST / HTTP/1.1\r\n${H}Content-Length: 0x3\r\n\r\nabc`, 400, "bad-content-length"],
  ["an empty Content-Length", `POST / HTTP/1.1\r\n${H}Content-Length:\r\n\r\n`, 400, "bad-content-length"],
  ["a list of lengths", `POST / HTTP/1.1\r\n${H}Content-Length: 3, 3\r\n\r\nabc`, 400, "bad-content-length"],
  [
    "a length nobody can count",
    `POST / HTTP/1.1\r\n${H}Content-Length: 99999999999999999999\r\n\r\n`,
    400,
    "bad-content-length",
  ],
  [
    "two equal lengths",
    `POST / HTTP/1.1\r\n${H}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`,
    400,
    "two-content-lengths",
  ],
  [
    "two lengths",
    `POST / HTTP/1.1\r\n${H}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc`,
    400,
    "two-content-lengths",
  ],
  [
    "length and coding",
    `POST / HTTP/1.1\r\n${H}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    400,
    "two-framings",
  ],
  [
    "coding and length",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n`,
    400,
    "two-framings",
  ],
  [
    "chunked twice",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n`,
    400,
    "chunked-not-final",
  ],
  [
    "chunked on two lines",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    400,
    "chunked-not-final",
  ],
  [
    "chunked and then gzip",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`,
    400,
    "chunked-not-final",
  ],
  ["gzip", `POST / HTTP/1.1\r\n${H}Transfer-Encoding: gzip\r\n\r\n`, 501, "unknown-transfer-coding"],
  [
    "gzip and then chunked",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
    501,
    "unknown-transfer-coding",
  ],
  ["identity", `POST / HTTP/1.1\r\n${H}Transfer-Encoding: identity\r\n\r\n`, 501, "unknown-transfer-coding"],
  [
    "a coding that only looks like chunked",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: "chunked"\r\n\r\n`,
    501,
    "unknown-transfer-coding",
  ],
  ["chunked in HTTP/1.0", `POST / HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400, "chunked-in-1.0"],
  ["an unknown expectation", `GET / HTTP/1.1\r\n${H}Expect: tea\r\n\r\n`, 417, "unknown-expectation"],
  ["a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03rest of the hello", 400, "bad-method"],
  ["bytes that mean nothing", "\0\xff\xfe\x80", 400, "bad-method"],
  ["a CR alone before the request line", `\rGET / HTTP/1.1\r\n${H}\r\n`, 400, "bad-line-end"],
];

describe.each(READ_MODES)("with reads by %s", (mode) => {
  test("what is refused gets its status and a closed connection, and nothing of it or behind it reaches a backend", async () => {
    const { client, backend, proxy } = await scene(answering(ok()), {
      mode,
      log: { access: { format: "json" } },
    });
    for (const [what, bytes, status, code] of REFUSED) {
      const wire = await client();
      wire.write(bytes + get("/smuggled"));
      const response = await wire.response();
      expect([what, response.status]).toEqual([what, status]);
      expect([what, response.value("connection")]).toEqual([what, "close"]);
      expect([what, response.value("content-length")]).toEqual([what, String(response.body.length)]);
      if (status === 405) expect(response.value("allow")).toMatch(/GET/);
      expect([what, await wire.rest()]).toEqual([what, ""]);
      expect([what, wire.error]).toEqual([what, undefined]);
      wire.destroy();
      expect(JSON.parse(proxy.accessLog.at(-1)!)).toMatchObject({ status, reason: code, client: "127.0.0.1" });
    }
    expect(backend.connections).toHaveLength(0);
    const { rejected, total } = proxy.snapshot();
    expect(total.requests).toBe(0);
    expect(Object.values(rejected).reduce((sum, count) => sum + count, 0)).toBe(REFUSED.length);
    expect(rejected[431]).toBe(2);
  });

  test("what is refused byte by byte gets the same status", async () => {
    const { client, backend } = await scene(answering(ok()), { mode });
    for (const [what, bytes, status] of REFUSED) {
      if (bytes.length > 200) continue;
      const wire = await client();
      const writing = wire.writeInPieces(bytes, 1);
      const response = await wire.response();
      expect([what, response.status]).toEqual([what, status]);
      await writing;
      wire.destroy();
    }
    expect(backend.connections).toHaveLength(0);
  }, 60_000);
});

test("a bad request behind good ones is refused after they were answered", async () => {
  const { client } = await scene(answering((request) => ok(request.start)));
  const wire = await client();
  wire.write(`${get("/1")}${get("/2")}GET / HTTP/1.1\r\n\r\n${get("/3")}`);
  expect((await wire.response()).body).toBe("GET /1 HTTP/1.1");
  expect((await wire.response()).body).toBe("GET /2 HTTP/1.1");
  expect((await wire.response()).status).toBe(400);
  expect(await wire.rest()).toBe("");
});

test("a client that goes on sending after a refusal can still read it", async () => {
  const { client } = await scene(answering(ok()));
  const wire = await client();
  wire.write(`GET / HTTP/1.1\r\nX: ${"x".repeat(300_000)}`);
  await turn();
  wire.write("x".repeat(300_000));
  expect((await wire.response()).status).toBe(431);
  expect(await wire.rest()).toBe("");
  expect(wire.error).toBeUndefined();
});

const REFUSED_BODIES: readonly (readonly [what: string, body: string, status: number])[] = [
  ["no chunk size", "\r\n", 400],
  ["a chunk size that is no number", "xyz\r\n", 400],
  ["a chunk size with a sign", "-1\r\n", 400],
  ["a chunk size with 0x", "0x3\r\nabc\r\n", 400],
  ["a chunk size with white space", "3 \r\nabc\r\n", 400],
  ["a chunk size nobody can count", "ffffffffffffffffff\r\n", 400],
  ["a bare LF behind a chunk size", "3\nabc\r\n", 400],
  ["a chunk longer than it says", "3\r\nabcd\r\n", 400],
  ["a bare LF behind a chunk", "3\r\nabc\n0\r\n\r\n", 400],
  ["chunk extensions beyond the limit", `3;${"x".repeat(2000)}\r\nabc\r\n`, 400],
  ["a control byte in a chunk extension", "3;a\x01\r\nabc\r\n", 400],
  ["a folded trailer", "0\r\nX: a\r\n b\r\n\r\n", 400],
  ["a bare LF in the trailers", "0\r\nX: a\n\r\n", 400],
  ["endless trailers", `0\r\n${"X: a\r\n".repeat(200)}\r\n`, 400],
];

test("a malformed chunked body ends the exchange with 400 and the connection, and never ends well at the backend", async () => {
  const { client, backend } = await scene(() => {}, { mode: "onread" });
  for (const [what, body, status] of REFUSED_BODIES) {
    for (const split of [false, true]) {
      const before = backend.connections.length;
      const wire = await client();
      const head = `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n`;
      if (split) {
        wire.write(`${head}1\r\nx\r\n`);
        await turn();
        await turn();
        wire.write(body + get("/smuggled"));
      } else {
        wire.write(head + body + get("/smuggled"));
      }
      const response = await wire.response();
      expect([what, split, response.status]).toEqual([what, split, status]);
      expect([what, response.value("connection")]).toEqual([what, "close"]);
      expect([what, await wire.rest()]).toEqual([what, ""]);
      for (const connection of backend.connections.slice(before)) {
        // One that was only just opened has seen nothing of it, and is kept for the next.
        if (connection.pending !== "") await connection.gone();
        expect(connection.pending).not.toContain("smuggled");
        expect(connection.pending).not.toMatch(/\r\n0\r\n\r\n$/);
      }
    }
  }
}, 60_000);

const limited = (limits: NonNullable<SceneOptions["listener"]>["limits"]): SceneOptions => ({
  listener: { limits: limits! },
});

test("limits.bodyBytes: a longer Content-Length is refused at once, without a backend", async () => {
  const { client, backend } = await scene(answering(ok()), limited({ bodyBytes: "1KiB" }));
  const wire = await client();
  wire.write(`POST / HTTP/1.1\r\n${H}Content-Length: 1025\r\n\r\n`);
  const response = await wire.response();
  expect(response.status).toBe(413);
  expect(response.value("connection")).toBe("close");
  expect(backend.connections).toHaveLength(0);
  const fits = await client();
  fits.write(`POST / HTTP/1.1\r\n${H}Content-Length: 1024\r\n\r\n${"x".repeat(1024)}`);
  expect((await fits.response()).status).toBe(200);
});

test("limits.bodyBytes: a chunked body is refused as soon as it is too long", async () => {
  const { client, backend } = await scene(() => {}, limited({ bodyBytes: "1KiB" }));
  const wire = await client();
  wire.write(`POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n200\r\n${"x".repeat(512)}\r\n`);
  await turn();
  wire.write(`200\r\n${"x".repeat(512)}\r\n1\r\nx\r\n`);
  const response = await wire.response();
  expect(response.status).toBe(413);
  expect(response.value("connection")).toBe("close");
  await backend.connections[0]!.gone();
  const fits = await client();
  fits.write(`POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n400\r\n${"x".repeat(1024)}\r\n0\r\n\r\n`);
  await turn();
  expect(fits.pending).toBe("");
});

test("limits of heads hold to the byte and the field", async () => {
  const { client } = await scene(answering(ok()), limited({ headBytes: "1KiB", headFields: 5, targetBytes: "64B" }));
  const headOf = (size: number) => {
    const rest = `GET / HTTP/1.1\r\n${H}X: \r\n\r\n`;
    return `GET / HTTP/1.1\r\n${H}X: ${"x".repeat(size - rest.length)}\r\n\r\n`;
  };
  for (const [text, status] of [
    [headOf(1024), 200],
    [headOf(1025), 431],
    [get("/", ["A: 1", "B: 2", "C: 3", "D: 4"]), 200],
    [get("/", ["A: 1", "B: 2", "C: 3", "D: 4", "E: 5"]), 431],
    [get(`/${"x".repeat(63)}`), 200],
    [get(`/${"x".repeat(64)}`), 414],
  ] as const) {
    const wire = await client();
    wire.write(text);
    expect([text.length, (await wire.response()).status]).toEqual([text.length, status]);
    wire.destroy();
  }
});

test("limits.connections: one more is turned away at once, and there is room again when one leaves", async () => {
  const { client, proxy } = await scene(answering(ok()), limited({ connections: 2 }));
  const first = await client();
  const second = await client();
  first.write(get());
  await first.response();
  second.write(get());
  await second.response();
  await client().then(
    (third) => third.gone(),
    () => {},
  );
  await eventually(() => proxy.snapshot().shed.connections === 1, "the third was counted");
  first.destroy();
  await turn();
  await turn();
  const fourth = await client();
  fourth.write(get());
  expect((await fourth.response()).status).toBe(200);
});
