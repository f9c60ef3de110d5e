// What the bench knows of a proxy under test.

/**
 * @typedef {object} Candidate
 * @property {string} id
 * @property {string} label what tables call it
 * @property {string} version
 * @property {number} port
 * @property {number} pid with its children, everything that works for it
 * @property {boolean} [onlyBodies] differs from its sibling only where bodies are large
 */

/**
 * @typedef {object} Context
 * @property {readonly number[]} backendPorts
 * @property {readonly number[]} cpus the core of the proxies; empty: not pinned
 * @property {string} dir for configuration and whatever it writes
 * @property {number} fileLimit open files a process may have
 * @property {string | undefined} newestNode path of the newest Node.js
 * @property {(running: import("../lib/processes.mjs").Running) => void} [started] told of each process
 */

/**
 * Starts one process, which may serve several candidates. Throws Missing when it is not installed.
 * @typedef {(context: Context) => Promise<Candidate[]>} StartCandidates
 */

/** Every proxy adds these to a request, so that all do the same work; Spillway does so by itself. */
export const addedFields = ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Via", "X-Request-Id"];
