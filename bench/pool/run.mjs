// npm run bench:pool: what a query costs with a connection of its own, with pg.Pool, and with ConnectionPool.

import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import pg from "pg";
import { createPool } from "../../dist/pool/index.js";
import { findPostgres, Postgres } from "../../test/support/postgres.mjs";
import { machineLine, writeSection } from "../docs.mjs";
import { markdownTable, showSpread, spread, textTable } from "../lib/figures.mjs";
import { describeMachine, projectDir, spillwayVersion } from "../lib/machine.mjs";

const help = `npm run bench:pool -- [options]

Starts a PostgreSQL of its own (loopback, scram-sha-256) and times "select 1", one after another, in rounds in which
the ways take turns.

  --rounds N     default 15
  --quick        5 shorter rounds; ends within 20 s, and is not judged
  --write-docs   put the table into docs/performance.md
`;

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "15" },
    quick: { type: "boolean", default: false },
    "write-docs": { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
if (options.help) {
  process.stdout.write(help);
  process.exit(0);
}

const rounds = options.quick ? 5 : Number(options.rounds);
const turnsPerRound = options.quick ? 5 : 20;
/** A connection of its own is some twenty times as dear: fewer queries time it as well. */
const queriesPerTurn = { pooled: 50, single: 2 };

/** What has to come out. */
const atLeastBetter = 5;
const notSlowerThanPgPool = 1.03;
const acquireReleaseNs = 2000;

const found = findPostgres();
if (typeof found === "string") {
  console.error(`bench:pool: ${found}`);
  process.exit(1);
}
const server = await Postgres.start(found);
try {
  process.exitCode = await main();
} finally {
  await server.remove();
}

/** @returns {Promise<number>} exit code */
async function main() {
  const pgPool = new pg.Pool({ ...server.address, max: 10 });
  const pool = createPool({
    maxConnections: 10,
    create: async () => {
      const client = new pg.Client(server.address);
      await client.connect();
      return client;
    },
    destroy: (client) => client.end(),
    watch: (client, dead) => {
      client.on("error", dead).on("end", dead);
    },
  });
  /** @param {pg.Client} client */
  const selectOne = (client) => client.query("select 1");
  const ways = {
    "a connection per query": async () => {
      const client = new pg.Client(server.address);
      await client.connect();
      await client.query("select 1");
      await client.end();
    },
    "pg.Pool": () => pgPool.query("select 1"),
    ConnectionPool: () => pool.use(selectOne),
  };

  const timesUs = await race(ways);
  const costsNs = await acquireCosts(pool, pgPool);
  await Promise.all([pool.drain(), pgPool.end()]);

  const own = timesUs["a connection per query"];
  const theirs = timesUs["pg.Pool"];
  const ours = timesUs.ConnectionPool;
  /** @param {readonly number[]} a @param {readonly number[]} b */
  const ratio = (a, b) => spread(a.map((value, i) => value / /** @type {number} */ (b[i])));
  const rows = Object.entries(timesUs).map(([way, us]) => ({
    way,
    us: spread(us),
    better: ratio(own, us),
    toPgPool: ratio(us, theirs),
  }));

  const header = ["", "µs per select 1", "times better", "to pg.Pool"];
  const cells = rows.map((row) => [
    row.way,
    showSpread(row.us, 1),
    showSpread(row.better, 1),
    showSpread(row.toPgPool),
  ]);
  const costHeader = ["acquire and release, no waiting", "ns"];
  const costCells = Object.entries(costsNs).map(([way, ns]) => [way, showSpread(ns, 0)]);
  console.log(`${textTable(header, cells)}\n\n${textTable(costHeader, costCells)}`);
  console.log("Medians, with the range of the rounds; ratios are of the same round.");

  const machine = describeMachine();
  const file = `${projectDir}bench/results/${options.quick ? "pool-quick.tmp.json" : "pool.json"}`;
  const versions = { spillway: spillwayVersion(), node: process.version, postgres: await serverVersion() };
  mkdirSync(`${projectDir}bench/results`, { recursive: true });
  writeFileSync(`${file}.tmp`, `${JSON.stringify({ machine, versions, rounds, rows, costsNs }, null, 2)}\n`);
  renameSync(`${file}.tmp`, file);
  if (options["write-docs"]) {
    const how = `${machineLine(machine)} Spillway ${versions.spillway}, Node.js ${versions.node}, PostgreSQL ${versions.postgres}.`;
    const tables = `${markdownTable(header, cells)}\n\n${markdownTable(costHeader, costCells)}`;
    writeSection("pool", `${how} Repeat it: \`npm run bench:pool\`.\n\n${tables}`);
  }

  if (options.quick) return 0;
  const wrong = [];
  if ((ratio(own, ours)?.median ?? 0) < atLeastBetter)
    wrong.push(`less than ${atLeastBetter} times better than without`);
  if ((ratio(ours, theirs)?.median ?? 9) > notSlowerThanPgPool) wrong.push("slower than pg.Pool");
  for (const [way, ns] of Object.entries(costsNs)) {
    const judged = way.startsWith("ConnectionPool");
    if (judged && (ns?.median ?? 9e9) > acquireReleaseNs) wrong.push(`${way} takes more than ${acquireReleaseNs} ns`);
  }
  for (const line of wrong) console.log(`ConnectionPool: ${line}`);
  return wrong.length > 0 ? 1 : 0;
}

/**
 * Mean microseconds per query of each way in each round. Within a round the ways take many short turns, in changing
 * order, so that a disturbance hits them all.
 *
 * @template {string} W
 * @param {Record<W, () => Promise<unknown>>} ways
 * @returns {Promise<Record<W, number[]>>}
 */
async function race(ways) {
  const entries = /** @type {[W, () => Promise<unknown>][]} */ (Object.entries(ways));
  const results = /** @type {Record<W, number[]>} */ (Object.fromEntries(entries.map(([way]) => [way, []])));
  for (let round = -1; round < rounds; round++) {
    /** @type {Map<string, { ms: number, queries: number }>} */
    const sums = new Map(entries.map(([way]) => [way, { ms: 0, queries: 0 }]));
    for (let turn = 0; turn < turnsPerRound; turn++) {
      for (let i = 0; i < entries.length; i++) {
        const [way, query] = /** @type {[W, () => Promise<unknown>]} */ (entries[(turn + i) % entries.length]);
        const queries = way === "a connection per query" ? queriesPerTurn.single : queriesPerTurn.pooled;
        const start = performance.now();
        for (let n = 0; n < queries; n++) await query();
        const sum = /** @type {{ ms: number, queries: number }} */ (sums.get(way));
        sum.ms += performance.now() - start;
        sum.queries += queries;
      }
    }
    if (round < 0) continue; // warming up
    for (const [way, { ms, queries }] of sums) results[/** @type {W} */ (way)].push((ms * 1000) / queries);
  }
  return results;
}

/**
 * Nanoseconds to get an idle connection and to give it back, without a query.
 *
 * @param {import("../../dist/pool/index.js").ConnectionPool<pg.Client>} pool
 * @param {pg.Pool} pgPool
 */
async function acquireCosts(pool, pgPool) {
  const times = Math.round((options.quick ? 0.2 : 1) * 100_000);
  const ways = {
    "ConnectionPool: tryAcquire, release": async () => {
      for (let i = 0; i < times; i++) pool.release(/** @type {pg.Client} */ (pool.tryAcquire()));
    },
    "ConnectionPool: await acquire, release": async () => {
      for (let i = 0; i < times; i++) pool.release(await pool.acquire());
    },
    "ConnectionPool: await use": async () => {
      const nothing = () => undefined;
      for (let i = 0; i < times; i++) await pool.use(nothing);
    },
    "pg.Pool: await connect, release": async () => {
      for (let i = 0; i < times / 10; i++) (await pgPool.connect()).release();
    },
  };
  /** @type {Record<string, import("../lib/figures.mjs").Spread | undefined>} */
  const costs = {};
  for (const [way, run] of Object.entries(ways)) {
    const ns = [];
    await run();
    for (let round = 0; round < rounds; round++) {
      const start = performance.now();
      await run();
      ns.push(((performance.now() - start) * 1e6) / (way.startsWith("pg.Pool") ? times / 10 : times));
    }
    costs[way] = spread(ns);
  }
  return costs;
}

async function serverVersion() {
  const client = new pg.Client(server.address);
  await client.connect();
  const { rows } = await client.query("show server_version");
  await client.end();
  return String(rows[0].server_version);
}
