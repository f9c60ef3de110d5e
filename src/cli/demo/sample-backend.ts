import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Random } from "../../policy/model/random.ts";

/** Says which sample backend answered. */
export const BACKEND_FIELD = "x-demo-backend";

/**
 * An HTTP server that works on one request at a time, first come first served, with exponential service times: the
 * textbook's server. Stopped, it is gone as a killed process is: connections break and new ones are refused.
 */
export class SampleBackend {
  readonly id: string;
  readonly #meanServiceMs: number;
  readonly #random: Random;
  #server: Server | undefined;
  #port = 0;
  /** When all accepted work is done. Times are planned, not measured, so that late timers do not add up. */
  #busyUntil = 0;

  constructor(id: string, meanServiceMs: number, random: Random) {
    this.id = id;
    this.#meanServiceMs = meanServiceMs;
    this.#random = random;
  }

  get port(): number {
    return this.#port;
  }

  get running(): boolean {
    return this.#server !== undefined;
  }

  /** Listens on a free loopback port, and on the same one after a stop. Rejects when somebody else took it. */
  start(): Promise<void> {
    if (this.#server !== undefined) return Promise.resolve();
    const server = createServer((request, response) => this.#answer(request, response));
    server.keepAliveTimeout = 0;
    this.#server = server;
    this.#busyUntil = 0;
    return new Promise((resolve, reject) => {
      server.once("error", (error) => {
        this.#server = undefined;
        reject(error);
      });
      server.listen(this.#port, "127.0.0.1", () => {
        const address = server.address();
        if (typeof address === "object" && address) this.#port = address.port;
        resolve();
      });
    });
  }

  stop(): void {
    this.#server?.close();
    this.#server?.closeAllConnections();
    this.#server = undefined;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    request.resume();
    const now = performance.now();
    const serviceMs = -Math.log(1 - this.#random.next()) * this.#meanServiceMs;
    this.#busyUntil = Math.max(this.#busyUntil, now) + serviceMs;
    const timer = setTimeout(() => {
      response.writeHead(200, { "content-type": "text/plain", [BACKEND_FIELD]: this.id });
      response.end(`served by ${this.id} in ${serviceMs.toFixed(1)} ms of work\n`);
    }, this.#busyUntil - now);
    response.once("close", () => clearTimeout(timer));
  }
}
