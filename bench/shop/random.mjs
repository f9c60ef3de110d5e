// Seeded randomness, so that every proxy meets the same day.

/** Numbers from 0 to below 1, the same ones for the same seed (mulberry32).
 * @param {number} seed @returns {() => number} */
export function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** An exponential time with this mean. @param {() => number} random @param {number} mean */
export function exponential(random, mean) {
  return -mean * Math.log(1 - random());
}
