import { quantileMs } from "../metrics/histogram.ts";
import { meanMs } from "../metrics/report.ts";
import type {
  BackendState,
  BackendStats,
  CircuitState,
  ExchangeStats,
  SessionStoreView,
  StoreStats,
  UpstreamStats,
} from "../metrics/snapshot.ts";
import type { Position } from "../policy/model/position.ts";
import type { AdminSource, Readiness } from "./source.ts";

/** The answer of `/api/v1/status`. Durations are milliseconds, times are ISO 8601 in UTC. */
export interface StatusDocument {
  readonly version: string;
  readonly startedAt: string;
  readonly uptimeSeconds: number;
  readonly readiness: Readiness;
  readonly workers: number;
  readonly listeners: readonly string[];
  readonly requests: ExchangeFigures;
  readonly rejected: Readonly<Record<number, number>>;
  readonly shed: Readonly<Record<string, number>>;
  readonly timeouts: Readonly<Record<string, number>>;
  /** Exchanges that wanted the position of their client, by where it was taken from. */
  readonly positions: Readonly<Record<string, number>>;
  readonly sessionStore: SessionStoreDocument;
  /** Of each upstream whose sessions several workers or instances share. */
  readonly sessionStores: readonly SessionStoreView[];
  readonly upstreams: readonly UpstreamDocument[];
}

export interface ExchangeFigures {
  readonly total: number;
  readonly failed: number;
  readonly active: number;
  readonly meanMs: number;
  /** Estimated from the latency buckets. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly statuses: Readonly<Record<number, number>>;
}

export interface UpstreamDocument {
  readonly name: string;
  readonly requests: ExchangeFigures;
  /** Exchanges that wait for room now. */
  readonly waiting: number;
  /** Exchanges that may run at a time; 0 while there is no such limit. */
  readonly concurrencyLimit: number;
  /** Sent again after a failure. */
  readonly retries: number;
  readonly retriesDenied: number;
  /** Went on to another backend because nothing had been sent. */
  readonly moves: number;
  readonly fallbacks: number;
  readonly hedges: number;
  readonly hedgesWon: number;
  /** Null: it has no sessions. */
  readonly affinity: AffinityDocument | null;
  /** Attempts by region; empty when no backend names one. */
  readonly regions: Readonly<Record<string, number>>;
  /** Mean distance from the clients to the backends they were sent to; null: none is known. */
  readonly meanKm: number | null;
  readonly backends: readonly BackendDocument[];
}

export interface AffinityDocument {
  readonly by: string;
  readonly ttlMs: number;
  readonly strict: boolean;
  readonly store: "none" | "memory" | "redis";
  /** Most sessions in the table of each worker, and those in all tables now; null where nothing is remembered. */
  readonly maxSessions: number | null;
  readonly held: number | null;
  readonly begun: number;
  /** Exchanges answered by the backend of their session. */
  readonly kept: number;
  readonly moved: number;
  /** Exchanges refused because the backend of their session was lost. */
  readonly lost: number;
  readonly evicted: number;
  /** Tunnels closed so that clients may be sent elsewhere. */
  readonly rebalanced: number;
}

/** What the shared store of sessions was asked. */
export interface SessionStoreDocument {
  readonly find: { readonly asked: number; readonly meanMs: number };
  readonly place: { readonly asked: number; readonly meanMs: number };
  readonly failures: number;
}

export interface BackendDocument {
  readonly id: string;
  readonly address: string;
  /** Empty: none. */
  readonly region: string;
  /** Null: not known. */
  readonly location: Position | null;
  readonly state: BackendState;
  readonly reason: string;
  readonly since: string;
  /** The worst over all workers. */
  readonly circuit: CircuitState;
  /** In any worker. */
  readonly ejected: boolean;
  readonly weight: number;
  readonly active: number;
  readonly connections: { readonly open: number; readonly opened: number; readonly reused: number };
  readonly requests: number;
  readonly failures: number;
  readonly meanMs: number;
  readonly breakerTrips: number;
  readonly ejections: number;
}

/** @param now milliseconds since the Unix epoch. */
export function statusDocument(source: AdminSource, now: number): StatusDocument {
  const snapshot = source.snapshot();
  const { workers, listeners } = source.status();
  return {
    version: source.version,
    startedAt: new Date(source.startedAt).toISOString(),
    uptimeSeconds: Math.max(0, Math.round((now - source.startedAt) / 1000)),
    readiness: source.ready(),
    workers,
    listeners,
    requests: exchangeFigures(snapshot.total),
    rejected: snapshot.rejected,
    shed: snapshot.shed,
    timeouts: snapshot.timeouts,
    positions: snapshot.positions,
    sessionStore: storeDocument(snapshot.sessionStore),
    sessionStores: snapshot.upstreams.flatMap(({ store }) => store ?? []),
    upstreams: snapshot.upstreams.map((upstream) => ({
      name: upstream.name,
      requests: exchangeFigures(upstream),
      waiting: upstream.waiting,
      concurrencyLimit: upstream.concurrencyLimit,
      retries: upstream.retries,
      retriesDenied: upstream.retriesDenied,
      moves: upstream.moves,
      fallbacks: upstream.fallbacks,
      hedges: upstream.hedges,
      hedgesWon: upstream.hedgesWon,
      affinity: affinityDocument(upstream),
      regions: Object.fromEntries(upstream.regions.map(({ region, requests }) => [region, requests])),
      meanKm: meanKm(upstream),
      backends: upstream.backends.map(backendDocument),
    })),
  };
}

function exchangeFigures(stats: ExchangeStats): ExchangeFigures {
  return {
    total: stats.requests,
    failed: stats.failed,
    active: stats.active,
    meanMs: rounded(meanMs(stats)),
    p50Ms: rounded(quantileMs(stats.buckets, 0.5)),
    p99Ms: rounded(quantileMs(stats.buckets, 0.99)),
    statuses: stats.statuses,
  };
}

function affinityDocument({ affinity, sessions }: UpstreamStats): AffinityDocument | null {
  if (affinity === undefined) return null;
  return {
    by: affinity.by,
    ttlMs: affinity.ttlMs,
    strict: affinity.strict,
    store: affinity.store,
    maxSessions: affinity.maxSessions ?? null,
    held: affinity.store === "none" ? null : sessions.held,
    begun: sessions.begun,
    kept: sessions.kept,
    moved: sessions.moved,
    lost: sessions.lost,
    evicted: sessions.evicted,
    rebalanced: sessions.rebalanced,
  };
}

function storeDocument({ asked, durationMs, failures }: StoreStats): SessionStoreDocument {
  const of = (operation: "find" | "place") => ({
    asked: asked[operation],
    meanMs: asked[operation] === 0 ? 0 : rounded(durationMs[operation] / asked[operation]),
  });
  return { find: of("find"), place: of("place"), failures };
}

function meanKm({ distances }: UpstreamStats): number | null {
  const exchanges = distances.buckets.reduce((sum, inBucket) => sum + inBucket, 0);
  return exchanges === 0 ? null : rounded(distances.km / exchanges);
}

function backendDocument(backend: BackendStats): BackendDocument {
  return {
    id: backend.id,
    address: backend.address,
    region: backend.region,
    location: backend.position ?? null,
    state: backend.state,
    reason: backend.reason,
    since: new Date(backend.since).toISOString(),
    circuit: backend.circuit,
    ejected: backend.ejected,
    weight: backend.weight,
    active: backend.active,
    connections: { open: backend.connections, opened: backend.connectionsOpened, reused: backend.reused },
    requests: backend.requests,
    failures: backend.failures,
    meanMs: rounded(backend.meanMs),
    breakerTrips: backend.breakerTrips,
    ejections: backend.ejections,
  };
}

/** Microseconds and metres are as fine as anything here is measured. */
function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
