// The shop as processes: four servers, a proxy before them, customers, and an eye on all of it.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { cpuTime } from "../lib/cpu.mjs";
import { lastingPorts, nobodyListens, ownDirectory, start } from "../lib/processes.mjs";
import { names, patienceMs } from "./proxies.mjs";

/** @typedef {import("./backend.mjs").Health} Health */

/** What four servers had counted and the proxy said of them at a time.
 * @typedef {{ at: number, received: number[], inside: number[], alive: boolean[], states: string[], attempts: number[] }} Sight */

/** A server process; it can be killed and started again on its port. */
export class Server {
  #running = /** @type {import("../lib/processes.mjs").Running | undefined} */ (undefined);
  /** Counted by those that were killed. */
  #before = 0;
  received = 0;
  inside = 0;

  #index;
  #port;
  #cpus;
  #flapMs;

  /** @param {number} index @param {number} port @param {{ cpus: readonly number[], flapMs: number }} settings */
  constructor(index, port, { cpus, flapMs }) {
    this.#index = index;
    this.#port = port;
    this.#cpus = cpus;
    this.#flapMs = flapMs;
  }

  get alive() {
    return this.#running !== undefined && !this.#running.ended;
  }

  /** Resolves when it listens. */
  async start() {
    this.#before = this.received;
    const settings = { name: names[this.#index], port: this.#port, seed: this.#index + 1, flapMs: this.#flapMs };
    /** @type {() => void} */
    let listening = () => {};
    const ready = new Promise((resolve, reject) => {
      listening = () => resolve(undefined);
      setTimeout(
        () => reject(new Error(`server ${settings.name} does not listen: ${running.complaint}`)),
        10_000,
      ).unref();
    });
    const running = start(process.execPath, [script("backend.mjs"), JSON.stringify(settings)], {
      cpus: this.#cpus,
      onLine: (line) => {
        const counts = JSON.parse(line);
        if (typeof counts === "number") return listening();
        this.received = this.#before + counts.received;
        this.inside = counts.inside;
      },
    });
    this.#running = running;
    await ready;
  }

  /** From now on it is as sick as this. @param {Health} health */
  become(health) {
    this.#running?.write(`${health}\n`);
  }

  async kill() {
    await this.#running?.kill();
    this.inside = 0;
  }

  async stop() {
    await this.#running?.stop();
  }
}

/** @param {string} name */
function script(name) {
  return fileURLToPath(new URL(name, import.meta.url));
}

/** Customers, ready to come. */
export class Load {
  #running;
  #file;

  /**
   * @param {Omit<import("./load.mjs").LoadSettings, "file" | "patienceMs">} settings
   * @param {{ dir: string, cpus: readonly number[] }} context
   */
  constructor(settings, { dir, cpus }) {
    this.#file = `${dir}/answers-${settings.port}-${settings.seed}.json`;
    const whole = { ...settings, patienceMs, file: this.#file };
    this.#running = start(process.execPath, [script("load.mjs"), JSON.stringify(whole)], { cpus });
  }

  get pid() {
    return this.#running.pid;
  }

  async ready() {
    await this.#running.line(20_000);
  }

  /**
   * Resolves when the last customer has an answer or is gone.
   * @param {number} beginAt milliseconds since 1970
   * @param {(counts: number[]) => void} [onSecond] how many of each outcome there were so far
   * @returns {Promise<import("./load.mjs").Answers>}
   */
  async run(beginAt, onSecond) {
    this.#running.write(`go ${beginAt}\n`);
    for (let line = ""; ; ) {
      line = await this.#running.line(Math.max(0, beginAt - Date.now()) + 20_000);
      if (line === "done") break;
      onSecond?.(JSON.parse(line));
    }
    await this.stop();
    return JSON.parse(readFileSync(this.#file, "utf8"));
  }

  async stop() {
    await this.#running.stop();
  }
}

/**
 * Looks at servers and proxy ten times a second.
 * @param {readonly Server[]} servers
 * @param {import("./proxies.mjs").Proxy} proxy
 * @param {number} beginAt milliseconds since 1970; times of what was seen count from here
 */
export function watch(servers, proxy, beginAt) {
  const sights = /** @type {Sight[]} */ ([]);
  let watching = true;
  let last = servers.map(() => ({ state: "", attempts: 0 }));
  const ended = (async () => {
    while (watching) {
      last = (await proxy.look()) ?? last;
      sights.push({
        at: Date.now() - beginAt,
        received: servers.map((server) => server.received),
        inside: servers.map((server) => server.inside),
        alive: servers.map((server) => server.alive),
        states: last.map((seen) => seen.state),
        attempts: last.map((seen) => seen.attempts),
      });
      await sleep(100 - ((Date.now() - beginAt) % 100));
    }
  })();
  return {
    /** @returns {Promise<Sight[]>} */
    async stop() {
      watching = false;
      await ended;
      return sights;
    },
  };
}

/** How many cores a process keeps busy from now on, and for how many it waits while others have them. @param {number} pid */
export function coresOf(pid) {
  const before = cpuTime(pid);
  const since = performance.now();
  return () => {
    const after = cpuTime(pid);
    const ns = (performance.now() - since) * 1e6;
    return { busy: (after.runNs - before.runNs) / ns, waited: (after.waitNs - before.waitNs) / ns };
  };
}

/** Code that was never run is slow in every language but C, and no day begins with a proxy just started. */
const warmUpPerSecond = 400;
/** One of ten visitors buys. */
const postShare = 0.1;

/**
 * @typedef {object} Shop
 * @property {readonly Server[]} servers
 * @property {import("./proxies.mjs").Proxy} proxy
 * @property {(segments: readonly import("./arrivals.mjs").Segment[]) => Promise<Load>} customers ready to come
 */

/**
 * Servers and a proxy that are warm, for as long as `body` runs. They are stopped whatever comes of it; throws when one
 * of them stays.
 * @template T
 * @param {Omit<import("./proxies.mjs").Candidate, "id" | "label">} candidate
 * @param {{ pace: number, cpus: { proxy: readonly number[], load: readonly number[] }, fileLimit: number, warmUpMs: number, flapMs: number }} settings
 * @param {(shop: Shop) => Promise<T>} body
 * @returns {Promise<T>}
 */
export async function withShop({ start: startProxy, plainShed }, { pace, cpus, fileLimit, warmUpMs, flapMs }, body) {
  const dir = ownDirectory();
  const [port = 0, adminPort = 0, ...backendPorts] = await lastingPorts(2 + names.length);
  const servers = backendPorts.map((backendPort, i) => new Server(i, backendPort, { cpus: cpus.load, flapMs }));
  const running = /** @type {{ stop: () => Promise<void> }[]} */ ([...servers]);
  let seed = 0;
  const customers = async (/** @type {readonly import("./arrivals.mjs").Segment[]} */ segments) => {
    const load = new Load({ port, segments, seed: ++seed, postShare, plainShed }, { dir, cpus: cpus.load });
    running.unshift(load);
    await load.ready();
    return load;
  };
  try {
    await Promise.all(servers.map((server) => server.start()));
    const proxy = await startProxy({ port, adminPort, backendPorts, dir, cpus: cpus.proxy, fileLimit, pace });
    running.unshift(proxy.running);
    await (await customers([{ ms: warmUpMs, perSecond: warmUpPerSecond }])).run(Date.now());
    return await body({ servers, proxy, customers });
  } finally {
    await Promise.all(running.map((process) => process.stop()));
    await nobodyListens([port, adminPort, ...backendPorts]);
  }
}
