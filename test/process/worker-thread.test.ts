import { expect, test } from "vitest";
import type { FromWorker, WorkerData } from "../../src/control/messages.ts";
import type { startThread as StartThread, ThreadEnd } from "../../src/control/worker-thread.ts";
import { memoryOf, settingsOf } from "../support/fake-plane.ts";

// The built one: a thread runs JavaScript.
const built = "../../dist/control/worker-thread.js";
const { startThread } = (await import(built)) as { startThread: typeof StartThread };

function run(more: Partial<WorkerData> = {}) {
  const settings = settingsOf();
  const data: WorkerData = { settings, worker: 0, bind: "exclusive", memory: memoryOf(settings), down: [], ...more };
  const messages: FromWorker[] = [];
  let said!: () => void;
  const spoke = new Promise<void>((resolve) => {
    said = resolve;
  });
  let thread!: ReturnType<typeof StartThread>;
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
