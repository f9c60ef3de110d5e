import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import type { SettingsInput } from "../../src/config/settings.ts";
import { startProxy } from "../support/proxy.ts";
import { get, scene } from "../support/scene.ts";
import { eventually, pause } from "../support/wire.ts";

type Affinity = NonNullable<SettingsInput["upstreams"][string]["affinity"]>;

const RATE = 20;
const REBALANCED: Affinity = { cookie: "s", key: "sixteen letters.", rebalance: { rate: RATE, jitter: "100ms" } };
/** A tunnel is idle after a second. */
const IDLE_MS = 1_100;

/** Two WebSocket servers behind a proxy, the second one down. */
async function webSockets(affinity: Affinity, balance: "least-connections" | "weighted-round-robin") {
  const servers = await Promise.all(
    [0, 1].map(async () => {
      const server = createServer();
      const sockets = new WebSocketServer({ server });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return { server, sockets, port: (server.address() as AddressInfo).port };
    }),
  );
  const proxy = await startProxy({
    listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
    upstreams: { web: { backends: servers.map(({ port }) => `http://127.0.0.1:${port}`), balance, affinity } },
    log: { access: { format: "json" } },
  });
  const clients: WebSocket[] = [];
  let over = false;
  onTestFinished(() => {
    over = true;
    for (const client of clients) client.terminate();
    proxy.close();
    for (const { server, sockets } of servers) {
      for (const socket of sockets.clients) socket.terminate();
      server.close();
    }
    expect(proxy.logs.filter(({ code }) => code === "fault")).toEqual([]);
  });
  proxy.plane.setHealth(1, false, "down for the test");
  /** How its connections were closed. */
  const closes: { readonly atMs: number; readonly code: number; readonly reason: string }[] = [];
  const open = async ({ comesAgain = false } = {}): Promise<WebSocket> => {
    const client = new WebSocket(`ws://127.0.0.1:${proxy.port}/`);
    clients.push(client);
    client.on("error", () => {});
    await new Promise((resolve, reject) => {
      client.once("open", resolve);
      client.once("error", reject);
    });
    client.once("close", (code, reason) => {
      closes.push({ atMs: performance.now(), code, reason: String(reason) });
      if (comesAgain && !over) void open({ comesAgain });
    });
    return client;
  };
  const tunnels = () => servers.map(({ sockets }) => sockets.clients.size);
  return { proxy, servers: servers.map(({ sockets }) => sockets), open, closes, tunnels };
}

test("when a backend comes back, about half of 40 WebSockets are told 1012, at the rate, and come again there", async () => {
  const { proxy, servers, open, closes, tunnels } = await webSockets(REBALANCED, "least-connections");
  const serverCloses: number[] = [];
  servers[0]!.on("connection", (socket) => socket.on("close", (code) => serverCloses.push(code)));
  const busy = await open();
  const backendOfFragment = new Promise<WebSocket>((resolve) => servers[0]!.once("connection", resolve));
  const fragmented = await open();
  (await backendOfFragment).send("half a message", { fin: false });
  for (let i = 0; i < 38; i++) await open({ comesAgain: true });
  expect(tunnels()).toEqual([40, 0]);
  const talk = setInterval(() => busy.send("still here"), 100);
  onTestFinished(() => clearInterval(talk));
  await pause(IDLE_MS);
  expect(closes).toEqual([]);

  const cameBackMs = performance.now();
  proxy.plane.setHealth(1, true, "back");
  await eventually(
    () => closes.length >= 19 && tunnels()[1] === 19,
    () => `19 moved: ${tunnels()}`,
  );
  await pause(300);
  expect(tunnels()).toEqual([21, 19]);
  expect(closes.map(({ code, reason }) => `${code} ${reason}`)).toEqual(Array(19).fill("1012 service restart"));
  // The backend has heard it from the client, as if it had been the client's own wish.
  expect(serverCloses).toEqual(Array(19).fill(1012));
  // The last of 19 has its place 18 twentieths of a second behind the first.
  expect(closes.at(-1)!.atMs - cameBackMs).toBeGreaterThan((18 / RATE) * 1_000);
  expect([busy.readyState, fragmented.readyState]).toEqual([WebSocket.OPEN, WebSocket.OPEN]);
  expect(proxy.plane.inspect().tunnels).toBe(40);
  expect(proxy.snapshot().upstreams[0]!.sessions.rebalanced).toBe(19);
  const logged = proxy.accessLog.map((line) => JSON.parse(line) as { status: number; reason?: string });
  expect(logged.map(({ status, reason }) => `${status} ${reason}`)).toEqual(Array(19).fill("101 rebalanced"));
}, 20_000);

test.each<readonly [string, Affinity]>([
  ["the table", { "client-ip": true, rebalance: { rate: 100, jitter: "0ms" } }],
  ["none", { header: "x-nobody", rebalance: { rate: 100, jitter: "0ms" } }],
])("clients whose session is in %s come again elsewhere, each closed once", async (_, affinity) => {
  const { proxy, open, closes, tunnels } = await webSockets(affinity, "least-connections");
  for (let i = 0; i < 10; i++) await open({ comesAgain: true });
  await pause(IDLE_MS);
  proxy.plane.setHealth(1, true, "back");
  await eventually(
    () => tunnels()[1]! >= 4,
    () => `four have moved: ${tunnels()}`,
  );
  await pause(IDLE_MS + 300);
  expect(closes).toHaveLength(4);
  expect(tunnels()).toEqual([6, 4]);
});

test.each<readonly [string, Affinity]>([
  ["with affinity", { cookie: "s", key: "sixteen letters." }],
  ["without affinity", false],
])("%s, and not told to: nobody is closed", async (_, affinity) => {
  const { proxy, open, closes, tunnels } = await webSockets(affinity, "weighted-round-robin");
  for (let i = 0; i < 8; i++) await open();
  await pause(IDLE_MS);
  proxy.plane.setHealth(1, true, "back");
  await pause(500);
  expect(closes).toEqual([]);
  expect(tunnels()).toEqual([8, 0]);
});

test("tunnels of another protocol are left alone, and so is a client in the middle of a message", async () => {
  const upgrade = (wire: { until(marker: string): Promise<string>; write(text: string): unknown }) =>
    wire.until("\r\n\r\n").then((head) => {
      const [, protocol] = /upgrade: (\w+)\r\n/.exec(head) ?? [];
      wire.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ${protocol}\r\n\r\n`);
    });
  const { proxy, client } = await scene([upgrade, upgrade], {
    upstream: { affinity: { cookie: "s", key: "sixteen letters.", rebalance: { rate: 100, jitter: "0ms" } } },
  });
  proxy.plane.setHealth(1, false, "down for the test");
  const open = async (protocol: string) => {
    const wire = await client();
    wire.write(get("/ws", ["Connection: Upgrade", `Upgrade: ${protocol}`]));
    expect((await wire.response()).status).toBe(101);
    return wire;
  };
  const others = await Promise.all(["echo", "echo", "echo", "echo"].map(open));
  const [inMessage, idle] = [await open("websocket"), await open("websocket")];
  inMessage.write(Buffer.from([0x01, 0x82, 0, 0, 0, 0, 1, 2]));
  await pause(IDLE_MS);
  proxy.plane.setHealth(1, true, "back");
  expect(await idle.until("restart")).toBe("\x88\x11\x03\xf4service restart");
  await pause(300);
  expect([...others, inMessage].map(({ pending, ended }) => [pending, ended])).toEqual(Array(5).fill(["", false]));
});
