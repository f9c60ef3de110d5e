// A backend of the chapter: it works on one request at a time, first come first served, for an exponential time.
//
//   node backend.mjs NAME MEAN_MS SEED
//
// Prints its port. Ends when its standard input ends.

import { createServer } from "node:http";

const [name = "", meanMs = "", seed = ""] = process.argv.slice(2);

/** A seeded stream of exponential times (mulberry32 below the logarithm).
 * @param {number} mean @param {number} seed32 */
function exponential(mean, seed32) {
  let state = seed32 >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return -mean * Math.log(1 - ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32);
  };
}

const serviceMs = exponential(Number(meanMs), Number(seed));

/** When the work at hand is done; on the schedule, so that a late answer does not delay those behind it. */
let busyUntil = 0;

/** A timer is up to a millisecond late, which would lengthen the mean by as much: the last two are waited in turns of the loop.
 * @param {number} at @param {() => void} done */
function waitUntil(at, done) {
  const leftMs = at - performance.now();
  if (leftMs <= 0) done();
  else if (leftMs > 2) setTimeout(waitUntil, leftMs - 2, at, done);
  else setImmediate(waitUntil, at, done);
}

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  request.resume();
  busyUntil = Math.max(busyUntil, performance.now()) + serviceMs();
  waitUntil(busyUntil, () => {
    response.writeHead(200, { "content-length": 1, "x-backend": name });
    response.end(name);
  });
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address !== null && typeof address !== "string") console.log(address.port);
});
process.stdin.on("end", () => process.exit(0)).resume();
