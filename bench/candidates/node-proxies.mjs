// Two proxies for Node.js, for comparison. They are no dependencies of Spillway: their packages are installed on
// demand into a folder of the cache that nothing else uses.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { projectDir } from "../lib/machine.mjs";
import { answers, freePorts, Missing, start } from "../lib/processes.mjs";

const packagesDir = `${projectDir}.cache/bench-proxies`;
/** The latest that run on Node.js 20. */
const packages = { "http-proxy-3": "1.23.3", "fast-proxy": "2.2.0" };

/** @typedef {keyof typeof packages} ProxyName */

/** @param {ProxyName} name @returns {import("./candidate.mjs").StartCandidates} */
function starter(name) {
  return async (context) => {
    install(name);
    const [port = 0] = await freePorts(1);
    const script = fileURLToPath(new URL(`../proxies/${name}.mjs`, import.meta.url));
    const args = [script, packagesDir, String(port), ...context.backendPorts.map(String)];
    const running = start(process.execPath, args, { cpus: context.cpus });
    context.started?.(running);
    await answers(port, running);
    return [{ id: name, label: name, version: packages[name], port, pid: running.pid }];
  };
}

export const startHttpProxy3 = starter("http-proxy-3");
export const startFastProxy = starter("fast-proxy");

/** @param {ProxyName} name */
function install(name) {
  const manifest = `${packagesDir}/node_modules/${name}/package.json`;
  if (existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).version === packages[name]) return;
  mkdirSync(packagesDir, { recursive: true });
  writeFileSync(`${packagesDir}/package.json`, JSON.stringify({ private: true, dependencies: packages }, null, 2));
  try {
    const args = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    execFileSync("npm", args, { cwd: packagesDir, timeout: 60_000, stdio: "pipe" });
  } catch (error) {
    const reason = String(/** @type {{ stderr?: unknown }} */ (error).stderr || error)
      .trim()
      .split("\n")[0];
    throw new Missing(`${name} could not be installed into ${packagesDir}: ${reason}`);
  }
}
