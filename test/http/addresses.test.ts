import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { answering, ok } from "../support/raw-backend.ts";
import { get, scene } from "../support/scene.ts";
import { Wire } from "../support/wire.ts";

const hasIPv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === "::1"));

async function open(to: { port: number; host: string } | { path: string }): Promise<Wire> {
  const socket = connect({ ...to, allowHalfOpen: true });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  const wire = new Wire(socket);
  onTestFinished(() => wire.destroy());
  return wire;
}

const shown = answering((request) => ok(["x-forwarded-for", "forwarded"].map((name) => request.value(name)).join("|")));

const listening = (listen: string) => ({
  settings: ([url]: readonly string[]) => ({
    listeners: [{ listen, forwarded: { rfc7239: true }, upstream: "web" }],
    upstreams: { web: { backends: [url!] } },
  }),
});

test("a Unix socket is a listener like any other; its clients have no address", async () => {
  const directory = mkdtempSync(join(tmpdir(), "spillway-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "in.sock");
  await scene(shown, listening(`unix:${path}`));
  const wire = await open({ path });
  for (let i = 0; i < 2; i++) {
    wire.write(get());
    expect((await wire.response()).body).toBe('|for=unknown;host="shop.test";proto=http');
  }
});

if (!hasIPv6) console.warn("skipped: this machine has no ::1, so clients over IPv6 are not tested");
test.skipIf(!hasIPv6)("a client over IPv6 is named by its address, quoted where RFC 7239 asks for it", async () => {
  const { proxy } = await scene(shown, listening("[::1]:0"));
  const wire = await open({ host: "::1", port: proxy.port });
  wire.write(get());
  expect((await wire.response()).body).toBe('::1|for="[::1]";host="shop.test";proto=http');
});

test("a client over IPv4 on a listener for every address is named by its IPv4 address", async () => {
  const { proxy } = await scene(shown, listening(":0"));
  const wire = await open({ host: "127.0.0.1", port: proxy.port });
  wire.write(get());
  expect((await wire.response()).body).toBe('127.0.0.1|for=127.0.0.1;host="shop.test";proto=http');
});

test("several listeners have routes and limits of their own", async () => {
  const { proxy } = await scene(answering(ok("from the backend")), {
    settings: ([url]) => ({
      listeners: [
        { listen: "127.0.0.1:0", upstream: "web" },
        { listen: "127.0.0.2:0", routes: [{ respond: { status: 403 } }] },
      ],
      upstreams: { web: { backends: [url!] } },
    }),
  });
  const wire = await open({ host: "127.0.0.1", port: proxy.port });
  wire.write(get());
  expect((await wire.response()).body).toBe("from the backend");
  expect(proxy.snapshot().listeners.map(({ connectionsOpened }) => connectionsOpened)).toEqual([1, 0]);
});
