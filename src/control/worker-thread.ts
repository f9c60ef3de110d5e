import { Worker } from "node:worker_threads";
import type { FromWorker, ToWorker, WorkerData } from "./messages.ts";

/** Why a thread ended. */
export interface ThreadEnd {
  readonly message: string;
  /** Where it was thrown, when it ended by an uncaught error. */
  readonly stack: string | undefined;
}

/** A running worker thread, as the pool needs it. */
export interface WorkerThread {
  post(message: ToWorker): void;
  /** Ends it wherever it is; resolves when it has ended. */
  terminate(): Promise<void>;
}

export interface ThreadEvents {
  message(message: FromWorker): void;
  /** Called once, when the thread has ended, whoever ended it. Nothing of it runs any more. */
  ended(end: ThreadEnd): void;
}

export type StartThread = (data: WorkerData, events: ThreadEvents) => WorkerThread;

/** Starts `worker.ts` in a thread of this process. */
export const startThread: StartThread = (data, events) => {
  const thread = new Worker(new URL("./worker.js", import.meta.url), {
    workerData: data,
    name: `spillway-worker-${data.worker}`,
    // What V8 allows by itself on Node.js 20. Newer ones let young objects pile up higher, which costs 3 kB of resident
    // memory per idle connection and gains no time.
    resourceLimits: { maxYoungGenerationSizeMb: 48 },
  });
  let thrown: ThreadEnd | undefined;
  thread.on("message", (message: FromWorker) => events.message(message));
  thread.on("error", (error: unknown) => {
    thrown = error instanceof Error ? { message: error.message, stack: error.stack } : endOf(String(error));
  });
  thread.once("exit", (code) => events.ended(thrown ?? endOf(`it exited with code ${code}`)));
  return {
    post: (message) => thread.postMessage(message),
    terminate: async () => {
      await thread.terminate();
    },
  };
};

function endOf(message: string): ThreadEnd {
  return { message, stack: undefined };
}
