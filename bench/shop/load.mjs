// The load of customers who do not wait for each other: an open loop in a process of its own.
//
//   node load.mjs '{"port":8080,"segments":[{"ms":1000,"perSecond":50}],"seed":1,"postShare":0.1,"patienceMs":2000,"file":"answers.json"}'
//
// Prints `ready`, waits for `go EPOCH_MS` on standard input, sends every request at its time whatever became of the
// others, prints a line of counts each second, writes the file and prints `done`. A latency counts from when the request
// was to be sent, not from when it was: what the generator itself delays is not hidden.

import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { classify, failed, pending, readHead } from "./answers.mjs";
import { arrivals } from "./arrivals.mjs";

/**
 * @typedef {object} LoadSettings
 * @property {number} port
 * @property {readonly import("./arrivals.mjs").Segment[]} segments
 * @property {number} seed
 * @property {number} postShare share of POSTs to /checkout/, the others are GETs of /browse/
 * @property {number} patienceMs a customer who waits longer is gone, and the request has failed
 * @property {boolean} plainShed see `classify`
 * @property {string} file
 */

/**
 * One entry per request, in the order in which they were to be sent.
 * @typedef {object} Answers
 * @property {number[]} atMs when it was to be sent, since the beginning
 * @property {number[]} post 1: a POST
 * @property {number[]} outcome index of `outcomes`
 * @property {number[]} latencyMs
 * @property {number[]} why index of `reasons`
 * @property {string[]} reasons status and reason, or how the connection broke
 * @property {number[]} lagMs by how much it was sent late
 * @property {number} connections most that were open at a time
 * @property {number} cores how many it kept busy
 */

/** Customers wait for a connection beyond this. */
const maxConnections = 12_000;

const settings = /** @type {LoadSettings} */ (JSON.parse(process.argv[2] ?? "{}"));
const { atMs, post } = arrivals(settings.segments, settings);
const outcome = new Uint8Array(atMs.length);
const latencyMs = new Float32Array(atMs.length);
const lagMs = new Float32Array(atMs.length);
const why = new Uint8Array(atMs.length);
const reasons = /** @type {string[]} */ ([]);
const counts = [0, 0, 0, 0];
let beginMs = 0;
let spentBefore = process.cpuUsage();
let next = 0;
/** All before this one are settled or have been given up. */
let oldest = 0;

const order = '{"cart":"0123456789abcdef","items":[{"id":17,"count":1},{"id":42,"count":2}],"pay":"card"}';
const get = "GET /browse/shoes HTTP/1.1\r\nhost: shop.test\r\naccept: */*\r\nuser-agent: customer\r\n\r\n";
const postText = `POST /checkout/orders HTTP/1.1\r\nhost: shop.test\r\nuser-agent: customer\r\ncontent-type: application/json\r\ncontent-length: ${order.length}\r\n\r\n${order}`;

const now = () => performance.now() - beginMs;

/** @param {number} request @param {number} result @param {string} reason */
function settle(request, result, reason) {
  if (outcome[request] !== pending) return;
  let index = reasons.indexOf(reason);
  if (index < 0) index = reasons.push(reason) - 1;
  outcome[request] = result;
  why[request] = index;
  latencyMs[request] = now() - (atMs[request] ?? 0);
  counts[result] = (counts[result] ?? 0) + 1;
}

const idle = /** @type {Connection[]} */ ([]);
const waiting = /** @type {number[]} */ ([]);
const carriers = /** @type {(Connection | undefined)[]} */ (Array(atMs.length));
let open = 0;
let mostOpen = 0;

/** A customer's connection: one request at a time. */
class Connection {
  #text = "";
  #request = -1;
  #head = /** @type {import("./answers.mjs").Head | undefined} */ (undefined);
  #gone = false;

  constructor() {
    open++;
    mostOpen = Math.max(mostOpen, open);
    this.socket = connect({ host: "127.0.0.1", port: settings.port, noDelay: true });
    this.socket.setEncoding("latin1");
    this.socket.on("data", (text) => this.#read(String(text)));
    this.socket.on("error", (error) => this.#end(/** @type {NodeJS.ErrnoException} */ (error).code ?? error.message));
    this.socket.on("end", () => this.#end("closed"));
    this.socket.on("close", () => this.#end("closed"));
  }

  /** @param {number} request */
  send(request) {
    this.#request = request;
    carriers[request] = this;
    lagMs[request] = now() - (atMs[request] ?? 0);
    this.socket.write(post[request] === 1 ? postText : get, "latin1");
  }

  /** The customer has gone. */
  abandon() {
    this.#request = -1;
    this.#gone = true;
    open--;
    this.socket.resetAndDestroy();
  }

  /** @param {string} text */
  #read(text) {
    if (this.#request < 0) return this.#end("bytes without a request");
    this.#text += text;
    this.#head ??= readHead(this.#text);
    if (this.#head?.end !== undefined && this.#text.length >= this.#head.end) this.#answered(this.#head);
  }

  /** @param {import("./answers.mjs").Head} head @returns {void} */
  #answered(head) {
    const result = classify(head, settings.plainShed);
    settle(this.#request, result, head.reason === undefined ? String(head.status) : `${head.status} ${head.reason}`);
    carriers[this.#request] = undefined;
    this.#request = -1;
    this.#text = "";
    this.#head = undefined;
    if (head.close || head.end === undefined) return this.#end("");
    const request = waiting.shift();
    if (request === undefined) idle.push(this);
    else this.send(request);
  }

  /** @param {string} reason @returns {void} */
  #end(reason) {
    if (this.#gone) return;
    if (this.#request >= 0 && this.#head !== undefined && this.#head.end === undefined)
      return this.#answered(this.#head);
    this.#gone = true;
    open--;
    this.socket.destroy();
    if (this.#request >= 0) {
      settle(this.#request, failed, this.#head === undefined ? reason : "response cut short");
      carriers[this.#request] = undefined;
    } else {
      const index = idle.indexOf(this);
      if (index >= 0) idle.splice(index, 1);
    }
  }
}

/** @param {number} request */
function send(request) {
  const connection = idle.pop() ?? (open < maxConnections ? new Connection() : undefined);
  if (connection === undefined) waiting.push(request);
  else connection.send(request);
}

/** Sends what is due and gives up what has waited too long. */
function tick() {
  const time = now();
  while (next < atMs.length && (atMs[next] ?? 0) <= time) send(next++);
  while (oldest < next && (outcome[oldest] !== pending || (atMs[oldest] ?? 0) + settings.patienceMs <= time)) {
    if (outcome[oldest] === pending) {
      settle(oldest, failed, "no answer in time");
      const carrier = carriers[oldest];
      if (carrier === undefined) waiting.splice(waiting.indexOf(oldest), 1);
      else carrier.abandon();
    }
    oldest++;
  }
  if (oldest === atMs.length) finish();
  else setTimeout(tick, 1);
}

function finish() {
  const { user, system } = process.cpuUsage(spentBefore);
  const list = (/** @type {ArrayLike<number>} */ values, digits = 2) =>
    Array.from(values, (value) => Number(value.toFixed(digits)));
  const answers = /** @type {Answers} */ ({
    atMs: list(atMs),
    post: list(post, 0),
    outcome: list(outcome, 0),
    latencyMs: list(latencyMs),
    why: list(why, 0),
    reasons,
    lagMs: list(lagMs),
    connections: mostOpen,
    cores: (user + system) / 1000 / now(),
  });
  writeFileSync(settings.file, JSON.stringify(answers));
  console.log("done");
  process.exit(0);
}

createInterface({ input: process.stdin })
  .on("line", (line) => {
    // Both clocks are read at once; from here on only the monotonic one counts.
    beginMs = performance.now() + Number(line.split(" ")[1]) - Date.now();
    spentBefore = process.cpuUsage();
    setTimeout(tick, Math.max(0, -now()));
    setInterval(() => console.log(JSON.stringify(counts)), 1000);
  })
  .on("close", () => process.exit(0));
console.log("ready");
