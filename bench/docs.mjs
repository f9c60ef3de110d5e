// Puts measured tables into a page of docs/, between the markers that name their section.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { markdownTable, showSpread } from "./lib/figures.mjs";
import { projectDir } from "./lib/machine.mjs";

/** @typedef {{ file: string, title: string }} Page below docs/ */

/** @type {Page} */
const performancePage = { file: "performance.md", title: "Performance" };
/** @type {Page} */
export const reliabilityPage = { file: "reliability.md", title: "Reliability" };

/** A page without the markers gets them at its end.
 * @param {string} section @param {string} text @param {Page} [page] */
export function writeSection(section, text, { file, title } = performancePage) {
  const path = `${projectDir}docs/${file}`;
  const begin = `<!-- ${section}:begin -->`;
  const end = `<!-- ${section}:end -->`;
  let content = existsSync(path) ? readFileSync(path, "utf8") : `# ${title}\n`;
  if (!content.includes(begin)) content += `\n${begin}\n${end}\n`;
  const from = content.indexOf(begin);
  const to = content.indexOf(end);
  if (to < from) throw new Error(`docs/${file} lacks the marker ${end}`);
  writeFileSync(path, `${content.slice(0, from + begin.length)}\n${text.trim()}\n${content.slice(to)}`);
  console.log(`docs/${file}: section "${section}" written`);
}

/** @param {{ date: string, cpu: string, memory: string, kernel: string }} machine */
export function machineLine(machine) {
  return `Measured ${machine.date} on ${machine.cpu}, ${machine.memory}, ${machine.kernel}.`;
}

/** @param {any} results as run.mjs writes them */
export function writeBenchSection(results) {
  const versions = Object.entries(results.versions).map(([label, version]) => `${label}: ${version}`);
  const parts = [
    machineLine(results.machine),
    `Versions: ${versions.join("; ")}.`,
    `Repeat it: \`npm run bench --${results.quick ? " --quick" : ""} --write-docs\`.`,
  ];
  if (results.skipped.length > 0) parts.push(`Skipped: ${results.skipped.join("; ")}.`);
  for (const shape of results.shapes) {
    parts.push(`### ${shape.title}`);
    parts.push(
      markdownTable(
        ["", "to nginx", "to the best", "CPU, µs/request", "of it user", "requests/s", "p99, ms"],
        shape.rows.map((/** @type {import("./rounds.mjs").Row} */ row) => [
          row.label,
          showSpread(row.toNginx),
          showSpread(row.toBest),
          row.cpuUs?.median.toFixed(1) ?? "-",
          row.userUs?.median.toFixed(1) ?? "-",
          row.perSecond?.median.toFixed(0) ?? "-",
          row.p99Us === undefined ? "-" : (row.p99Us.median / 1000).toFixed(1),
        ]),
      ),
    );
    const errors = shape.rows.filter((/** @type {import("./rounds.mjs").Row} */ row) => row.errors > 0);
    for (const row of errors) parts.push(`${row.label} failed ${row.errors} of ${row.requests + row.errors} requests.`);
  }
  parts.push(`### ${results.memory.connections.toLocaleString("en")} idle client connections`);
  parts.push(
    markdownTable(
      ["", "before, MiB", "bytes per connection"],
      results.memory.rows.map((/** @type {import("./memory.mjs").MemoryRow} */ row) => [
        row.label,
        (row.baseBytes / 2 ** 20).toFixed(1),
        row.bytesPerConnection.toFixed(0),
      ]),
    ),
  );
  writeSection("figures", parts.join("\n\n"));
}
