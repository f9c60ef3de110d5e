import type { UpstreamSettings } from "../config/settings.ts";
import { type BalanceSettings, createBalancer } from "../policy/balance/index.ts";
import { Backend, type BackendCounts } from "../policy/model/backend.ts";
import { Upstream } from "../policy/upstream/upstream.ts";
import { ConnectionPool } from "../pool/connection-pool.ts";
import type { ChunkedLimits } from "../wire/chunked-decoder.ts";
import { ResponseHead } from "../wire/response-head.ts";
import { BackendConnection } from "./backend-connection.ts";
import type { Services } from "./services.ts";
import type { BackendSlot } from "./slots.ts";
import type { Destination, Transport } from "./transport/net-transport.ts";

/** What a backend's response may be: heads are held in memory, so they are bounded. */
export const RESPONSE_LIMITS: ChunkedLimits = { headBytes: 64 * 1024, headFields: 256, chunkExtensionBytes: 16 * 1024 };

type BackendSettings = UpstreamSettings["backends"][number];

/** One backend with the connections of this data plane to it. */
export interface BackendRuntime {
  readonly backend: Backend;
  readonly pool: ConnectionPool<BackendConnection>;
  /** What a Host field says of it. */
  readonly authority: string;
}

/** What upstreams are run with. */
export interface UpstreamContext {
  readonly services: Services;
  readonly transport: Transport;
  readonly counts: BackendCounts;
}

/** An upstream as this data plane runs it: its policy, and a pool for each backend. */
export class UpstreamRuntime {
  readonly index: number;
  readonly settings: UpstreamSettings;
  readonly upstream: Upstream;
  readonly backends: ReadonlyMap<Backend, BackendRuntime>;

  /** `slots` are the rows of its backends in shared counters, in order. */
  constructor(
    name: string,
    index: number,
    settings: UpstreamSettings,
    slots: readonly BackendSlot[],
    context: UpstreamContext,
  ) {
    const { services } = context;
    this.index = index;
    this.settings = settings;
    // The settings of a balancer are checked by its own description; the schema's type is wider.
    const balancer = createBalancer(settings.balance as BalanceSettings, services.random);
    this.upstream = new Upstream({ name, balancer });
    const head = new ResponseHead(RESPONSE_LIMITS);
    this.backends = new Map(
      settings.backends.map((backendSettings, at) => {
        const backend = new Backend({ ...backendSettings, slot: slots[at]!.slot }, context.counts);
        return [backend, backendRuntime(backend, backendSettings, settings, head, context)];
      }),
    );
    const now = services.clock.now();
    const members = [...this.backends.keys()];
    this.upstream.update(members, now);
    for (const [at, { state }] of settings.backends.entries()) {
      if (state !== "up") this.upstream.setAdminState(members[at]!, state, "set in the configuration", now);
    }
    this.upstream.onChange((change) => {
      if (change.kind === "state" && change.to === "down")
        this.backends.get(change.backend)?.pool.closeIdle("backend down");
    });
  }

  /** Closes all connections to its backends. */
  close(): void {
    for (const { pool } of this.backends.values()) pool.close();
  }
}

function backendRuntime(
  backend: Backend,
  { endpoint, address, maxConnections }: BackendSettings,
  { pool: limits, timeouts }: UpstreamSettings,
  head: ResponseHead,
  { services, transport, counts }: UpstreamContext,
): BackendRuntime {
  const { slot } = backend;
  const destination: Destination =
    endpoint.kind === "unix" ? { path: endpoint.path } : { host: endpoint.host, port: endpoint.port };
  const pool = new ConnectionPool<BackendConnection>({
    create: async (signal) => new BackendConnection(await transport.connect(destination, signal), slot, head, services),
    destroy: (connection) => connection.destroy(),
    isAlive: (connection) => connection.alive,
    watch: (connection, dead) => {
      connection.died = dead;
    },
    maxConnections,
    maxIdle: limits.maxIdle,
    idleTimeoutMs: limits.idleTimeout,
    maxRequests: limits.maxRequests,
    maxAgeMs: limits.maxAge,
    openTimeoutMs: timeouts.connect,
    queue: { max: limits.queue.max, timeoutMs: limits.queue.timeout },
    bound: {
      take: (limit) => counts.takeConnection(slot, limit),
      give: () => counts.giveConnection(slot),
      held: () => counts.connections(slot),
    },
    onBoundExhausted: () => services.events.connectionWanted(slot),
    onBoundFreed: () => services.events.connectionFreed(slot),
    onError: (error) => services.events.log("error", "pool", `the connection pool failed: ${String(error)}`),
    clock: services.clock,
    random: services.random,
  });
  return { backend, pool, authority: endpoint.kind === "unix" ? "localhost" : address };
}
