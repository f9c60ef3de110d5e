// What can be wrong with a server, and what its clients see of it.

import { failed, served, shed } from "../shop/answers.mjs";
import { quantile } from "../shop/quantile.mjs";

/** One of four servers is sick like this; `healthy` is for comparison.
 * @type {readonly { health: import("../shop/backend.mjs").Health, text: string }[]} */
export const faults = [
  { health: "healthy", text: "none" },
  { health: "sinkhole", text: "sinkhole: answers 500 at once" },
  { health: "stall", text: "stall: never answers" },
  { health: "slow", text: "slow: takes ten times as long" },
  { health: "flaky", text: "flaky: fails 30 %, half with 503, half by breaking the connection" },
  { health: "flapping", text: "flapping: gone and back every 3 s" },
];

/**
 * @param {Pick<import("../shop/load.mjs").Answers, "outcome" | "post" | "latencyMs" | "why" | "reasons">} answers
 */
export function seen({ outcome, post, latencyMs, why, reasons }) {
  let gets = 0;
  let getErrors = 0;
  let errors = 0;
  let refused = 0;
  const servedMs = /** @type {number[]} */ ([]);
  const causes = /** @type {Record<string, number>} */ ({});
  for (const [i, result] of outcome.entries()) {
    const isGet = post[i] === 0;
    if (isGet) gets++;
    if (result === served) {
      servedMs.push(latencyMs[i] ?? 0);
      continue;
    }
    errors++;
    if (result === shed) refused++;
    if (isGet && result === failed) getErrors++;
    const cause = `${isGet ? "GET" : "POST"} ${reasons[why[i] ?? 0]}`;
    causes[cause] = (causes[cause] ?? 0) + 1;
  }
  return {
    requests: outcome.length,
    errors,
    errorShare: errors / outcome.length,
    getErrors,
    getErrorShare: getErrors / gets,
    refused,
    p50: quantile(servedMs, 0.5),
    p99: quantile(servedMs, 0.99),
    causes,
  };
}
