import { quantileMs } from "../metrics/histogram.ts";
import { meanMs } from "../metrics/report.ts";
import type { BackendState, BackendStats, CircuitState, ExchangeStats } from "../metrics/snapshot.ts";
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
  readonly backends: readonly BackendDocument[];
}

export interface BackendDocument {
  readonly id: string;
  readonly address: string;
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

function backendDocument(backend: BackendStats): BackendDocument {
  return {
    id: backend.id,
    address: backend.address,
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

/** Microseconds are as fine as anything here is measured. */
function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
