// A server of the shop, as slow and as narrow as service.mjs says.
//
//   node backend.mjs '{"name":"a","port":20001,"seed":1}'
//
// Prints its port, then ten times a second what it has counted. A line on standard input is its health from then on.
// Ends when its standard input ends.

import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { exponential, uniform } from "./random.mjs";
import { concurrency, leastMs, meanRestMs } from "./service.mjs";

/**
 * What a sick one does. `sinkhole`: 500 at once; `stall`: never answers; `slow`: ten times slower; `flaky`: fails three
 * of ten, half of them with 503 and half by breaking the connection; `flapping`: gone for `flapMs`, back for as long.
 * @typedef {"healthy" | "sinkhole" | "stall" | "slow" | "flaky" | "flapping"} Health
 */

/**
 * @typedef {object} Counts
 * @property {string} name
 * @property {number} at milliseconds since 1970
 * @property {number} received requests since its start
 * @property {number} inside requests it works on or that wait in it
 */

/** @type {{ name: string, port: number, seed: number, flapMs?: number }} */
const { name, port, seed, flapMs = 3000 } = JSON.parse(process.argv[2] ?? "{}");
const random = uniform(seed);
/** When each place is free. On the schedule: a timer that is late does not cost capacity. */
const freeAt = /** @type {number[]} */ (Array(concurrency).fill(0));
let health = /** @type {Health} */ ("healthy");
let received = 0;
let inside = 0;
let flap = /** @type {NodeJS.Timeout | undefined} */ (undefined);

/** @param {import("node:http").ServerResponse} response @param {number} status */
const answer = (response, status) => {
  response.writeHead(status, { "content-type": "text/plain", "content-length": 3, "x-backend": name });
  response.end("ok\n");
};

const server = createServer((request, response) => {
  received++;
  request.resume();
  if (health === "stall") return;
  if (health === "sinkhole") return answer(response, 500);
  if (health === "flaky") {
    const lot = random();
    if (lot < 0.15) return answer(response, 503);
    if (lot < 0.3) return request.socket.resetAndDestroy();
  }
  const place = freeAt.indexOf(Math.min(...freeAt));
  const now = performance.now();
  const serviceMs = (leastMs + exponential(random, meanRestMs)) * (health === "slow" ? 10 : 1);
  const done = Math.max(now, freeAt[place] ?? 0) + serviceMs;
  freeAt[place] = done;
  inside++;
  // It does the work even when nobody waits for the answer any more, as servers do.
  setTimeout(() => {
    inside--;
    if (!response.destroyed) answer(response, 200);
  }, done - now);
});
server.keepAliveTimeout = 0;
server.requestTimeout = 0;
/** @type {Set<import("node:net").Socket>} */
const sockets = new Set();
server.on("connection", (socket) => {
  sockets.add(socket);
  socket.on("close", () => sockets.delete(socket));
  socket.on("error", () => {}); // the proxy gave the connection up
});

const listen = () => server.listen({ port, host: "127.0.0.1", backlog: 4096 });
const vanish = () => {
  server.close();
  for (const socket of sockets) socket.resetAndDestroy();
};

createInterface({ input: process.stdin })
  .on("line", (line) => {
    health = /** @type {Health} */ (line);
    clearInterval(flap);
    if (health === "flapping") {
      vanish();
      flap = setInterval(() => (server.listening ? vanish() : listen()), flapMs);
    } else if (!server.listening) listen();
  })
  .on("close", () => process.exit(0));
server.once("listening", () => {
  console.log(port);
  setInterval(() => console.log(JSON.stringify({ name, at: Date.now(), received, inside })), 100);
});
listen();
