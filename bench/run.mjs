// npm run bench: Spillway beside nginx, HAProxy and two Node.js proxies. --help lists the options.

import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { candidates as allCandidates } from "./candidates/index.mjs";
import { writeBenchSection } from "./docs.mjs";
import { runCommand } from "./lib/command.mjs";
import { showSpread, textTable } from "./lib/figures.mjs";
import { describeMachine, projectDir } from "./lib/machine.mjs";
import { buildNative } from "./lib/native.mjs";
import {
  answers,
  divideCpus,
  freePorts,
  Missing,
  ownDirectory,
  pinSelf,
  raiseFileLimit,
  start,
} from "./lib/processes.mjs";
import { measureMemory } from "./memory.mjs";
import { profileShape } from "./profile.mjs";
import { measureShape } from "./rounds.mjs";
import { browserHead, extraShapes, shapes } from "./shapes.mjs";

/** What a quick run may take, and what of it is kept for the memory of one proxy. */
const quickMs = 84_000;
const quickMemoryMs = 7_000;
/** These take long to warm up; a quick run is about Spillway and shows them once. */
const slow = ["http-proxy-3", "fast-proxy"];

const help = `npm run bench -- [options]

  --quick              short rounds; ends within 90 seconds
  --shapes a,b         only these: ${[...shapes, ...extraShapes].map((shape) => shape.id).join(", ")}, memory
  --only a,b           only these proxies: ${Object.keys(allCandidates).join(", ")}
  --rounds N           rounds per shape (default 5)
  --seconds S          seconds per proxy and round (default 2)
  --node-newest PATH   a second Node.js for Spillway (default: SPILLWAY_NODE_NEWEST, then .cache/node-newest)
  --json FILE          write the figures to this file as well
  --write-docs         put the tables of a whole run into docs/performance.md
  --profile SHAPE      run Spillway alone under V8's profiler and print where its time goes (on --node-newest if given)
  --top N              lines of the profile (default 30)
`;

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    shapes: { type: "string" },
    only: { type: "string" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    "node-newest": { type: "string" },
    json: { type: "string" },
    "write-docs": { type: "boolean", default: false },
    profile: { type: "string" },
    top: { type: "string", default: "30" },
    help: { type: "boolean", short: "h", default: false },
  },
});

await runCommand("bench", help, options.help, main);

/** @returns {Promise<number>} exit code */
async function main() {
  // The short form keeps its promise on a busy machine too: rounds are left out first, then whole shapes.
  const untilMs = options.quick ? performance.now() + quickMs : Number.POSITIVE_INFINITY;
  const cpus = divideCpus();
  if (cpus.proxy.length === 0)
    console.error("bench: a single core (or no taskset): nothing is pinned, figures are rough");
  pinSelf(cpus.load);
  const fileLimit = raiseFileLimit();
  const native = buildNative();
  const dir = ownDirectory();
  const browserFile = `${dir}/browser-fields`;
  writeFileSync(browserFile, browserHead);
  const tools = { loadBinary: native.load, browserFile, cpus: cpus.load };
  const backendPorts = await freePorts(3);
  const backend = start(native.backend, backendPorts.map(String), { cpus: cpus.load });
  await backend.line(5000);
  await answers(backendPorts[0] ?? 0, backend);
  const context = { backendPorts, cpus: cpus.proxy, dir, fileLimit, newestNode: newestNode() };

  if (options.profile !== undefined) {
    const shape = [...shapes, ...extraShapes].find((s) => s.id === options.profile);
    if (shape === undefined) throw new Missing(`no shape ${options.profile}\n${help}`);
    const node = options["node-newest"] ?? process.execPath;
    const settings = { node, seconds: Number(options.seconds ?? 5), top: Number(options.top) };
    console.log(await profileShape(shape, context, settings, tools));
    return 0;
  }

  const chosenShapes = chooseShapes();
  const chosen = chooseCandidates();
  const skipped = /** @type {string[]} */ ([]);
  const running = /** @type {import("./lib/processes.mjs").Running[]} */ ([]);
  const candidates = /** @type {import("./candidates/candidate.mjs").Candidate[]} */ ([]);
  for (const [name, startCandidates] of chosen) {
    try {
      candidates.push(...(await startCandidates({ ...context, started: (process) => running.push(process) })));
    } catch (error) {
      const reason = error instanceof Missing ? error.message : `${name} did not start: ${error}`;
      skipped.push(reason);
      console.log(`skipped: ${reason}`);
    }
  }
  if (candidates.length === 0) throw new Missing("nothing to measure");

  const pace = options.quick
    ? { rounds: 3, seconds: 0.5, warmUpSeconds: 0.2 }
    : { rounds: 5, seconds: 2, warmUpSeconds: 1 };
  if (options.rounds !== undefined) pace.rounds = Number(options.rounds);
  if (options.seconds !== undefined) pace.seconds = Number(options.seconds);

  const connections = Math.min(10_000, fileLimit - 1000);
  const memoryOf = chosen.filter(
    ([name]) =>
      candidates.some((c) => c.id === name) && !(options.quick && [...slow, "spillway-newest"].includes(name)),
  );
  const memoryMs = chosenShapes.memory ? memoryOf.length * quickMemoryMs : 0;

  const measuredShapes = [];
  for (const [i, shape] of chosenShapes.rounds.entries()) {
    const nowMs = performance.now();
    const shareMs = (untilMs - memoryMs - nowMs) / (chosenShapes.rounds.length - i);
    if (shareMs < 3000) {
      console.log(`\n${shape.title}\nskipped: no time left for it`);
      continue;
    }
    const taking = candidates.filter((c) => {
      if (c.onlyBodies && !shape.bodies) return false;
      return !(options.quick && (c.id === "nginx-unbuffered" || (slow.includes(c.id) && shape.id !== "bare")));
    });
    const shorter = shape.short ? { rounds: Math.min(pace.rounds, 4), seconds: Math.min(pace.seconds, 0.8) } : {};
    // The first shape also warms up what the later ones share: requests count here, however long they take.
    const first = i === 0 ? { warmUpSeconds: 4, warmUpRequests: options.quick ? 12_000 : 40_000 } : {};
    const paceHere = { ...pace, ...shorter, ...first, untilMs: nowMs + shareMs };
    const rows = await measureShape(shape, taking, paceHere, tools);
    measuredShapes.push({ id: shape.id, title: shape.title, bodies: shape.bodies === true, ...pace, ...shorter, rows });
    printShape(shape, rows);
  }
  await Promise.all(running.map((process) => process.stop()));

  const memory = [];
  if (chosenShapes.memory) {
    const memoryPace = { connections, loadSeconds: options.quick ? 0.8 : 2, restSeconds: options.quick ? 1 : 4 };
    for (const [, startCandidates] of memoryOf) {
      if (performance.now() + quickMemoryMs > untilMs) {
        console.log("skipped: no time left for the memory of the others");
        break;
      }
      const row = await measureMemory(startCandidates, context, memoryPace, tools);
      if (row !== undefined) memory.push(row);
    }
    printMemory(memory, connections);
  }
  await backend.stop();

  const whole = options.only === undefined && options.shapes === undefined;
  const results = {
    machine: describeMachine(),
    quick: options.quick,
    versions: Object.fromEntries(candidates.map((c) => [c.label, c.version])),
    skipped,
    shapes: measuredShapes,
    memory: { connections, rows: memory },
  };
  // A part of a run must not pass for the latest whole one.
  write(`${projectDir}bench/results/${whole ? "latest.json" : "partial.tmp.json"}`, results);
  if (options.json !== undefined) write(options.json, results);
  if (options["write-docs"]) {
    if (whole) writeBenchSection(results);
    else console.log("docs/performance.md is left alone: it shows whole runs only (without --only and --shapes)");
  }
  const wrong = measuredShapes
    .flatMap((shape) => shape.rows)
    .filter((row) => row.id.startsWith("spillway") && row.errors > 0);
  return wrong.length > 0 ? 1 : 0;
}

function newestNode() {
  const named = options["node-newest"] ?? process.env.SPILLWAY_NODE_NEWEST;
  if (named !== undefined) return named;
  const fetched = `${projectDir}.cache/node-newest/bin/node`;
  return existsSync(fetched) ? fetched : undefined;
}

function chooseShapes() {
  const wanted = options.shapes?.split(",");
  if (wanted === undefined) return { rounds: shapes, memory: true };
  const known = [...shapes, ...extraShapes];
  const unknown = wanted.filter((id) => id !== "memory" && !known.some((shape) => shape.id === id));
  if (unknown.length > 0) throw new Missing(`no shape ${unknown.join(", ")}\n${help}`);
  return { rounds: known.filter((shape) => wanted.includes(shape.id)), memory: wanted.includes("memory") };
}

function chooseCandidates() {
  const wanted = options.only?.split(",");
  const unknown = wanted?.filter((name) => !(name in allCandidates)) ?? [];
  if (unknown.length > 0) throw new Missing(`no proxy ${unknown.join(", ")}\n${help}`);
  return Object.entries(allCandidates).filter(([name]) => wanted === undefined || wanted.includes(name));
}

/** @param {import("./shapes.mjs").Shape} shape @param {readonly import("./rounds.mjs").Row[]} rows */
function printShape(shape, rows) {
  const best = shape.bodies ? "to the best *" : "to the best";
  console.log(`\n${shape.title}`);
  console.log(
    textTable(
      ["", "CPU us/request", "of it user", "to nginx", best, "requests/s", "p50 us", "p99 us", "errors"],
      rows.map((row) => [
        row.label,
        showSpread(row.cpuUs, 1),
        row.userUs?.median.toFixed(1) ?? "-",
        showSpread(row.toNginx),
        showSpread(row.toBest),
        row.perSecond?.median.toFixed(0) ?? "-",
        row.p50Us?.median.toFixed(0) ?? "-",
        row.p99Us?.median.toFixed(0) ?? "-",
        String(row.errors),
      ]),
    ),
  );
  for (const row of rows.filter((r) => r.errors > 0)) console.log(`  ${row.label}: ${JSON.stringify(row.reasons)}`);
  const waited = rows.find((row) => row.id === "nginx")?.waited?.median ?? 0;
  if (waited > 0.05) {
    console.log(`  The machine was not quiet: nginx waited ${(waited * 100).toFixed(0)} % of its time for its core.`);
  }
}

/** @param {readonly import("./memory.mjs").MemoryRow[]} rows @param {number} connections */
function printMemory(rows, connections) {
  console.log(`\nResident memory, ${connections} idle client connections that made one request each`);
  console.log(
    textTable(
      ["", "before, MiB", "bytes/connection", "still open"],
      rows.map((row) => [
        row.label,
        (row.baseBytes / 2 ** 20).toFixed(1),
        row.bytesPerConnection.toFixed(0),
        String(row.connections),
      ]),
    ),
  );
}

/** Whole or not at all. @param {string} path @param {unknown} value */
function write(path, value) {
  mkdirSync(`${projectDir}bench/results`, { recursive: true });
  writeFileSync(`${path}.tmp`, `${JSON.stringify(value, null, 2)}\n`);
  renameSync(`${path}.tmp`, path);
}
