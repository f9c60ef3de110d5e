import type { BackendCounts } from "../policy/model/backend.ts";
import type { TimeoutPhase } from "../policy/model/outcome.ts";
import type { Position } from "../policy/model/position.ts";
import { BUCKETS } from "./histogram.ts";
import {
  type AffinityRow,
  BACKEND,
  type BackendRow,
  DISTANCE_BUCKETS,
  GENERAL,
  LISTENER,
  type MetricsLayout,
  POSITION_SOURCES,
  type PositionSource,
  SHED_REASONS,
  type ShedReason,
  STATUS_CELLS,
  STORE_OPERATIONS,
  type StoreOperation,
  stripeOffsets,
  TIMEOUT_PHASES,
  UPSTREAM,
} from "./layout.ts";

/** What is counted of exchanges, of one upstream or in total. */
export interface ExchangeStats {
  /** Exchanges that began, the active ones included. */
  readonly requests: number;
  readonly failed: number;
  readonly active: number;
  /** Exchanges that ended without a response, because the client left or the connection broke. */
  readonly unanswered: number;
  /** Sum over the exchanges that ended, in milliseconds. */
  readonly durationMs: number;
  /** Exchanges that ended, per latency bucket (LATENCY_BOUNDS and one more), each counted once. */
  readonly buckets: readonly number[];
  /** Responses by status code; codes never sent are missing. */
  readonly statuses: Readonly<Record<number, number>>;
  /** Exchanges answered by a fallback because circuits were open. */
  readonly fallbacks: number;
  /** Attempts beyond the first that were sent because one that had been sent failed, or for its status. */
  readonly retries: number;
  /** Attempts that went on to another backend because nothing had been sent to the one before. */
  readonly moves: number;
  /** Failures that were to be retried, had the budget and the rules allowed it. */
  readonly retriesDenied: number;
  /** Second attempts sent beside a slow first one, and how many of them answered first. */
  readonly hedges: number;
  readonly hedgesWon: number;
  /** Exchanges that wait for room now. */
  readonly waiting: number;
}

export interface UpstreamStats extends ExchangeStats {
  readonly name: string;
  /** Exchanges that may run at a time, over all workers; 0 while there is no such limit. */
  readonly concurrencyLimit: number;
  /** What its sessions are; undefined: it has none. */
  readonly affinity: AffinityRow | undefined;
  readonly sessions: SessionStats;
  /** Where they are kept for several workers or instances; undefined: nowhere. */
  readonly store: SessionStoreView | undefined;
  readonly distances: DistanceStats;
  /** In the order of the backends; empty when none of them names a region. */
  readonly regions: readonly RegionStats[];
  readonly backends: readonly BackendStats[];
}

/** What is counted of sessions. */
export interface SessionStats {
  /** In the tables of the workers now; one that several workers have met counts in each of them. */
  readonly held: number;
  readonly begun: number;
  /** Exchanges answered by the backend of their session. */
  readonly kept: number;
  /** Sessions that another backend answered, because their own was lost. */
  readonly moved: number;
  /** Exchanges refused because the backend of their session was lost. */
  readonly lost: number;
  /** Sessions forgotten before their time, because a table was full. */
  readonly evicted: number;
  /** Tunnels closed so that clients come back and may be sent elsewhere. */
  readonly rebalanced: number;
}

/** How far attempts went, as far as both ends are known. */
export interface DistanceStats {
  /** Per bucket (DISTANCE_BOUNDS and one more), each attempt counted once. */
  readonly buckets: readonly number[];
  /** Sum over all of them. */
  readonly km: number;
}

export interface RegionStats {
  /** Empty: the backends that name none. */
  readonly region: string;
  /** Attempts that began on its backends. */
  readonly requests: number;
}

export interface BackendStats {
  readonly id: string;
  readonly address: string;
  /** Empty: none. */
  readonly region: string;
  readonly position: Position | undefined;
  readonly state: BackendState;
  /** Why it is in this state, in a few words; empty when there is nothing to say. */
  readonly reason: string;
  /** Since when it is in this state, milliseconds since the Unix epoch. */
  readonly since: number;
  readonly circuit: CircuitState;
  readonly ejected: boolean;
  readonly weight: number;
  /** Attempts that began. */
  readonly requests: number;
  readonly failures: number;
  /** Exchanges running on it now. */
  readonly active: number;
  /** Idle, busy and opening connections now. */
  readonly connections: number;
  /** Mean over the attempts that ended, in milliseconds; 0 before the first. */
  readonly meanMs: number;
  /** Sum over the attempts that ended, in milliseconds, and their number. */
  readonly durationMs: number;
  readonly ended: number;
  readonly connectionsOpened: number;
  readonly connectionsClosed: number;
  readonly reused: number;
  readonly replayed: number;
  readonly breakerTrips: number;
  readonly ejections: number;
}

export interface ListenerStats {
  readonly name: string;
  readonly connectionsOpened: number;
  readonly connectionsActive: number;
}

/** What a store of sessions was asked, and how long that took. */
export interface StoreStats {
  readonly asked: Readonly<Record<StoreOperation, number>>;
  /** Sums, in milliseconds. */
  readonly durationMs: Readonly<Record<StoreOperation, number>>;
  readonly failures: number;
}

/** Everything counted at one moment, over all workers. Plain data. */
export interface Snapshot {
  /** All exchanges: those of the upstreams and those Spillway answered itself. */
  readonly total: ExchangeStats;
  /** Exchanges Spillway answered itself: redirects, fixed responses, no route. */
  readonly own: ExchangeStats;
  readonly upstreams: readonly UpstreamStats[];
  readonly listeners: readonly ListenerStats[];
  /** Requests refused by the parser or a limit before routing, by status. */
  readonly rejected: Readonly<Record<number, number>>;
  readonly shed: Readonly<Record<ShedReason, number>>;
  readonly timeouts: Readonly<Record<TimeoutPhase, number>>;
  /** Exchanges that wanted the position of their client, by where it was taken from. */
  readonly positions: Readonly<Record<PositionSource, number>>;
  readonly sessionStore: StoreStats;
  readonly breakerTrips: number;
  readonly ejections: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly tunnelsOpened: number;
  readonly tunnelsActive: number;
  readonly accessLogDropped: number;
}

/**
 * `up`: takes new exchanges; `half-open`: takes a few, to try; `open` (its circuit), `ejected`, `draining` and `down`:
 * takes none.
 */
export type BackendState = "up" | "down" | "draining" | "ejected" | "open" | "half-open";

export type CircuitState = "closed" | "half-open" | "open";

/** What the control plane knows of a backend and the stripes do not. */
export interface BackendView {
  readonly slot: number;
  readonly address: string;
  readonly state: BackendState;
  readonly reason: string;
  /** Milliseconds since the Unix epoch. */
  readonly since: number;
  /** The worst over all workers, whatever `state` is. */
  readonly circuit: CircuitState;
  /** In any worker, whatever `state` is. */
  readonly ejected: boolean;
  readonly weight: number;
}

/** What the control plane knows of the store that keeps the sessions of one upstream. */
export interface SessionStoreView {
  readonly upstream: string;
  readonly kind: "memory" | "redis";
  /** Without its password; empty for `memory`. */
  readonly url: string;
  /** Whether it can be asked now. */
  readonly up: boolean;
}

export interface SnapshotExtra {
  readonly counts: Pick<BackendCounts, "active" | "connections">;
  /** One per backend of the layout; one that is missing shows as up, weight 1, with its id as address. */
  readonly backends?: readonly BackendView[];
  /** Those there are. */
  readonly stores?: readonly SessionStoreView[];
}

/** Adds the stripes up. Workers go on counting meanwhile, so two figures may be one event apart. */
export function readSnapshot(
  layout: MetricsLayout,
  memory: SharedArrayBuffer | ArrayBuffer,
  extra: SnapshotExtra,
): Snapshot {
  const offsets = stripeOffsets(layout);
  const sums = addStripes(new Float64Array(memory), offsets.cells);
  const views = new Map(extra.backends?.map((view) => [view.slot, view]));
  const stores = new Map(extra.stores?.map((store) => [store.upstream, store]));

  const own = exchangeStats(sums, offsets.upstreams);
  const upstreams = layout.upstreams.map((name, index): UpstreamStats => {
    const row = offsets.upstreams + (index + 1) * UPSTREAM.cells;
    const backends = layout.backends
      .filter((backend) => backend.upstream === index)
      .map((backend) =>
        backendStats(sums, offsets.backends + backend.slot * BACKEND.cells, backend, views.get(backend.slot), extra),
      );
    return {
      name,
      ...exchangeStats(sums, row),
      concurrencyLimit: sums[row + UPSTREAM.concurrencyLimit]!,
      affinity: layout.affinities[index],
      sessions: sessionStats(sums, row),
      store: stores.get(name),
      distances: {
        buckets: [...sums.subarray(row + UPSTREAM.distances, row + UPSTREAM.distances + DISTANCE_BUCKETS)],
        km: sums[row + UPSTREAM.distanceKm]!,
      },
      regions: regionStats(backends),
      backends,
    };
  });
  const listeners = layout.listeners.map((name, index): ListenerStats => {
    const row = offsets.listeners + index * LISTENER.cells;
    return {
      name,
      connectionsOpened: sums[row + LISTENER.opened]!,
      connectionsActive: gauge(sums, row + LISTENER.opened, row + LISTENER.closed),
    };
  });

  const backends = upstreams.flatMap((upstream) => upstream.backends);
  return {
    total: [own, ...upstreams].reduce(addStats, NO_EXCHANGES),
    own,
    upstreams,
    listeners,
    rejected: statuses(sums, GENERAL.rejected),
    shed: named(SHED_REASONS, sums, GENERAL.shed),
    timeouts: named(TIMEOUT_PHASES, sums, GENERAL.timeouts),
    positions: named(POSITION_SOURCES, sums, GENERAL.positions),
    sessionStore: {
      asked: named(STORE_OPERATIONS, sums, GENERAL.storeAsked),
      durationMs: named(STORE_OPERATIONS, sums, GENERAL.storeMs),
      failures: sums[GENERAL.storeFailures]!,
    },
    breakerTrips: backends.reduce((sum, backend) => sum + backend.breakerTrips, 0),
    ejections: backends.reduce((sum, backend) => sum + backend.ejections, 0),
    bytesIn: sums[GENERAL.bytesIn]!,
    bytesOut: sums[GENERAL.bytesOut]!,
    tunnelsOpened: sums[GENERAL.tunnelsOpened]!,
    tunnelsActive: gauge(sums, GENERAL.tunnelsOpened, GENERAL.tunnelsClosed),
    accessLogDropped: sums[GENERAL.accessLogDropped]!,
  };
}

function addStripes(cells: Float64Array, stripe: number): Float64Array {
  const sums = cells.slice(0, stripe);
  for (let start = stripe; start < cells.length; start += stripe) {
    for (let i = 0; i < stripe; i++) sums[i]! += cells[start + i]!;
  }
  return sums;
}

/** Never below zero: the end of an event may be seen before its start in another stripe. */
function gauge(sums: Float64Array, started: number, ended: number): number {
  return Math.max(0, sums[started]! - sums[ended]!);
}

function exchangeStats(sums: Float64Array, row: number): ExchangeStats {
  return {
    requests: sums[row + UPSTREAM.started]!,
    failed: sums[row + UPSTREAM.failed]!,
    active: gauge(sums, row + UPSTREAM.started, row + UPSTREAM.ended),
    unanswered: sums[row + UPSTREAM.statuses]!,
    durationMs: sums[row + UPSTREAM.durationMs]!,
    buckets: [...sums.subarray(row + UPSTREAM.buckets, row + UPSTREAM.buckets + BUCKETS)],
    statuses: statuses(sums, row + UPSTREAM.statuses),
    fallbacks: sums[row + UPSTREAM.fallbacks]!,
    retries: sums[row + UPSTREAM.retries]!,
    moves: sums[row + UPSTREAM.moves]!,
    retriesDenied: sums[row + UPSTREAM.retriesDenied]!,
    hedges: sums[row + UPSTREAM.hedges]!,
    hedgesWon: sums[row + UPSTREAM.hedgesWon]!,
    waiting: sums[row + UPSTREAM.waiting]!,
  };
}

function sessionStats(sums: Float64Array, row: number): SessionStats {
  return {
    held: sums[row + UPSTREAM.sessionsHeld]!,
    begun: sums[row + UPSTREAM.sessionsBegun]!,
    kept: sums[row + UPSTREAM.sessionsKept]!,
    moved: sums[row + UPSTREAM.sessionsMoved]!,
    lost: sums[row + UPSTREAM.sessionsLost]!,
    evicted: sums[row + UPSTREAM.sessionsEvicted]!,
    rebalanced: sums[row + UPSTREAM.rebalanced]!,
  };
}

function regionStats(backends: readonly BackendStats[]): RegionStats[] {
  if (backends.every(({ region }) => region === "")) return [];
  const requests = new Map<string, number>();
  for (const backend of backends) {
    requests.set(backend.region, (requests.get(backend.region) ?? 0) + backend.requests);
  }
  return [...requests].map(([region, count]) => ({ region, requests: count }));
}

function backendStats(
  sums: Float64Array,
  row: number,
  { id, slot, region = "", position }: BackendRow,
  view: BackendView | undefined,
  extra: SnapshotExtra,
): BackendStats {
  const ended = sums[row + BACKEND.ended]!;
  const durationMs = sums[row + BACKEND.durationMs]!;
  return {
    id,
    address: view?.address ?? id,
    region,
    position,
    state: view?.state ?? "up",
    reason: view?.reason ?? "",
    since: view?.since ?? 0,
    circuit: view?.circuit ?? "closed",
    ejected: view?.ejected ?? false,
    weight: view?.weight ?? 1,
    requests: sums[row + BACKEND.started]!,
    failures: sums[row + BACKEND.failed]!,
    active: extra.counts.active(slot),
    connections: extra.counts.connections(slot),
    meanMs: ended === 0 ? 0 : durationMs / ended,
    durationMs,
    ended,
    connectionsOpened: sums[row + BACKEND.connectionsOpened]!,
    connectionsClosed: sums[row + BACKEND.connectionsClosed]!,
    reused: sums[row + BACKEND.reused]!,
    replayed: sums[row + BACKEND.replayed]!,
    breakerTrips: sums[row + BACKEND.trips]!,
    ejections: sums[row + BACKEND.ejections]!,
  };
}

function statuses(sums: Float64Array, row: number): Record<number, number> {
  const found: Record<number, number> = {};
  for (let cell = 1; cell < STATUS_CELLS; cell++) {
    const count = sums[row + cell]!;
    if (count > 0) found[cell + 99] = count;
  }
  return found;
}

function named<Name extends string>(names: readonly Name[], sums: Float64Array, row: number): Record<Name, number> {
  return Object.fromEntries(names.map((name, index) => [name, sums[row + index]!])) as Record<Name, number>;
}

const NO_EXCHANGES: ExchangeStats = {
  requests: 0,
  failed: 0,
  active: 0,
  unanswered: 0,
  durationMs: 0,
  buckets: new Array<number>(BUCKETS).fill(0),
  statuses: {},
  fallbacks: 0,
  retries: 0,
  moves: 0,
  retriesDenied: 0,
  hedges: 0,
  hedgesWon: 0,
  waiting: 0,
};

function addStats(a: ExchangeStats, b: ExchangeStats): ExchangeStats {
  const sums: Record<number, number> = { ...a.statuses };
  for (const [code, count] of Object.entries(b.statuses)) sums[Number(code)] = (sums[Number(code)] ?? 0) + count;
  return {
    requests: a.requests + b.requests,
    failed: a.failed + b.failed,
    active: a.active + b.active,
    unanswered: a.unanswered + b.unanswered,
    durationMs: a.durationMs + b.durationMs,
    buckets: a.buckets.map((count, index) => count + b.buckets[index]!),
    statuses: sums,
    fallbacks: a.fallbacks + b.fallbacks,
    retries: a.retries + b.retries,
    moves: a.moves + b.moves,
    retriesDenied: a.retriesDenied + b.retriesDenied,
    hedges: a.hedges + b.hedges,
    hedgesWon: a.hedgesWon + b.hedgesWon,
    waiting: a.waiting + b.waiting,
  };
}
