import type { UpstreamSettings } from "../config/settings.ts";
import type { Backend, BackendCounts } from "../policy/model/backend.ts";
import { distanceKm } from "../policy/model/great-circle.ts";
import type { Position } from "../policy/model/position.ts";
import type { DispatchEvent } from "../policy/upstream/dispatch.ts";
import type { BackendState } from "../policy/upstream/member.ts";
import { Upstream, type UpstreamChange } from "../policy/upstream/upstream.ts";
import { ConnectionPool } from "../pool/connection-pool.ts";
import type { Timer } from "../time/clock.ts";
import type { ChunkedLimits } from "../wire/chunked-decoder.ts";
import { ResponseHead } from "../wire/response-head.ts";
import { BackendConnection } from "./backend-connection.ts";
import type { BackendCondition, LogLevel } from "./data-plane-api.ts";
import { Rebalancer } from "./rebalancer.ts";
import type { Services } from "./services.ts";
import type { BackendSlot } from "./slots.ts";
import type { Destination, Transport } from "./transport/net-transport.ts";
import { backendOf, policyOf, setMembers } from "./upstream-policy.ts";

/** What a backend's response may be: heads are held in memory, so they are bounded. */
export const RESPONSE_LIMITS: ChunkedLimits = { headBytes: 64 * 1024, headFields: 256, chunkExtensionBytes: 16 * 1024 };

type BackendSettings = UpstreamSettings["backends"][number];

/** One backend with the connections of this data plane to it. */
export interface BackendRuntime {
  readonly backend: Backend;
  readonly pool: ConnectionPool<BackendConnection>;
  readonly upstream: UpstreamRuntime;
  /** What a Host field says of it. */
  readonly authority: string;
}

/** What upstreams are run with. */
export interface UpstreamContext {
  readonly services: Services;
  readonly transport: Transport;
  readonly counts: BackendCounts;
}

type Respond = NonNullable<Exclude<UpstreamSettings["circuitBreaker"], false>["fallback"]>["respond"];
/** The fixed response of a fallback. */
export type FixedResponse = NonNullable<Respond>;

/** An upstream as this data plane runs it: its policy, and a pool for each backend. */
export class UpstreamRuntime {
  readonly index: number;
  readonly settings: UpstreamSettings;
  readonly upstream: Upstream;
  readonly backends: ReadonlyMap<Backend, BackendRuntime>;
  /** Asks tunnels to go when its backends become more; where that is on. */
  readonly rebalancer: Rebalancer | undefined;
  readonly #services: Services;
  readonly #timer: Timer;
  readonly #told = new Map<Backend, BackendCondition>();
  #heldTold = 0;
  #evictionsTold = 0;
  #fallback: UpstreamRuntime | undefined;

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
    this.#services = services;
    this.#timer = services.clock.timer(() => {
      // One time for all that it sets going.
      services.clock.hold?.();
      try {
        this.upstream.advance(services.clock.now());
        this.countSessions();
      } finally {
        services.clock.release?.();
      }
    });
    this.upstream = new Upstream({
      ...policyOf(name, settings, services),
      panicked: (on) => this.#tellPanic(on),
      onError: (error) => services.events.log("error", "policy-threw", `a policy threw: ${String(error)}`),
      alarm: (atMs) => this.#timer.set(Math.max(0, atMs - services.clock.now())),
    });
    services.upstreams.set(this.upstream, this);
    const head = new ResponseHead(RESPONSE_LIMITS);
    this.backends = new Map(
      settings.backends.map((backendSettings, at) => {
        const backend = backendOf(backendSettings, slots[at]!.slot, context.counts);
        const runtime = this.#backendRuntime(backend, backendSettings, head, context);
        services.runtimes.set(backend, runtime);
        return [backend, runtime];
      }),
    );
    setMembers(this.upstream, [...this.backends.keys()], settings, services.clock.now());
    this.upstream.onChange((change) => this.#changed(change));
    const rebalance = settings.affinity !== false && settings.affinity.rebalance;
    if (rebalance === false) return;
    const closed = () => services.stripe.rebalanced(index);
    this.rebalancer = new Rebalancer({ upstream: this.upstream, options: rebalance, services, closed });
  }

  /** Once all upstreams are there: what takes over when none of its backends can be tried. */
  linkFallback(upstreamOf: (name: string) => UpstreamRuntime): void {
    const { circuitBreaker } = this.settings;
    const fallback = circuitBreaker === false ? undefined : circuitBreaker.fallback;
    if (fallback === undefined) return;
    const { upstream, respond } = fallback;
    if (upstream !== undefined) this.#fallback = upstreamOf(upstream);
    this.upstream.fallback = { upstream: this.#fallback?.upstream, respond };
  }

  /** Whether sessions belong to backends, here or in the fallback. */
  get isSticky(): boolean {
    return this.settings.affinity !== false || (this.#fallback?.settings.affinity ?? false) !== false;
  }

  /** Whether it matters where clients are, here or in the fallback. */
  get asksForPosition(): boolean {
    return this.settings.balance.policy === "nearest" || this.#fallback?.settings.balance.policy === "nearest";
  }

  /** Gauges that follow from the policy, for the metrics. */
  count(): void {
    const { stripe } = this.#services;
    stripe.waiting(this.index, this.upstream.waiting);
    const { limit } = this.upstream;
    if (limit !== undefined) stripe.concurrencyLimit(this.index, limit.limit);
  }

  /** What became of a session. */
  countSession(event: DispatchEvent): void {
    const { stripe } = this.#services;
    if (event === "session-kept") stripe.sessionKept(this.index);
    else if (event === "session-begun") stripe.sessionBegun(this.index);
    else if (event === "session-moved") stripe.sessionMoved(this.index);
    else if (event === "session-lost") stripe.sessionLost(this.index);
    this.countSessions();
  }

  /** How far an attempt has to go, where both ends are known. */
  countDistance(backend: Backend, client: Position | undefined): void {
    if (client === undefined || backend.position === undefined) return;
    this.#services.stripe.distance(this.index, distanceKm(backend.position, client));
  }

  /** What its table of sessions holds, where it has one. */
  countSessions(): void {
    const figures = this.upstream.affinity?.figures;
    if (figures === undefined) return;
    const { held, evicted } = figures;
    if (held === this.#heldTold && evicted === this.#evictionsTold) return;
    const { stripe } = this.#services;
    stripe.sessionsHeld(this.index, held);
    stripe.sessionsEvicted(this.index, evicted - this.#evictionsTold);
    this.#heldTold = held;
    this.#evictionsTold = evicted;
  }

  /** Closes all connections to its backends. */
  close(): void {
    this.#timer.clear();
    this.rebalancer?.close();
    for (const { pool } of this.backends.values()) pool.close();
  }

  #changed(change: UpstreamChange): void {
    if (change.kind === "condition") return this.#tellCondition(change.backend);
    if (change.kind !== "state") return;
    const { backend, from, to, reason } = change;
    if (to === "down") this.backends.get(backend)?.pool.closeIdle("backend down");
    const { events, stripe } = this.#services;
    if (to === "open") stripe.breakerTripped(backend.slot);
    if (to === "ejected") stripe.ejected(backend.slot);
    this.#tellCondition(backend);
    const told = TOLD[to] ?? (to === "up" ? TOLD_BACK[from] : undefined);
    if (told === undefined) return;
    const [level, code, what] = told;
    events.log(level, code, `${this.upstream.name}: ${backend.id} ${what}: ${reason}`, {
      upstream: this.upstream.name,
      backend: backend.id,
      reason,
    });
  }

  #tellPanic(on: boolean): void {
    const { name } = this.upstream;
    if (on) {
      const message = `${name}: too few backends are well: requests go to all of them, in whatever state they are`;
      this.#services.events.log("warn", "panic_began", message, { upstream: name });
    } else {
      this.#services.events.log("info", "panic_ended", `${name}: enough backends are well again`, { upstream: name });
    }
  }

  /** To the control plane, when it is another one than was told last. */
  #tellCondition(backend: Backend): void {
    const { upstream } = this;
    const circuit = upstream.circuitOf(backend)?.state ?? "closed";
    const ejected = upstream.ejectionOf(backend) !== undefined;
    const status = upstream.stateOf(backend);
    // That a circuit closed while the checks say down says nothing in its favour.
    const reason = ejected || circuit !== "closed" || status?.state === "up" ? (status?.reason ?? "") : "";
    const told = this.#told.get(backend);
    if (told === undefined ? circuit === "closed" && !ejected : told.circuit === circuit && told.ejected === ejected) {
      return;
    }
    const condition = { circuit, ejected, reason };
    this.#told.set(backend, condition);
    this.#services.events.backendCondition(backend.slot, condition);
  }

  #backendRuntime(
    backend: Backend,
    { endpoint, address, maxConnections }: BackendSettings,
    head: ResponseHead,
    { services, transport, counts }: UpstreamContext,
  ): BackendRuntime {
    const { pool: limits, timeouts } = this.settings;
    const { slot } = backend;
    const destination: Destination =
      endpoint.kind === "unix" ? { path: endpoint.path } : { host: endpoint.host, port: endpoint.port };
    const pool = new ConnectionPool<BackendConnection>({
      create: async (signal) =>
        new BackendConnection(await transport.connect(destination, signal), slot, head, services),
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
      // Who waits for room waits in the upstream; here one waits for a connection that is being opened.
      queue: { max: Number.POSITIVE_INFINITY, timeoutMs: Math.max(timeouts.connect, limits.queue.timeout) },
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
    return { backend, pool, upstream: this, authority: endpoint.kind === "unix" ? "localhost" : address };
  }
}

type Told = readonly [level: LogLevel, code: string, what: string];

/** Health checks tell of up and down themselves, once for all workers. */
const TOLD: Partial<Record<BackendState, Told>> = {
  open: ["warn", "circuit_opened", "gets no more requests, its circuit is open"],
  "half-open": ["info", "circuit_half_open", "is tried again"],
  ejected: ["warn", "backend_ejected", "gets no more requests, it is ejected"],
};

const TOLD_BACK: Partial<Record<BackendState, Told>> = {
  open: ["info", "circuit_closed", "takes requests again"],
  "half-open": ["info", "circuit_closed", "takes requests again"],
  ejected: ["info", "backend_returned", "takes requests again"],
};
