import { randomBytes, randomInt } from "node:crypto";
import { type Admin, type AdminSource, createAdmin, type Readiness } from "../admin/index.ts";
import type { AdminSettings, Settings } from "../config/settings.ts";
import { formatAddress } from "../config/values.ts";
import { createLayout, createMetricsMemory } from "../metrics/layout.ts";
import { reportText } from "../metrics/report.ts";
import { createCounts, SharedCounts } from "../metrics/shared-counts.ts";
import { readSnapshot, type Snapshot } from "../metrics/snapshot.ts";
import { Stripe } from "../metrics/stripe.ts";
import { SeededRandom } from "../policy/model/random.ts";
import type { BoundAddress } from "../proxy/data-plane-api.ts";
import { affinityRows, assignSlots } from "../proxy/slots.ts";
import type { Clock } from "../time/clock.ts";
import { AccessLog } from "./access-log.ts";
import { BackendBoard } from "./backend-board.ts";
import type { DataPlaneParts, DataPlanes } from "./data-planes.ts";
import { countDroppedLines } from "./dropped-lines.ts";
import { GeoipFiles } from "./geoip.ts";
import { type Check, checkBackend } from "./health/check.ts";
import { HealthMonitor } from "./health/monitor.ts";
import type { Log } from "./log.ts";
import { LogLimiter, limitLog } from "./log-limiter.ts";
import type { SharedMemory } from "./messages.ts";
import { openStores } from "./sessions/open-stores.ts";
import { SessionHub } from "./sessions/session-hub.ts";
import type { SharedStore } from "./sessions/shared-store.ts";

/** How a Spillway runs. */
export interface SpillwayOptions {
  readonly version: string;
  readonly log: Log;
  readonly clock: Clock;
  /** Data planes there will be. */
  readonly workers: number;
  makeDataPlanes(parts: DataPlaneParts): DataPlanes;
  /** Default: real checks. */
  readonly check?: Check;
}

/** How long the access log gets to write what it holds when Spillway stops. */
const LAST_LINES_MS = 1_000;

/** A running load balancer: data planes, health checks, logs and the admin server. */
export class Spillway implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #options: SpillwayOptions;
  readonly #startedAt: number;
  readonly #memory: SharedMemory;
  readonly #counts: SharedCounts;
  readonly #board: BackendBoard;
  readonly #accessLog: AccessLog | undefined;
  readonly #geoip: GeoipFiles;
  readonly #sessions: SessionHub;
  readonly #planes: DataPlanes;
  readonly #health: HealthMonitor;
  readonly #admin: Admin | undefined;
  #listeners: readonly BoundAddress[] = [];
  #adminAddress: BoundAddress | undefined;
  #stopping: Promise<{ readonly cut: number }> | undefined;

  private constructor(
    settings: Settings,
    options: SpillwayOptions,
    memory: SharedMemory,
    accessLog: AccessLog | undefined,
    stores: ReadonlyMap<string, SharedStore>,
    geoip: GeoipFiles,
  ) {
    const { clock, log } = options;
    const backends = assignSlots(settings);
    this.#settings = settings;
    this.#options = options;
    this.#startedAt = clock.wallTime();
    this.#memory = memory;
    this.#counts = new SharedCounts(memory.counts);
    this.#board = new BackendBoard(backends, options.workers, this.#startedAt);
    this.#accessLog = accessLog;
    this.#geoip = geoip;
    this.#sessions = new SessionHub({
      stores,
      answers: {
        sessionFound: (worker, id, address, failed) => this.#planes.sessionFound(worker, id, address, failed),
        sessionCorrected: (worker, upstream, key, address, instead) =>
          this.#planes.sessionCorrected(worker, upstream, key, address, instead),
        sessionsForgotten: (upstream) => this.#planes.sessionsForgotten(upstream),
      },
      counters: new Stripe(memory.layout, memory.metrics, options.workers),
      clock,
      later: twoTurnsLater,
      log,
    });
    this.#planes = options.makeDataPlanes({
      settings,
      memory,
      clock,
      log,
      accessLog,
      conditions: {
        conditionChanged: (worker, slot, condition) =>
          this.#board.setCondition(worker, slot, condition, clock.wallTime()),
        workerDied: (worker) => {
          this.#board.forgetWorker(worker, clock.wallTime());
          this.#sessions.workerDied(worker);
        },
      },
      sessions: this.#sessions,
      secret: randomBytes(32).toString("base64url"),
      sharedSessions: new Set(stores.keys()),
      geoip: geoip.databases,
    });
    this.#health = new HealthMonitor({
      backends: backends.flatMap(({ slot, upstreamName, id, settings: { endpoint } }) => {
        const check = settings.upstreams[upstreamName]!.healthCheck;
        return check === false ? [] : [{ slot, upstream: upstreamName, id, endpoint, settings: check }];
      }),
      check: options.check ?? checkBackend,
      clock,
      random: new SeededRandom(randomInt(2 ** 32)),
      log,
      changed: (slot, up, reason) => {
        this.#board.setHealth(slot, up, reason, clock.wallTime());
        this.#planes.setHealth(slot, up, reason);
      },
      passed: (slot, http) => {
        if (this.#board.ejected(slot)) this.#planes.checkPassed(slot, http);
      },
    });
    this.#admin = settings.admin === false ? undefined : this.#createAdmin(settings.admin);
  }

  /**
   * Opens everything: GeoIP databases, stores of sessions, access log, listeners, admin server, in this order, and begins
   * to check backends. A store that does not answer holds the start up for a second at most.
   * @throws ListenError or StartError when something cannot be had; nothing is left open then.
   */
  static async start(settings: Settings, options: SpillwayOptions): Promise<Spillway> {
    const memory = createMemory(settings, options.workers);
    const geoip = await GeoipFiles.read(settings.listeners, options);
    const random = new SeededRandom(randomInt(2 ** 32));
    const stores = await openStores(settings.upstreams, { ...options, random });
    const accessLog = await openAccessLog(settings, memory, options);
    const spillway = new Spillway(settings, options, memory, accessLog, stores, geoip);
    try {
      await spillway.#open();
    } catch (error) {
      await spillway.#close();
      throw error;
    }
    return spillway;
  }

  /** Where it listens, in the order of the configuration. */
  get listeners(): readonly BoundAddress[] {
    return this.#listeners;
  }

  /** Where the admin server listens; undefined while it is switched off. */
  get admin(): BoundAddress | undefined {
    return this.#adminAddress;
  }

  /** Everything counted up to now. */
  metrics(): Snapshot {
    return readSnapshot(this.#memory.layout, this.#memory.metrics, {
      counts: this.#counts,
      backends: this.#board.views(),
      stores: this.#sessions.views(),
    });
  }

  /** The same as text for people. */
  report(): string {
    return reportText(this.metrics());
  }

  /** Whether new traffic is welcome. */
  ready(): Readiness {
    const reason = this.#stopping === undefined ? this.#planes.missing() : "draining";
    return { ready: reason === undefined, reason: reason ?? "" };
  }

  /** Opens the file of the access log anew, after it has been moved away. */
  reopenLogs(): void {
    this.#accessLog?.reopen();
  }

  /**
   * Drains and ends: nothing is accepted any more, running exchanges get until `deadlineMs` (default: the longest
   * `timeouts.drain` of the listeners), then everything is closed. Later calls wait for the first one's end.
   */
  stop(deadlineMs?: number): Promise<{ readonly cut: number }> {
    this.#stopping ??= this.#stop(deadlineMs ?? this.drainMs);
    return this.#stopping;
  }

  /** The longest time a listener gives running exchanges to end, in milliseconds. */
  get drainMs(): number {
    return Math.max(0, ...this.#settings.listeners.map(({ timeouts }) => timeouts.drain));
  }

  /** As `stop`, with the configured deadline. */
  async close(): Promise<void> {
    await this.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #open(): Promise<void> {
    await this.#sessions.start();
    this.#listeners = await this.#planes.start();
    this.#adminAddress = await this.#admin?.start();
    this.#health.start();
    this.#geoip.watch((path, database) => this.#planes.setGeoip(path, database));
  }

  async #stop(deadlineMs: number): Promise<{ readonly cut: number }> {
    const result = await this.#planes.drain(deadlineMs);
    await this.#close();
    return result;
  }

  async #close(): Promise<void> {
    this.#health.stop();
    this.#geoip.close();
    await this.#planes.close();
    this.#sessions.close();
    await this.#admin?.stop();
    await this.#accessLog?.close(LAST_LINES_MS);
  }

  #createAdmin({ listen }: Exclude<AdminSettings, false>): Admin {
    const log = limitLog(this.#options.log, this.#options.clock);
    const source: AdminSource = {
      version: this.#options.version,
      startedAt: this.#startedAt,
      snapshot: () => this.metrics(),
      status: () => ({ workers: this.#planes.running, listeners: this.#listeners.map(formatAddress) }),
      ready: () => this.ready(),
      explain: (request) => this.#planes.explain(request),
    };
    return createAdmin(source, {
      // An empty host is every address of the machine, IPv4 and IPv6.
      listen: listen.kind === "unix" ? listen : { ...listen, host: listen.host ?? "" },
      onError: (error) =>
        log.write("warn", "admin_error", `admin server: ${error.message}`, { stack: error.stack ?? "" }),
    });
  }
}

async function openAccessLog(
  settings: Settings,
  memory: SharedMemory,
  { workers, clock, log }: SpillwayOptions,
): Promise<AccessLog | undefined> {
  const { format, path } = settings.log.access;
  if (format === "off") return undefined;
  const limited = limitLog(log, clock, new LogLimiter(1, 60_000));
  return AccessLog.open(path, {
    dropped: countDroppedLines(new Stripe(memory.layout, memory.metrics, workers), log, clock),
    failed: (message) => limited.write("error", "access_log_failed", message),
  });
}

/**
 * Within one turn of the event loop the messages of all workers are read once, in no order of time: of two messages the
 * earlier one may be read a turn later. After two turns it has been.
 */
function twoTurnsLater(run: () => void): void {
  setImmediate(() => setImmediate(run));
}

/** One stripe per worker, and a last one for what the control plane counts. */
function createMemory(settings: Settings, workers: number): SharedMemory {
  const layout = createLayout({
    upstreams: Object.keys(settings.upstreams),
    backends: assignSlots(settings),
    affinities: affinityRows(settings),
    listeners: settings.listeners.map(({ listen }) => formatAddress(listen)),
  });
  return {
    layout,
    metrics: createMetricsMemory(layout, workers + 1),
    counts: createCounts(layout.capacity.backends, workers),
  };
}
