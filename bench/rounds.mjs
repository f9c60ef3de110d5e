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
 * @typedef {object} Turn what is measured side by side with others
 * @property {number} pid
 * @property {import("./lib/native.mjs").LoadOptions} load
 */

/**
 * @typedef {object} Taken what came of it; a round in which nothing was answered is undefined
 * @property {(Measured | undefined)[]} rounds
 * @property {number} requests
 * @property {number} errors
 * @property {Record<string, number>} reasons of the errors
 */

/**
 * Every round takes each of them once.
 * @param {readonly Turn[]} turns
 * @param {Pace} pace
 * @param {{ loadBinary: string, cpus: readonly number[] }} tools
 * @returns {Promise<Taken[]>} in the order of the turns
 */
export async function takeTurns(turns, pace, tools) {
  /** @type {Taken[]} */
  const taken = turns.map(() => ({ rounds: [], requests: 0, errors: 0, reasons: {} }));

  const once = async (
    /** @type {Turn} */ turn,
    /** @type {{ seconds: number, requests?: number | undefined }} */ length,
  ) => {
    const load = new Load(tools.loadBinary, { ...turn.load, ...length }, tools.cpus);
    try {
      await load.opened();
      await sleep(20); // the proxy ends what it still does for the last of the first answers
      const before = cpuTime(turn.pid);
      const result = await load.run();
      const after = cpuTime(turn.pid);
      const runNs = after.runNs - before.runNs;
      return { result, runNs, waitNs: after.waitNs - before.waitNs, userNs: after.userNs - before.userNs };
    } finally {
      await load.close();
    }
  };

  for (const turn of turns) await once(turn, { seconds: pace.warmUpSeconds, requests: pace.warmUpRequests });
  let longestRoundMs = 0;
  for (let round = 0; round < pace.rounds; round++) {
    const beganMs = performance.now();
    if (round > 0 && beganMs + longestRoundMs > (pace.untilMs ?? Number.POSITIVE_INFINITY)) break;
    for (const index of orderOf(round, turns.length)) {
      const kept = /** @type {Taken} */ (taken[index]);
      const { result, runNs, waitNs, userNs } = await once(/** @type {Turn} */ (turns[index]), {
        seconds: pace.seconds,
      });
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
  return taken;
}

/**
 * Every second round goes back the way the last one came, so that a machine that gets slower hurts all alike; and another
 * one starts each such pair, so that nobody always follows the same neighbours.
 * @param {number} round @param {number} count @returns {number[]} each index below `count` once
 */
export function orderOf(round, count) {
  const order = Array.from({ length: count }, (_, i) => (i + (round >> 1)) % count);
  return round % 2 === 0 ? order : order.reverse();
}

/**
 * @param {import("./shapes.mjs").Shape} shape
 * @param {readonly Candidate[]} candidates
 * @param {Pace} pace
 * @param {{ loadBinary: string, browserFile: string, cpus: readonly number[] }} tools
 * @returns {Promise<Row[]>}
 */
export async function measureShape(shape, candidates, pace, tools) {
  const fields = shape.browser ? { fields: tools.browserFile } : {};
  const turns = candidates.map(({ pid, port }) => ({ pid, load: { ...shape.load, ...fields, port } }));
  const taken = await takeTurns(turns, pace, tools);
  const results = new Map(candidates.map((c, i) => [c, /** @type {Taken} */ (taken[i])]));

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
    const { rounds, ...counts } = /** @type {Taken} */ (results.get(candidate));
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
