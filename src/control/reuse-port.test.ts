import { createConnection, createServer, type Server } from "node:net";
import { expect, test } from "vitest";
import { loadKoffi, nodeHasReusePort, SocketMaker } from "./reuse-port.ts";

test.each([
  ["20.19.0", false],
  ["22.11.0", false],
  ["22.12.0", true],
  ["23.0.0", false],
  ["23.1.0", true],
  ["24.0.0", true],
  ["26.10.0", true],
])("Node.js %s can share a port by itself: %s", (version, expected) => {
  expect(nodeHasReusePort(version)).toBe(expected);
});

const koffi = process.platform === "linux" ? await loadKoffi() : undefined;
if (koffi === undefined) {
  const reason =
    "koffi is not installed, or this is not Linux: sockets that workers share on Node.js 20 are not tested";
  if (process.env.CI === "true") throw new Error(reason);
  console.warn(`skipped: ${reason}`);
}

test.skipIf(koffi === undefined).each(["127.0.0.1", "::1", "::"])(
  "two sockets made for %s share a port and both accept",
  async (host) => {
    const maker = new SocketMaker(koffi!);
    const first = await listening(maker.bind(host, 0).fd);
    const { port } = first.address() as { port: number };
    const second = await listening(maker.bind(host, port).fd);
    const accepted = [0, 0];
    for (const [index, server] of [first, second].entries()) server.on("connection", () => accepted[index]!++);
    const target = host === "::" ? "127.0.0.1" : host;
    for (let i = 0; i < 64; i++) await connectOnce(target, port);
    first.close();
    second.close();
    expect(accepted[0]! + accepted[1]!).toBe(64);
    expect(Math.min(...accepted)).toBeGreaterThan(0);
  },
);

test.skipIf(koffi === undefined)("an address held without sharing is in use", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  expect(() => new SocketMaker(koffi!).bind("127.0.0.1", port)).toThrow(
    expect.objectContaining({ code: "EADDRINUSE", address: `127.0.0.1:${port}` }),
  );
  server.close();
});

test.skipIf(koffi === undefined)("a socket nobody adopted is closed, one that is adopted is left alone", async () => {
  const maker = new SocketMaker(koffi!);
  const unused = maker.bind("127.0.0.1", 0);
  unused.close();
  const next = maker.bind("127.0.0.1", 0);
  unused.close();
  const server = await listening(next.fd);
  await connectOnce("127.0.0.1", (server.address() as { port: number }).port);
  server.close();
});

function listening(fd: number): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve) => server.listen({ fd }, () => resolve(server)));
}

function connectOnce(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host, port });
    socket.on("error", reject);
    socket.on("close", () => resolve());
    socket.resume();
  });
}
