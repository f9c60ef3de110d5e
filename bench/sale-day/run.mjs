// npm run sale-day: a shop on its busiest day, and one of its servers lost at the worst moment. --help lists the options.

import { mkdirSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { runCommand } from "../lib/command.mjs";
import { describeMachine, projectDir } from "../lib/machine.mjs";
import { divideCpus, Missing, pinSelf, raiseFileLimit } from "../lib/processes.mjs";
import { candidates } from "../shop/proxies.mjs";
import { saleDay } from "./day.mjs";
import { figures, verdicts } from "./figures.mjs";
import { drawSvg } from "./picture.mjs";
import { comparison, writeDocs } from "./report.mjs";
import { drawTerminal } from "./terminal.mjs";

const help = `npm run sale-day -- [options]

  --only a,b         only these: ${candidates.map(({ id }) => id).join(", ")}
  --minute DURATION  how long a minute of the story takes (default 6s; at most 60s)
  --real-time        the story in its own time: a quarter of an hour for each proxy
  --quick            Spillway alone, a minute takes 800 ms; judges only what does not depend on the machine's speed
  --out DIR          where samples and pictures go (default .cache/sale-day)
  --write-docs       put pictures and table into docs/
`;

const { values: options } = parseArgs({
  options: {
    only: { type: "string" },
    minute: { type: "string" },
    "real-time": { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    out: { type: "string", default: `${projectDir}.cache/sale-day` },
    "write-docs": { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
await runCommand("sale-day", help, options.help, main);

/** @returns {Promise<number>} exit code */
async function main() {
  const minuteMs = options["real-time"] ? 60_000 : duration(options.minute ?? (options.quick ? "800ms" : "6s"));
  const wanted = (options.only ?? (options.quick ? "spillway" : candidates.map(({ id }) => id).join())).split(",");
  const unknown = wanted.filter((id) => !candidates.some((candidate) => candidate.id === id));
  if (unknown.length > 0) throw new Missing(`no proxy ${unknown.join(", ")}\n${help}`);
  const out = resolve(options.out);
  mkdirSync(out, { recursive: true });

  const cpus = divideCpus();
  if (cpus.proxy.length === 0) console.error("sale-day: a single core (or no taskset): figures are rough");
  pinSelf(cpus.load);
  const fileLimit = raiseFileLimit();
  const live = process.stderr.isTTY === true;
  const results = [];
  for (const candidate of candidates.filter(({ id }) => wanted.includes(id))) {
    console.error(`${candidate.label}`);
    const say = (/** @type {string} */ text) => process.stderr.write(live ? `\r  ${text}\x1b[K` : `  ${text}\n`);
    try {
      const day = await saleDay(candidate, { minuteMs, cpus, fileLimit, warmUpMs: options.quick ? 500 : 2000, say });
      if (live) process.stderr.write("\n");
      const result = { day, figures: figures(day) };
      results.push(result);
      writeFileSync(`${out}/${day.id}.json`, JSON.stringify({ machine: describeMachine(), ...result }));
      writeFileSync(`${out}/${day.id}.svg`, drawSvg(day));
      console.log(
        `\n${drawTerminal(day, { colours: process.env.NO_COLOR === undefined && process.stdout.isTTY === true })}\n`,
      );
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      console.log(`skipped: ${error.message}`);
    }
  }
  if (results.length === 0) throw new Missing("nothing to run");

  console.log(comparison(results));
  for (const { day, figures: f } of results) {
    const reasons = Object.entries(f.reasons).sort(([, a], [, b]) => b - a);
    console.log(`${day.label}, not served: ${reasons.map(([why, count]) => `${count} ${why}`).join(", ") || "none"}`);
  }
  const waited = Math.max(...results.map(({ figures: f }) => f.proxyWaited));
  if (waited > 0.05) console.log(`The machine was not quiet: others took ${waited.toFixed(2)} of a core from a proxy.`);
  console.log(`\nSamples and pictures: ${out}`);
  if (options["write-docs"]) writeDocs(results, describeMachine());

  const own = results.find(({ day }) => day.id === "spillway");
  if (own === undefined) return 0;
  if (options.quick) {
    console.log(`${own.figures.getsFailed} GETs failed after the loss other than by shedding`);
    return own.figures.getsFailed === 0 ? 0 : 1;
  }
  const judged = verdicts(own.figures, minuteMs);
  console.log("\nSpillway");
  for (const { says, passed, figure } of judged) console.log(`${passed ? "PASS" : "MISS"}  ${says}: ${figure}`);
  return judged.every(({ passed }) => passed) ? 0 : 1;
}

/** @param {string} text */
function duration(text) {
  const match = /^(\d+(?:\.\d+)?)(ms|s)$/.exec(text);
  const ms = Number(match?.[1]) * (match?.[2] === "s" ? 1000 : 1);
  if (!(ms >= 500 && ms <= 60_000)) throw new Missing(`--minute ${text}: from 500ms to 60s\n${help}`);
  return ms;
}
