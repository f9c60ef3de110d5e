import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { eventually } from "../support/wire.ts";
import { startBackends } from "./backend-process.ts";
import { type Answer, KeepAliveClient } from "./clients.ts";
import { runWhole } from "./whole.ts";

/** A WebSocket that says something every 20 ms, and when it last heard its echo. */
async function chattering(port: number) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  await once(socket, "open");
  const one = { heard: 0, heardMs: 0, closedMs: 0 };
  socket.on("message", () => {
    one.heard++;
    one.heardMs = performance.now();
  });
  socket.on("error", () => {});
  const chat = setInterval(() => socket.send("hello"), 20);
  socket.once("close", () => {
    one.closedMs = performance.now();
    clearInterval(chat);
  });
  onTestFinished(() => socket.terminate());
  return one;
}

test("SIGTERM under 50 keep-alive clients and 10 WebSockets: requests are answered, tunnels run to the deadline", async () => {
  const backends = await startBackends(["a", "b"]);
  const { spillway, port } = await runWhole({
    timeouts: { drain: "1s" },
    upstream: { backends: backends.map(({ url }) => url) },
  });
  const sockets = await Promise.all(Array.from({ length: 10 }, () => chattering(port)));

  const answers: Answer[] = [];
  const ends: Answer[] = [];
  const clients = Array.from({ length: 50 }, async (_, index) => {
    const client = new KeepAliveClient(port);
    let last: Answer;
    do {
      last = await client.get(`/wait/${10 + index}`);
      answers.push(last);
    } while (last.status !== 0 && !last.last && client.connected);
    ends.push(last);
  });
  await eventually(() => answers.length >= 1_000, "1,000 answers", 20_000);

  const signalledMs = performance.now();
  spillway.child.kill("SIGTERM");
  await Promise.all(clients);
  const clientsMs = performance.now() - signalledMs;
  expect(await spillway.exited).toBe(0);
  const exitMs = performance.now() - signalledMs;
  await eventually(() => sockets.every(({ closedMs }) => closedMs > 0), "all WebSockets closed");

  const unanswered = answers.filter(({ status }) => status === 0);
  const before = unanswered.filter(({ sentMs }) => sentMs < signalledMs);
  const closed = sockets.map(({ closedMs }) => Math.round(closedMs - signalledMs));
  console.log({
    requests: answers.length,
    "answered after the signal": answers.filter(({ endedMs, status }) => endedMs > signalledMs && status === 200)
      .length,
    "unanswered, sent before the signal": before.length,
    "unanswered, sent after it": unanswered.map(({ sentMs }) => Math.round((sentMs - signalledMs) * 10) / 10),
    "ms until the last client": Math.round(clientsMs),
    "ms until WebSockets were cut": `${Math.min(...closed)} to ${Math.max(...closed)}`,
    "ms until exit": Math.round(exitMs),
  });
  expect(unanswered).toEqual([]);
  expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
  expect(ends.filter(({ last }) => !last)).toEqual([]);
  expect(clientsMs).toBeLessThan(900);
  for (const { heard, heardMs, closedMs } of sockets) {
    expect(closedMs - signalledMs).toBeGreaterThan(900);
    expect(closedMs - signalledMs).toBeLessThan(3_000);
    expect(heard).toBeGreaterThan(10);
    // It talked until the end.
    expect(heardMs - signalledMs).toBeGreaterThan(700);
  }
  expect((await spillway.entry("drain_cut")).cut).toBe(10);
}, 60_000);

test("a response that began before the drain and ends within it is whole, and does not hold the drain up", async () => {
  const backends = await startBackends(["a"]);
  const { spillway, port } = await runWhole({ upstream: { backends: [backends[0]!.url] } });
  const client = new KeepAliveClient(port);
  const { rest } = await client.begin("/hold/1");
  spillway.child.kill("SIGTERM");
  await spillway.entry("draining");
  const drainingMs = performance.now();
  backends[0]!.release("1");
  await rest();
  expect(await spillway.exited).toBe(0);
  // The default deadline is 30 s.
  expect(performance.now() - drainingMs).toBeLessThan(10_000);
}, 60_000);
