// Processes of a bench: started pinned to a core, in groups of their own, and all gone when the bench ends,
// however it ends.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

/** @typedef {import("node:child_process").ChildProcessWithoutNullStreams} Child */

/** A part of the comparison that is not installed; the bench says so and goes on without it. */
export class Missing extends Error {}

/** @type {Set<Child>} */
const children = new Set();
/** @type {Set<string>} */
const directories = new Set();

/** Cores this process may use, e.g. [0, 1]. */
export function allowedCpus() {
  const line = /Cpus_allowed_list:\s*(\S+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return line.split(",").flatMap((part) => {
    const [from = 0, to = from] = part.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

/**
 * The proxies get the last core for themselves; load, backends and the bench share the others.
 * On a single core nothing can be kept apart: both lists are empty, and nothing is pinned.
 */
export function divideCpus() {
  const cpus = allowedCpus();
  if (cpus.length < 2 || !installed("taskset")) return { proxy: [], load: [] };
  return { proxy: cpus.slice(-1), load: cpus.slice(0, -1) };
}

/** Pins this process and so whatever it starts without a core of its own.
 * @param {readonly number[]} cpus */
export function pinSelf(cpus) {
  if (cpus.length > 0) execFileSync("taskset", ["-acp", cpus.join(","), String(process.pid)], { stdio: "ignore" });
}

/** @param {string} command */
export function installed(command) {
  return (process.env.PATH ?? "").split(":").some((dir) => {
    try {
      execFileSync("test", ["-x", join(dir, command)]);
      return true;
    } catch {
      return false;
    }
  });
}

/** Raises the limit of open files for everything started from here, as far as that is allowed; returns it. */
export function raiseFileLimit(wanted = 65_536) {
  const pid = `--pid=${process.pid}`;
  const hard = () =>
    Number(execFileSync("prlimit", [pid, "--nofile", "--output=HARD", "--noheadings", "--raw"], { encoding: "utf8" }));
  try {
    if (hard() < wanted) execFileSync("prlimit", [pid, `--nofile=${wanted}:${wanted}`], { stdio: "ignore" });
  } catch {
    // Not allowed to: what there is has to do.
  }
  const limit = hard();
  execFileSync("prlimit", [pid, `--nofile=${limit}:${limit}`], { stdio: "ignore" });
  return limit;
}

/** A directory that is removed when the bench ends. */
export function ownDirectory() {
  const dir = mkdtempSync(join(tmpdir(), "spillway-bench-"));
  directories.add(dir);
  return dir;
}

/** Loopback ports that were free a moment ago.
 * @param {number} count @returns {Promise<number[]>} */
export async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
      return server;
    }),
  );
  const ports = servers.map((server) => /** @type {import("node:net").AddressInfo} */ (server.address()).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/**
 * Loopback ports that were free a moment ago, below those the system gives to connections: whoever listens there can
 * end and begin again on the same port.
 * @param {number} count @returns {Promise<number[]>}
 */
export async function lastingPorts(count) {
  const ports = /** @type {number[]} */ ([]);
  for (let port = 20_000 + (process.pid % 10_000); ports.length < count && port < 32_768; port++) {
    if (await isFree(port)) ports.push(port);
  }
  if (ports.length < count) throw new Missing(`${count} free ports between 20000 and 32767`);
  return ports;
}

/** Throws when somebody still does: a process was left behind.
 * @param {readonly number[]} ports */
export async function nobodyListens(ports) {
  const free = await Promise.all(ports.map(isFree));
  const used = ports.filter((_, i) => !free[i]);
  if (used.length > 0) throw new Error(`somebody still listens on ${used.join(", ")}`);
}

/** @param {number} port @returns {Promise<boolean>} */
function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/**
 * Starts a process in a group of its own. What it writes to standard error is kept (the last 8 kB) for messages.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cpus?: readonly number[], env?: Record<string, string>, cwd?: string, onLine?: (line: string) => void,
 *   onError?: (text: string) => void }} [options] `onLine` takes the lines of standard output in place of `line()`
 */
export function start(command, args, options = {}) {
  const pinned = (options.cpus?.length ?? 0) > 0;
  const child = spawn(pinned ? "taskset" : command, pinned ? ["-c", String(options.cpus), command, ...args] : args, {
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  children.add(child);
  const running = new Running(child, options);
  child.once("exit", () => children.delete(child));
  return running;
}

export class Running {
  /** @type {Child} */
  #child;
  /** @type {string[]} */
  #lines = [];
  /** @type {((line: string | undefined) => void) | undefined} */
  #waiting;
  #errors = "";
  /** @type {Error | undefined} */
  #failure;
  ended = false;

  /** @param {Child} child @param {{ onLine?: (line: string) => void, onError?: (text: string) => void }} [listeners] */
  constructor(child, { onLine, onError } = {}) {
    this.#child = child;
    child.stdin.on("error", () => {}); // it ended before it read what was written
    child.stderr.setEncoding("utf8").on("data", (text) => {
      this.#errors = (this.#errors + text).slice(-8192);
      onError?.(text);
    });
    const lines = createInterface({ input: child.stdout });
    lines.on("line", (line) => {
      if (onLine !== undefined) onLine(line);
      else if (this.#waiting) this.#waiting(line);
      else if (this.#lines.length < 1000) this.#lines.push(line);
    });
    lines.on("close", () => this.#waiting?.(undefined));
    child.once("error", (error) => {
      this.#failure = error;
      this.ended = true;
      children.delete(child);
      this.#waiting?.(undefined);
    });
    child.once("exit", () => {
      this.ended = true;
    });
  }

  get pid() {
    return this.#child.pid ?? 0;
  }

  /** What went wrong, for a message. */
  get complaint() {
    return (this.#failure?.message ?? this.#errors.trim()) || `ended with ${this.#child.exitCode}`;
  }

  /** @param {string} text */
  write(text) {
    this.#child.stdin.write(text);
  }

  endInput() {
    this.#child.stdin.end();
  }

  /** The next line of standard output. Rejects when the process ends first or the time is up.
   * @param {number} timeoutMs @returns {Promise<string>} */
  async line(timeoutMs) {
    const ready = this.#lines.shift();
    if (ready !== undefined) return ready;
    if (this.ended) throw new Error(this.complaint);
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting = undefined;
        reject(new Error(`no answer within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#waiting = (line) => {
        this.#waiting = undefined;
        clearTimeout(timer);
        if (line === undefined) reject(new Error(this.complaint));
        else resolve(line);
      };
    });
  }

  /** Ends it at once, as a crash would, and waits until it is gone. */
  async kill() {
    if (this.ended) return;
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    signalGroup(this.#child, "SIGKILL");
    await gone;
  }

  /** Asks it to end, and insists after a while.
   * @param {number} [patienceMs] */
  async stop(patienceMs = 3000) {
    if (this.ended) return;
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.stdin.end();
    signalGroup(this.#child, "SIGTERM");
    const patience = new AbortController();
    await Promise.race([gone, sleep(patienceMs, undefined, { signal: patience.signal }).catch(() => {})]);
    patience.abort();
    await this.kill();
  }
}

/** @param {Child} child @param {NodeJS.Signals} signal */
function signalGroup(child, signal) {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal);
  } catch {
    // Already gone.
  }
}

/** Waits until `GET /` is answered with 200 on the port.
 * @param {number} port @param {Running} running */
export async function answers(port, running) {
  await waitFor(`no 200 on port ${port}`, running, async () => (await statusOf(port)) === 200);
}

/** Waits until the port takes connections, without a request.
 * @param {number} port @param {Running} running */
export async function listens(port, running) {
  await waitFor(`nobody listens on port ${port}`, running, () => canConnect(port));
}

/** @param {string} trouble @param {Running} running @param {() => Promise<boolean>} check @param {number} [timeoutMs] */
async function waitFor(trouble, running, check, timeoutMs = 15_000) {
  const until = Date.now() + timeoutMs;
  while (Date.now() < until) {
    if (running.ended) throw new Error(running.complaint);
    if (await check()) return;
    await sleep(50);
  }
  throw new Error(`${trouble} within ${timeoutMs} ms`);
}

/** @param {number} port @returns {Promise<boolean>} */
function canConnect(port) {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

/** @param {number} port @returns {Promise<number>} */
function statusOf(port) {
  return new Promise((resolve) => {
    const get = request({ host: "127.0.0.1", port, path: "/", agent: false, timeout: 1000 }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    get.on("timeout", () => get.destroy());
    get.on("error", () => resolve(0));
    get.end();
  });
}

function killAll() {
  for (const child of children) signalGroup(child, "SIGKILL");
  for (const dir of directories) rmSync(dir, { recursive: true, force: true });
}

process.on("exit", killAll);
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
  process.on(signal, () => process.exit(signal === "SIGINT" ? 130 : 143)); // and the exit handler cleans up
}
