import { mkdtempSync, rmSync } from "node:fs";
import { createServer as createHttpServer, type RequestListener } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import type { Endpoint } from "../../config/settings.ts";
import { type CheckResult, type CheckSettings, checkBackend } from "./check.ts";

const common = { interval: 5_000, timeout: 1_000, unhealthyAfter: 3, healthyAfter: 1 };
const tcp: CheckSettings = { type: "tcp", ...common };
const http = (more: Partial<CheckSettings & { type: "http" }> = {}): CheckSettings => ({
  type: "http",
  ...common,
  path: "/health",
  method: "GET",
  host: undefined,
  expectStatus: [[200, 399]],
  expectBody: undefined,
  ...more,
});

const servers: Server[] = [];
const sockets = new Set<Socket>();
const folders: string[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  for (const socket of sockets) socket.destroy();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function open(server: Server, where: { host: string } | { path: string } = { host: "127.0.0.1" }): Promise<Endpoint> {
  servers.push(server);
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
  });
  return new Promise((resolve) =>
    server.listen("path" in where ? where : { port: 0, ...where }, () => {
      if ("path" in where) resolve({ kind: "unix", path: where.path });
      else resolve({ kind: "tcp", host: where.host, port: (server.address() as AddressInfo).port });
    }),
  );
}

const answering = (listener: RequestListener) => open(createHttpServer(listener));
const speaking = (bytes: string) => open(createServer((socket) => socket.once("data", () => socket.end(bytes))));
const check = (endpoint: Endpoint, settings: CheckSettings, signal = new AbortController().signal) =>
  checkBackend(endpoint, settings, signal);
const failed = (reason: string | RegExp): CheckResult => ({
  kind: "failed",
  reason: typeof reason === "string" ? reason : expect.stringMatching(reason),
});

test.each(["127.0.0.1", "::1", "localhost"])("a tcp check of %s passes when a connection opens", async (host) => {
  const endpoint = await open(createServer(), { host });
  expect(await check(endpoint, tcp)).toEqual({ kind: "passed" });
});

test("tcp and http checks work over a Unix socket", async () => {
  const folder = mkdtempSync(join(tmpdir(), "spillway-check-"));
  folders.push(folder);
  const endpoint = await open(
    createHttpServer((_, response) => response.end()),
    { path: join(folder, "s.sock") },
  );
  expect(await check(endpoint, tcp)).toEqual({ kind: "passed" });
  expect(await check(endpoint, http())).toEqual({ kind: "passed" });
  expect(await check({ kind: "unix", path: join(folder, "none.sock") }, tcp)).toEqual(failed("socket does not exist"));
});

test.each([tcp, http()])("a closed port fails with the reason ($type)", async (settings) => {
  const endpoint = await open(createServer());
  await new Promise((closed) => servers.pop()!.close(closed));
  expect(await check(endpoint, settings)).toEqual(failed("connection refused"));
});

test("a name that does not resolve fails with the reason", async () => {
  const endpoint: Endpoint = { kind: "tcp", host: "nowhere.invalid", port: 80 };
  expect(await check(endpoint, tcp)).toEqual(failed(/does not resolve|name server does not answer/));
});

test("an http check sends what is configured, without keep-alive", async () => {
  let seen: unknown;
  const endpoint = await answering((request, response) => {
    const { host, connection } = request.headers;
    seen = { method: request.method, url: request.url, host, connection };
    response.end();
  });
  await check(endpoint, http({ method: "HEAD", path: "/up?x=1", host: "shop.test" }));
  expect(seen).toEqual({ method: "HEAD", url: "/up?x=1", host: "shop.test", connection: "close" });
});

test("the Host field is the backend's address unless set", async () => {
  let host: string | undefined;
  const endpoint = await answering((request, response) => {
    host = request.headers.host;
    response.end();
  });
  await check(endpoint, http());
  expect(host).toBe(`127.0.0.1:${(endpoint as { port: number }).port}`);
});

test.each([
  [200, [[200, 399]], true],
  [302, [[200, 399]], true],
  [
    404,
    [
      [200, 299],
      [404, 404],
    ],
    true,
  ],
  [
    500,
    [
      [200, 299],
      [404, 404],
    ],
    false,
  ],
] as const)("status %i against %j", async (status, ranges, passes) => {
  const endpoint = await answering((_, response) => response.writeHead(status).end());
  const expectStatus = ranges.map(([from, to]): [number, number] => [from, to]);
  const result = await check(endpoint, http({ expectStatus }));
  expect(result).toEqual(passes ? { kind: "passed" } : failed("status 500, expected 200-299, 404"));
});

test("text that arrives in pieces is found", async () => {
  const endpoint = await answering((_, response) => {
    response.write("all sys");
    setImmediate(() => response.end("tems go"));
  });
  expect(await check(endpoint, http({ expectBody: "systems" }))).toEqual({ kind: "passed" });
  expect(await check(endpoint, http({ expectBody: "broken" }))).toEqual(failed('the answer does not contain "broken"'));
});

test("an endless answer is read for 64 KiB and not a second longer", async () => {
  const endpoint = await answering((_, response) => {
    const more = () => {
      while (!response.destroyed && response.write("x".repeat(16 * 1024)));
    };
    response.on("drain", more);
    more();
  });
  expect(await check(endpoint, http({ expectBody: "y" }))).toEqual(failed(/does not contain "y"/));
});

test("text after the first 64 KiB does not count", async () => {
  const endpoint = await answering((_, response) => response.end(`${"x".repeat(64 * 1024)}y`));
  expect(await check(endpoint, http({ expectBody: "y" }))).toEqual(failed(/does not contain "y"/));
});

test.each([
  ["nothing at all", "", /connection (reset|closed)|hang up/],
  ["another protocol", "SSH-2.0-OpenSSH\r\n", /malformed answer/],
  ["half a head", "HTTP/1.1 200 OK\r\nx: ", /hang up|reset|ended|malformed/],
  [
    "an upgrade nobody asked for",
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    /.+/,
  ],
])("a backend that answers %s has failed, and nothing is thrown", async (_, bytes, reason) => {
  expect(await check(await speaking(bytes), http())).toEqual(failed(reason));
});

test("an answer that breaks off before the text has failed", async () => {
  const endpoint = await speaking("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
  expect(await check(endpoint, http({ expectBody: "whole" }))).toEqual(failed("the answer ended early"));
});

test.each([tcp, http()])("a check that is given up ends, and closes its connection ($type)", async (settings) => {
  const silent = createServer();
  const endpoint = await open(silent);
  const abort = new AbortController();
  const gone = new Promise<void>((resolve) =>
    silent.once("connection", (socket) => {
      socket.resume().once("close", () => resolve());
      abort.abort();
    }),
  );
  await check(endpoint, settings, abort.signal);
  await gone;
});
