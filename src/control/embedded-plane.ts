import { randomInt } from "node:crypto";
import { SharedCounts } from "../metrics/shared-counts.ts";
import { Stripe } from "../metrics/stripe.ts";
import { SeededRandom } from "../policy/model/random.ts";
import type {
  BoundAddress,
  DataPlane,
  DataPlaneInit,
  DataPlaneInspection,
  RequestDescription,
  RequestExplanation,
} from "../proxy/data-plane-api.ts";
import { removeStaleSocket } from "../proxy/transport/stale-socket.ts";
import { AccessLogBatch } from "./access-log-batch.ts";
import type { DataPlaneParts, DataPlanes } from "./data-planes.ts";
import { countDroppedLines } from "./dropped-lines.ts";
import { LogLimiter, limitLog, perBackend } from "./log-limiter.ts";

/** What an embedded data plane is made of. */
export interface EmbeddedPlaneInit extends DataPlaneParts {
  createDataPlane(init: DataPlaneInit): Promise<DataPlane>;
}

/** One data plane in the caller's own thread. */
export class EmbeddedPlane implements DataPlanes {
  readonly #init: EmbeddedPlaneInit;
  readonly #stripe: Stripe;
  readonly #accessLines: AccessLogBatch;
  #plane: DataPlane | undefined;
  #open = false;

  constructor(init: EmbeddedPlaneInit) {
    this.#init = init;
    this.#stripe = new Stripe(init.memory.layout, init.memory.metrics, 0);
    this.#accessLines = new AccessLogBatch(
      init.clock,
      ({ text, lines }) => init.accessLog?.write(text, lines, () => this.#accessLines.written(text.length)),
      countDroppedLines(this.#stripe, init.log, init.clock),
    );
  }

  async start(): Promise<readonly BoundAddress[]> {
    const { settings, memory, clock, conditions, sessions, secret, sharedSessions, geoip } = this.#init;
    for (const { listen } of settings.listeners) if (listen.kind === "unix") await removeStaleSocket(listen.path);
    const log = limitLog(this.#init.log, clock, new LogLimiter(), perBackend);
    this.#plane = await this.#init.createDataPlane({
      settings,
      worker: 0,
      stripe: this.#stripe,
      counts: new SharedCounts(memory.counts, 0),
      clock,
      random: new SeededRandom(randomInt(2 ** 32)),
      bind: { mode: "exclusive" },
      events: {
        accessLog: (line) => this.#accessLines.add(line),
        log: (level, code, message, fields) => log.write(level, code, message, fields),
        // There is no other worker to ask or to tell.
        connectionWanted: () => {},
        connectionFreed: () => {},
        backendCondition: (slot, condition) => conditions.conditionChanged(0, slot, condition),
        sessionWanted: (id, upstream, key) => sessions.sessionWanted(0, id, upstream, key),
        sessionPlaced: (upstream, key, address, instead, ttlMs) =>
          sessions.sessionPlaced(0, upstream, key, address, instead, ttlMs),
      },
      secret,
      sharedSessions,
      geoip,
    });
    const addresses = await this.#plane.start();
    this.#open = true;
    return addresses;
  }

  setHealth(slot: number, up: boolean, reason: string): void {
    this.#plane?.setHealth(slot, up, reason);
  }

  checkPassed(slot: number, http: boolean): void {
    this.#plane?.checkPassed(slot, http);
  }

  sessionFound(_worker: number, id: number, address: string | undefined, failed: boolean): void {
    queueMicrotask(() => this.#plane?.sessionFound(id, address, failed));
  }

  sessionCorrected(_worker: number, upstream: string, key: string, address: string, instead: readonly string[]): void {
    queueMicrotask(() => this.#plane?.sessionCorrected(upstream, key, address, instead));
  }

  sessionsForgotten(upstream: string): void {
    queueMicrotask(() => this.#plane?.sessionsForgotten(upstream));
  }

  setGeoip(path: string, database: SharedArrayBuffer): void {
    this.#plane?.setGeoip(path, database);
  }

  get running(): number {
    return this.#open ? 1 : 0;
  }

  missing(): string | undefined {
    return this.#open ? undefined : "not listening";
  }

  async drain(deadlineMs: number): Promise<{ readonly cut: number }> {
    this.#open = false;
    const result = await this.#plane?.drain(deadlineMs);
    this.#accessLines.flush();
    return result ?? { cut: 0 };
  }

  async inspect(): Promise<readonly DataPlaneInspection[]> {
    return this.#plane === undefined ? [] : [this.#plane.inspect()];
  }

  async explain(request: RequestDescription): Promise<RequestExplanation | undefined> {
    return this.#plane?.explain(request);
  }

  async close(): Promise<void> {
    this.#open = false;
    this.#plane?.close();
    this.#accessLines.flush();
  }
}
