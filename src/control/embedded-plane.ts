import { randomInt } from "node:crypto";
import { SharedCounts } from "../metrics/shared-counts.ts";
import { Stripe } from "../metrics/stripe.ts";
import { SeededRandom } from "../policy/model/random.ts";
import type { BoundAddress, DataPlane, DataPlaneInit, DataPlaneInspection } from "../proxy/data-plane-api.ts";
import { AccessLogBatch } from "./access-log-batch.ts";
import type { DataPlaneParts, DataPlanes } from "./data-planes.ts";
import { countDroppedLines } from "./dropped-lines.ts";
import { limitLog } from "./log-limiter.ts";
import { removeStaleSocket } from "./stale-socket.ts";

/** What an embedded data plane is made of. */
export interface EmbeddedPlaneInit extends DataPlaneParts {
  createDataPlane(init: DataPlaneInit): DataPlane;
}

/** One data plane in the caller's own thread. */
export class EmbeddedPlane implements DataPlanes {
  readonly #init: EmbeddedPlaneInit;
  readonly #plane: DataPlane;
  readonly #accessLines: AccessLogBatch;
  #open = false;

  constructor(init: EmbeddedPlaneInit) {
    const { settings, memory, clock } = init;
    const stripe = new Stripe(memory.layout, memory.metrics, 0);
    const log = limitLog(init.log, clock);
    this.#init = init;
    this.#accessLines = new AccessLogBatch(
      clock,
      ({ text, lines }) => init.accessLog?.write(text, lines, () => this.#accessLines.written(text.length)),
      countDroppedLines(stripe, init.log, clock),
    );
    this.#plane = init.createDataPlane({
      settings,
      worker: 0,
      stripe,
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
      },
    });
  }

  async start(): Promise<readonly BoundAddress[]> {
    for (const { listen } of this.#init.settings.listeners) {
      if (listen.kind === "unix") await removeStaleSocket(listen.path);
    }
    const addresses = await this.#plane.start();
    this.#open = true;
    return addresses;
  }

  setHealth(slot: number, up: boolean, reason: string): void {
    this.#plane.setHealth(slot, up, reason);
  }

  get running(): number {
    return this.#open ? 1 : 0;
  }

  missing(): string | undefined {
    return this.#open ? undefined : "not listening";
  }

  async drain(deadlineMs: number): Promise<{ readonly cut: number }> {
    const result = await this.#plane.drain(deadlineMs);
    this.#open = false;
    this.#accessLines.flush();
    return result;
  }

  async inspect(): Promise<readonly DataPlaneInspection[]> {
    return [this.#plane.inspect()];
  }

  async close(): Promise<void> {
    this.#open = false;
    this.#plane.close();
    this.#accessLines.flush();
  }
}
