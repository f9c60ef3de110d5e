import { availableParallelism } from "node:os";
import type { Settings } from "../config/settings.ts";
import type { DataPlaneParts, DataPlanes } from "./data-planes.ts";
import type { WorkerBind } from "./messages.ts";
import { findReusePort } from "./reuse-port.ts";
import { StartError } from "./start-error.ts";
import { WorkerPool } from "./worker-pool.ts";
import { startThread } from "./worker-thread.ts";

/** Several workers were asked for, and this machine has no way for them to share an address. */
export class NoReusePortError extends StartError {}

/** Worker threads as the settings ask for them. */
export interface WorkerPlanes {
  readonly workers: number;
  makeDataPlanes(parts: DataPlaneParts): DataPlanes;
}

/** @throws NoReusePortError */
export async function workerPlanes(settings: Pick<Settings, "workers">): Promise<WorkerPlanes> {
  const workers = settings.workers === "auto" ? availableParallelism() : settings.workers;
  const bind = await bindFor(workers, settings.workers);
  return { workers, makeDataPlanes: (parts) => new WorkerPool({ ...parts, workers, bind, startThread }) };
}

async function bindFor(workers: number, asked: number | "auto"): Promise<WorkerBind> {
  if (workers === 1) return "exclusive";
  const way = await findReusePort();
  if (way !== undefined) return way === "node" ? "reuse-port" : "koffi";
  const koffi = process.platform === "linux" ? ", or install the optional package koffi beside Spillway" : "";
  throw new NoReusePortError(
    `workers: ${asked} needs Node.js 22.12 or newer (this is ${process.versions.node}). ` +
      `Use a newer Node.js${koffi}, or write workers: 1`,
  );
}
