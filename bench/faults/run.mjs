// npm run bench:faults: one of four servers is sick, and what clients see of it with isolation on and off.

import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { machineLine, reliabilityPage, writeSection } from "../docs.mjs";
import { runCommand } from "../lib/command.mjs";
import { markdownTable, textTable } from "../lib/figures.mjs";
import { describeMachine, projectDir, spillwayVersion } from "../lib/machine.mjs";
import { divideCpus, Missing, pinSelf, raiseFileLimit } from "../lib/processes.mjs";
import { startSpillway } from "../shop/proxies.mjs";
import { withShop } from "../shop/shop.mjs";
import { faults, seen } from "./faults.mjs";

const help = `npm run bench:faults -- [options]

  --faults a,b    only these: ${faults.map(({ health }) => health).join(", ")}
  --seconds S     of load for each (default 10)
  --quick         a second for each, isolation on; judges only what does not depend on the machine's speed
  --write-docs    put the table into docs/reliability.md
`;

const { values: options } = parseArgs({
  options: {
    faults: { type: "string" },
    seconds: { type: "string" },
    quick: { type: "boolean", default: false },
    "write-docs": { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
/** A fifth of what three healthy servers can do, so that only the sick one is the trouble. */
const perSecond = 200;
/** Times of isolation as on the sale day: checks every half second, circuits open for as long at first. */
const pace = 0.1;
const sick = 1;
/**
 * With isolation on these cost no GET, however slow the machine: what is not sent or broken off goes to another server
 * in the end. Others are noticed by a few that fail, and a 503 is passed on when too many are being sent again already.
 */
const costNothing = ["healthy", "flapping"];

const variants = [
  { label: "on", isolation: true, hedge: false },
  { label: "on, and hedging", isolation: true, hedge: true },
  { label: "off", isolation: false, hedge: false },
];

await runCommand("bench:faults", help, options.help, main);

/** @returns {Promise<number>} exit code */
async function main() {
  const seconds = Number(options.seconds ?? (options.quick ? 1 : 10));
  if (!(seconds >= 1 && seconds <= 600)) throw new Missing(`--seconds ${options.seconds}: from 1 to 600\n${help}`);
  const wanted = options.faults?.split(",");
  const unknown = wanted?.filter((name) => !faults.some(({ health }) => health === name)) ?? [];
  if (unknown.length > 0) throw new Missing(`no fault ${unknown.join(", ")}\n${help}`);

  const cpus = divideCpus();
  if (cpus.proxy.length === 0) console.error("bench:faults: a single core (or no taskset): figures are rough");
  pinSelf(cpus.load);
  const settings = {
    pace,
    cpus,
    fileLimit: raiseFileLimit(),
    warmUpMs: options.quick ? 300 : 2000,
    flapMs: options.quick ? 300 : 3000,
  };
  const results = [];
  const chosen = faults.filter(({ health }) => wanted?.includes(health) ?? !(options.quick && health === "healthy"));
  for (const fault of chosen) {
    for (const variant of options.quick ? variants.slice(0, 1) : variants) {
      const candidate = {
        plainShed: false,
        start: (/** @type {import("../shop/proxies.mjs").Setting} */ setting) => startSpillway(setting, variant),
      };
      const result = await withShop(candidate, settings, async ({ servers, customers }) => {
        const load = await customers([{ ms: seconds * 1000, perSecond }]);
        const before = servers[sick]?.received ?? 0;
        if (fault.health !== "healthy") servers[sick]?.become(fault.health);
        const answers = await load.run(Date.now());
        return { ...seen(answers), received: (servers[sick]?.received ?? 0) - before };
      });
      results.push({ ...fault, ...variant, ...result });
      const causes = Object.entries(result.causes).map(([cause, count]) => `${count} ${cause}`);
      console.error(`${fault.health}, isolation ${variant.label}: ${causes.join(", ") || "no errors"}`);
    }
  }

  const header = ["one of four servers", "isolation", "errors", "of GETs", "p50", "p99", "requests the sick one got"];
  const rows = results.map((result) => [
    result.text,
    result.label,
    `${(result.errorShare * 100).toFixed(2)} %`,
    `${(result.getErrorShare * 100).toFixed(2)} %`,
    result.p50 === undefined ? "-" : `${result.p50.toFixed(0)} ms`,
    result.p99 === undefined ? "-" : `${result.p99.toFixed(0)} ms`,
    `${result.received} of ${result.requests}`,
  ]);
  console.log(textTable(header, rows));
  const machine = describeMachine();
  const out = `${projectDir}.cache/faults`;
  mkdirSync(out, { recursive: true });
  writeFileSync(
    `${out}/faults.json`,
    JSON.stringify({ machine, version: spillwayVersion(), seconds, results }, null, 2),
  );
  if (options["write-docs"]) {
    const how = `${machineLine(machine)} Spillway ${spillwayVersion()}, ${perSecond} requests per second for ${seconds} s, of which a tenth are POSTs; errors are all answers but 2xx and all that did not come within 2 s, p50 and p99 are those of 2xx. Repeat it: \`npm run bench:faults -- --write-docs\`.`;
    writeSection("faults", `${how}\n\n${markdownTable(header, rows)}`, reliabilityPage);
  }
  if (!options.quick) return 0;
  const wrong = results.filter(
    (result) => result.isolation && costNothing.includes(result.health) && result.getErrors > 0,
  );
  for (const { health, getErrors } of wrong) console.log(`${health}: ${getErrors} GETs failed with isolation on`);
  return wrong.length > 0 ? 1 : 0;
}
