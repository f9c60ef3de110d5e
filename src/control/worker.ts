/*
 * Where a worker thread begins. Nothing else may import this file.
 */

import { randomInt } from "node:crypto";
import { parentPort, workerData } from "node:worker_threads";
import { SeededRandom } from "../policy/model/random.ts";
import { createDataPlane } from "../proxy/data-plane.ts";
import { SystemClock } from "../time/system-clock.ts";
import type { FromWorker, ToWorker, WorkerData } from "./messages.ts";
import { hostWorker } from "./worker-host.ts";

const port = parentPort!;
await hostWorker(workerData as WorkerData, {
  port: {
    post: (message: FromWorker) => port.postMessage(message),
    receive: (handler) => port.on("message", (message: ToWorker) => handler(message)),
  },
  clock: new SystemClock(),
  random: new SeededRandom(randomInt(2 ** 32)),
  createDataPlane,
});
