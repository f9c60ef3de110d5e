// When the requests of an open loop are sent, fixed before the first one is.

import { exponential, uniform } from "./random.mjs";

/**
 * @typedef {object} Segment
 * @property {number} ms how long it lasts
 * @property {number} perSecond requests, on average
 */

/**
 * @typedef {object} Arrivals
 * @property {Float64Array} atMs since the beginning, in order
 * @property {Uint8Array} post 1 where the request is a POST
 */

/**
 * Requests as independent customers make them: the gaps are exponential, whatever became of earlier requests.
 * @param {readonly Segment[]} segments one after another
 * @param {{ seed: number, postShare: number }} settings
 * @returns {Arrivals}
 */
export function arrivals(segments, { seed, postShare }) {
  const random = uniform(seed);
  const times = /** @type {number[]} */ ([]);
  const posts = /** @type {number[]} */ ([]);
  let beginMs = 0;
  for (const { ms, perSecond } of segments) {
    const gapMs = 1000 / perSecond;
    for (let at = exponential(random, gapMs); at < ms; at += exponential(random, gapMs)) {
      times.push(beginMs + at);
      posts.push(random() < postShare ? 1 : 0);
    }
    beginMs += ms;
  }
  return { atMs: Float64Array.from(times), post: Uint8Array.from(posts) };
}
