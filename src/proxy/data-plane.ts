import type { ListenOptions } from "node:net";
import type { ListenerSettings } from "../config/settings.ts";
import { formatAddress } from "../config/values.ts";
import { compileRoutes } from "../policy/route/table.ts";
import type { Timer } from "../time/clock.ts";
import { AccessLog } from "./access-log.ts";
import {
  type BoundAddress,
  type DataPlane,
  type DataPlaneInit,
  type DataPlaneInspection,
  ListenError,
  type RequestDescription,
  type RequestExplanation,
} from "./data-plane-api.ts";
import { explainRequest } from "./explain.ts";
import { Listener } from "./listener.ts";
import { RequestIds } from "./request-ids.ts";
import { dateSource, type Services } from "./services.ts";
import { SharedSessions } from "./shared-sessions.ts";
import { assignSlots } from "./slots.ts";
import type { ReadMode } from "./transport/net-connection.ts";
import { detectReadMode, type ListeningSocket, NetTransport } from "./transport/net-transport.ts";
import { type BackendRuntime, UpstreamRuntime } from "./upstream-runtime.ts";

/** Connections that wait to be accepted. The kernel's own limit (net.core.somaxconn) is often lower. */
const BACKLOG = 4096;

/** Makes the data plane of one thread. Nothing is bound before `start`. `mode` is found out when it is left out. */
export async function createDataPlane(init: DataPlaneInit, mode?: ReadMode): Promise<DataPlane> {
  const readMode = mode ?? (await detectReadMode(init.clock));
  if (readMode === "data")
    init.events.log(
      "warn",
      "read-mode",
      "accepted sockets cannot be adopted on this Node.js: reading is a few percent dearer",
    );
  // A handler that throws is a fault of ours; it has cost one connection.
  const fault = (error: unknown) =>
    init.events.log("error", "fault", error instanceof Error ? (error.stack ?? error.message) : String(error));
  return new NetDataPlane(init, new NetTransport(readMode, init.clock, fault));
}

interface Draining {
  readonly resolve: (result: { readonly cut: number }) => void;
  readonly deadline: Timer;
}

class NetDataPlane implements DataPlane {
  readonly #init: DataPlaneInit;
  readonly #transport: NetTransport;
  readonly #services: Services;
  readonly #upstreams: readonly UpstreamRuntime[];
  readonly #bySlot = new Map<number, { readonly runtime: BackendRuntime; readonly upstream: UpstreamRuntime }>();
  readonly #listeners: readonly Listener[];
  #sockets: readonly (ListeningSocket | undefined)[] = [];
  #draining: Draining | undefined;
  #drained: Promise<{ readonly cut: number }> | undefined;

  constructor(init: DataPlaneInit, transport: NetTransport) {
    this.#init = init;
    this.#transport = transport;
    const { settings, clock, random, stripe, events } = init;
    const { format } = settings.log.access;
    this.#services = {
      clock,
      random,
      stripe,
      events,
      buffers: transport.buffers,
      requestIds: new RequestIds(random),
      accessLog: format === "off" ? undefined : new AccessLog(format, clock, (line) => events.accessLog(line)),
      sharedSessions: new SharedSessions(init.sharedSessions, events),
      secret: init.secret,
      runtimes: new Map(),
      upstreams: new Map(),
      draining: false,
      exchanges: 0,
      tunnels: 0,
      ended: () => {
        if (this.#draining !== undefined) this.#checkDrained(this.#draining);
      },
      date: dateSource(clock),
    };
    const context = { services: this.#services, transport, counts: init.counts };
    const slots = assignSlots(settings);
    const byName = new Map<string, UpstreamRuntime>();
    Object.entries(settings.upstreams).forEach(([name, upstream], index) => {
      const own = slots.filter((slot) => slot.upstream === index);
      byName.set(name, new UpstreamRuntime(name, index, upstream, own, context));
    });
    this.#upstreams = [...byName.values()];
    for (const upstream of this.#upstreams) upstream.linkFallback((name) => byName.get(name)!);
    for (const upstream of this.#upstreams) {
      for (const runtime of upstream.backends.values()) this.#bySlot.set(runtime.backend.slot, { runtime, upstream });
    }
    this.#listeners = settings.listeners.map((listener, index) => {
      const routes = compileRoutes(listener.routes, (name) => byName.get(name)!);
      return new Listener(index, listener, routes, this.#services, init.geoip);
    });
  }

  async start(): Promise<readonly BoundAddress[]> {
    const { settings } = this.#init;
    const results = await Promise.allSettled(settings.listeners.map((listener, index) => this.#bind(listener, index)));
    this.#sockets = results.map((result) => (result.status === "fulfilled" ? result.value : undefined));
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) {
      this.close();
      throw failed.reason;
    }
    return this.#sockets.map((socket, index) => boundAddress(socket, settings.listeners[index]!));
  }

  async #bind(settings: ListenerSettings, index: number): Promise<ListeningSocket | undefined> {
    const { bind, worker } = this.#init;
    const listener = this.#listeners[index]!;
    const fd = bind.mode === "fds" ? bind.fds[index] : undefined;
    const { listen } = settings;
    // A Unix socket has one owner; so has an address for which no shared socket was made.
    if (worker > 0 && fd === undefined && (bind.mode === "fds" || listen.kind === "unix")) return undefined;
    const options: ListenOptions & { reusePort?: boolean } =
      fd !== undefined
        ? ({ fd } as ListenOptions)
        : listen.kind === "unix"
          ? { path: listen.path }
          : { port: listen.port, ...(listen.host === undefined ? {} : { host: listen.host }) };
    options.backlog = BACKLOG;
    if (bind.mode === "reuse-port" && listen.kind === "tcp") options.reusePort = true;
    try {
      return await this.#transport.listen(options, (connection) => listener.accepted(connection));
    } catch (error) {
      const { code = "UNKNOWN", message } = error as NodeJS.ErrnoException;
      throw new ListenError(code, formatAddress(listen), message, { cause: error });
    }
  }

  setHealth(slot: number, up: boolean, reason: string): void {
    const found = this.#bySlot.get(slot);
    found?.upstream.upstream.setHealth(found.runtime.backend, up, reason, this.#services.clock.now());
  }

  checkPassed(slot: number, http: boolean): void {
    const found = this.#bySlot.get(slot);
    found?.upstream.upstream.checkPassed(found.runtime.backend, http, this.#services.clock.now());
  }

  sessionFound(id: number, address: string | undefined): void {
    this.#services.sharedSessions.found(id, address, this.#services.clock.now());
  }

  sessionCorrected(upstream: string, key: string, address: string, instead: readonly string[]): void {
    this.#services.sharedSessions.corrected(upstream, key, address, instead, this.#services.clock.now());
  }

  sessionsForgotten(upstream: string): void {
    this.#services.sharedSessions.forgotten(upstream);
  }

  setGeoip(path: string, database: SharedArrayBuffer): void {
    for (const { positions } of this.#listeners) positions?.setDatabase(path, database);
  }

  surrenderConnection(slot: number): void {
    this.#bySlot.get(slot)?.runtime.pool.surrenderIdle();
  }

  retryConnections(slot: number): void {
    this.#bySlot.get(slot)?.runtime.pool.retry();
  }

  drain(deadlineMs: number): Promise<{ readonly cut: number }> {
    this.#drained ??= this.#drain(deadlineMs);
    return this.#drained;
  }

  #drain(deadlineMs: number): Promise<{ readonly cut: number }> {
    const services = this.#services;
    services.draining = true;
    for (const socket of this.#sockets) socket?.close();
    return new Promise((resolve) => {
      const deadline = services.clock.timer(() => {
        this.#draining = undefined;
        const cut = services.exchanges + services.tunnels;
        this.close();
        resolve({ cut });
      });
      const draining = { resolve, deadline };
      this.#draining = draining;
      deadline.set(deadlineMs);
      for (const listener of this.#listeners) listener.drain();
      this.#checkDrained(draining);
    });
  }

  /** Drained is when no client is connected any more: an answer is only out when its connection has closed. */
  #checkDrained({ resolve, deadline }: Draining): void {
    if (this.#listeners.some(({ connections }) => connections > 0)) return;
    this.#draining = undefined;
    deadline.clear();
    this.close();
    resolve({ cut: 0 });
  }

  close(): void {
    this.#services.draining = true;
    for (const socket of this.#sockets) socket?.close();
    this.#sockets = [];
    for (const listener of this.#listeners) listener.abort();
    for (const upstream of this.#upstreams) upstream.close();
  }

  explain(request: RequestDescription): RequestExplanation | undefined {
    const listener = this.#listeners[request.listener];
    if (listener === undefined) return undefined;
    const { clock, upstreams, events } = this.#services;
    const address = formatAddress(this.#init.settings.listeners[request.listener]!.listen);
    try {
      return explainRequest(listener, request, { address, upstreams, wallMs: clock.wallTime(), now: clock.now() });
    } catch (error) {
      // Whatever is wrong with it, no traffic has to suffer.
      events.log("error", "fault", `a request could not be explained: ${String(error)}`);
      return undefined;
    }
  }

  inspect(): DataPlaneInspection {
    return {
      clientConnections: this.#listeners.reduce((sum, { connections }) => sum + connections, 0),
      exchanges: this.#services.exchanges,
      tunnels: this.#services.tunnels,
      waiting: this.#upstreams.reduce((sum, { upstream }) => sum + upstream.waiting, 0),
      backends: [...this.#bySlot.values()].map(({ runtime: { backend, pool } }) => {
        const { idle, busy, opening, waiting } = pool.stats;
        return { slot: backend.slot, idle, busy, opening, waiting };
      }),
    };
  }
}

function boundAddress(socket: ListeningSocket | undefined, { listen }: ListenerSettings): BoundAddress {
  const bound = socket?.address;
  if (bound !== undefined) return "path" in bound ? { kind: "unix", ...bound } : { kind: "tcp", ...bound };
  return listen.kind === "unix" ? listen : { kind: "tcp", host: listen.host ?? "::", port: listen.port };
}
