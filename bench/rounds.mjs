// CPU time per request: rounds that load each candidate in turn, compared within the round.
//
// A shared machine's speed drifts by a quarter within minutes; the ratio of two proxies that were measured seconds apart
// does not. So every figure that matters is a ratio to nginx in the same round.

import { setTimeout as sleep } from "node:timers/promises";
import { cpuTime } from "./lib/cpu.mjs";
import { spread } from "./lib/figures.mjs";
import { Load } from "./lib/native.mjs";

/** @typedef {import("./candidates/candidate.mjs").Candidate} Candidate */
/** @typedef {import("./lib/figures.mjs").Spread} Spread */

/**
 * @typedef {object} Measured one candidate in one round
 * @property {number} cpuUs CPU time per request
 * @property {number} userUs of it in user mode
 * @property {number} waited share of its time that it could have worked and another process had its core
 * @property {number} perSecond
 * @property {number} p50Us
 * @property {number} p99Us
 */

/**
 * @typedef {object} Row one candidate over all rounds of a shape
 * @property {string} id
 * @property {string} label
 * @property {Spread | undefined} cpuUs
 * @property {Spread | undefined} userUs
 * @property {Spread | undefined} waited
 * @property {Spread | undefined} toNginx
 * @property {Spread | undefined} toBest ratio to the better of nginx (with large buffers, if it ran) and HAProxy
 * @property {Spread | undefined} perSecond
 * @property {Spread | undefined} p50Us
 * @property {Spread | undefined} p99Us
 * @property {number} requests
 * @property {number} errors
 * @property {Record<string, number>} reasons of the errors
 */

/**
 * @typedef {object} Pace
 * @property {number} rounds
 * @property {number} seconds per candidate and round
 * @property {number} warmUpSeconds per candidate before the first round
 * @property {number} [warmUpRequests] enough of them end the warm-up earlier
 * @property {number} [untilMs] of performance.now(): no further round begins that would end later
 */

/**
 * @param {import("./shapes.mjs").Shape} shape
 * @param {readonly Candidate[]} candidates
 * @param {Pace} pace
 * @param {{ loadBinary: string, browserFile: string, cpus: readonly number[] }} tools
 * @returns {Promise<Row[]>}
 */
export async function measureShape(shape, candidates, pace, tools) {
  /** @type {Map<Candidate, { rounds: (Measured | undefined)[], requests: number, errors: number, reasons: Record<string, number> }>} */
  const results = new Map(candidates.map((c) => [c, { rounds: [], requests: 0, errors: 0, reasons: {} }]));

  const once = async (
    /** @type {Candidate} */ candidate,
    /** @type {{ seconds: number, requests?: number | undefined }} */ length,
  ) => {
    const fields = shape.browser ? { fields: tools.browserFile } : {};
    const load = new Load(tools.loadBinary, { ...shape.load, ...fields, ...length, port: candidate.port }, tools.cpus);
    try {
      await load.opened();
      await sleep(20); // the proxy ends what it still does for the last of the first answers
      const before = cpuTime(candidate.pid);
      const result = await load.run();
      const after = cpuTime(candidate.pid);
      const runNs = after.runNs - before.runNs;
      return { result, runNs, waitNs: after.waitNs - before.waitNs, userNs: after.userNs - before.userNs };
    } finally {
      await load.close();
    }
  };

  for (const candidate of candidates) {
    await once(candidate, { seconds: pace.warmUpSeconds, requests: pace.warmUpRequests });
  }
  let longestRoundMs = 0;
  for (let round = 0; round < pace.rounds; round++) {
    const beganMs = performance.now();
    if (round > 0 && beganMs + longestRoundMs > (pace.untilMs ?? Number.POSITIVE_INFINITY)) break;
    for (let i = 0; i < candidates.length; i++) {
      // Another one starts each round, so that nobody always follows the same neighbour.
      const candidate = /** @type {Candidate} */ (candidates[(i + round) % candidates.length]);
      const kept = /** @type {NonNullable<ReturnType<typeof results.get>>} */ (results.get(candidate));
      const { result, runNs, waitNs, userNs } = await once(candidate, { seconds: pace.seconds });
      kept.requests += result.completed;
      kept.errors += result.errors;
      for (const [reason, count] of Object.entries(result.reasons)) {
        kept.reasons[reason] = (kept.reasons[reason] ?? 0) + count;
      }
      kept.rounds[round] =
        result.completed === 0
          ? undefined
          : {
              cpuUs: runNs / 1000 / result.completed,
              userUs: userNs / 1000 / result.completed,
              waited: waitNs / (runNs + waitNs),
              perSecond: result.completed / result.seconds,
              p50Us: result.p50Us,
              p99Us: result.p99Us,
            };
    }
    longestRoundMs = Math.max(longestRoundMs, performance.now() - beganMs);
  }

  const cpuOf = (/** @type {string} */ id, /** @type {number} */ round) => {
    const candidate = candidates.find((c) => c.id === id);
    return candidate && results.get(candidate)?.rounds[round]?.cpuUs;
  };
  const best = (/** @type {number} */ round) => {
    const rivals = [cpuOf("nginx-large", round) ?? cpuOf("nginx", round), cpuOf("haproxy", round)];
    const known = rivals.filter((cpu) => cpu !== undefined);
    return known.length > 0 ? Math.min(...known) : undefined;
  };

  return candidates.map((candidate) => {
    const { rounds, ...counts } = /** @type {NonNullable<ReturnType<typeof results.get>>} */ (results.get(candidate));
    const measured = rounds.filter((m) => m !== undefined);
    const ratios = (/** @type {(round: number) => number | undefined} */ base) =>
      spread(
        rounds.flatMap((m, round) => {
          const cpu = base(round);
          return m === undefined || cpu === undefined ? [] : [m.cpuUs / cpu];
        }),
      );
    return {
      id: candidate.id,
      label: candidate.label,
      cpuUs: spread(measured.map((m) => m.cpuUs)),
      userUs: spread(measured.map((m) => m.userUs)),
      waited: spread(measured.map((m) => m.waited)),
      toNginx: ratios((round) => cpuOf("nginx", round)),
      toBest: ratios(best),
      perSecond: spread(measured.map((m) => m.perSecond)),
      p50Us: spread(measured.map((m) => m.p50Us)),
      p99Us: spread(measured.map((m) => m.p99Us)),
      ...counts,
    };
  });
}
