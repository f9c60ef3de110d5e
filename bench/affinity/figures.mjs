// From what was measured to what is shown.

import { spread } from "../lib/figures.mjs";

/** @typedef {import("../lib/figures.mjs").Spread} Spread */
/** @typedef {import("../rounds.mjs").Taken} Taken */

/**
 * @typedef {object} Row
 * @property {string} id
 * @property {string} label
 * @property {number | undefined} most
 * @property {Spread | undefined} toOff ratio of the CPU times per request within a round
 * @property {Spread | undefined} cpuUs
 * @property {Spread | undefined} userUs
 * @property {Spread | undefined} perSecond
 * @property {number | undefined} waited median share of its time that another process had its core
 * @property {number} requests
 * @property {number} errors
 * @property {Record<string, number>} reasons of the errors
 */

/**
 * @param {readonly import("./groups.mjs").Variant[]} variants of a group
 * @param {readonly Taken[]} taken in their order
 * @returns {Row[]}
 */
export function rowsOf(variants, taken) {
  return variants.map(({ id, label, most }, i) => {
    const { rounds, requests, errors, reasons } = /** @type {Taken} */ (taken[i]);
    const measured = rounds.filter((m) => m !== undefined);
    const ratios = rounds.flatMap((m, round) => {
      const off = taken[0]?.rounds[round];
      return m === undefined || off === undefined ? [] : [m.cpuUs / off.cpuUs];
    });
    return {
      id,
      label,
      most,
      toOff: spread(ratios),
      cpuUs: spread(measured.map((m) => m.cpuUs)),
      userUs: spread(measured.map((m) => m.userUs)),
      perSecond: spread(measured.map((m) => m.perSecond)),
      waited: spread(measured.map((m) => m.waited))?.median,
      requests,
      errors,
      reasons,
    };
  });
}

/** What was measured after a new start comes behind what was measured before. @param {readonly Taken[]} parts @returns {Taken} */
export function together(parts) {
  /** @type {Record<string, number>} */
  const reasons = {};
  for (const part of parts) {
    for (const [reason, count] of Object.entries(part.reasons)) reasons[reason] = (reasons[reason] ?? 0) + count;
  }
  return {
    rounds: parts.flatMap(({ rounds }) => rounds),
    requests: parts.reduce((sum, { requests }) => sum + requests, 0),
    errors: parts.reduce((sum, { errors }) => sum + errors, 0),
    reasons,
  };
}

/**
 * Whether what it costs is within what it may; undefined: nothing was promised, or measured.
 * @param {Row} row
 */
export function verdict({ label, most, toOff }) {
  if (most === undefined || toOff === undefined) return undefined;
  const costs = (toOff.median - 1) * 100;
  return `${label}: ${costs.toFixed(1)} %, ${toOff.median <= most ? "within" : "MORE than"} ${((most - 1) * 100).toFixed(0)} %`;
}
