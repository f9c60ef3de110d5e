// npm run bench:affinity: what affinity and place cost, each beside a Spillway that has them off. --help lists the options.

import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { createJiti } from "jiti";
import { startSpillwayOn } from "../candidates/spillway.mjs";
import { machineLine, writeSection } from "../docs.mjs";
import { runCommand } from "../lib/command.mjs";
import { markdownTable, showSpread, textTable } from "../lib/figures.mjs";
import { describeMachine, projectDir, spillwayVersion } from "../lib/machine.mjs";
import { buildNative } from "../lib/native.mjs";
import {
  answers,
  divideCpus,
  freePorts,
  installed,
  listens,
  Missing,
  ownDirectory,
  pinSelf,
  raiseFileLimit,
  start,
} from "../lib/processes.mjs";
import { takeTurns } from "../rounds.mjs";
import { browserHead } from "../shapes.mjs";
import { rowsOf, together, verdict } from "./figures.mjs";
import { choose, fieldsOf, groupsOf } from "./groups.mjs";

/** @typedef {import("./groups.mjs").Group} Group */
/** @typedef {import("./groups.mjs").Requests} Requests */

const quickMs = 14_000;
/** Of each kind one: starting takes longest. */
const quickOnes = "nearest-geoip,cookie,learned,header";
const connections = 64;
const heads = [
  { id: "bare", title: "Bare head", head: "" },
  { id: "browser", title: "Browser-like head (14 fields, about 800 bytes)", head: browserHead },
];
const header = ["", "to off", "CPU, µs/request", "of it user", "requests/s"];

const help = `npm run bench:affinity -- [options]

One Spillway for each line of the table, all in front of the same three backends, measured in turns: CPU time per
request, as a ratio to the Spillway that gets the same requests with affinity and place off. Each of the ${connections} connections
is a client with a session of its own. About ten minutes.

  --only a,b     only these, and what they are compared with: ${names(groupsOf({ geoip: "", redis: "" }))}
  --heads a,b    bare, browser (default: both)
  --starts N     how often all are started anew: two runs of a program are never quite alike (default 3)
  --rounds N     rounds after each start (default 8)
  --seconds S    for each in each round (default 0.5)
  --quick        a few short rounds of some with the bare head; ends within 20 seconds, too rough to judge by
  --node PATH    another Node.js for Spillway
  --write-docs   put the tables of a whole run into docs/performance.md
`;

const { values: options } = parseArgs({
  options: {
    only: { type: "string" },
    heads: { type: "string" },
    starts: { type: "string" },
    rounds: { type: "string" },
    seconds: { type: "string" },
    quick: { type: "boolean", default: false },
    node: { type: "string", default: process.execPath },
    "write-docs": { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
await runCommand("bench:affinity", help, options.help, main);

/** @returns {Promise<number>} exit code */
async function main() {
  const untilMs = options.quick ? performance.now() + quickMs : Number.POSITIVE_INFINITY;
  const starts = atLeast(1, "starts", options.quick ? 1 : 3);
  const pace = {
    rounds: atLeast(1, "rounds", options.quick ? 3 : 8),
    seconds: atLeast(0.05, "seconds", options.quick ? 0.15 : 0.5),
    warmUpSeconds: options.quick ? 0.2 : 3,
    warmUpRequests: 40_000,
    untilMs,
  };
  const wantedHeads = options.heads?.split(",") ?? (options.quick ? ["bare"] : heads.map(({ id }) => id));
  const unknownHeads = wantedHeads.filter((id) => !heads.some((head) => head.id === id));
  if (unknownHeads.length > 0) throw new Missing(`no head ${unknownHeads.join(", ")}\n${help}`);

  const cpus = divideCpus();
  if (cpus.proxy.length === 0) console.error("bench:affinity: a single core (or no taskset): figures are rough");
  pinSelf(cpus.load);
  const fileLimit = raiseFileLimit();
  const native = buildNative();
  const dir = ownDirectory();
  const backendPorts = await freePorts(3);
  const backend = start(native.backend, backendPorts.map(String), { cpus: cpus.load });
  await backend.line(5000);
  await answers(backendPorts[0] ?? 0, backend);

  const redis = await startRedis(dir, cpus.load);
  const { chosen, unknown } = choose(
    groupsOf({ geoip: await writeGeoip(dir), redis: redis?.url }),
    (options.only ?? (options.quick ? quickOnes : undefined))?.split(","),
  );
  if (unknown.length > 0) throw new Missing(`nothing is called ${unknown.join(", ")}\n${help}`);

  const context = { backendPorts, cpus: cpus.proxy, dir, fileLimit, newestNode: undefined };
  const tools = { loadBinary: native.load, cpus: cpus.load };
  const measuredHeads = heads.filter(({ id }) => wantedHeads.includes(id));
  /** By head, then by variant, then by start. @type {import("../rounds.mjs").Taken[][][]} */
  const taken = measuredHeads.map(() => chosen.flatMap(({ variants }) => variants.map(() => [])));
  for (let i = 0; i < starts; i++) {
    console.error(`start ${i + 1} of ${starts}`);
    const running = await startAll(chosen, context);
    const spillways = running.flatMap((group) => group.spillways);
    const requests = await Promise.all(
      running.map(({ group, spillways }) => requestsOf(group, spillways.at(-1)?.port ?? 0)),
    );
    for (const [h, { id, head }] of measuredHeads.entries()) {
      const turns = running.flatMap((group, g) => {
        const fields = `${dir}/fields-${id}-${g}`;
        writeFileSync(fields, (requests[g] ?? []).map((request) => fieldsOf(head, request)).join("\r\n"));
        return group.spillways.map(({ running: { pid }, port }) => ({ pid, load: { connections, fields, port } }));
      });
      for (const [v, of] of (await takeTurns(turns, pace, tools)).entries()) taken[h]?.[v]?.push(of);
    }
    const last = taken.map((head) => head.map((ofStarts) => ofStarts.at(-1)?.requests ?? 0));
    for (const [v, { variant, adminPort }] of spillways.entries()) {
      await checkCounter(
        variant,
        adminPort,
        last.reduce((sum, head) => sum + (head[v] ?? 0), 0),
      );
    }
    await Promise.all(spillways.map((spillway) => spillway.running.stop()));
  }
  await Promise.all([backend.stop(), redis?.running.stop()]);

  const tables = measuredHeads.map(({ id, title }, h) => {
    const inOrder = (taken[h] ?? []).map(together);
    return {
      id,
      title,
      groups: chosen.map((group) => ({
        title: group.title,
        rows: rowsOf(group.variants, inOrder.splice(0, group.variants.length)),
      })),
    };
  });
  const results = {
    machine: describeMachine(),
    versions: { spillway: spillwayVersion(), node: options.node === process.execPath ? process.version : options.node },
    pace: { starts, rounds: pace.rounds, seconds: pace.seconds },
    skipped: redis === undefined ? ["a store in Redis (no redis-server)"] : [],
    tables,
  };
  print(results);
  const whole = options.only === undefined && options.heads === undefined && !options.quick;
  mkdirSync(`${projectDir}bench/results`, { recursive: true });
  const file = `${projectDir}bench/results/${whole ? "affinity.json" : "affinity-part.tmp.json"}`;
  writeFileSync(`${file}.tmp`, `${JSON.stringify(results, null, 2)}\n`);
  renameSync(`${file}.tmp`, file);
  if (options["write-docs"]) {
    if (whole) writeDocs(results);
    else
      console.log("docs/performance.md is left alone: it shows whole runs only (without --only, --heads and --quick)");
  }
  const rows = tables.flatMap(({ groups }) => groups.flatMap((group) => group.rows));
  return rows.some(({ errors, requests }) => errors > 0 || requests === 0) ? 1 : 0;
}

/** A number from the command line. @param {number} least @param {"starts" | "rounds" | "seconds"} name @param {number} other */
function atLeast(least, name, other) {
  const value = Number(options[name] ?? other);
  if (!(value >= least)) throw new Missing(`--${name} ${options[name]}: ${least} at least\n${help}`);
  return value;
}

/** @param {readonly Group[]} groups */
function names(groups) {
  return groups.flatMap(({ variants }) => variants.map(({ id }) => id)).join(", ");
}

/** A database of one network: this machine is in Busan. @param {string} dir */
async function writeGeoip(dir) {
  const { cityMmdb } = /** @type {typeof import("../../test/support/mmdb.ts")} */ (
    await createJiti(import.meta.url).import("../../test/support/mmdb.ts")
  );
  const path = `${dir}/places.mmdb`;
  writeFileSync(path, cityMmdb({ "127.0.0.0/8": [35.1796, 129.0756] }));
  return path;
}

/** @param {string} dir @param {readonly number[]} cpus */
async function startRedis(dir, cpus) {
  if (!installed("redis-server")) {
    console.log("skipped: a store in Redis (no redis-server)");
    return undefined;
  }
  const [port = 0] = await freePorts(1);
  const settings = { port, bind: "127.0.0.1", dir, save: "", appendonly: "no" };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const running = start("redis-server", args, { cpus });
  await listens(port, running);
  return { running, url: `redis://127.0.0.1:${port}` };
}

/** @param {readonly Group[]} groups @param {import("../candidates/candidate.mjs").Context} context */
async function startAll(groups, context) {
  const running = [];
  // Not all at once: they share a core, and each has to be up within a time.
  for (const group of groups) {
    const spillways = await Promise.all(
      group.variants.map(async (variant) => ({
        variant,
        ...(await startSpillwayOn(context, options.node, [], variant.extras)),
      })),
    );
    running.push({ group, spillways });
  }
  return running;
}

/** What each client sends, its session begun where that is the server's to do. @param {Group} group @param {number} port */
async function requestsOf({ begun, carry }, port) {
  /** @type {Requests[]} */
  const requests = [];
  for (let client = 0; client < connections; client++) {
    if (begun !== undefined) requests.push({ cookie: await cookieFrom(port, begun, client) });
    else requests.push(carry?.(client) ?? {});
  }
  return requests;
}

/** A session's cookie, as the client sends it back. @param {number} port @param {NonNullable<Group["begun"]>} by @param {number} client */
async function cookieFrom(port, by, client) {
  const path = by === "by-backend" ? `s${client + 1}` : "";
  const response = await fetch(`http://127.0.0.1:${port}/${path}`);
  await response.arrayBuffer();
  const pair = response.headers.getSetCookie()[0]?.split(";")[0];
  if (pair === undefined) throw new Error(`no cookie came with status ${response.status}`);
  return pair;
}

/** Throws when what was measured is not what was meant. @param {import("./groups.mjs").Variant} variant @param {number} adminPort @param {number} requests */
async function checkCounter({ label, counts }, adminPort, requests) {
  if (counts === undefined) return;
  const metrics = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();
  const value = Number(
    metrics
      .split("\n")
      .find((line) => line.startsWith(`${counts} `))
      ?.slice(counts.length),
  );
  if (!(value >= requests)) throw new Error(`${label}: ${counts} is ${value} after ${requests} requests`);
}

/**
 * @typedef {object} Results
 * @property {ReturnType<typeof describeMachine>} machine
 * @property {{ spillway: string, node: string }} versions
 * @property {{ starts: number, rounds: number, seconds: number }} pace
 * @property {readonly string[]} skipped
 * @property {readonly { id: string, title: string, groups: readonly { title: string, rows: readonly import("./figures.mjs").Row[] }[] }[]} tables
 */

/**
 * @param {Results["tables"][number]} table @param {(title: string) => string} heading @param {(label: string) => string} line */
function cellsOf({ groups }, heading, line) {
  return groups.flatMap(({ title, rows }) => [
    [heading(`Requests carry ${title}`), "", "", "", ""],
    ...rows.map((row) => [
      line(row.label),
      showSpread(row.toOff, 3),
      row.cpuUs?.median.toFixed(1) ?? "-",
      row.userUs?.median.toFixed(1) ?? "-",
      row.perSecond?.median.toFixed(0) ?? "-",
    ]),
  ]);
}

/** @param {Results["tables"][number]} table */
function verdictsOf({ groups }) {
  return groups.flatMap(({ rows }) => rows.map(verdict).filter((text) => text !== undefined));
}

/** @param {Results} results */
function print({ machine, versions, tables }) {
  console.log(`${machineLine(machine)} Spillway ${versions.spillway}, Node.js ${versions.node}.`);
  for (const table of tables) {
    const cells = cellsOf(
      table,
      (title) => `${title}:`,
      (label) => `  ${label}`,
    );
    console.log(`\n${table.title}, ${connections} connections\n${textTable(header, cells)}`);
    for (const text of verdictsOf(table)) console.log(options.quick ? `${text} (too short to judge)` : text);
    const rows = table.groups.flatMap((group) => group.rows);
    for (const { label, errors, reasons } of rows) {
      if (errors > 0) console.log(`${label}: ${errors} errors: ${JSON.stringify(reasons)}`);
    }
    const waited = rows[0]?.waited ?? 0;
    if (waited > 0.05) {
      console.log(`The machine was not quiet: off waited ${(waited * 100).toFixed(0)} % of its time for its core.`);
    }
  }
  console.log("\nMedians, in parentheses the range of the rounds; ratios are of the same round.");
}

/** @param {Results} results */
function writeDocs({ machine, versions, pace, skipped, tables }) {
  const parts = [
    `${machineLine(machine)} Spillway ${versions.spillway}, Node.js ${versions.node}; ${pace.starts} starts, ${pace.rounds} rounds of ${pace.seconds} s after each. Repeat it: \`npm run bench:affinity -- --write-docs\`.`,
  ];
  if (skipped.length > 0) parts.push(`Skipped: ${skipped.join("; ")}.`);
  for (const table of tables) {
    parts.push(`### ${table.title}`);
    const cells = cellsOf(
      table,
      (title) => `**${title}**`,
      (label) => label,
    );
    parts.push(markdownTable(header, cells));
    parts.push(verdictsOf(table).join(". ").concat("."));
    const failed = table.groups.flatMap(({ rows }) => rows.filter(({ errors }) => errors > 0));
    for (const row of failed) parts.push(`${row.label} failed ${row.errors} of ${row.requests + row.errors} requests.`);
  }
  writeSection("affinity", parts.join("\n\n"));
}
