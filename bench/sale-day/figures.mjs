// What a day came to, from every single answer and from what was seen of the servers.

import { failed, outcomes, served, shed } from "../shop/answers.mjs";
import { quantile } from "../shop/quantile.mjs";
import { at, capacityOf, loss, phases } from "./story.mjs";

/**
 * One proxy's sale day. Times are milliseconds since its beginning.
 * @typedef {object} Day
 * @property {string} id
 * @property {string} label
 * @property {string} version
 * @property {number} minuteMs
 * @property {import("../shop/load.mjs").Answers} answers
 * @property {readonly import("../shop/shop.mjs").Sight[]} sights
 * @property {number} killedMs
 * @property {number} restartedMs when the lost server was started again
 * @property {number} backMs when it listened
 * @property {{ busy: number, waited: number }} proxyCores cores that the proxy had, and that others had meanwhile
 */

/**
 * A stretch of the day. What became of requests counts when it became so.
 * @typedef {object} Bucket
 * @property {number} ms when it begins
 * @property {number} offered per second
 * @property {number} served
 * @property {number} shed
 * @property {number} failed
 * @property {number | undefined} p50 of what was served
 * @property {number | undefined} p99
 * @property {number | undefined} shedP99 how long the refused waited for that
 */

/** @param {Day["answers"]} answers @param {number} bucketMs @param {number} [endMs] @returns {Bucket[]} */
export function buckets(answers, bucketMs, endMs = Math.max(0, ...answers.atMs.slice(-1))) {
  const count = Math.ceil(endMs / bucketMs);
  const empty = () => Array.from({ length: count }, () => /** @type {number[]} */ ([]));
  const latencies = outcomes.map(empty);
  const offered = Array(count).fill(0);
  for (const [i, from] of answers.atMs.entries()) {
    const latency = answers.latencyMs[i] ?? 0;
    const begun = Math.floor(from / bucketMs);
    if (begun < count) offered[begun]++;
    latencies[answers.outcome[i] ?? failed]?.[Math.floor((from + latency) / bucketMs)]?.push(latency);
  }
  const perSecond = 1000 / bucketMs;
  return offered.map((requests, i) => ({
    ms: i * bucketMs,
    offered: requests * perSecond,
    served: (latencies[served]?.[i]?.length ?? 0) * perSecond,
    shed: (latencies[shed]?.[i]?.length ?? 0) * perSecond,
    failed: (latencies[failed]?.[i]?.length ?? 0) * perSecond,
    p50: quantile(latencies[served]?.[i] ?? [], 0.5),
    p99: quantile(latencies[served]?.[i] ?? [], 0.99),
    shedP99: quantile(latencies[shed]?.[i] ?? [], 0.99),
  }));
}

/** @param {Day} day */
export function figures(day) {
  const { answers, minuteMs, killedMs, restartedMs, backMs } = day;
  const peak = phases.find(({ name }) => name === "100x");
  const normal = phases[0];
  const peakFrom = at(peak?.from ?? 0, minuteMs);
  const peakTo = at(peak?.to ?? 0, minuteMs);

  let getsFailed = 0;
  let postsFailed = 0;
  let failedBefore = 0;
  let lastFailureMs = /** @type {number | undefined} */ (undefined);
  const normalMs = /** @type {number[]} */ ([]);
  const peakMs = /** @type {number[]} */ ([]);
  const shedMs = /** @type {number[]} */ ([]);
  const orders = { offered: 0, served: 0 };
  const visits = { offered: 0, served: 0 };
  const reasons = /** @type {Record<string, number>} */ ({});
  for (const [i, from] of answers.atMs.entries()) {
    const latency = answers.latencyMs[i] ?? 0;
    const outcome = answers.outcome[i];
    const isPost = answers.post[i] === 1;
    if (outcome === served && from < at(normal?.to ?? 0, minuteMs)) normalMs.push(latency);
    if (outcome === shed) shedMs.push(latency);
    if (outcome === failed) {
      const settled = from + latency;
      if (settled < killedMs) failedBefore++;
      else if (isPost) postsFailed++;
      else {
        getsFailed++;
        if (settled < restartedMs) lastFailureMs = Math.max(lastFailureMs ?? 0, settled - killedMs);
      }
    }
    if (outcome !== served) {
      const why = `${isPost ? "POST" : "GET"} ${answers.reasons[answers.why[i] ?? 0] ?? "?"}`;
      reasons[why] = (reasons[why] ?? 0) + 1;
    }
    if (from >= peakFrom && from < peakTo) {
      const kind = isPost ? orders : visits;
      kind.offered++;
      if (outcome === served) {
        kind.served++;
        peakMs.push(latency);
      }
    }
  }

  const p99Normal = quantile(normalMs, 0.99);
  const p99Peak = quantile(peakMs, 0.99);
  const stepMs = minuteMs / 6;
  return {
    getsFailed,
    postsFailed,
    failedBefore,
    lastFailureMs,
    ...failover(day),
    p50Normal: quantile(normalMs, 0.5),
    p50Peak: quantile(peakMs, 0.5),
    p99Normal,
    p99Peak,
    p99Ratio: p99Normal === undefined || p99Peak === undefined ? undefined : p99Peak / p99Normal,
    shedP50: quantile(shedMs, 0.5),
    shedP99: quantile(shedMs, 0.99),
    goodputBefore: goodput(answers, peakFrom, killedMs) / capacityOf(4),
    goodputLost: goodput(answers, killedMs, restartedMs) / capacityOf(3),
    goodputAfter: goodput(answers, backMs + minuteMs, peakTo) / capacityOf(4),
    shareMs: shareBack(day),
    returnStep: biggestStep(answers, restartedMs - 2 * stepMs, backMs + minuteMs, stepMs),
    calmStep: biggestStep(answers, restartedMs - minuteMs - 2 * stepMs, restartedMs, stepMs),
    orders: orders.served / orders.offered,
    visits: visits.served / visits.offered,
    proxyCores: day.proxyCores.busy,
    proxyWaited: day.proxyCores.waited,
    lagP99: quantile(answers.lagMs, 0.99),
    lagMax: quantile(answers.lagMs, 1),
    connections: answers.connections,
    loadCores: answers.cores,
    reasons,
  };
}

/** Served per second. @param {Day["answers"]} answers @param {number} fromMs @param {number} toMs */
function goodput(answers, fromMs, toMs) {
  let count = 0;
  for (const [i, from] of answers.atMs.entries()) {
    const settled = from + (answers.latencyMs[i] ?? 0);
    if (answers.outcome[i] === served && settled >= fromMs && settled < toMs) count++;
  }
  return (count * 1000) / (toMs - fromMs);
}

/**
 * How long the proxy went on to send requests to the lost server, as others than one at a time to try it, and how many it
 * sent more than a second after the loss.
 * @param {Pick<Day, "sights" | "killedMs" | "restartedMs">} day
 */
export function failover({ sights, killedMs, restartedMs }) {
  // What happened up to the first sight after the loss is not told apart.
  let failoverMs = (sights.find(({ at }) => at >= killedMs)?.at ?? killedMs) - killedMs;
  let attemptsLater = 0;
  for (const [i, sight] of sights.entries()) {
    const before = sights[i - 1];
    if (before === undefined || before.at < killedMs || sight.at > restartedMs) continue;
    const attempts = (sight.attempts[loss.server] ?? 0) - (before.attempts[loss.server] ?? 0);
    if (attempts > 1) failoverMs = sight.at - killedMs;
    if (before.at >= killedMs + 1000) attemptsLater += attempts;
  }
  return { failoverMs, attemptsLater };
}

/**
 * Until the returned server receives nine tenths of a quarter of all requests, over a second.
 * @param {Pick<Day, "sights" | "backMs" | "minuteMs">} day
 */
export function shareBack({ sights, backMs }) {
  for (const [i, sight] of sights.entries()) {
    const before = sights[i - 10];
    if (before === undefined || before.at < backMs) continue;
    const received = sight.received.map((count, server) => count - (before.received[server] ?? 0));
    const all = received.reduce((sum, count) => sum + count, 0);
    if (all > 0 && ((received[loss.server] ?? 0) * received.length) / all >= 0.9) return sight.at - backMs;
  }
  return undefined;
}

/** By what share p99 rose most from one stretch to the next. @param {Day["answers"]} answers @param {number} fromMs @param {number} toMs @param {number} stepMs */
function biggestStep(answers, fromMs, toMs, stepMs) {
  const p99s = buckets(answers, stepMs)
    .filter(({ ms }) => ms + stepMs > fromMs && ms < toMs)
    .map(({ p99 }) => p99);
  return Math.max(...p99s.slice(1).map((p99, i) => (p99 === undefined ? 0 : p99 / (p99s[i] ?? p99) - 1)));
}

/** @typedef {ReturnType<typeof figures>} Figures */

/** @typedef {{ says: string, passed: boolean, figure: string }} Verdict */

/**
 * What Spillway has to show.
 * @param {Figures} f @param {number} minuteMs @returns {Verdict[]}
 */
export function verdicts(f, minuteMs) {
  const ms = (/** @type {number | undefined} */ value) => (value === undefined ? "never" : `${value.toFixed(0)} ms`);
  const percent = (/** @type {number} */ value) => `${(value * 100).toFixed(1)} %`;
  return [
    {
      says: "no GET fails after the loss, other than by shedding",
      passed: f.getsFailed === 0,
      figure: String(f.getsFailed),
    },
    {
      says: "failover within 1 s of the loss",
      passed: f.failoverMs <= 1000,
      figure: `within ${ms(f.failoverMs)}; ${f.attemptsLater} attempts to try it in the time after the first second`,
    },
    {
      says: "p99 at 100x at most 5 times that of a normal day",
      passed: f.p99Ratio !== undefined && f.p99Ratio <= 5,
      figure: `${ms(f.p99Peak)} to ${ms(f.p99Normal)}: ${f.p99Ratio?.toFixed(1)}`,
    },
    {
      says: "what is shed is told in less than 50 ms (p99)",
      passed: f.shedP99 !== undefined && f.shedP99 < 50,
      figure: f.shedP99 === undefined ? "nothing was shed" : ms(f.shedP99),
    },
    {
      says: "at 100x goodput above 90 % of what the servers can do",
      passed: Math.min(f.goodputBefore, f.goodputLost, f.goodputAfter) > 0.9,
      figure: `${percent(f.goodputBefore)} of four, ${percent(f.goodputLost)} of three, ${percent(f.goodputAfter)} of four again`,
    },
    {
      says: "back within a minute of the story: the returned server has its share",
      passed: f.shareMs !== undefined && f.shareMs <= minuteMs,
      figure: ms(f.shareMs),
    },
    {
      says: "meanwhile p99 rises by no more than 20 % in a step",
      passed: f.returnStep <= 0.2,
      figure: `${percent(f.returnStep)} (${percent(f.calmStep)} in the minute before)`,
    },
  ];
}
