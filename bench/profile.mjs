// Where Spillway's time goes: one shape under V8's sampling profiler, and the functions that took most.

import { readdirSync, readFileSync } from "node:fs";
import { startSpillwayOn } from "./candidates/spillway.mjs";
import { textTable } from "./lib/figures.mjs";
import { projectDir } from "./lib/machine.mjs";
import { Load } from "./lib/native.mjs";

/**
 * @typedef {object} CpuProfile as V8 writes it; times in microseconds
 * @property {{ id: number, callFrame: { functionName: string, url: string, lineNumber: number }, children?: number[] }[]} nodes
 * @property {number[]} samples
 * @property {number[]} timeDeltas
 */

/** Runs one shape and returns the text to print.
 * @param {import("./shapes.mjs").Shape} shape
 * @param {import("./candidates/candidate.mjs").Context} context
 * @param {{ node: string, seconds: number, top: number }} settings
 * @param {{ loadBinary: string, browserFile: string, cpus: readonly number[] }} tools */
export async function profileShape(shape, context, settings, tools) {
  const profileDir = `${context.dir}/profile`;
  const nodeOptions = ["--cpu-prof", `--cpu-prof-dir=${profileDir}`, "--cpu-prof-interval=200"];
  const { running, port } = await startSpillwayOn(context, settings.node, nodeOptions);
  const fields = shape.browser ? { fields: tools.browserFile } : {};
  const load = new Load(tools.loadBinary, { ...shape.load, ...fields, port, seconds: settings.seconds }, tools.cpus);
  await load.opened();
  const result = await load.run();
  await load.close();
  await running.stop(20_000); // writing the profiles takes a while

  const files = readdirSync(profileDir).filter((name) => name.endsWith(".cpuprofile"));
  if (files.length === 0) throw new Error(`no profile was written: ${running.complaint}`);
  const tables = files.map((name) =>
    describeProfile(JSON.parse(readFileSync(`${profileDir}/${name}`, "utf8")), settings.top),
  );
  const perSecond = Math.round(result.completed / result.seconds);
  const title = `${shape.title}: ${result.completed} requests, ${result.errors} errors, ${perSecond}/s under the profiler`;
  // The thread that worked most comes first.
  return [title, ...tables.sort((a, b) => b.busyMs - a.busyMs).map((table) => table.text)].join("\n\n");
}

/** Self time by function and by file of one thread's profile. @param {CpuProfile} profile @param {number} top */
export function describeProfile(profile, top) {
  const selfUs = new Map();
  for (const [i, id] of profile.samples.entries()) {
    selfUs.set(id, (selfUs.get(id) ?? 0) + Math.max(0, profile.timeDeltas[i] ?? 0));
  }
  const byFunction = new Map();
  const byFile = new Map();
  let busyUs = 0;
  let idleUs = 0;
  for (const node of profile.nodes) {
    const us = selfUs.get(node.id) ?? 0;
    const { functionName, url, lineNumber } = node.callFrame;
    if (functionName === "(idle)") {
      idleUs += us;
      continue;
    }
    if (functionName === "(root)") continue;
    busyUs += us;
    const file = shortUrl(url);
    const name = `${functionName || "(anonymous)"}${file ? `  ${file}:${lineNumber + 1}` : ""}`;
    byFunction.set(name, (byFunction.get(name) ?? 0) + us);
    const group = file || (functionName.startsWith("(") ? functionName : "(native)");
    byFile.set(group, (byFile.get(group) ?? 0) + us);
  }
  const rows = (/** @type {Map<string, number>} */ times) =>
    [...times]
      .sort((a, b) => b[1] - a[1])
      .slice(0, top)
      .filter(([, us]) => us > 0)
      .map(([name, us]) => [name, (us / 1000).toFixed(1), `${((us / busyUs) * 100).toFixed(1)} %`]);
  const text = [
    `Thread busy for ${(busyUs / 1000).toFixed(0)} ms, idle for ${(idleUs / 1000).toFixed(0)} ms`,
    textTable(["self time by function", "ms", "of busy"], rows(byFunction)),
    "",
    textTable(["self time by file", "ms", "of busy"], rows(byFile)),
  ].join("\n");
  return { busyMs: busyUs / 1000, text };
}

/** @param {string} url */
function shortUrl(url) {
  const path = url.replace(/^file:\/\//, "");
  return path.startsWith(projectDir) ? path.slice(projectDir.length) : path;
}
