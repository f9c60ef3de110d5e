// Spillway as its users run it: the built command line with a configuration file, everything on that is on by default.

import { execFileSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { projectDir, spillwayVersion } from "../lib/machine.mjs";
import { answers, freePorts, Missing, start } from "../lib/processes.mjs";

const command = `${projectDir}dist/cli/main.js`;

/**
 * What a configuration says besides: lines as they stand in the file, or what goes into braces.
 * @typedef {object} Extras
 * @property {string} [listener] lines of the listener
 * @property {string} [route] lines of its route
 * @property {string} [balance] in place of round-robin
 * @property {string} [pool] in the braces of the pool
 * @property {string} [upstream] lines of the upstream
 * @property {string} [backend] in the braces of each backend
 */

/**
 * Starts it with the given Node.js.
 * @param {import("./candidate.mjs").Context} context
 * @param {string} node
 * @param {readonly string[]} [nodeOptions]
 * @param {Extras} [extras]
 */
export async function startSpillwayOn(context, node, nodeOptions = [], extras = {}) {
  if (!existsSync(command)) throw new Missing("dist/cli/main.js is missing (npm run build)");
  const [port = 0, adminPort = 0] = await freePorts(2);
  const file = `${context.dir}/spillway-${port}.yaml`;
  writeFileSync(file, configuration(context, port, adminPort, extras));
  const running = start(node, [...nodeOptions, command, "run", file], { cpus: context.cpus, cwd: context.dir });
  context.started?.(running);
  await answers(port, running);
  return { running, port, adminPort };
}

/**
 * @param {string} id
 * @param {string} node
 * @param {boolean} [everything]
 * @returns {import("./candidate.mjs").StartCandidates}
 */
function starter(id, node, everything = false) {
  return async (context) => {
    const nodeVersion = execFileSync(node, ["--version"], { encoding: "utf8" }).trim().slice(1);
    const { running, port } = await startSpillwayOn(context, node, [], everything ? everythingOn : {});
    const label = `Spillway, Node ${nodeVersion.split(".")[0]}${everything ? ", everything on" : ""}`;
    return [{ id, label, version: `${spillwayVersion()} on Node ${nodeVersion}`, port, pid: running.pid }];
  };
}

export const startSpillway = starter("spillway", process.execPath);

/** What it costs to have everything on: compare it with `spillway`, which has what is on by default. */
export const startSpillwayWithEverything = starter("spillway-everything", process.execPath, true);

/** @type {import("./candidate.mjs").StartCandidates} */
export async function startSpillwayOnNewest(context) {
  if (context.newestNode === undefined) {
    throw new Missing("no newest Node.js (node bench/fetch-node.mjs fetches it, --node-newest PATH names it)");
  }
  return await starter("spillway-newest", context.newestNode)(context);
}

/**
 * @param {import("./candidate.mjs").Context} context
 * @param {number} port
 * @param {number} adminPort
 * @param {Extras} extras
 */
function configuration(context, port, adminPort, extras) {
  const { listener = "", route = "", balance = "round-robin", pool = "", upstream = "", backend = "" } = extras;
  // The bounds are those that nginx and HAProxy get here; the rest is default.
  return `workers: 1
admin: { listen: "127.0.0.1:${adminPort}" }
log: { level: warn }
listeners:
  - listen: "127.0.0.1:${port}"
    limits: { connections: 20000 }
${listener}    routes:
      - upstream: web
${route}upstreams:
  web:
    balance: ${balance}
    pool: { maxConnections: 1024, maxIdle: 1024${pool} }
${upstream}    backends:
${context.backendPorts.map((at) => `      - { url: "http://127.0.0.1:${at}"${backend} }`).join("\n")}
`;
}

/** All that isolates faults and can be switched on. @type {Extras} */
const everythingOn = {
  route: `        timeout: 30s
        priority: { header: x-priority, default: normal }
        rateLimit: { key: client-ip, rate: 1000000, per: 1s }
`,
  pool: ", queue: { target: 50ms }",
  upstream: `    circuitBreaker: {}
    outlierDetection: { failureShare: {}, latency: {} }
    retry: { perTryTimeout: 5s }
    concurrencyLimit: { initial: 1000 }
    slowStart: {}
    panicThreshold: 50%
    hedge: {}
    throttle: {}
`,
};
