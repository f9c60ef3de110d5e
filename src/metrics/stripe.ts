import type { TimeoutPhase } from "../policy/model/outcome.ts";
import { bucketOf, distanceBucketOf } from "./histogram.ts";
import {
  BACKEND,
  CELL_BYTES,
  GENERAL,
  LISTENER,
  type MetricsLayout,
  type PositionSource,
  type ShedReason,
  type StoreOperation,
  statusCell,
  stripeOffsets,
  UPSTREAM,
} from "./layout.ts";

/**
 * The counters of one worker: plain stores into its own part of the shared memory, a few nanoseconds a call, nothing
 * allocated. Readers add the stripes up and may be one event behind. Rows outside the layout's capacity count nothing.
 */
export class Stripe {
  readonly #cells: Float64Array;
  readonly #listeners: number;
  readonly #upstreams: number;
  readonly #backends: number;

  /** @param worker index of the worker, from 0. @throws RangeError when the memory has no stripe for it. */
  constructor(layout: MetricsLayout, memory: SharedArrayBuffer | ArrayBuffer, worker = 0) {
    const offsets = stripeOffsets(layout);
    this.#cells = new Float64Array(memory, worker * offsets.cells * CELL_BYTES, offsets.cells);
    this.#listeners = offsets.listeners;
    this.#upstreams = offsets.upstreams;
    this.#backends = offsets.backends;
  }

  /** An exchange for upstream `upstream` began; -1: Spillway answers itself (redirect, fixed response, error). */
  exchangeStarted(upstream: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.started]! += 1;
  }

  /**
   * An exchange ended. `upstream` as it was started with.
   * @param status of the response sent to the client; 0 when none was sent.
   * @param failed the client did not get the whole answer of a backend, or got an error of Spillway's own.
   */
  exchangeEnded(upstream: number, status: number, failed: boolean, durationMs: number): void {
    const cells = this.#cells;
    const row = this.#upstreams + (upstream + 1) * UPSTREAM.cells;
    cells[row + UPSTREAM.ended]! += 1;
    if (failed) cells[row + UPSTREAM.failed]! += 1;
    if (durationMs > 0) cells[row + UPSTREAM.durationMs]! += durationMs;
    cells[row + UPSTREAM.buckets + bucketOf(durationMs)]! += 1;
    cells[row + UPSTREAM.statuses + statusCell(status)]! += 1;
  }

  /** An attempt on the backend in `slot` began. */
  attemptStarted(slot: number): void {
    this.#cells[this.#backends + slot * BACKEND.cells + BACKEND.started]! += 1;
  }

  /** An attempt ended. A response is no failure whatever its status, unless the caller says so. */
  attemptEnded(slot: number, failed: boolean, durationMs: number): void {
    const cells = this.#cells;
    const row = this.#backends + slot * BACKEND.cells;
    cells[row + BACKEND.ended]! += 1;
    if (failed) cells[row + BACKEND.failed]! += 1;
    if (durationMs > 0) cells[row + BACKEND.durationMs]! += durationMs;
  }

  /** A deadline passed. */
  timeout(phase: TimeoutPhase): void {
    this.#cells[GENERAL.timeouts + timeoutCell(phase)]! += 1;
  }

  clientConnectionOpened(listener = 0): void {
    this.#cells[this.#listeners + listener * LISTENER.cells + LISTENER.opened]! += 1;
  }

  clientConnectionClosed(listener = 0): void {
    this.#cells[this.#listeners + listener * LISTENER.cells + LISTENER.closed]! += 1;
  }

  backendConnectionOpened(slot: number): void {
    this.#cells[this.#backends + slot * BACKEND.cells + BACKEND.connectionsOpened]! += 1;
  }

  backendConnectionClosed(slot: number): void {
    this.#cells[this.#backends + slot * BACKEND.cells + BACKEND.connectionsClosed]! += 1;
  }

  /** An attempt went out on a connection that had carried one before. */
  connectionReused(slot: number): void {
    this.#cells[this.#backends + slot * BACKEND.cells + BACKEND.reused]! += 1;
  }

  /** An attempt was sent anew on a fresh connection because its idle one had just been closed by the backend. */
  replayed(slot: number): void {
    this.#cells[this.#backends + slot * BACKEND.cells + BACKEND.replayed]! += 1;
  }

  /** A circuit of the backend in `slot` opened. */
  breakerTripped(slot: number): void {
    this.#cells[this.#backends + slot * BACKEND.cells + BACKEND.trips]! += 1;
  }

  /** An exchange of `upstream` was answered by its fallback because circuits are open. */
  fellBack(upstream: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.fallbacks]! += 1;
  }

  /** The backend in `slot` was ejected by the outlier detector. */
  ejected(slot: number): void {
    this.#cells[this.#backends + slot * BACKEND.cells + BACKEND.ejections]! += 1;
  }

  /** A request of `upstream` was sent again, because an attempt that had been sent failed or brought a status to retry. */
  retried(upstream: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.retries]! += 1;
  }

  /** An exchange of `upstream` went on to another backend because nothing of it had been sent to the one before. */
  moved(upstream: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.moves]! += 1;
  }

  /** A failure in `upstream` was one to retry, but the budget or the rules said no. */
  retryDenied(upstream: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.retriesDenied]! += 1;
  }

  /** A second attempt was sent beside a slow first one. */
  hedged(upstream: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.hedges]! += 1;
  }

  /** Such a second attempt answered first. */
  hedgeWon(upstream: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.hedgesWon]! += 1;
  }

  /** So many exchanges of `upstream` wait in this worker now. */
  waiting(upstream: number, exchanges: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.waiting] = exchanges;
  }

  /** So many exchanges of `upstream` may run in this worker at a time from now on; 0: as many as there are. */
  concurrencyLimit(upstream: number, exchanges: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.concurrencyLimit] = exchanges;
  }

  /** An exchange of `upstream` was answered, and with it a session began. */
  sessionBegun(upstream: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.sessionsBegun]! += 1;
  }

  /** An exchange of `upstream` was answered by the backend its session belongs to. */
  sessionKept(upstream: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.sessionsKept]! += 1;
  }

  /** A session of `upstream` was answered by another backend, because its own was lost. */
  sessionMoved(upstream: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.sessionsMoved]! += 1;
  }

  /** An exchange of `upstream` was refused because the backend of its session is lost and sessions are not moved. */
  sessionLost(upstream: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.sessionsLost]! += 1;
  }

  /** So many sessions of `upstream` are in the table of this worker now. */
  sessionsHeld(upstream: number, sessions: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.sessionsHeld] = sessions;
  }

  /** So many sessions of `upstream` more had to go for others. An increment: a worker begins at zero, its stripe does not. */
  sessionsEvicted(upstream: number, more: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.sessionsEvicted]! += more;
  }

  /** A tunnel of `upstream` was closed, so that its client comes back and may be sent to another backend. */
  rebalanced(upstream: number): void {
    this.#cells[this.#upstreams + (upstream + 1) * UPSTREAM.cells + UPSTREAM.rebalanced]! += 1;
  }

  /** An attempt of `upstream` went to a backend that is `km` kilometres away from its client. */
  distance(upstream: number, km: number): void {
    const cells = this.#cells;
    const row = this.#upstreams + (upstream + 1) * UPSTREAM.cells;
    if (km > 0) cells[row + UPSTREAM.distanceKm]! += km;
    cells[row + UPSTREAM.distances + distanceBucketOf(km)]! += 1;
  }

  /** Where the position of a client was taken from, for an exchange that wanted one. */
  positionFrom(source: PositionSource): void {
    this.#cells[GENERAL.positions + positionCell(source)]! += 1;
  }

  /** The store of sessions was asked, and answered or failed after `ms`. Counted by whoever asks it: the control plane. */
  storeAsked(operation: StoreOperation, ms: number): void {
    const cell = operation === "find" ? 0 : 1;
    this.#cells[GENERAL.storeAsked + cell]! += 1;
    if (ms > 0) this.#cells[GENERAL.storeMs + cell]! += ms;
  }

  /** One of those failed, or took too long; beside `storeAsked`. */
  storeFailed(): void {
    this.#cells[GENERAL.storeFailures]! += 1;
  }

  /** The parser or a limit refused a request with `status` before it was routed: it is no exchange. */
  rejected(status: number): void {
    this.#cells[GENERAL.rejected + statusCell(status)]! += 1;
  }

  /** A request was refused on purpose. */
  shed(reason: ShedReason): void {
    this.#cells[GENERAL.shed + shedCell(reason)]! += 1;
  }

  /** Bytes read from clients. */
  bytesIn(bytes: number): void {
    this.#cells[GENERAL.bytesIn]! += bytes;
  }

  /** Bytes written to clients. */
  bytesOut(bytes: number): void {
    this.#cells[GENERAL.bytesOut]! += bytes;
  }

  /** A connection was upgraded and carries bytes both ways from now on. */
  tunnelOpened(): void {
    this.#cells[GENERAL.tunnelsOpened]! += 1;
  }

  tunnelClosed(): void {
    this.#cells[GENERAL.tunnelsClosed]! += 1;
  }

  /** Access log lines thrown away because their reader did not keep up. */
  accessLogDropped(lines: number): void {
    this.#cells[GENERAL.accessLogDropped]! += lines;
  }

  /**
   * For a worker that replaces a dead one on the same stripe, called before anything is counted: what its
   * predecessor left running has ended, exchanges and attempts as failures, nothing waits or is limited any more, and
   * its sessions are forgotten, so that no gauge stays up for ever.
   */
  endAbandoned(layout: MetricsLayout): void {
    const { capacity } = layout;
    const cells = this.#cells;
    closePair(cells, GENERAL.tunnelsOpened, GENERAL.tunnelsClosed);
    for (let i = 0; i < capacity.listeners; i++) {
      const row = this.#listeners + i * LISTENER.cells;
      closePair(cells, row + LISTENER.opened, row + LISTENER.closed);
    }
    for (let i = 0; i <= capacity.upstreams; i++) {
      const row = this.#upstreams + i * UPSTREAM.cells;
      const left = closePair(cells, row + UPSTREAM.started, row + UPSTREAM.ended);
      cells[row + UPSTREAM.failed]! += left;
      cells[row + UPSTREAM.statuses]! += left;
      cells[row + UPSTREAM.waiting] = 0;
      cells[row + UPSTREAM.concurrencyLimit] = 0;
      cells[row + UPSTREAM.sessionsHeld] = 0;
    }
    for (let i = 0; i < capacity.backends; i++) {
      const row = this.#backends + i * BACKEND.cells;
      cells[row + BACKEND.failed]! += closePair(cells, row + BACKEND.started, row + BACKEND.ended);
      closePair(cells, row + BACKEND.connectionsOpened, row + BACKEND.connectionsClosed);
    }
  }
}

/** Raises the counter of ends to that of starts and answers by how much. */
function closePair(cells: Float64Array, started: number, ended: number): number {
  const left = Math.max(0, cells[started]! - cells[ended]!);
  cells[ended]! += left;
  return left;
}

/** The index of `phase` in TIMEOUT_PHASES. */
function timeoutCell(phase: TimeoutPhase): number {
  switch (phase) {
    case "queue":
      return 0;
    case "connect":
      return 1;
    case "response":
      return 2;
    case "body":
      return 3;
    case "route":
      return 4;
  }
}

/** The index of `source` in POSITION_SOURCES. */
function positionCell(source: PositionSource): number {
  switch (source) {
    case "header":
      return 0;
    case "geoip":
      return 1;
    case "default":
      return 2;
    case "none":
      return 3;
  }
}

/** The index of `reason` in SHED_REASONS. */
function shedCell(reason: ShedReason): number {
  switch (reason) {
    case "queue-full":
      return 0;
    case "queue-timeout":
      return 1;
    case "deadline":
      return 2;
    case "rate":
      return 3;
    case "concurrency":
      return 4;
    case "throttled":
      return 5;
    case "connections":
      return 6;
  }
}
