// How each server fared, stretch by stretch.

import { names } from "../shop/proxies.mjs";
import { capacity } from "../shop/service.mjs";

/**
 * `lost`: the process is gone; `out`: it is there, and the proxy sends it nothing; `in`: it takes part. `load`: requests
 * it received, as a share of what it can do.
 * @typedef {{ state: "lost" | "out" | "in", load: number }} Cell
 */

/**
 * @param {Pick<import("./figures.mjs").Day, "sights">} day
 * @param {number} bucketMs
 * @param {number} count
 * @returns {{ name: string, cells: Cell[] }[]}
 */
export function servers({ sights }, bucketMs, count) {
  return names.map((name, server) => {
    const cells = Array.from({ length: count }, (_, i) => {
      const from = sights.findLast(({ at }) => at <= i * bucketMs) ?? sights[0];
      const to = sights.findLast(({ at }) => at <= (i + 1) * bucketMs) ?? from;
      const received = (to?.received[server] ?? 0) - (from?.received[server] ?? 0);
      const ms = Math.max(1, (to?.at ?? 0) - (from?.at ?? 0));
      const load = (received * 1000) / ms / capacity;
      const isLost = from?.alive[server] === false && to?.alive[server] === false;
      const state = isLost ? "lost" : isOut(to?.states[server]) && received === 0 ? "out" : "in";
      return { state: /** @type {Cell["state"]} */ (state), load };
    });
    return { name, cells };
  });
}

/** Some proxies do not say. @param {string | undefined} state */
function isOut(state) {
  return state !== undefined && state !== "" && state !== "up";
}
