// A server of the shop, as slow and as narrow as service.mjs says.
//
//   node backend.mjs '{"name":"a","port":20001,"seed":1}'
//
// It speaks as much HTTP/1.1 as a proxy's keep-alive connections need, because it has to leave the core to others. Prints its
// port, then ten times a second what it has counted. A line on standard input is its health from then on.
// Ends when its standard input ends.

import { createServer } from "node:net";
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

const [answer200, answer500, answer503] = ["200 OK", "500 Internal Server Error", "503 Service Unavailable"].map(
  (status) => `HTTP/1.1 ${status}\r\ncontent-type: text/plain\r\ncontent-length: 3\r\nx-backend: ${name}\r\n\r\nok\n`,
);

/** @type {Set<import("node:net").Socket>} */
const sockets = new Set();
const server = createServer({ noDelay: true }, (socket) => {
  sockets.add(socket);
  socket.on("close", () => sockets.delete(socket));
  socket.on("error", () => {}); // the proxy gave the connection up
  let text = "";
  socket.setEncoding("latin1").on("data", (part) => {
    text += part;
    for (let end = wholeRequest(text); end !== undefined; end = wholeRequest(text)) {
      text = text.slice(end);
      serve(socket);
    }
  });
});

/** Index behind the first request; undefined while it is not whole. @param {string} text */
function wholeRequest(text) {
  const head = text.indexOf("\r\n\r\n");
  if (head < 0) return undefined;
  const end = head + 4 + Number(/\r\ncontent-length: *(\d+)/i.exec(text.slice(0, head))?.[1] ?? 0);
  return text.length >= end ? end : undefined;
}

/** @param {import("node:net").Socket} socket */
function serve(socket) {
  received++;
  if (health === "stall") return;
  if (health === "sinkhole") return socket.write(answer500 ?? "");
  if (health === "flaky") {
    const lot = random();
    if (lot < 0.15) return socket.write(answer503 ?? "");
    if (lot < 0.3) return socket.resetAndDestroy();
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
    if (socket.writable) socket.write(answer200 ?? "");
  }, done - now);
}

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
