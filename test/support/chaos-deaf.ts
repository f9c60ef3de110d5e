import { connect, type Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { pause } from "./wire.ts";

/** A port whose owner never accepts: a connect to it is neither refused nor answered. On Linux. */
export interface DeafPort {
  readonly port: number;
  close(): Promise<void>;
}

// The thread that listens goes to sleep for good; the kernel accepts for it until its queue is full.
const LISTENER = `
  const { parentPort, workerData } = require("node:worker_threads");
  const server = require("node:net").createServer().listen(0, "127.0.0.1", 1, () => {
    parentPort.postMessage(server.address().port);
    setImmediate(() => {
      Atomics.wait(new Int32Array(workerData), 0, 0);
      server.close();
      process.exit();
    });
  });
`;

export async function deafPort(): Promise<DeafPort> {
  const sleep = new SharedArrayBuffer(4);
  const worker = new Worker(LISTENER, { eval: true, workerData: sleep });
  const port = await new Promise<number>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  const fillers: Socket[] = Array.from({ length: 8 }, () => connect(port, "127.0.0.1").on("error", () => {}));
  await pause(200);
  return {
    port,
    close: async () => {
      for (const filler of fillers) filler.destroy();
      const gone = new Promise((resolve) => worker.once("exit", resolve));
      Atomics.store(new Int32Array(sleep), 0, 1);
      Atomics.notify(new Int32Array(sleep), 0);
      await gone;
    },
  };
}
