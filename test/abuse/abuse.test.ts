import { type ChildProcess, fork } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startProxy, type TestProxy } from "../support/proxy.ts";
import { eventually } from "../support/wire.ts";

/** Divides every count: for a quick look, `SPILLWAY_ABUSE_DIVISOR=20 npx vitest run test/abuse`. */
const DIVISOR = Number(process.env.SPILLWAY_ABUSE_DIVISOR ?? 1);
const onLinux = process.platform === "linux";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

type Kind = "download" | "upload" | "halfHead" | "reset" | "webSocket" | "good";

let abuser: ChildProcess;
let proxy: TestProxy;
let nextId = 0;
const answers = new Map<number, (failed: number) => void>();
const thrown: unknown[] = [];

beforeAll(async () => {
  process.on("uncaughtException", (error) => thrown.push(error));
  process.on("unhandledRejection", (error) => thrown.push(error));
  abuser = fork(fileURLToPath(new URL("abuser.mjs", import.meta.url)), { execArgv: [] });
  const backend = await new Promise<number>((resolve) => {
    abuser.on("message", (message: { backend?: number; id?: number; failed?: number }) => {
      if (message.backend !== undefined) return resolve(message.backend);
      answers.get(message.id!)!(message.failed!);
      answers.delete(message.id!);
    });
  });
  proxy = await startProxy({
    listeners: [{ listen: "127.0.0.1:0", timeouts: { head: "4s", idle: "1s" }, upstream: "web" }],
    upstreams: {
      web: { backends: [`http://127.0.0.1:${backend}`], pool: { idleTimeout: "300ms", maxConnections: 1000 } },
    },
  });
});

afterAll(() => {
  abuser?.kill();
  proxy?.close();
});

/** Has the other process do it `count` times, `together` at once; resolves with how many went wrong. */
function abuse(kind: Kind, count: number, together: number): Promise<number> {
  const id = nextId++;
  return new Promise((resolve) => {
    answers.set(id, resolve);
    abuser.send({ id, port: proxy.port, kind, count: Math.ceil(count), together });
  });
}

/** The whole programme, or a share of it. */
async function everything(share: number): Promise<void> {
  await abuse("download", 10_000 * share, 64);
  await abuse("upload", 10_000 * share, 64);
  await abuse("reset", 10_000 * share, 64);
  await abuse("webSocket", 1_000 * share, 64);
  const halves = abuse("halfHead", 5_000 * share, 5_000);
  await eventually(() => proxy.plane.inspect().clientConnections > 2_500 * share, "most of them stand there");
  // Others are served while thousands of heads stand half-sent.
  expect(await abuse("good", 500 * share, 4)).toBe(0);
  await halves;
}

interface Level {
  readonly heap: number;
  readonly sockets: number;
}

async function rest(): Promise<Level> {
  await eventually(
    () => {
      const { clientConnections, exchanges, tunnels, waiting, backends } = proxy.plane.inspect();
      const pool = backends[0]!;
      return clientConnections + exchanges + tunnels + pool.busy + pool.idle + pool.opening + waiting === 0;
    },
    () => `everything closed: ${JSON.stringify(proxy.plane.inspect())}`,
    10_000,
  );
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    collect();
  }
  return {
    heap: process.memoryUsage().heapUsed,
    sockets: onLinux ? readdirSync("/proc/self/fd").length : 0,
  };
}

test("after 36,000 clients that misbehaved, sockets, pool, counters and memory are back where they were", async () => {
  const start = await rest();
  await everything(0.1 / DIVISOR);
  const warm = await rest();
  expect(warm.sockets).toBe(start.sockets);

  await everything(1 / DIVISOR);
  const after = await rest();
  expect(after.sockets).toBe(start.sockets);
  expect(after.heap / warm.heap).toBeLessThan(1.1);
  expect(await abuse("good", 100, 4)).toBe(0);

  await rest();
  const { total, upstreams, listeners, tunnelsActive, tunnelsOpened, rejected, bytesIn, bytesOut } = proxy.snapshot();
  const { active, connections, connectionsOpened, connectionsClosed } = upstreams[0]!.backends[0]!;
  expect([total.active, tunnelsActive, active, connections, listeners[0]!.connectionsActive]).toEqual([0, 0, 0, 0, 0]);
  expect(connectionsOpened).toBe(connectionsClosed);
  // It all happened: half of each download and upload came through, and every tunnel was open.
  expect(rejected[408]).toBeGreaterThanOrEqual(Math.ceil(5_000 / DIVISOR));
  expect(tunnelsOpened).toBeGreaterThanOrEqual(1_000 / DIVISOR);
  expect(bytesIn).toBeGreaterThan((10_000 / DIVISOR) * 64 * 1024);
  expect(bytesOut).toBeGreaterThan((10_000 / DIVISOR) * 64 * 1024);
  expect(proxy.logs.filter(({ code }) => code === "fault" || code === "pool")).toEqual([]);
  expect(thrown).toEqual([]);
  expect(abuser.exitCode).toBeNull();
  console.log(
    `heap ${start.heap >> 10} KiB at start, ${warm.heap >> 10} warm, ${after.heap >> 10} after; ${after.sockets} descriptors`,
  );
}, 300_000);
