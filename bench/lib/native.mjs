// The two C programs of the bench, compiled when their source is newer, and the load generator as an object.

import { execFileSync } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { installed, Missing, start } from "./processes.mjs";

const sourceDir = fileURLToPath(new URL("../native/", import.meta.url));

/** Compiles both programs; returns their paths. Throws Missing without a C compiler. */
export function buildNative() {
  const compiler = ["cc", "gcc", "clang"].find(installed);
  if (compiler === undefined) throw new Missing("no C compiler (cc, gcc or clang) for load generator and backend");
  mkdirSync(`${sourceDir}build`, { recursive: true });
  const [load = "", backend = ""] = ["load", "backend"].map((name) => {
    const binary = `${sourceDir}build/${name}`;
    const newest = Math.max(modified(`${sourceDir}${name}.c`), modified(`${sourceDir}body.h`));
    if (modified(binary) < newest) {
      execFileSync(compiler, ["-std=gnu11", "-O2", "-Wall", "-o", binary, `${sourceDir}${name}.c`], {
        stdio: "inherit",
      });
    }
    return binary;
  });
  return { load, backend };
}

/** @param {string} path */
function modified(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

/**
 * @typedef {object} LoadOptions
 * @property {number} port
 * @property {number} [connections]
 * @property {string} [path]
 * @property {number} [expect] bytes of each answer's body
 * @property {string} [fields] file with more request fields
 * @property {number} [post] bytes to upload
 * @property {boolean} [chunked] upload in chunks
 * @property {boolean} [close] a new connection per request
 * @property {number} [seconds]
 * @property {number | undefined} [requests] ends after this many if that is earlier
 * @property {boolean} [hold] only keep the connections open
 */

/**
 * @typedef {object} LoadResult
 * @property {number} completed
 * @property {number} errors
 * @property {number} seconds
 * @property {number} p50Us
 * @property {number} p99Us
 * @property {Record<string, number>} reasons
 */

/** One run of the load generator: open, run, close as three steps, so that only the middle one is measured. */
export class Load {
  /** @param {string} binary @param {LoadOptions} options @param {readonly number[]} cpus */
  constructor(binary, options, cpus) {
    this.seconds = options.seconds ?? 0;
    /** @type {string[]} */
    const args = ["--steps"];
    for (const [name, value] of Object.entries(options)) {
      if (value === true) args.push(`--${name}`);
      else if (value !== false && value !== undefined) args.push(`--${name}`, String(value));
    }
    this.running = start(binary, args, { cpus });
  }

  /** Until every connection is open and has had one answer. */
  async opened() {
    await this.running.line(60_000);
  }

  /** @returns {Promise<LoadResult>} */
  async run() {
    this.running.write("go\n");
    return JSON.parse(await this.running.line(this.seconds * 1000 + 60_000));
  }

  /** With `hold`: how many connections are still open. @returns {Promise<{ open: number, closed: number, errors: number }>} */
  async countOpen() {
    this.running.write("count\n");
    return JSON.parse(await this.running.line(10_000));
  }

  async close() {
    await this.running.stop();
  }
}
