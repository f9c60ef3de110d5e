import { Agent, request } from "node:http";
import { BACKEND_FIELD } from "./sample-backend.ts";

/** What a client of the load met. */
export interface LoadEvents {
  /** @param tag what {@link Load.path} was set with when the request began. @param startedMs of performance.now. */
  answered(tag: string, backend: string, startedMs: number, ms: number): void;
  /** The response was an error, or none came. */
  failed(tag: string, startedMs: number, why: string): void;
}

/** How long a client that met an error waits before it tries again. */
const PAUSE_MS = 50;

/** A closed loop: some clients, each sends its next request when the last one has ended. */
export class Load {
  readonly #port: number;
  readonly #events: LoadEvents;
  readonly #agent: Agent;
  readonly #clients: number;
  #tag = "";
  #running = false;

  constructor(port: number, clients: number, events: LoadEvents) {
    this.#port = port;
    this.#clients = clients;
    this.#events = events;
    this.#agent = new Agent({ keepAlive: true, maxSockets: clients });
  }

  /** From now on requests go to `/<tag>/`. */
  aim(tag: string): void {
    this.#tag = tag;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    for (let client = 0; client < this.#clients; client++) this.#send();
  }

  stop(): void {
    this.#running = false;
    this.#agent.destroy();
  }

  #send(): void {
    if (!this.#running) return;
    const tag = this.#tag;
    const startedMs = performance.now();
    let settled = false;
    const failed = (why: string): void => {
      if (settled || !this.#running) return;
      settled = true;
      this.#events.failed(tag, startedMs, why);
      setTimeout(() => this.#send(), PAUSE_MS);
    };
    const sent = request({ host: "127.0.0.1", port: this.#port, path: `/${tag}/`, agent: this.#agent }, (response) => {
      response.resume();
      response.once("error", () => failed("response cut short"));
      response.once("end", () => {
        const backend = response.headers[BACKEND_FIELD];
        if (response.statusCode !== 200 || typeof backend !== "string") return failed(`status ${response.statusCode}`);
        if (settled || !this.#running) return;
        settled = true;
        this.#events.answered(tag, backend, startedMs, performance.now() - startedMs);
        this.#send();
      });
    });
    sent.once("error", (error) => failed(error.message));
    sent.end();
  }
}
