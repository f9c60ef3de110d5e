import { settingsSchema } from "../../src/config/schema.ts";
import type { Settings, SettingsInput } from "../../src/config/settings.ts";
import { formatAddress } from "../../src/config/values.ts";
import type { SharedMemory, WorkerData } from "../../src/control/messages.ts";
import { createCounts, createLayout, createMetricsMemory } from "../../src/metrics/index.ts";
import {
  type BoundAddress,
  type DataPlane,
  type DataPlaneInit,
  type DataPlaneInspection,
  ListenError,
  type RequestDescription,
  type RequestExplanation,
} from "../../src/proxy/data-plane-api.ts";
import { affinityRows, assignSlots } from "../../src/proxy/slots.ts";

/** A data plane that carries nothing and writes down what it is told. */
export class FakePlane implements DataPlane {
  readonly init: DataPlaneInit;
  readonly told: string[] = [];
  /** What `start` fails with. */
  failure: ListenError | undefined;
  #drained: ((result: { cut: number }) => void) | undefined;

  constructor(init: DataPlaneInit) {
    this.init = init;
  }

  async start(): Promise<readonly BoundAddress[]> {
    if (this.failure !== undefined) throw this.failure;
    return this.init.settings.listeners.map(({ listen }, index) =>
      listen.kind === "unix" ? listen : { kind: "tcp", host: listen.host ?? "::", port: listen.port || 40_000 + index },
    );
  }

  setHealth(slot: number, up: boolean, reason: string): void {
    this.told.push(`${slot} ${up ? "up" : "down"}: ${reason}`);
  }

  surrenderConnection(slot: number): void {
    this.told.push(`surrender ${slot}`);
  }

  checkPassed(slot: number, http: boolean): void {
    this.told.push(`${slot} well, ${http ? "http" : "tcp"}`);
  }

  retryConnections(slot: number): void {
    this.told.push(`retry ${slot}`);
  }

  drain(deadlineMs: number): Promise<{ readonly cut: number }> {
    this.told.push(`drain ${deadlineMs}`);
    return new Promise((resolve) => {
      this.#drained = resolve;
    });
  }

  sessionFound(id: number, address: string | undefined, failed: boolean): void {
    this.told.push(`session ${id} ${failed ? "failed" : (address ?? "unknown")}`);
  }

  sessionCorrected(upstream: string, key: string, address: string, instead: readonly string[]): void {
    this.told.push(`${upstream} ${key} is at ${address}, not ${instead.join()}`);
  }

  sessionsForgotten(upstream: string): void {
    this.told.push(`${upstream} forgotten`);
  }

  setGeoip(path: string, database: SharedArrayBuffer): void {
    this.told.push(`${path} ${database.byteLength}`);
  }

  /** The drain is over, with `cut` exchanges that did not end. */
  endDrain(cut: number): void {
    this.#drained?.({ cut });
  }

  close(): void {
    this.told.push("close");
  }

  explain({ listener, method, host, target, client }: RequestDescription): RequestExplanation | undefined {
    const settings = this.init.settings.listeners[listener];
    if (settings === undefined) return undefined;
    const route = settings.routes[0]?.name;
    return {
      ...{ listener: formatAddress(settings.listen), method, host, target, client, route },
      ...{ trusted: false, position: undefined, positionFrom: "none", forwardedTarget: target },
      ...{ routes: [], rateLimit: undefined, answer: undefined, upstreams: [] },
    };
  }

  inspect(): DataPlaneInspection {
    return { clientConnections: this.told.length, exchanges: 0, tunnels: 0, waiting: 0, backends: [] };
  }
}

/** Settings with one listener and two backends, and what `more` says. */
export function settingsOf(more: Partial<SettingsInput> = {}): Settings {
  return settingsSchema.parse({
    admin: false,
    listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
    upstreams: { web: { backends: ["http://127.0.0.1:9001", "http://127.0.0.1:9002"] } },
    ...more,
  });
}

/** Shared memory for `settings` and `workers` workers. */
export function memoryOf(settings: Settings, workers = 1): SharedMemory {
  const layout = createLayout({
    upstreams: Object.keys(settings.upstreams),
    backends: assignSlots(settings),
    affinities: affinityRows(settings),
    listeners: settings.listeners.map((_, index) => `listener-${index}`),
  });
  return {
    layout,
    metrics: createMetricsMemory(layout, workers + 1),
    counts: createCounts(layout.capacity.backends, workers),
  };
}

/** What a worker is started with besides settings and memory, where it does not matter. */
export const workerDefaults = {
  worker: 0,
  bind: "exclusive",
  down: [],
  secret: "a secret of the tests",
  sharedSessions: new Set(),
  geoip: new Map(),
} as const satisfies Partial<WorkerData>;

/** A listen error as the system would report it. */
export const inUse = (address: string): ListenError => new ListenError("EADDRINUSE", address, "listen EADDRINUSE");
