import { Redis } from "ioredis";
import { describe, expect, onTestFinished, test } from "vitest";
import { loadIoredis } from "../../src/control/sessions/ioredis.ts";
import { RedisConnection } from "../../src/control/sessions/redis-connection.ts";
import { RedisStore } from "../../src/control/sessions/redis-store.ts";
import { SessionHub } from "../../src/control/sessions/session-hub.ts";
import { SeededRandom } from "../../src/policy/model/random.ts";
import { SystemClock } from "../../src/time/system-clock.ts";
import { findRedis, RedisServer } from "../support/redis.ts";
import { eventually, pause } from "../support/wire.ts";

const installation = findRedis();
if (typeof installation === "string") {
  if (process.env.CI === "true") throw new Error(installation);
  console.warn(`skipped: sessions in a real Redis. ${installation}`);
}

interface Answer {
  readonly address: string | undefined;
  readonly failed: boolean;
}

const found = (address: string): Answer => ({ address, failed: false });
const unknown: Answer = { address: undefined, failed: false };
const failed: Answer = { address: undefined, failed: true };

/** A Redis that ends with the test. */
async function redis(...settings: string[]): Promise<RedisServer> {
  if (typeof installation === "string") throw new Error(installation);
  const server = await RedisServer.start(installation.program, ...settings);
  onTestFinished(() => server.remove());
  return server;
}

/** A client of the tests' own. */
function visitor(server: RedisServer, password?: string): Redis {
  const client = new Redis(server.port, "127.0.0.1", password === undefined ? {} : { password });
  onTestFinished(() => client.disconnect());
  return client;
}

/** One instance's store. */
async function storeOf(url: string, { upstream = "web", prefix = "spillway:", timeoutMs = 1_000 } = {}) {
  const Client = await loadIoredis();
  const clock = new SystemClock();
  const logs: { code: string; message: string }[] = [];
  const log = { write: (_: string, code: string, message: string) => logs.push({ code, message }), flush: () => {} };
  const connection = new RedisConnection(url, Client!, clock);
  const store = new RedisStore({ connection, upstream, prefix, timeoutMs, clock, random: new SeededRandom(1), log });
  onTestFinished(() => store.close());
  await store.start();
  return {
    store,
    logs,
    clock,
    log,
    codes: () => logs.map(({ code }) => code),
    find: (key: string) =>
      new Promise<Answer>((resolve) => store.find(key, (address, failed) => resolve({ address, failed }))),
    place: (key: string, address: string, instead: readonly string[] = [], ttlMs = 60_000) =>
      new Promise<Answer>((resolve) =>
        store.place(key, address, instead, ttlMs, (owner, failed) => resolve({ address: owner, failed })),
      ),
  };
}

describe.skipIf(typeof installation === "string")("sessions in a real Redis", () => {
  test("two instances find what either has placed; prefixes and upstreams keep sessions apart", async () => {
    const server = await redis();
    const one = await storeOf(server.url());
    const other = await storeOf(server.url());
    expect(await one.find("s")).toEqual(unknown);
    expect(await one.place("s", "a:1")).toEqual(found("a:1"));
    expect(await other.find("s")).toEqual(found("a:1"));
    expect(await (await storeOf(server.url(), { upstream: "api" })).find("s")).toEqual(unknown);
    expect(await (await storeOf(server.url(), { prefix: "blue:" })).find("s")).toEqual(unknown);
    expect(await (await storeOf(`${server.url()}/1`)).find("s")).toEqual(unknown);
    expect(one.codes()).toEqual([]);
  });

  test("a session moves for those who know where it was, and for any other stays", async () => {
    const server = await redis();
    const one = await storeOf(server.url());
    const other = await storeOf(server.url());
    await one.place("s", "a:1");
    expect(await other.place("s", "b:1")).toEqual(found("a:1"));
    expect(await other.place("s", "b:1", ["y:1", "a:1"])).toEqual(found("b:1"));
    expect(await one.place("s", "c:1", ["a:1"])).toEqual(found("b:1"));
    expect(await one.find("s")).toEqual(found("b:1"));
  });

  test("of many who place one session at the same time one wins, and all hear which", async () => {
    const server = await redis();
    const instances = await Promise.all(Array.from({ length: 4 }, () => storeOf(server.url())));
    for (let session = 0; session < 50; session++) {
      const owners = await Promise.all(instances.map(({ place }, n) => place(`s${session}`, `backend-${n}:1`)));
      expect(new Set(owners.map(({ address }) => address)).size).toBe(1);
      expect(owners.every(({ failed }) => !failed)).toBe(true);
    }
  });

  test("a session lives for its time to live, which every placement begins anew, also one in vain", async () => {
    const server = await redis();
    const { find, place } = await storeOf(server.url());
    const client = visitor(server);
    await place("s", "a:1", [], 60_000);
    const [key] = await client.keys("*");
    expect(key).toMatch(/^spillway:web:[\w-]{22}$/);
    expect(await client.get(key!)).toBe("a:1");
    await place("s", "b:1", [], 500_000);
    expect(await client.get(key!)).toBe("a:1");
    expect(await client.pttl(key!)).toBeGreaterThan(400_000);
    await place("s", "a:1", [], 1);
    await pause(20);
    expect(await find("s")).toEqual(unknown);
  });

  test("nothing in Redis is without an end, and no id of a session stands there", async () => {
    const server = await redis();
    const { place } = await storeOf(server.url());
    await Promise.all(Array.from({ length: 500 }, (_, n) => place(`session-id-${n}`, `backend-${n % 5}:1`)));
    await place("session-id-1", "backend-9:1", ["backend-1:1"]);
    const client = visitor(server);
    const keys = await client.keys("*");
    expect(keys.length).toBe(500);
    for (const key of keys) {
      expect(key).not.toContain("session-id");
      expect(await client.pttl(key)).toBeGreaterThan(0);
    }
  });

  test("a server without its script is taught it again", async () => {
    const server = await redis();
    const { place } = await storeOf(server.url());
    await place("s", "a:1");
    await place("s", "a:1");
    await visitor(server).script("FLUSH");
    expect(await place("s", "b:1", ["a:1"])).toEqual(found("b:1"));
  });

  test("while Redis is gone everything has failed at once; it comes back by itself, and learns anew", async () => {
    const server = await redis();
    const { store, find, place, codes } = await storeOf(server.url());
    await place("s", "a:1");
    await server.stop();
    await eventually(() => !store.view.up, "the loss is noticed");
    const beganAtMs = performance.now();
    for (let n = 0; n < 2_000; n++) expect(await find(`s${n}`)).toEqual(failed);
    expect(performance.now() - beganAtMs).toBeLessThan(1_000);
    await server.start();
    await eventually(() => store.view.up, "it is connected again");
    expect(await find("s")).toEqual(unknown);
    expect(await place("s", "a:1")).toEqual(found("a:1"));
    expect(codes()).toEqual(["session_store_down", "session_store_up"]);
  });

  test("a Redis that hangs costs five questions their time, then nothing; one question a second looks for it", async () => {
    const server = await redis();
    const { store, find, place, codes } = await storeOf(server.url(), { timeoutMs: 200 });
    await place("s", "a:1");
    server.freeze();
    for (let n = 0; n < 5; n++) expect(await find("s")).toEqual(failed);
    expect(store.view.up).toBe(false);
    const beganAtMs = performance.now();
    for (let n = 0; n < 2_000; n++) expect(await find("s")).toEqual(failed);
    expect(performance.now() - beganAtMs).toBeLessThan(1_000);
    server.thaw();
    for (let tries = 0; !store.view.up && tries < 200; tries++) {
      await find("s");
      await pause(50);
    }
    expect(await find("s")).toEqual(found("a:1"));
    expect(codes()).toEqual(["session_store_down", "session_store_up"]);
  });

  test("a Redis that never greets holds no start up for longer than a second", async () => {
    const server = await redis();
    server.freeze();
    const beganAtMs = performance.now();
    const { store, find } = await storeOf(server.url());
    expect(performance.now() - beganAtMs).toBeLessThan(5_000);
    expect(await find("s")).toEqual(failed);
    server.thaw();
    await eventually(() => store.view.up, "it is connected");
  });

  test("a wrong password is said once, and not repeated; the right one works", async () => {
    const server = await redis("--requirepass", "the right one");
    const wrong = await storeOf(server.url(":a-wrong-one"));
    await pause(500);
    expect(await wrong.find("s")).toEqual(failed);
    expect(wrong.codes()).toEqual(["session_store_down"]);
    expect(wrong.logs[0]!.message).toMatch(/WRONGPASS/);
    const none = await storeOf(server.url());
    expect(none.logs[0]!.message).toMatch(/NOAUTH/);
    const right = await storeOf(server.url(":the%20right%20one"));
    expect(await right.place("s", "a:1")).toEqual(found("a:1"));
    const said = JSON.stringify([wrong, right].map(({ logs, store }) => [logs, store.view]));
    expect(said).not.toMatch(/a-wrong-one|the(%20| )right/);
  });

  test("a Redis that is full refuses placements and says so once; questions go on", async () => {
    const server = await redis("--maxmemory", "1", "--maxmemory-policy", "noeviction");
    const { find, place, codes, logs } = await storeOf(server.url());
    expect(await place("s", "a:1")).toEqual(failed);
    expect(await place("s", "a:1")).toEqual(failed);
    expect(await find("s")).toEqual(unknown);
    expect(codes()).toEqual(["session_store_refuses"]);
    expect(logs[0]!.message).toMatch(/OOM/);
  });

  test("a flood of questions and placements is bounded, all are answered, and what fits is kept", async () => {
    const server = await redis();
    const { store, clock, log } = await storeOf(server.url(), { timeoutMs: 10_000 });
    const counts = { asked: 0, failed: 0 };
    const answered = { found: 0, failed: 0 };
    const hub = new SessionHub({
      stores: new Map([["web", store]]),
      answers: {
        sessionFound: (_worker, _id, _address, failed) => answered[failed ? "failed" : "found"]++,
        sessionCorrected: () => {},
        sessionsForgotten: () => {},
      },
      counters: { storeAsked: () => counts.asked++, storeFailed: () => counts.failed++ },
      clock,
      later: (run) => run(),
      log,
    });
    for (let n = 0; n < 20_000; n++) hub.sessionPlaced(0, "web", `s${n}`, `backend-${n % 7}:1`, undefined, 60_000);
    for (let n = 0; n < 3_000; n++) hub.sessionWanted(0, n, "web", `unknown-${n}`);
    expect(answered).toEqual({ found: 0, failed: 3_000 - 1_024 });
    await eventually(() => counts.asked === 23_000, "all is answered", 20_000);
    expect(answered.found).toBe(1_024);
    expect(await visitor(server).dbsize()).toBe(11_024);
    expect(counts.failed).toBe(20_000 - 11_024 + 3_000 - 1_024);
  });
});
