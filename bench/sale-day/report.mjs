// The days side by side, for the terminal and for docs/reliability.md.

import { mkdirSync, writeFileSync } from "node:fs";
import { machineLine, reliabilityPage, writeSection } from "../docs.mjs";
import { markdownTable, textTable } from "../lib/figures.mjs";
import { projectDir } from "../lib/machine.mjs";
import { patienceMs, perBackend, targetMs } from "../shop/proxies.mjs";
import { concurrency, leastMs, meanRestMs } from "../shop/service.mjs";
import { verdicts } from "./figures.mjs";
import { drawSvg } from "./picture.mjs";
import { capacityOf, clock, loss, normalPerSecond } from "./story.mjs";

/** @typedef {{ day: import("./figures.mjs").Day, figures: import("./figures.mjs").Figures }} Result */

const ms = (/** @type {number | undefined} */ value) =>
  value === undefined ? "-" : `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`;
const percent = (/** @type {number} */ value) => (Number.isFinite(value) ? `${(value * 100).toFixed(1)} %` : "-");

/** @type {readonly (readonly [string, (f: import("./figures.mjs").Figures) => string])[]} */
const lines = [
  ["GETs failed after the loss, but for shedding", (f) => String(f.getsFailed)],
  ["POSTs failed after the loss, but for shedding", (f) => String(f.postsFailed)],
  ["requests failed before it", (f) => String(f.failedBefore)],
  ["from the loss to the last failed GET", (f) => ms(f.lastFailureMs)],
  ["failover: no more attempts but single ones, within", (f) => ms(f.failoverMs)],
  ["attempts on the lost server after the first second", (f) => String(f.attemptsLater)],
  ["p50 of a normal day", (f) => ms(f.p50Normal)],
  ["p99 of a normal day", (f) => ms(f.p99Normal)],
  ["p50 of what is served at 100x", (f) => ms(f.p50Peak)],
  ["p99 of what is served at 100x", (f) => ms(f.p99Peak)],
  ["p99 at 100x to that of a normal day", (f) => f.p99Ratio?.toFixed(1) ?? "-"],
  ["p99 until a refusal", (f) => ms(f.shedP99)],
  ["goodput at 100x, of what four servers can do", (f) => percent(f.goodputBefore)],
  ["of what three can do, after the loss", (f) => percent(f.goodputLost)],
  ["of what four can do, after the return", (f) => percent(f.goodputAfter)],
  ["orders served at 100x", (f) => percent(f.orders)],
  ["visits served at 100x", (f) => percent(f.visits)],
  ["after its return the server has its share in", (f) => ms(f.shareMs)],
  ["biggest step of p99 around the return", (f) => percent(f.returnStep)],
  ["and in the minute before", (f) => percent(f.calmStep)],
  ["cores the proxy kept busy", (f) => f.proxyCores.toFixed(2)],
  ["cores it waited for, because others had them", (f) => f.proxyWaited.toFixed(2)],
  ["cores the customers kept busy", (f) => f.loadCores.toFixed(2)],
  ["connections of customers, at most", (f) => String(f.connections)],
  ["customers' requests were late by (p99)", (f) => ms(f.lagP99)],
];

/** @param {readonly Result[]} results @returns {[string[], string[][]]} */
function table(results) {
  return [
    ["", ...results.map(({ day }) => day.label)],
    lines.map(([name, show]) => [name, ...results.map(({ figures }) => show(figures))]),
  ];
}

/** @param {readonly Result[]} results */
export function comparison(results) {
  return textTable(...table(results));
}

/** Pictures into docs/images/, table and verdicts into docs/reliability.md.
 * @param {readonly Result[]} results @param {ReturnType<typeof import("../lib/machine.mjs").describeMachine>} machine */
export function writeDocs(results, machine) {
  const minuteMs = results[0]?.day.minuteMs ?? 0;
  mkdirSync(`${projectDir}docs/images`, { recursive: true });
  for (const { day } of results) writeFileSync(`${projectDir}docs/images/sale-day-${day.id}.svg`, drawSvg(day));
  const own = results.find(({ day }) => day.id === "spillway");
  const judged = own === undefined ? [] : verdicts(own.figures, minuteMs);
  const again = minuteMs === 60_000 ? " --real-time" : minuteMs === 6000 ? "" : ` --minute ${minuteMs / 1000}s`;
  writeSection(
    "sale-day",
    [
      machineLine(machine),
      `${results.map(({ day }) => `${day.label}: ${day.version}`).join("; ")}. Repeat it: \`npm run sale-day --${again} --write-docs\`.`,
      `Four servers work on ${concurrency} requests at a time and need ${leastMs} ms and an exponential rest of ${meanRestMs} ms on average for one: ` +
        `${capacityOf(1)} requests per second each. A normal day brings ${normalPerSecond} per second, 100 times that is ${(normalPerSecond * 100) / capacityOf(4) < 2 ? "nearly twice" : "more than twice"} what all four can do. ` +
        `At ${clock(loss.at)} one gets SIGKILL, at ${clock(loss.back)} it is started again. A minute of the story takes ${minuteMs / 1000} s. Customers do not wait for each other, and leave after ${patienceMs / 1000} s. ` +
        `With isolation, and in nginx and HAProxy, at most ${perBackend} requests are in a server at a time (in nginx: ${4 * perBackend} in all), and who would have to wait longer than ${targetMs} ms is told so; without, nothing bounds what is in them.`,
      ...results.map(
        ({ day }) =>
          `![${day.label}: offered, served, shed and failed requests, latency, and each server's share over the sale day](images/sale-day-${day.id}.svg)`,
      ),
      markdownTable(...table(results)),
      ...(judged.length === 0
        ? []
        : [
            "What Spillway has to show:",
            judged.map(({ says, passed, figure }) => `- ${passed ? "yes" : "**no**"}: ${says} (${figure})`).join("\n"),
          ]),
    ].join("\n\n"),
    reliabilityPage,
  );
}
