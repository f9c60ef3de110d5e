import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { memoryOf, settingsOf } from "../../test/support/fake-plane.ts";
import type { SettingsInput } from "../config/settings.ts";
import { readSnapshot, SharedCounts, Stripe } from "../metrics/index.ts";
import type { RequestExplanation } from "../proxy/data-plane-api.ts";
import { VirtualClock } from "../time/virtual-clock.ts";
import type { FromWorker, ToWorker, WorkerData } from "./messages.ts";
import { WorkerPool } from "./worker-pool.ts";
import type { ThreadEvents } from "./worker-thread.ts";

interface FakeThread {
  readonly data: WorkerData;
  readonly posts: ToWorker[];
  say(message: FromWorker): void;
  die(message: string, stack?: string): void;
  terminated: boolean;
}

const listening = (port = 40_000): FromWorker => ({
  type: "listening",
  addresses: [{ kind: "tcp", host: "127.0.0.1", port }],
});

/** A pool of fake threads; `first` is what each says when it starts. */
function poolOf(workers: number, first: (thread: FakeThread) => void = (thread) => thread.say(listening())) {
  const settings = settingsOf({ workers } as Partial<SettingsInput>);
  const clock = new VirtualClock();
  const memory = memoryOf(settings, workers);
  const threads: FakeThread[] = [];
  const entries: { code: string; message: string; fields: Record<string, unknown> }[] = [];
  const lines: { text: string; done: () => void }[] = [];
  const conditions: string[] = [];
  const sessions: string[] = [];
  const geoip = new Map<string, SharedArrayBuffer>();
  const behaviour = { first };
  const pool = new WorkerPool({
    settings,
    workers,
    bind: "exclusive",
    memory,
    clock,
    log: {
      write: (_level, code, message, fields) => entries.push({ code, message, fields: { ...fields } }),
      flush: () => {},
    },
    accessLog: { write: (text, _lines, done) => lines.push({ text, done: done ?? (() => {}) }) },
    conditions: {
      conditionChanged: (worker, slot, { circuit, ejected, reason }) =>
        conditions.push(`${worker}: ${slot} ${circuit}${ejected ? " ejected" : ""}: ${reason}`),
      workerDied: (worker) => conditions.push(`${worker} died`),
    },
    sessions: {
      sessionWanted: (worker, id, upstream, key) => sessions.push(`${worker}: ${id} ${upstream} ${key}`),
      sessionPlaced: (worker, upstream, key, address, instead, ttlMs) =>
        sessions.push(`${worker}: ${upstream} ${key} at ${address}, not ${instead}, for ${ttlMs}`),
    },
    secret: "a secret of the tests",
    sharedSessions: new Set(["web"]),
    geoip,
    startThread: (data, events) => {
      const thread = fakeThread(data, events);
      threads.push(thread);
      queueMicrotask(() => behaviour.first(thread));
      return { post: (message) => thread.posts.push(message), terminate: async () => thread.die("terminated") };
    },
  });
  return { pool, clock, memory, threads, entries, lines, conditions, sessions, geoip, behaviour };
}

function fakeThread(data: WorkerData, events: ThreadEvents): FakeThread {
  const thread: FakeThread = {
    data,
    posts: [],
    terminated: false,
    say: (message) => events.message(message),
    die: (message, stack) => {
      if (thread.terminated) return;
      thread.terminated = true;
      events.ended({ message, stack });
    },
  };
  return thread;
}

test("it has started when every worker listens", async () => {
  const { pool, threads } = poolOf(3);
  expect(await pool.start()).toEqual([{ kind: "tcp", host: "127.0.0.1", port: 40_000 }]);
  expect(threads.map(({ data }) => data.worker)).toEqual([0, 1, 2]);
  expect(pool.running).toBe(3);
});

test("one worker that cannot bind fails the start, and no thread is left", async () => {
  const { pool, threads } = poolOf(3, (thread) =>
    thread.say(
      thread.data.worker === 1
        ? { type: "listenFailed", code: "EADDRINUSE", address: "127.0.0.1:80", message: "in use" }
        : listening(),
    ),
  );
  await expect(pool.start()).rejects.toMatchObject({
    name: "ListenError",
    code: "EADDRINUSE",
    address: "127.0.0.1:80",
  });
  expect(threads.every(({ terminated }) => terminated)).toBe(true);
});

test("a worker that dies before it listens fails the start with its stack, and is not tried for ever", async () => {
  const { pool, threads, clock } = poolOf(1, (thread) => thread.die("boom", "Error: boom\n    at worker.js:1"));
  await expect(pool.start()).rejects.toMatchObject({ message: "boom", stack: expect.stringContaining("worker.js:1") });
  clock.advance(60_000);
  expect(threads.length).toBe(1);
});

test("a worker that dies is reported with its stack and replaced on the same address", async () => {
  const { pool, threads, entries, clock } = poolOf(1);
  await pool.start();
  threads[0]!.die("boom", "Error: boom\n    at exchange.js:1");
  expect(pool.running).toBe(0);
  expect(pool.missing()).toBe("no worker is running");
  clock.advance(100);
  await turn();
  expect(threads[1]!.data.settings.listeners[0]!.listen).toEqual({ kind: "tcp", host: "127.0.0.1", port: 40_000 });
  expect(pool.missing()).toBeUndefined();
  expect(entries).toEqual([
    {
      code: "worker_died",
      message: "worker 0 died: boom",
      fields: { worker: 0, reason: "boom", stack: "Error: boom\n    at exchange.js:1" },
    },
    { code: "worker_replaced", message: "worker 0 runs again", fields: { worker: 0 } },
  ]);
});

test("a worker that goes on dying is replaced ever more slowly, one that ran for a minute at once again", async () => {
  const { pool, threads, clock } = poolOf(1);
  await pool.start();
  const waits: number[] = [];
  const dieAndWait = async (): Promise<void> => {
    const diedAt = clock.now();
    const count = threads.length;
    threads.at(-1)!.die("boom");
    while (threads.length === count) {
      clock.advanceTo(clock.next());
      await turn();
    }
    waits.push(clock.now() - diedAt);
  };
  for (let i = 0; i < 9; i++) await dieAndWait();
  clock.advance(60_000);
  await dieAndWait();
  expect(waits).toEqual([100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 100]);
});

test("a replacement that cannot start is told and tried again", async () => {
  const { pool, threads, entries, clock, behaviour } = poolOf(1);
  await pool.start();
  behaviour.first = (thread) => thread.die("no memory");
  threads[0]!.die("boom");
  clock.advance(100);
  await turn();
  expect(entries.at(-1)).toEqual({
    code: "worker_not_replaced",
    message: "worker 0 could not start again: no memory",
    fields: { worker: 0, reason: "no memory" },
  });
  behaviour.first = (thread) => thread.say(listening());
  clock.advance(200);
  await turn();
  expect(pool.running).toBe(1);
});

test("what a dead worker held is given back, its exchanges have failed, and the others may try again", async () => {
  const { pool, threads, memory } = poolOf(2);
  await pool.start();
  const counts = new SharedCounts(memory.counts, 1);
  const stripe = new Stripe(memory.layout, memory.metrics, 1);
  counts.takeActive(0, Number.POSITIVE_INFINITY);
  counts.takeConnection(0, 10);
  stripe.exchangeStarted(0);
  threads[1]!.die("boom");
  expect([counts.active(0), counts.connections(0)]).toEqual([0, 0]);
  expect(readSnapshot(memory.layout, memory.metrics, { counts }).total).toMatchObject({ active: 0, failed: 1 });
  expect(threads[0]!.posts).toEqual([
    { type: "retryConnections", slot: 0 },
    { type: "retryConnections", slot: 1 },
  ]);
});

test("a wish for a connection goes to all other workers, and so does the news of one", async () => {
  const { pool, threads } = poolOf(3);
  await pool.start();
  threads[1]!.say({ type: "connectionWanted", slot: 7 });
  threads[0]!.say({ type: "connectionFreed", slot: 7 });
  expect(threads.map(({ posts }) => posts.map(({ type }) => type))).toEqual([
    ["surrenderConnection"],
    ["retryConnections"],
    ["surrenderConnection", "retryConnections"],
  ]);
});

test("what a worker thinks of a backend is passed on with its number, and its death too", async () => {
  const { pool, threads, conditions } = poolOf(2);
  await pool.start();
  threads[1]!.say({ type: "backendCondition", slot: 0, circuit: "open", ejected: true, reason: "5 failures in a row" });
  threads[0]!.say({ type: "backendCondition", slot: 1, circuit: "closed", ejected: false, reason: "it answers" });
  threads[1]!.die("boom");
  expect(conditions).toEqual(["1: 0 open ejected: 5 failures in a row", "0: 1 closed: it answers", "1 died"]);
});

test("what a worker asks and says of sessions is passed on with its number, and the answers go to it alone", async () => {
  const { pool, threads, sessions } = poolOf(2);
  await pool.start();
  threads[1]!.say({ type: "sessionWanted", id: 7, upstream: "web", key: "s1" });
  const placed = { upstream: "web", key: "s1", address: "a:1", instead: "b:1", ttlMs: 1_000 };
  threads[0]!.say({ type: "sessionPlaced", ...placed });
  expect(sessions).toEqual(["1: 7 web s1", "0: web s1 at a:1, not b:1, for 1000"]);
  pool.sessionFound(1, 7, "a:1", false);
  pool.sessionCorrected(0, "web", "s1", "a:1", ["b:1"]);
  expect(threads[1]!.posts).toEqual([{ type: "sessionFound", id: 7, address: "a:1", failed: false }]);
  const corrected = { upstream: "web", key: "s1", address: "a:1", instead: ["b:1"] };
  expect(threads[0]!.posts).toEqual([{ type: "sessionCorrected", ...corrected }]);
});

test("that a store has forgotten sessions is told to all workers", async () => {
  const { pool, threads } = poolOf(2);
  await pool.start();
  pool.sessionsForgotten("web");
  for (const { posts } of threads) expect(posts).toEqual([{ type: "sessionsForgotten", upstream: "web" }]);
});

test("all workers have one secret and the same databases, those that start later included", async () => {
  const { pool, threads, clock, geoip } = poolOf(2);
  await pool.start();
  const database = new SharedArrayBuffer(5);
  geoip.set("city.mmdb", database);
  pool.setGeoip("city.mmdb", database);
  expect(threads.map(({ posts }) => posts)).toEqual([
    [{ type: "geoip", path: "city.mmdb", database }],
    [{ type: "geoip", path: "city.mmdb", database }],
  ]);
  threads[1]!.die("boom");
  clock.advance(100);
  await turn();
  expect(threads[2]!.data.geoip.get("city.mmdb")).toBe(database);
  expect(new Set(threads.map(({ data }) => data.secret)).size).toBe(1);
});

test("health reaches every worker, and one that starts later learns what is down", async () => {
  const { pool, threads, clock } = poolOf(2);
  await pool.start();
  pool.setHealth(0, false, "refused");
  pool.setHealth(1, false, "refused");
  pool.setHealth(1, true, "check passed");
  expect(threads[1]!.posts.length).toBe(3);
  threads[1]!.die("boom");
  clock.advance(100);
  await turn();
  expect(threads[2]!.data).toMatchObject({ worker: 1, down: [{ slot: 0, reason: "refused" }] });
});

test("access log lines are written, and their worker hears of it", async () => {
  const { pool, threads, lines } = poolOf(1);
  await pool.start();
  threads[0]!.say({ type: "accessLog", text: "a\nb\n", lines: 2 });
  expect(lines[0]!.text).toBe("a\nb\n");
  lines[0]!.done();
  expect(threads[0]!.posts).toEqual([{ type: "accessLogWritten", chars: 4 }]);
});

test("a drain ends when the last worker has drained; who dies on the way has nothing more to cut", async () => {
  const { pool, threads, clock, entries } = poolOf(3);
  await pool.start();
  const drained = pool.drain(5_000);
  expect(threads.every(({ posts }) => posts.at(-1)?.type === "drain")).toBe(true);
  threads[0]!.say({ type: "drained", cut: 2 });
  threads[1]!.die("boom");
  threads[2]!.say({ type: "drained", cut: 1 });
  expect(await drained).toEqual({ cut: 3 });
  expect(entries.map(({ code }) => code)).toEqual(["worker_died"]);
  clock.advance(60_000);
  expect(threads.length).toBe(3);
});

test("a worker that never answers a drain does not hold it up for ever", async () => {
  const { pool, threads, clock } = poolOf(1);
  await pool.start();
  const drained = pool.drain(5_000);
  clock.advance(7_000);
  expect(await drained).toEqual({ cut: 0 });
  await pool.close();
  expect(threads[0]!.terminated).toBe(true);
});

test("after close nothing starts again, and no death is reported", async () => {
  const { pool, threads, entries, clock } = poolOf(2);
  await pool.start();
  await pool.close();
  clock.advance(60_000);
  expect(threads.map(({ terminated }) => terminated)).toEqual([true, true]);
  expect(entries).toEqual([]);
  expect(clock.armed).toBe(0);
});

test("inspection asks those that run", async () => {
  const { pool, threads } = poolOf(2);
  await pool.start();
  threads[1]!.die("boom");
  const inspected = pool.inspect();
  const inspection = { clientConnections: 3, exchanges: 1, tunnels: 0, waiting: 0, backends: [] };
  threads[0]!.say({ type: "inspected", inspection });
  expect(await inspected).toEqual([inspection]);
});

describe("an explanation", () => {
  const request = { listener: 0, method: "GET", host: "shop.test", target: "/x", client: "192.0.2.7", headers: [] };
  const answer = (id: number, host: string): FromWorker => ({
    type: "explained",
    id,
    explanation: { host } as RequestExplanation,
  });

  test("comes from the first worker that runs, each to the one who asked", async () => {
    const { pool, threads } = poolOf(2);
    await pool.start();
    threads[0]!.die("boom");
    const [first, second] = [pool.explain(request), pool.explain({ ...request, host: "b.test" })];
    const asked = threads[1]!.posts.filter((message) => message.type === "explain");
    expect(asked.map((message) => message.request.host)).toEqual(["shop.test", "b.test"]);
    threads[1]!.say(answer(asked[1]!.id, "b.test"));
    threads[1]!.say(answer(asked[0]!.id, "shop.test"));
    expect([await first, await second]).toEqual([{ host: "shop.test" }, { host: "b.test" }]);
  });

  test("is not waited for longer than two seconds, nor from a worker that dies; what comes too late is dropped", async () => {
    const { pool, threads, clock } = poolOf(1);
    await pool.start();
    const late = pool.explain(request);
    clock.advance(2_100);
    expect(await late).toBeUndefined();
    threads[0]!.say(answer(0, "shop.test"));
    const lost = pool.explain(request);
    threads[0]!.die("boom");
    expect(await lost).toBeUndefined();
    expect(await pool.explain(request)).toBeUndefined();
  });
});
