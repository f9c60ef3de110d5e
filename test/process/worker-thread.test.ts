import { expect, test } from "vitest";
import type { FromWorker, WorkerData } from "../../src/control/messages.ts";
import { WorkerPool } from "../../src/control/worker-pool.ts";
import type { StartThread, ThreadEnd, WorkerThread } from "../../src/control/worker-thread.ts";
import { SystemClock } from "../../src/time/system-clock.ts";
import { memoryOf, settingsOf, workerDefaults } from "../support/fake-plane.ts";

// The built one: a thread runs JavaScript.
const built = "../../dist/control/worker-thread.js";
const { startThread } = (await import(built)) as { startThread: StartThread };

function run(more: Partial<WorkerData> = {}) {
  const settings = settingsOf();
  const data: WorkerData = { ...workerDefaults, settings, memory: memoryOf(settings), ...more };
  const messages: FromWorker[] = [];
  let said!: () => void;
  const spoke = new Promise<void>((resolve) => {
    said = resolve;
  });
  let thread!: WorkerThread;
  const ended = new Promise<ThreadEnd>((resolve) => {
    thread = startThread(data, {
      message: (message) => {
        messages.push(message);
        said();
      },
      ended: resolve,
    });
  });
  return { thread, messages, spoke, ended };
}

test("a worker thread listens, drains and can be ended", async () => {
  const { thread, messages, spoke, ended } = run();
  await spoke;
  expect(messages[0]).toMatchObject({ type: "listening", addresses: [{ kind: "tcp", host: "127.0.0.1" }] });
  thread.post({ type: "drain", deadlineMs: 1_000 });
  while (!messages.some(({ type }) => type === "drained")) await new Promise((resolve) => setTimeout(resolve, 10));
  await thread.terminate();
  expect((await ended).stack).toBeUndefined();
});

test("a worker thread that throws ends with message and stack, and this process lives on", async () => {
  const { ended } = run({ settings: {} as WorkerData["settings"] });
  const { message, stack } = await ended;
  expect(message).toMatch(/undefined/);
  expect(stack).toMatch(/\n {4}at /);
});

test("a worker thread that dies is replaced, and the listener is back on its port", async () => {
  const settings = settingsOf();
  const threads: WorkerThread[] = [];
  let replaced!: () => void;
  const back = new Promise<void>((resolve) => {
    replaced = resolve;
  });
  const pool = new WorkerPool({
    settings,
    workers: 1,
    bind: "exclusive",
    memory: memoryOf(settings),
    clock: new SystemClock(),
    log: { write: (_level, code) => code === "worker_replaced" && replaced(), flush: () => {} },
    accessLog: undefined,
    conditions: { conditionChanged: () => {}, workerDied: () => {} },
    sessions: { sessionWanted: () => {}, sessionPlaced: () => {} },
    secret: "a secret of the tests",
    sharedSessions: new Set(),
    geoip: new Map(),
    startThread: (data, events) => {
      const thread = startThread(data, events);
      threads.push(thread);
      return thread;
    },
  });
  const [bound] = await pool.start();
  const port = bound?.kind === "tcp" ? bound.port : 0;
  await threads[0]!.terminate();
  await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
  await back;
  expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBeGreaterThanOrEqual(500);
  await pool.close();
});
