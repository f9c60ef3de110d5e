// npm run bench:chapter: three unequal servers and three policies, live, beside the chapter's figures.

import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { machineLine, writeSection } from "../docs.mjs";
import { markdownTable, textTable } from "../lib/figures.mjs";
import { describeMachine, projectDir, spillwayVersion } from "../lib/machine.mjs";
import { freePorts, listens, ownDirectory, start } from "../lib/processes.mjs";
import { closedLoop } from "./clients.mjs";

const help = `npm run bench:chapter -- [options]

  --requests N   per policy (default 10,000; below 5,000 the result is too uncertain to be judged)
  --write-docs   put the table into docs/performance.md
`;

const { values: options } = parseArgs({
  options: {
    requests: { type: "string", default: "10000" },
    "write-docs": { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
if (options.help) {
  process.stdout.write(help);
  process.exit(0);
}

/** The chapter's seconds are this many times ours, so that three policies take five minutes and not two hours. */
const scale = 20;
const clients = 8;
const tolerance = 0.1;
const requests = Number(options.requests);
const judged = requests >= 5000;

const servers = [
  { name: "A", meanMs: 234.375 / scale, weight: 4, seed: 1 },
  { name: "B", meanMs: 468.75 / scale, weight: 2, seed: 2 },
  { name: "C", meanMs: 937.5 / scale, weight: 1, seed: 3 },
];

const policies = [
  { policy: "round-robin", weighted: false, chapterS: 2.5, chapterShares: "3333 / 3333 / 3334" },
  { policy: "weighted-round-robin", weighted: true, chapterS: 1.2, chapterShares: "5714 / 2857 / 1429" },
  { policy: "least-connections", weighted: true, chapterS: 1.1, chapterShares: "what each can do" },
];

if (!existsSync(`${projectDir}dist/cli/main.js`)) {
  console.error("bench:chapter: dist/cli/main.js is missing (npm run build)");
  process.exit(1);
}
process.exit(await main());

/** @returns {Promise<number>} exit code */
async function main() {
  const dir = ownDirectory();
  const results = [];
  for (const entry of policies) {
    const { meanMs, shares } = await measure(dir, entry);
    const seconds = (meanMs * scale) / 1000;
    const off = seconds / entry.chapterS - 1;
    results.push({
      ...entry,
      seconds,
      shares: servers.map(({ name }) => shares[name] ?? 0),
      off,
      fits: Math.abs(off) <= tolerance,
    });
    console.error(`${entry.policy}: ${requests} requests, mean response ${seconds.toFixed(3)} s`);
  }

  const header = ["policy", "mean response, s", "chapter", "off by", "requests A / B / C", "chapter"];
  const rows = results.map((result) => [
    result.policy,
    result.seconds.toFixed(3),
    result.chapterS.toFixed(1),
    `${(result.off * 100).toFixed(1)} %`,
    result.shares.join(" / "),
    result.chapterShares,
  ]);
  console.log(textTable(header, rows));

  const machine = describeMachine();
  const file = `${projectDir}bench/results/${judged ? "chapter.json" : "chapter-short.tmp.json"}`;
  mkdirSync(`${projectDir}bench/results`, { recursive: true });
  writeFileSync(
    `${file}.tmp`,
    `${JSON.stringify({ machine, version: spillwayVersion(), requests, scale, results }, null, 2)}\n`,
  );
  renameSync(`${file}.tmp`, file);
  if (options["write-docs"]) {
    const how = `${machineLine(machine)} Spillway ${spillwayVersion()}, ${requests.toLocaleString("en")} requests per policy.`;
    writeSection("chapter", `${how} Repeat it: \`npm run bench:chapter\`.\n\n${markdownTable(header, rows)}`);
  }

  if (!judged) {
    console.log(`${requests} requests per policy are too few to be judged.`);
    return 0;
  }
  const wrong = results.filter((result) => !result.fits);
  for (const { policy } of wrong) console.log(`${policy} is off by more than ${tolerance * 100} %`);
  return wrong.length > 0 ? 1 : 0;
}

/** One policy on fresh backends, so that each sees the same sequence of service times.
 * @param {string} dir @param {{ policy: string, weighted: boolean }} entry */
async function measure(dir, { policy, weighted }) {
  const script = fileURLToPath(new URL("backend.mjs", import.meta.url));
  const backends = servers.map(({ name, meanMs, seed }) =>
    start(process.execPath, [script, name, String(meanMs), String(seed)]),
  );
  const ports = await Promise.all(backends.map(async (backend) => Number(await backend.line(5000))));
  const [port = 0, adminPort = 0] = await freePorts(2);
  const file = `${dir}/${policy}.yaml`;
  writeFileSync(
    file,
    `admin: { listen: "127.0.0.1:${adminPort}" }
log: { level: warn }
listeners:
  - listen: "127.0.0.1:${port}"
    upstream: web
upstreams:
  web:
    balance: ${policy}
    backends:
${servers.map(({ name, weight }, i) => `      - { url: "http://127.0.0.1:${ports[i]}", id: ${name}, weight: ${weighted ? weight : 1} }`).join("\n")}
`,
  );
  const spillway = start(process.execPath, [`${projectDir}dist/cli/main.js`, "run", file], { cwd: dir });
  try {
    await listens(port, spillway);
    return await closedLoop({ port, clients, requests });
  } finally {
    await Promise.all([spillway, ...backends].map((running) => running.stop()));
  }
}
