// Resident memory per idle client connection.
//
// Each candidate is started fresh, on its own. It gets a load on 64 connections and some rest, then its memory is read;
// then 10,000 connections are opened, each makes one request and stays; then the same load and rest again, and the
// second reading. The load makes both readings alike: heaps have grown to their working size, and the young objects of
// opening the connections have been collected by the garbage collector's own rhythm, which nobody forces.

import { setTimeout as sleep } from "node:timers/promises";
import { residentBytes } from "./lib/cpu.mjs";
import { Load } from "./lib/native.mjs";

/**
 * @typedef {object} MemoryRow
 * @property {string} id
 * @property {string} label
 * @property {number} baseBytes
 * @property {number} connections that were open and idle at the second reading
 * @property {number} closed by the proxy before it
 * @property {number} bytesPerConnection
 */

/**
 * @param {import("./candidates/candidate.mjs").StartCandidates} startCandidates
 * @param {import("./candidates/candidate.mjs").Context} context
 * @param {{ connections: number, loadSeconds: number, restSeconds: number }} pace
 * @param {{ loadBinary: string, cpus: readonly number[] }} tools
 * @returns {Promise<MemoryRow | undefined>}
 */
export async function measureMemory(startCandidates, context, pace, tools) {
  /** @type {import("./lib/processes.mjs").Running[]} */
  const processes = [];
  try {
    const [candidate] = await startCandidates({ ...context, started: (running) => processes.push(running) });
    if (candidate === undefined) return undefined;
    const { port, pid } = candidate;

    const settle = async () => {
      const load = new Load(tools.loadBinary, { port, seconds: pace.loadSeconds }, tools.cpus);
      await load.opened();
      await load.run();
      await load.close();
      await sleep(pace.restSeconds * 1000);
    };

    await settle();
    const baseBytes = residentBytes(pid);
    const idle = new Load(tools.loadBinary, { port, connections: pace.connections, hold: true }, tools.cpus);
    await idle.opened();
    await settle();
    const bytes = residentBytes(pid);
    const { open, closed } = await idle.countOpen();
    await idle.close();
    return {
      id: candidate.id,
      label: candidate.label,
      baseBytes,
      connections: open,
      closed,
      bytesPerConnection: (bytes - baseBytes) / open,
    };
  } finally {
    await Promise.all(processes.map((running) => running.stop()));
  }
}
