import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { FakePlane, inUse, settingsOf } from "../../test/support/fake-plane.ts";
import { cityMmdb } from "../../test/support/mmdb.ts";
import { eventually } from "../../test/support/wire.ts";
import type { Settings, SettingsInput } from "../config/settings.ts";
import type { ListenError } from "../proxy/data-plane-api.ts";
import { VirtualClock } from "../time/virtual-clock.ts";
import { EmbeddedPlane } from "./embedded-plane.ts";
import type { CheckResult } from "./health/check.ts";
import { Spillway } from "./spillway.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spillway-control-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

async function start(more: Partial<SettingsInput> = {}, failure?: ListenError, workers = 1) {
  const settings: Settings = settingsOf(more);
  const clock = new VirtualClock(1_700_000_000_000);
  const entries: { level: string; code: string }[] = [];
  const answers: { result: CheckResult } = { result: { kind: "passed" } };
  let plane!: FakePlane;
  const spillway = await Spillway.start(settings, {
    version: "1.2.3",
    log: { write: (level, code) => entries.push({ level, code }), flush: () => {} },
    clock,
    workers,
    check: async () => answers.result,
    makeDataPlanes: (parts) =>
      new EmbeddedPlane({
        ...parts,
        createDataPlane: async (init) => {
          plane = new FakePlane(init);
          plane.failure = failure;
          return plane;
        },
      }),
  });
  const pass = async (ms: number): Promise<void> => {
    const end = clock.now() + ms;
    while (clock.next() <= end) {
      clock.advanceTo(clock.next());
      await turn();
    }
    clock.advanceTo(end);
  };
  return { spillway, plane, clock, entries, answers, pass };
}

const admin = { listen: "127.0.0.1:0" };
const adminUrl = (spillway: Spillway, path: string): string => {
  const address = spillway.admin;
  return address?.kind === "tcp" ? `http://127.0.0.1:${address.port}${path}` : "";
};

test("it knows where it listens, and is ready", async () => {
  const { spillway, plane } = await start();
  expect(spillway.listeners).toEqual([{ kind: "tcp", host: "127.0.0.1", port: 40_000 }]);
  expect(spillway.admin).toBeUndefined();
  expect(spillway.ready()).toEqual({ ready: true, reason: "" });
  const stopped = spillway.stop();
  plane.endDrain(0);
  await stopped;
});

test("a backend that fails its checks is down for the data plane, the metrics and the log", async () => {
  const { spillway, plane, entries, answers, pass } = await start();
  answers.result = { kind: "failed", reason: "connection refused" };
  await pass(20_000);
  expect(plane.told.sort()).toEqual(["0 down: connection refused", "1 down: connection refused"]);
  expect(spillway.metrics().upstreams[0]!.backends.map(({ state, reason }) => [state, reason])).toEqual([
    ["down", "connection refused"],
    ["down", "connection refused"],
  ]);
  expect(entries.filter(({ code }) => code === "backend_down").length).toBe(2);
  answers.result = { kind: "passed" };
  await pass(20_000);
  expect(spillway.metrics().upstreams[0]!.backends.map(({ state }) => state)).toEqual(["up", "up"]);
  plane.endDrain(0);
});

test("what the data plane thinks of a backend is in the metrics, with its time, and each backend has its log line", async () => {
  const { spillway, plane, clock, entries } = await start();
  clock.advance(1_000);
  const { events } = plane.init;
  events.backendCondition(1, { circuit: "open", ejected: true, reason: "5 failures in a row" });
  expect(spillway.metrics().upstreams[0]!.backends[1]).toMatchObject({
    state: "open",
    reason: "5 failures in a row",
    since: 1_700_000_001_000,
    circuit: "open",
    ejected: true,
  });
  expect(spillway.metrics().upstreams[0]!.backends[0]).toMatchObject({
    state: "up",
    circuit: "closed",
    ejected: false,
  });
  for (let i = 0; i < 30; i++) events.log("warn", "circuit_opened", "open", { upstream: "web", backend: `b${i}` });
  expect(entries.filter(({ code }) => code === "circuit_opened").length).toBe(30);
  plane.endDrain(0);
});

test("a good check of an ejected backend is passed on to the data plane, of any other it is not", async () => {
  const { plane, pass } = await start();
  await pass(12_000);
  expect(plane.told).toEqual([]);
  plane.init.events.backendCondition(1, { circuit: "closed", ejected: true, reason: "5 failures in a row" });
  await pass(6_000);
  expect(plane.told).toContain("1 well, tcp");
  expect(plane.told).not.toContain("0 well, tcp");
  plane.endDrain(0);
});

test("with health checks off nothing is checked", async () => {
  const upstreams = { web: { backends: ["http://127.0.0.1:9001"], healthCheck: false as const } };
  const { clock } = await start({ upstreams });
  expect(clock.armed).toBe(0);
});

test("the admin server answers with its data, and says draining while it drains", async () => {
  const { spillway, plane } = await start({ admin });
  const get = async (path: string) => (await fetch(adminUrl(spillway, path))).status;
  expect(await get("/readyz")).toBe(200);
  const status = (await (await fetch(adminUrl(spillway, "/api/v1/status"))).json()) as object;
  expect(status).toMatchObject({ version: "1.2.3", workers: 1, listeners: ["127.0.0.1:40000"] });
  const stopped = spillway.stop();
  expect(await get("/readyz")).toBe(503);
  expect(await get("/healthz")).toBe(200);
  plane.endDrain(4);
  expect(await stopped).toEqual({ cut: 4 });
  await expect(get("/readyz")).rejects.toThrow();
});

test("what workers ask and say of sessions is answered after the question, and counted", async () => {
  const upstreams = { web: { backends: ["http://127.0.0.1:9001"], affinity: "client-ip" as const } };
  const { spillway, plane } = await start({ upstreams }, undefined, 2);
  const { events, sharedSessions } = plane.init;
  expect([...sharedSessions]).toEqual(["web"]);
  expect(spillway.metrics().upstreams[0]!.store).toEqual({ upstream: "web", kind: "memory", url: "", up: true });
  events.sessionPlaced("web", "s", "127.0.0.1:9001", undefined, 3_600_000);
  events.sessionPlaced("web", "s", "127.0.0.1:9002", undefined, 3_600_000);
  events.sessionWanted(7, "web", "s");
  await turn();
  expect(plane.told).toEqual(["web s is at 127.0.0.1:9001, not 127.0.0.1:9002"]);
  await turn();
  expect(plane.told).toEqual(["web s is at 127.0.0.1:9001, not 127.0.0.1:9002", "session 7 127.0.0.1:9001"]);
  expect(spillway.metrics().sessionStore).toMatchObject({ asked: { find: 1, place: 2 }, failures: 0 });
  plane.endDrain(0);
});

test("one worker that has its sessions for itself shares them with nobody", async () => {
  const upstreams = { web: { backends: ["http://127.0.0.1:9001"], affinity: "client-ip" as const } };
  const { spillway, plane } = await start({ upstreams });
  expect(plane.init.sharedSessions.size).toBe(0);
  expect(spillway.metrics().upstreams[0]!.store).toBeUndefined();
  plane.endDrain(0);
});

test("a Redis that is not there holds nothing up: questions have failed, and the log says why once", async () => {
  const gone = createServer();
  await new Promise<void>((resolve) => gone.listen(0, "127.0.0.1", resolve));
  const { port } = gone.address() as { port: number };
  await new Promise((resolve) => gone.close(resolve));
  const affinity = { "client-ip": true as const, store: `redis://:secret@127.0.0.1:${port}` };
  const backends = ["http://b:1"];
  const upstreams = { web: { backends, affinity }, own: { backends, affinity: "client-ip" as const } };
  const { spillway, plane, entries } = await start({ upstreams });
  // The sessions of the other one are this worker's alone.
  expect([...plane.init.sharedSessions]).toEqual(["web"]);
  plane.init.events.sessionWanted(1, "web", "s");
  await turn();
  await turn();
  expect(plane.told).toEqual(["session 1 failed"]);
  expect(spillway.metrics().sessionStore.failures).toBe(1);
  const url = `redis://127.0.0.1:${port}`;
  expect(spillway.metrics().upstreams.map(({ store }) => store)).toEqual([
    { upstream: "web", kind: "redis", url, up: false },
    undefined,
  ]);
  expect(spillway.report()).toContain(`session store      down   ${url}\n`);
  expect(entries.map(({ code }) => code)).toEqual(["session_store_down"]);
  const stopped = spillway.stop();
  plane.endDrain(0);
  await stopped;
});

test("a GeoIP database reaches the data plane at the start, and again when its file is another", async () => {
  const geoip = join(folder, "city.mmdb");
  const listeners = [{ listen: "127.0.0.1:0", upstream: "web", clientPosition: { geoip } }];
  const first = cityMmdb({ "192.0.2.0/24": [52.5, 13.4] });
  const second = cityMmdb({ "192.0.2.0/24": [37.5, 127], "198.51.100.0/24": [52.5, 13.4] });
  writeFileSync(geoip, first);
  const { spillway, plane, clock, entries } = await start({ listeners });
  expect(plane.init.geoip.get(geoip)?.byteLength).toBe(first.length);
  writeFileSync(`${geoip}.new`, second);
  renameSync(`${geoip}.new`, geoip);
  const told = `${geoip} ${second.length}`;
  await eventually(() => {
    clock.advance(500);
    return plane.told.includes(told);
  }, `the data plane is told of ${told}`);
  expect(plane.init.geoip.get(geoip)?.byteLength).toBe(second.length);
  expect(entries.filter(({ code }) => code === "geoip_loaded").length).toBe(2);
  const stopped = spillway.stop();
  plane.endDrain(0);
  await stopped;
  expect(clock.armed).toBe(0);
});

test("a GeoIP database that is not there stops the start before anything is open", async () => {
  const path = join(folder, "access.log");
  const geoip = join(folder, "none.mmdb");
  const listeners = [{ listen: "127.0.0.1:8080", upstream: "web", clientPosition: { geoip } }];
  await expect(start({ listeners, log: { access: { format: "json", path } } })).rejects.toThrow(
    `listener 127.0.0.1:8080: cannot use the GeoIP database ${geoip}: there is no such file`,
  );
  expect(existsSync(path)).toBe(false);
});

test("the deadline of a drain is the longest of the listeners", async () => {
  const listener = (drain: string) => ({ listen: "127.0.0.1:0", upstream: "web", timeouts: { drain } });
  const { spillway, plane } = await start({ listeners: [listener("2s"), listener("7s"), listener("5s")] });
  const stopped = spillway.stop();
  const again = spillway.stop();
  expect(plane.told).toEqual(["drain 7000"]);
  plane.endDrain(0);
  await Promise.all([stopped, again]);
});

test("a listener that cannot be bound leaves nothing open", async () => {
  const failed = start({ admin }, inUse("127.0.0.1:80"));
  await expect(failed).rejects.toMatchObject({ code: "EADDRINUSE", address: "127.0.0.1:80" });
});

test("an admin address in use is named, and the listeners are closed again", async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as { port: number };
  const failed = start({ admin: { listen: `127.0.0.1:${port}` } });
  await expect(failed).rejects.toMatchObject({ code: "EADDRINUSE", address: `127.0.0.1:${port}` });
  other.close();
});

test("access log lines reach the file, those of the drain included, and the file can be rotated", async () => {
  const path = join(folder, "access.log");
  const { spillway, plane, clock } = await start({ log: { access: { format: "json", path } } });
  plane.init.events.accessLog("a");
  clock.advance(50);
  spillway.reopenLogs();
  plane.init.events.accessLog("b");
  const stopped = spillway.stop();
  plane.endDrain(0);
  await stopped;
  expect(readFileSync(path, "utf8")).toBe("a\nb\n");
});

test.skipIf(!existsSync("/dev/full"))("lines a full disk does not take are counted", async () => {
  const { spillway, plane, clock, entries } = await start({ log: { access: { format: "json", path: "/dev/full" } } });
  plane.init.events.accessLog("a");
  plane.init.events.accessLog("b");
  clock.advance(50);
  const stopped = spillway.stop();
  plane.endDrain(0);
  await stopped;
  expect(spillway.metrics().accessLogDropped).toBe(2);
  expect(entries.map(({ code }) => code).sort()).toEqual(["access_log_dropped", "access_log_failed"]);
});

test("await using closes it", async () => {
  let told: string[];
  {
    const { spillway, plane } = await start();
    await using disposed = spillway;
    told = plane.told;
    void disposed.stop();
    plane.endDrain(0);
  }
  expect(told).toContain("close");
});
