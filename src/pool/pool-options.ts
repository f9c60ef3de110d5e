import type { Random } from "../policy/model/random.ts";
import type { Clock } from "../time/clock.ts";
import type { PoolError } from "./pool-error.ts";

/**
 * Why the pool closed a connection; `discard` and `closeIdle` bring reasons of their own. `dead`: `isAlive` or `watch`
 * said so. `max-connections`: the limit was lowered. `replaced`: an idle one made room for a fresh one. `surrendered`:
 * made room for another pool. `late`: it opened after `openTimeoutMs`.
 */
export type CloseReason =
  | "idle-timeout"
  | "max-idle"
  | "max-age"
  | "max-requests"
  | "max-connections"
  | "dead"
  | "discarded"
  | "replaced"
  | "surrendered"
  | "late"
  | "closed"
  | (string & Record<never, never>);

/** A limit on connections that several pools share: one backend, many workers. */
export interface Bound {
  /** Takes one of `limit` connections; false when all are taken. */
  take(limit: number): boolean;
  /** Gives one back that `take` granted. */
  give(): void;
  /** How many are taken now, over all pools. */
  held(): number;
}

/** Who waits for a connection without a promise. Neither method may throw. */
export interface Waiter<T> {
  /**
   * The connection is this waiter's until it is released or discarded. `reused`: it was not opened just now, so the
   * server may be closing it at this moment.
   */
  acquired(connection: T, reused: boolean): void;
  /** There is no connection, and none will come. */
  failed(error: PoolError): void;
}

/** How one `request` waits. */
export interface RequestOptions {
  /** Only a connection that is opened from now on will do: to repeat what a stale idle one has lost. */
  readonly fresh?: boolean;
  /** How long to wait at most. Default `queue.timeoutMs`. */
  readonly timeoutMs?: number;
}

/** How one `acquire` waits. */
export interface AcquireOptions extends RequestOptions {
  /** Stops waiting: the promise rejects with the signal's reason, and no connection is lost. */
  readonly signal?: AbortSignal;
}

/** The limits of a pool. All times are milliseconds. */
export interface PoolLimits {
  /** Idle, busy and opening connections together. Default 256. */
  readonly maxConnections?: number;
  /** Idle connections kept; one more is closed when it is released. Default 64. */
  readonly maxIdle?: number;
  /** How long a connection may be idle. Keep it below the idle timeout of the server. Default 60,000; `Infinity` for ever. */
  readonly idleTimeoutMs?: number;
  /** How often a connection is handed out before it is closed. Default `Infinity`. */
  readonly maxRequests?: number;
  /**
   * How old a connection may get; it is closed when idle or released. Each one lives up to 10 % longer or shorter, so
   * that those opened together are not closed together. Default `Infinity`.
   */
  readonly maxAgeMs?: number;
  /** How long opening may take before it is given up and its signal aborted. Default 10,000. */
  readonly openTimeoutMs?: number;
  /** Who waits: at most `max` beyond those that a connection is being opened for (default 1024), `timeoutMs` each (default 1,000). */
  readonly queue?: { readonly max?: number; readonly timeoutMs?: number };
}

/** What a {@link ConnectionPool} is made of. */
export interface PoolOptions<T extends object> extends PoolLimits {
  /**
   * Opens a connection. Must give up when `signal` is aborted (`openTimeoutMs` passed, or the pool closed): the pool
   * does not count it any more from then on. What it throws reaches the oldest waiter as the cause of `unreachable`.
   */
  create(signal: AbortSignal): Promise<T>;
  /** Closes a connection, whatever its state. When it returns a promise, `drain` waits for it. */
  destroy(connection: T, reason: CloseReason): unknown;
  /** Whether the connection can still be used; asked at release and before it is handed out, so it has to be cheap. */
  isAlive?(connection: T): boolean;
  /**
   * Called once for each new connection: call `dead` when it breaks. An idle one is closed in the same tick, a busy one
   * when it is released.
   */
  watch?(connection: T, dead: () => void): void;
  /** The limit shared with other pools. Default: none but this pool's own. */
  readonly bound?: Bound;
  /**
   * Somebody waits here because the shared bound is reached: another pool should `surrenderIdle`. Called once for
   * all who wait, and again when that brought nothing.
   */
  onBoundExhausted?(): void;
  /** This pool was asked to `surrenderIdle`, and there is room under the shared bound now: the others should `retry`. */
  onBoundFreed?(): void;
  /** A callback of yours threw, or `destroy` rejected. The pool goes on. Default: thrown on as an uncaught exception. */
  onError?(error: unknown): void;
  readonly clock: Clock;
  readonly random: Random;
}

/** What a pool has now, and what it has done. */
export interface PoolStats {
  readonly idle: number;
  readonly busy: number;
  readonly opening: number;
  /** Who waits for a connection, with those that one is being opened for. */
  readonly waiting: number;
  /** Connections opened so far. */
  readonly created: number;
  /** Connections closed so far, whoever closed them. */
  readonly destroyed: number;
  /** How often a connection was handed out that was open already. */
  readonly reused: number;
}

/** Limits with their defaults. */
export interface ResolvedLimits {
  readonly maxConnections: number;
  readonly maxIdle: number;
  readonly idleTimeoutMs: number;
  readonly maxRequests: number;
  readonly maxAgeMs: number;
  readonly openTimeoutMs: number;
  readonly queueMax: number;
  readonly queueTimeoutMs: number;
}

/** Fills in defaults; throws a RangeError that names the limit when one makes no sense. */
export function resolveLimits(limits: PoolLimits): ResolvedLimits {
  return {
    maxConnections: count("maxConnections", limits.maxConnections ?? 256, 0),
    maxIdle: count("maxIdle", limits.maxIdle ?? 64, 0),
    idleTimeoutMs: time("idleTimeoutMs", limits.idleTimeoutMs ?? 60_000),
    maxRequests: count("maxRequests", limits.maxRequests ?? Number.POSITIVE_INFINITY, 1),
    maxAgeMs: time("maxAgeMs", limits.maxAgeMs ?? Number.POSITIVE_INFINITY),
    openTimeoutMs: time("openTimeoutMs", limits.openTimeoutMs ?? 10_000, 1),
    queueMax: count("queue.max", limits.queue?.max ?? 1024, 0),
    queueTimeoutMs: time("queue.timeoutMs", limits.queue?.timeoutMs ?? 1_000),
  };
}

/** A whole number of at least `min`, or Infinity. */
export function count(name: string, value: number, min: number): number {
  if (value >= min && (Number.isInteger(value) || value === Number.POSITIVE_INFINITY)) return value;
  throw new RangeError(`${name} must be a whole number of at least ${min}, or Infinity; it is ${value}`);
}

/** A number of milliseconds of at least `min`, or Infinity. */
export function time(name: string, value: number, min = 0): number {
  if (value >= min) return value;
  throw new RangeError(`${name} must be a number of milliseconds of at least ${min}, or Infinity; it is ${value}`);
}
