// What both Node.js proxies of the bench share: arguments, round robin, the added request fields, and the end.

import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";

const [packagesDir = "", port = "", ...backendPorts] = process.argv.slice(2);

/** Packages are installed apart from the project. */
export const requirePackage = createRequire(`${packagesDir}/package.json`);
export const listenPort = Number(port);
export const backends = backendPorts.map((backend) => `http://127.0.0.1:${backend}`);

/** Server options and limits that suit a bench: as long as the other candidates keep connections. */
export const keepAliveTimeout = 60_000;

let turn = 0;
/** Index of the next backend. */
export function nextBackend() {
  turn = (turn + 1) % backends.length;
  return turn;
}

/** The same fields as every candidate adds; `headers` are the request's.
 * @param {import("node:http").IncomingMessage} request @param {Record<string, string | string[] | undefined>} headers */
export function addFields(request, headers) {
  headers["x-forwarded-for"] = request.socket.remoteAddress;
  headers["x-forwarded-proto"] = "http";
  headers["x-forwarded-host"] = request.headers.host;
  headers.via = "1.1 bench";
  headers["x-request-id"] = randomUUID();
}

// The bench holds the other end of standard input: when that is gone, so is the reason to run.
process.stdin.on("end", () => process.exit(0)).resume();
