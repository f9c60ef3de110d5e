import { expect, test } from "vitest";
import { FakePlane, inUse, memoryOf, settingsOf, workerDefaults } from "../../test/support/fake-plane.ts";
import { readSnapshot, SharedCounts } from "../metrics/index.ts";
import { SeededRandom } from "../policy/model/random.ts";
import type { ListenError } from "../proxy/data-plane-api.ts";
import { VirtualClock } from "../time/virtual-clock.ts";
import type { FromWorker, ToWorker, WorkerData } from "./messages.ts";
import { hostWorker } from "./worker-host.ts";

interface Hosted {
  readonly plane: FakePlane;
  readonly clock: VirtualClock;
  readonly posted: FromWorker[];
  tell(message: ToWorker): void;
}

async function host(more: Partial<WorkerData> = {}, failure?: ListenError): Promise<Hosted> {
  const settings = settingsOf();
  const clock = new VirtualClock();
  const posted: FromWorker[] = [];
  let tell: (message: ToWorker) => void = () => {};
  let plane!: FakePlane;
  const memory = memoryOf(settings, 2);
  const data = { ...workerDefaults, settings, worker: 1, bind: "reuse-port", memory, ...more } as const;
  await hostWorker(data, {
    port: {
      post: (message) => posted.push(structuredClone(message)),
      receive: (handler) => {
        tell = handler;
      },
    },
    clock,
    random: new SeededRandom(1),
    createDataPlane: async (init) => {
      plane = new FakePlane(init);
      plane.failure = failure;
      return plane;
    },
  });
  return { plane, clock, posted, tell: (message) => tell(message) };
}

test("it says where it listens", async () => {
  const { posted, plane } = await host();
  expect(posted).toEqual([{ type: "listening", addresses: [{ kind: "tcp", host: "127.0.0.1", port: 40_000 }] }]);
  expect(plane.init.bind).toEqual({ mode: "reuse-port" });
});

test("an address that cannot be bound is reported, and the data plane closed", async () => {
  const { posted, plane } = await host({}, inUse("127.0.0.1:80"));
  expect(posted).toEqual([
    { type: "listenFailed", code: "EADDRINUSE", address: "127.0.0.1:80", message: "listen EADDRINUSE" },
  ]);
  expect(plane.told).toEqual(["close"]);
});

test("a backend that was down before it started is down for it before it listens", async () => {
  const { plane } = await host({ down: [{ slot: 1, reason: "connection refused" }] });
  expect(plane.told).toEqual(["1 down: connection refused"]);
});

test("what the control plane says reaches the data plane", async () => {
  const { plane, tell } = await host();
  tell({ type: "health", slot: 0, up: false, reason: "timeout" });
  tell({ type: "health", slot: 0, up: true, reason: "check passed" });
  tell({ type: "surrenderConnection", slot: 1 });
  tell({ type: "retryConnections", slot: 1 });
  tell({ type: "sessionFound", id: 7, address: "127.0.0.1:9001", failed: false });
  tell({ type: "sessionFound", id: 8, address: undefined, failed: true });
  tell({
    type: "sessionCorrected",
    upstream: "web",
    key: "s1",
    address: "127.0.0.1:9002",
    instead: ["127.0.0.1:9001"],
  });
  tell({ type: "sessionsForgotten", upstream: "web" });
  tell({ type: "geoip", path: "city.mmdb", database: new SharedArrayBuffer(5) });
  expect(plane.told).toEqual([
    "0 down: timeout",
    "0 up: check passed",
    "surrender 1",
    "retry 1",
    "session 7 127.0.0.1:9001",
    "session 8 failed",
    "web s1 is at 127.0.0.1:9002, not 127.0.0.1:9001",
    "web forgotten",
    "city.mmdb 5",
  ]);
});

test("a request that is described is explained, in an answer of the same number", async () => {
  const { posted, tell } = await host();
  posted.length = 0;
  const request = { listener: 0, method: "GET", host: "shop.test", target: "/x", client: "192.0.2.7", headers: [] };
  tell({ type: "explain", id: 7, request });
  tell({ type: "explain", id: 8, request: { ...request, listener: 1 } });
  expect(posted).toMatchObject([
    { type: "explained", id: 7, explanation: { host: "shop.test", route: "web" } },
    { type: "explained", id: 8, explanation: undefined },
  ]);
});

test("what the data plane says reaches the control plane, a flood of it held back", async () => {
  const { plane, posted } = await host();
  posted.length = 0;
  const { events } = plane.init;
  events.connectionWanted(1);
  events.connectionFreed(0);
  events.backendCondition(1, { circuit: "open", ejected: false, reason: "5 failures in a row" });
  events.sessionWanted(7, "web", "s1");
  events.sessionPlaced("web", "s1", "127.0.0.1:9001", undefined, 1_000);
  for (let i = 0; i < 100; i++) events.log("warn", "flood", "again", { i });
  expect(posted.slice(0, 5)).toEqual([
    { type: "connectionWanted", slot: 1 },
    { type: "connectionFreed", slot: 0 },
    { type: "backendCondition", slot: 1, circuit: "open", ejected: false, reason: "5 failures in a row" },
    { type: "sessionWanted", id: 7, upstream: "web", key: "s1" },
    {
      type: "sessionPlaced",
      upstream: "web",
      key: "s1",
      address: "127.0.0.1:9001",
      instead: undefined,
      ttlMs: 1_000,
    },
  ]);
  expect(posted.length).toBe(15);
  expect(posted[5]).toEqual({ type: "log", level: "warn", code: "flood", message: "again", fields: { i: 0 } });
});

test("a flood about one backend does not silence another", async () => {
  const { plane, posted } = await host();
  posted.length = 0;
  const ejected = (backend: string): void =>
    plane.init.events.log("warn", "backend_ejected", backend, { upstream: "web", backend });
  for (let i = 0; i < 100; i++) ejected("a");
  ejected("b");
  expect(posted.length).toBe(11);
  expect(posted.at(-1)).toMatchObject({ message: "b" });
});

test("access log lines come together, and those the drain brings come before its end", async () => {
  const { plane, posted, tell, clock } = await host();
  posted.length = 0;
  plane.init.events.accessLog("a");
  plane.init.events.accessLog("b");
  clock.advance(50);
  tell({ type: "drain", deadlineMs: 500 });
  plane.init.events.accessLog("c");
  plane.endDrain(2);
  await Promise.resolve();
  await Promise.resolve();
  expect(posted).toEqual([
    { type: "accessLog", text: "a\nb\n", lines: 2 },
    { type: "accessLog", text: "c\n", lines: 1 },
    { type: "drained", cut: 2 },
  ]);
  expect(plane.told).toEqual(["drain 500"]);
});

test("lines that are not taken are counted, and it says so once", async () => {
  const settings = settingsOf();
  const memory = memoryOf(settings, 2);
  const { plane, posted } = await host({ memory });
  for (let i = 0; i < 1025; i++) plane.init.events.accessLog("x".repeat(1023));
  const counts = new SharedCounts(memory.counts);
  expect(readSnapshot(memory.layout, memory.metrics, { counts }).accessLogDropped).toBe(1);
  expect(posted.filter((message) => message.type === "log").map((message) => message.code)).toEqual([
    "access_log_dropped",
  ]);
});

test("it counts as the worker it is", async () => {
  const settings = settingsOf();
  const memory = memoryOf(settings, 2);
  const { plane } = await host({ memory });
  plane.init.counts.takeActive(0, Number.POSITIVE_INFINITY);
  new SharedCounts(memory.counts).reclaim(0);
  expect(plane.init.counts.active(0)).toBe(1);
  new SharedCounts(memory.counts).reclaim(1);
  expect(plane.init.counts.active(0)).toBe(0);
});

test("asked what it has open, it answers", async () => {
  const { posted, tell } = await host();
  tell({ type: "inspect" });
  expect(posted.at(-1)).toMatchObject({ type: "inspected", inspection: { exchanges: 0 } });
});
