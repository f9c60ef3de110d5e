import type { TimeoutPhase } from "../policy/model/outcome.ts";
import type { Position } from "../policy/model/position.ts";

/**
 * What is counted where: plain data, so that it can be sent to workers and kept beside the memory.
 * Indices never change while the memory lives; what is added later takes a spare row.
 */
export interface MetricsLayout {
  /** Names of the upstreams; the index is the row. */
  readonly upstreams: readonly string[];
  readonly backends: readonly BackendRow[];
  /** What the sessions of an upstream are, by its row; undefined where it has none. */
  readonly affinities: readonly (AffinityRow | undefined)[];
  /** Addresses of the listeners as configured; the index is the row. */
  readonly listeners: readonly string[];
  /** Rows the memory has room for. */
  readonly capacity: { readonly upstreams: number; readonly backends: number; readonly listeners: number };
}

export interface BackendRow {
  readonly slot: number;
  /** Index into `upstreams`. */
  readonly upstream: number;
  readonly id: string;
  /** Name of the region it stands in; empty, the default: none. */
  readonly region?: string;
  /** Undefined: not known. */
  readonly position?: Position | undefined;
}

/** The sessions of an upstream, as far as they are shown beside their figures. */
export interface AffinityRow {
  /** What they are told by, as it may be written in the configuration: `cookie:NAME`, `learned header:NAME`, `client-ip`. */
  readonly by: string;
  readonly ttlMs: number;
  readonly strict: boolean;
  /** What is behind the tables of the workers; `none`: nothing is remembered at all. */
  readonly store: "none" | "memory" | "redis";
  /** Most sessions in the table of each worker; undefined where nothing is remembered. */
  readonly maxSessions: number | undefined;
}

/** What a layout is made from. Spare rows are for upstreams and backends that are added while running. */
export interface LayoutInit {
  readonly upstreams: readonly string[];
  readonly backends: readonly BackendRow[];
  /** By row of the upstream. Default: no upstream has sessions. */
  readonly affinities?: readonly (AffinityRow | undefined)[];
  readonly listeners?: readonly string[];
  /** Rows to leave free for additions, default 64 backends and 16 upstreams. */
  readonly spareBackends?: number;
  readonly spareUpstreams?: number;
}

/** @throws RangeError when a slot is used twice or an upstream index names nothing. */
export function createLayout(init: LayoutInit): MetricsLayout {
  const listeners = init.listeners ?? [];
  const seen = new Set<number>();
  let highest = -1;
  for (const { slot, upstream, id } of init.backends) {
    if (!Number.isInteger(slot) || slot < 0) throw new RangeError(`backend ${id}: slot ${slot} is not a row number`);
    if (seen.has(slot)) throw new RangeError(`backend ${id}: slot ${slot} is taken`);
    if (init.upstreams[upstream] === undefined) throw new RangeError(`backend ${id}: no upstream ${upstream}`);
    seen.add(slot);
    highest = Math.max(highest, slot);
  }
  return {
    upstreams: [...init.upstreams],
    backends: init.backends.map(({ slot, upstream, id, region = "", position }) => ({
      slot,
      upstream,
      id,
      region,
      position,
    })),
    affinities: init.upstreams.map((_, index) => init.affinities?.[index]),
    listeners: [...listeners],
    capacity: {
      upstreams: init.upstreams.length + (init.spareUpstreams ?? 16),
      backends: highest + 1 + (init.spareBackends ?? 64),
      listeners: Math.max(1, listeners.length),
    },
  };
}

/**
 * The same memory with other names in it, after a change of configuration.
 * @throws RangeError when the memory has no room: it must then be made anew.
 */
export function changeLayout(
  layout: MetricsLayout,
  { upstreams, backends, affinities = [] }: Pick<LayoutInit, "upstreams" | "backends" | "affinities">,
): MetricsLayout {
  const next = createLayout({
    upstreams,
    backends,
    affinities,
    listeners: layout.listeners,
    spareBackends: 0,
    spareUpstreams: 0,
  });
  if (next.capacity.upstreams > layout.capacity.upstreams || next.capacity.backends > layout.capacity.backends) {
    throw new RangeError("no spare row left in the metrics memory");
  }
  return { ...next, capacity: layout.capacity };
}

/** Zeroed memory for one stripe per worker. */
export function createMetricsMemory(layout: MetricsLayout, workers: number): SharedArrayBuffer {
  return new SharedArrayBuffer(stripeCells(layout) * CELL_BYTES * Math.max(1, workers));
}

/** Upper bounds of the latency buckets in seconds, as Prometheus shows them; one more bucket takes the rest. */
export const LATENCY_BOUNDS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10,
];

/** Upper bounds of the distance buckets in kilometres; one more bucket takes the rest. */
export const DISTANCE_BOUNDS: readonly number[] = [100, 500, 1000, 2500, 5000, 10000];

/** Buckets of the distance histogram. */
export const DISTANCE_BUCKETS = DISTANCE_BOUNDS.length + 1;

/** Where the position of a client came from; `none`: it has none. */
export type PositionSource = "header" | "geoip" | "default" | "none";

/** In the order of their cells. */
export const POSITION_SOURCES: readonly PositionSource[] = ["header", "geoip", "default", "none"];

/** What a store of sessions is asked. */
export type StoreOperation = "find" | "place";

/** In the order of their cells. */
export const STORE_OPERATIONS: readonly StoreOperation[] = ["find", "place"];

/**
 * Why Spillway refused a request on purpose. `queue-full`: too many waited already; `queue-timeout`: it waited too long;
 * `deadline`: it could not be answered in time any more; `rate`: its key made too many; `concurrency`: the limit of its
 * upstream was reached; `throttled`: backends fail most of what they are sent; `connections`: the listener has as many
 * connections as it may have.
 */
export type ShedReason =
  | "queue-full"
  | "queue-timeout"
  | "deadline"
  | "rate"
  | "concurrency"
  | "throttled"
  | "connections";

/** In the order of their cells. */
export const SHED_REASONS: readonly ShedReason[] = [
  "queue-full",
  "queue-timeout",
  "deadline",
  "rate",
  "concurrency",
  "throttled",
  "connections",
];

/** Whether what a request was answered for is one of them. */
export function isShedReason(reason: string): reason is ShedReason {
  return (SHED_REASONS as readonly string[]).includes(reason);
}

/** In the order of their cells. */
export const TIMEOUT_PHASES: readonly TimeoutPhase[] = ["queue", "connect", "response", "body", "route"];

/*
 * Cells of a stripe, in numbers (float64). A stripe is
 *     general | one row per listener | one row for Spillway itself, one per upstream | one row per backend | a spare line
 * Rows are whole cache lines; the spare line keeps two workers off the line they would share at the seam.
 */
export const CELL_BYTES = 8;
const LINE_CELLS = 8;

const lines = (cells: number): number => Math.ceil(cells / LINE_CELLS) * LINE_CELLS;

/** Status codes 100 to 599 by their last digits; cell 0 takes exchanges that ended without a response. */
export const STATUS_CELLS = 501;

export const GENERAL = {
  bytesIn: 0,
  bytesOut: 1,
  tunnelsOpened: 2,
  tunnelsClosed: 3,
  accessLogDropped: 4,
  storeFailures: 5,
  shed: 8,
  timeouts: 16,
  positions: 24,
  storeAsked: 28,
  storeMs: 30,
  rejected: 32,
  cells: lines(32 + STATUS_CELLS),
} as const;

export const LISTENER = { opened: 0, closed: 1, cells: LINE_CELLS } as const;

export const UPSTREAM = {
  started: 0,
  ended: 1,
  failed: 2,
  durationMs: 3,
  fallbacks: 4,
  retries: 5,
  moves: 6,
  retriesDenied: 7,
  hedges: 8,
  hedgesWon: 9,
  /** Gauges: what this worker stored last. */
  waiting: 10,
  concurrencyLimit: 11,
  sessionsHeld: 12,
  buckets: 16,
  sessionsBegun: 32,
  sessionsKept: 33,
  sessionsMoved: 34,
  sessionsLost: 35,
  sessionsEvicted: 36,
  rebalanced: 37,
  distanceKm: 38,
  distances: 40,
  statuses: 48,
  cells: lines(48 + STATUS_CELLS),
} as const;

export const BACKEND = {
  started: 0,
  ended: 1,
  failed: 2,
  durationMs: 3,
  connectionsOpened: 4,
  connectionsClosed: 5,
  reused: 6,
  replayed: 7,
  trips: 8,
  ejections: 9,
  cells: lines(10),
} as const;

/** First cell of each part within a stripe. */
export interface StripeOffsets {
  readonly listeners: number;
  /** Row 0 is Spillway itself, row i + 1 is upstream i. */
  readonly upstreams: number;
  readonly backends: number;
  readonly cells: number;
}

export function stripeOffsets({ capacity }: MetricsLayout): StripeOffsets {
  const listeners = GENERAL.cells;
  const upstreams = listeners + capacity.listeners * LISTENER.cells;
  const backends = upstreams + (capacity.upstreams + 1) * UPSTREAM.cells;
  return { listeners, upstreams, backends, cells: backends + capacity.backends * BACKEND.cells + LINE_CELLS };
}

/** Cells of one stripe. */
export function stripeCells(layout: MetricsLayout): number {
  return stripeOffsets(layout).cells;
}

/** The cell of a status within a status row. */
export function statusCell(status: number): number {
  return status >= 100 && status <= 599 ? status - 99 : 0;
}
