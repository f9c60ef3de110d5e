import type { Random } from "../policy/model/random.ts";
import type { Clock, Timer } from "../time/clock.ts";
import { PoolError } from "./pool-error.ts";
import {
  type AcquireOptions,
  type Bound,
  type CloseReason,
  count,
  type PoolOptions,
  type PoolStats,
  type RequestOptions,
  type ResolvedLimits,
  resolveLimits,
  time,
  type Waiter,
} from "./pool-options.ts";
import { IdleList, Pooled } from "./pooled.ts";
import { Waiting, WaitQueue } from "./wait-queue.ts";

/** How many released connections go to waiters of this pool before one is given up for another pool. */
const RELEASES_BEFORE_SURRENDER = 16;

/** A connection being opened. */
interface Opening {
  readonly abort: AbortController;
  readonly untilMs: number;
}

/**
 * Idle, busy and opening connections to one backend.
 *
 * - A connection is in one place: idle, busy, or being opened. All of them together never exceed `maxConnections`.
 * - The connection used last is reused first, so that the others age and the pool shrinks to what load needs.
 * - Who finds none waits in line, bounded in number and time. A released connection goes to the oldest waiter.
 * - Connections are opened on demand, never more at a time than there are waiters. One that opens is for the oldest
 *   waiter, whoever it was begun for; when nobody waits any more it is kept idle, so that waiters with short deadlines
 *   do not prevent for ever what only takes a little longer. An opening that fails tells the oldest waiter, and the
 *   next one begins while others wait: a backend that refuses gets one try a waiter, and no loop.
 * - Dead connections are noticed when they break (`watch`), when they come back and before they are handed out
 *   (`isAlive`).
 *
 * Two ways in: `tryAcquire`, `request` and `cancel` for who counts nanoseconds (no promise, no timer, nothing allocated
 * while a connection is idle), `acquire` and `use` for everybody else. Every connection acquired is given back once, by
 * `release` or `discard`.
 *
 * Pure: time, randomness and the making of connections are handed in.
 */
export class ConnectionPool<T extends object> {
  readonly #options: PoolOptions<T>;
  readonly #limits: ResolvedLimits;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #bound: Bound | undefined;
  readonly #entries = new Map<T, Pooled<T>>();
  readonly #idle = new IdleList<T>();
  readonly #openings = new Set<Opening>();
  readonly #queue = new WaitQueue<T>();
  #maxConnections: number;
  /** Connections that somebody holds, with those just released on their way to a waiter. */
  #busy = 0;
  #created = 0;
  #destroyed = 0;
  #reused = 0;
  #state: "open" | "draining" | "closed" = "open";

  /** The limit was lowered below what is open: connections are closed when they come back. */
  #over = false;
  /** The others have been asked for room under the shared bound: once for all who wait is enough. */
  #asked = false;
  /** Another pool asked for a connection of the shared bound, and there was no idle one. */
  #surrender = false;
  #releasesSinceAsked = 0;

  /** Connections released while another one is being handed over; empty otherwise. */
  readonly #returned: Pooled<T>[] = [];
  #handingOver = false;

  /** Closes idle connections that are too old or idle for too long. */
  readonly #sweepTimer: Timer;
  #sweepAtMs = Number.POSITIVE_INFINITY;
  /** Ends waits and openings that take too long. */
  readonly #deadlineTimer: Timer;
  #deadlineAtMs = Number.POSITIVE_INFINITY;

  /** Promises of `destroy` that have not settled. */
  #closing = 0;
  #drained: Promise<void> | undefined;
  #resolveDrained: (() => void) | undefined;

  /** Throws a RangeError that names the limit when one makes no sense. */
  constructor(options: PoolOptions<T>) {
    this.#options = options;
    this.#limits = resolveLimits(options);
    this.#maxConnections = this.#limits.maxConnections;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#bound = options.bound;
    this.#sweepTimer = options.clock.timer(() => this.#sweep());
    this.#deadlineTimer = options.clock.timer(() => this.#passDeadlines());
  }

  /** What the pool has now, and what it has done. */
  get stats(): PoolStats {
    return {
      idle: this.#idle.size,
      busy: this.#busy,
      opening: this.#openings.size,
      waiting: this.#queue.size,
      created: this.#created,
      destroyed: this.#destroyed,
      reused: this.#reused,
    };
  }

  /** When the idle connection that would be handed out next became idle; undefined when none is idle. */
  get newestIdleSinceMs(): number | undefined {
    return this.#idle.newest?.idleSinceMs;
  }

  /** An idle connection, or undefined when there is none. Opens nothing and waits for nothing. */
  tryAcquire(): T | undefined {
    return this.#idle.size === 0 ? undefined : this.#takeIdle()?.connection;
  }

  /**
   * Asks for a connection. Answers at once when one is idle, or when the pool is closed or the queue is full; otherwise
   * later, when a connection was released or opened, or could not be. Every waiter is answered once, unless it is
   * cancelled before. Throws when `waiter` waits already.
   */
  request(waiter: Waiter<T>, options?: RequestOptions): void {
    const fresh = options?.fresh === true;
    if (!fresh && this.#idle.size > 0) {
      const entry = this.#takeIdle();
      if (entry !== undefined) {
        waiter.acquired(entry.connection, true);
        return;
      }
    }
    if (this.#queue.has(waiter)) throw new TypeError("this waiter waits for a connection already");
    const timeoutMs =
      options?.timeoutMs === undefined ? this.#limits.queueTimeoutMs : time("timeoutMs", options.timeoutMs);
    if (this.#state !== "open") {
      waiter.failed(this.#closedError());
      return;
    }
    const now = this.#clock.now();
    const place = new Waiting(waiter, fresh, timeoutMs, now + timeoutMs);
    this.#queue.join(place);
    if (this.#queue.size === 1) this.#asked = false;
    this.#watchDeadline(place.deadlineMs, now);
    this.#openForWaiters();
    const uncovered = this.#queue.size - this.#openings.size;
    if (uncovered > this.#limits.queueMax && this.#queue.leave(waiter) !== undefined) {
      waiter.failed(new PoolError("queue-full", `${uncovered - 1} wait for a connection already: ${this.#counts()}`));
    }
  }

  /**
   * Stops waiting; a connection on its way goes to the next waiter or becomes idle. False when `waiter` does not wait:
   * it has its answer already.
   */
  cancel(waiter: Waiter<T>): boolean {
    return this.#queue.leave(waiter) !== undefined;
  }

  /** As `request`, as a promise. Rejects with a {@link PoolError}, or with the reason of an aborted `signal`. */
  acquire(options?: AcquireOptions): Promise<T> {
    const signal = options?.signal;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (options?.fresh !== true) {
      const connection = this.tryAcquire();
      if (connection !== undefined) return Promise.resolve(connection);
    }
    return new Promise<T>((resolve, reject) => {
      const abort = (): void => {
        if (this.cancel(waiter)) reject(signal?.reason);
      };
      const waiter: Waiter<T> = {
        acquired: (connection) => {
          signal?.removeEventListener("abort", abort);
          resolve(connection);
        },
        failed: (error) => {
          signal?.removeEventListener("abort", abort);
          reject(error);
        },
      };
      this.request(waiter, options);
      if (signal !== undefined && this.#queue.has(waiter)) signal.addEventListener("abort", abort, { once: true });
    });
  }

  /**
   * Acquires a connection, hands it to `work` and releases it when that is done. An error of `work` says nothing about
   * the connection (a failed query leaves a good one behind), so it is released then, too, and `isAlive` decides; call
   * `discard` in `work` when you know better.
   */
  async use<R>(work: (connection: T) => R | Promise<R>, options?: AcquireOptions): Promise<R> {
    const connection = await this.acquire(options);
    const entry = this.#entries.get(connection);
    const uses = entry?.uses;
    try {
      return await work(connection);
    } finally {
      // Unless `work` gave it back by itself; then it may be somebody else's by now.
      if (entry?.state === "busy" && entry.uses === uses) this.release(connection);
    }
  }

  /**
   * Gives a connection back: to the oldest waiter, or to the idle ones, unless it is dead, too old, used up or too
   * many. Throws when the connection is not busy in this pool. After `close`, which has closed it, does nothing.
   */
  release(connection: T): void {
    const entry = this.#entries.get(connection);
    if (entry === undefined || entry.state !== "busy") {
      this.#refuse(entry);
      return;
    }
    const now = this.#clock.now();
    const reason = this.#whyNotReuse(entry, now);
    if (reason !== undefined) this.#drop(entry, reason);
    else if (this.#queue.size > 0) this.#handOver(entry);
    else this.#park(entry, now);
  }

  /** Gives a connection back that must not be used again, and closes it. Throws when it is not busy in this pool. */
  discard(connection: T, reason: CloseReason = "discarded"): void {
    const entry = this.#entries.get(connection);
    if (entry === undefined || entry.state !== "busy") this.#refuse(entry);
    else this.#drop(entry, reason);
  }

  /** Closes all idle connections, for example because their backend went down. */
  closeIdle(reason: CloseReason): void {
    for (let left = this.#idle.size; left > 0 && this.#idle.oldest !== undefined; left--) {
      this.#drop(this.#idle.oldest, reason);
    }
  }

  /**
   * Changes `maxConnections`. When more are open, idle ones are closed now and busy ones as they come back; when more
   * are allowed, connections are opened for who waits.
   */
  setMaxConnections(maxConnections: number): void {
    this.#maxConnections = count("maxConnections", maxConnections, 0);
    while (this.#held() > this.#maxConnections && this.#idle.oldest !== undefined) {
      this.#drop(this.#idle.oldest, "max-connections");
    }
    this.#over = this.#held() > this.#maxConnections;
    this.#openForWaiters();
  }

  /**
   * Gives up an idle connection so that another pool under the same bound can open one: true when there was one. If all
   * are busy, the next one that would become idle is closed instead; while there are waiters here, they are served
   * first, but not for ever. Either way `onBoundFreed` tells when there is room.
   */
  surrenderIdle(): boolean {
    if (this.#state !== "open") return false;
    if (this.#total() === 0) {
      if (this.#held() < this.#maxConnections) this.#tell(this.#options.onBoundFreed);
      return false;
    }
    // Asked again and again, it must still give one up after so many releases.
    if (!this.#surrender) this.#releasesSinceAsked = 0;
    this.#surrender = true;
    const idle = this.#idle.oldest;
    if (idle === undefined) return false;
    this.#drop(idle, "surrendered");
    return true;
  }

  /** There may be room under the shared bound again: opens connections for who waits. */
  retry(): void {
    this.#asked = false;
    this.#openForWaiters();
  }

  /**
   * Takes no more requests, fails who waits, closes idle connections and gives up opening ones. Resolves when all busy
   * connections have come back and been closed; the pool is closed then.
   */
  drain(): Promise<void> {
    this.#drained ??= new Promise((resolve) => {
      this.#resolveDrained = resolve;
    });
    if (this.#state === "open") {
      this.#state = "draining";
      this.#shut();
    }
    this.#checkDrained();
    return this.#drained;
  }

  /** Closes everything now, busy connections too; those need not be released any more. */
  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#shut();
    for (const entry of this.#entries.values()) {
      // It stays known, so that its holder may release it all the same.
      entry.state = "gone";
      this.#busy--;
      this.#destroy(entry.connection, "closed");
      this.#bound?.give();
    }
    this.#checkDrained();
  }

  /** `await using pool = ...`: drains. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.drain();
  }

  /** The idle connection used last that is still good, now busy. */
  #takeIdle(): Pooled<T> | undefined {
    const now = this.#clock.now();
    for (let entry = this.#idle.newest; entry !== undefined; entry = this.#idle.newest) {
      const reason = this.#whyNotTake(entry, now);
      if (reason !== undefined) {
        this.#drop(entry, reason);
        continue;
      }
      this.#idle.remove(entry);
      entry.state = "busy";
      entry.uses++;
      this.#busy++;
      this.#reused++;
      return entry;
    }
    return undefined;
  }

  #whyNotTake(entry: Pooled<T>, now: number): CloseReason | undefined {
    // The sweep comes a tick late, and later after a long pause of the process.
    if (now >= entry.idleSinceMs + this.#limits.idleTimeoutMs) return "idle-timeout";
    if (now >= entry.expiresMs) return "max-age";
    return this.#alive(entry) ? undefined : "dead";
  }

  #whyNotReuse(entry: Pooled<T>, now: number): CloseReason | undefined {
    if (this.#state !== "open") return "closed";
    if (entry.dead || !this.#alive(entry)) return "dead";
    if (now >= entry.expiresMs) return "max-age";
    if (entry.uses >= this.#limits.maxRequests) return "max-requests";
    if (this.#over) {
      this.#over = this.#held() > this.#maxConnections;
      if (this.#over) return "max-connections";
    }
    if (this.#surrender && ++this.#releasesSinceAsked > RELEASES_BEFORE_SURRENDER) return "surrendered";
    return undefined;
  }

  #alive(entry: Pooled<T>): boolean {
    if (this.#options.isAlive === undefined) return true;
    try {
      return this.#options.isAlive(entry.connection);
    } catch (error) {
      this.#report(error);
      return false;
    }
  }

  /** A connection that was busy and is good, and somebody waits: it may be for a fresh one only. */
  #handOver(entry: Pooled<T>): void {
    entry.state = "returning";
    if (this.#handingOver) {
      // A waiter gave its connection back at once: served below, without going deeper with each one.
      this.#returned.push(entry);
      return;
    }
    this.#handingOver = true;
    for (let next: Pooled<T> | undefined = entry; next !== undefined; next = this.#returned.shift()) {
      if (next.state !== "returning") continue;
      if (next.dead) {
        this.#drop(next, "dead");
        continue;
      }
      const place = this.#queue.shiftTakingUsed();
      if (place === undefined) this.#park(next, this.#clock.now());
      else this.#give(next, place, true);
    }
    this.#handingOver = false;
  }

  #give(entry: Pooled<T>, place: Waiting<T>, reused: boolean): void {
    entry.state = "busy";
    const uses = ++entry.uses;
    if (reused) this.#reused++;
    try {
      place.waiter.acquired(entry.connection, reused);
    } catch (error) {
      this.#report(error);
      if (entry.state === "busy" && entry.uses === uses) this.#drop(entry, "discarded");
    }
  }

  /** A connection that was busy, is good, and nobody waits for. */
  #park(entry: Pooled<T>, now: number): void {
    if (this.#surrender) {
      this.#drop(entry, "surrendered");
      return;
    }
    if (this.#idle.size >= this.#limits.maxIdle) {
      this.#drop(entry, "max-idle");
      return;
    }
    this.#busy--;
    entry.state = "idle";
    entry.idleSinceMs = now;
    this.#idle.push(entry);
    this.#watchIdle(Math.min(now + this.#limits.idleTimeoutMs, entry.expiresMs), now);
    if (this.#queue.size > this.#openings.size) this.#openForWaiters();
  }

  /** Opens what waiters need, as far as the bounds allow. */
  #openForWaiters(): void {
    while (this.#state === "open" && this.#queue.size > this.#openings.size) {
      const room = this.#total() < this.#maxConnections;
      if (room && (this.#bound === undefined || this.#bound.take(this.#maxConnections))) {
        this.#open();
      } else if (this.#idle.oldest !== undefined) {
        // They all ask for fresh connections, or they would have taken this one.
        this.#drop(this.#idle.oldest, "replaced");
      } else {
        if (room && !this.#asked) {
          this.#asked = true;
          this.#tell(this.#options.onBoundExhausted);
        }
        return;
      }
    }
  }

  #open(): void {
    const now = this.#clock.now();
    const opening: Opening = { abort: new AbortController(), untilMs: now + this.#limits.openTimeoutMs };
    this.#openings.add(opening);
    this.#watchDeadline(opening.untilMs, now);
    let opened: Promise<T>;
    try {
      opened = Promise.resolve(this.#options.create(opening.abort.signal));
    } catch (error) {
      opened = Promise.reject(error);
    }
    opened.then(
      (connection) => this.#opened(opening, connection),
      (error) => {
        if (this.#openings.delete(opening)) this.#openFailed(error);
      },
    );
  }

  #opened(opening: Opening, connection: T): void {
    if (!this.#openings.delete(opening)) {
      this.#created++;
      this.#destroy(connection, this.#state === "open" ? "late" : "closed");
      this.#checkDrained();
      return;
    }
    if (this.#entries.has(connection)) {
      this.#openFailed(new TypeError("create() returned a connection that is in the pool already"));
      return;
    }
    const now = this.#clock.now();
    const maxAgeMs = this.#limits.maxAgeMs;
    const ageMs = maxAgeMs === Number.POSITIVE_INFINITY ? maxAgeMs : maxAgeMs * (0.9 + 0.2 * this.#random.next());
    const entry = new Pooled(connection, now + ageMs);
    entry.state = "returning";
    this.#entries.set(connection, entry);
    this.#created++;
    this.#busy++;
    try {
      this.#options.watch?.(connection, () => this.#died(entry));
    } catch (error) {
      this.#report(error);
      entry.dead = true;
    }
    if (entry.dead || !this.#alive(entry)) {
      this.#forget(entry, "dead");
      this.#openFailed(new Error("the connection broke as soon as it was open"));
      return;
    }
    const place = this.#queue.shift();
    if (place === undefined) this.#park(entry, now);
    else this.#give(entry, place, false);
  }

  /** An opening has ended without a connection, and does not count any more. */
  #openFailed(cause: unknown): void {
    this.#bound?.give();
    const place = this.#queue.shift();
    if (place !== undefined) {
      const why = cause instanceof Error ? cause.message : String(cause);
      this.#fail(place, new PoolError("unreachable", `could not open a connection: ${why}`, { cause }));
    }
    this.#roomMade();
  }

  #died(entry: Pooled<T>): void {
    if (entry.state === "idle") this.#drop(entry, "dead");
    else entry.dead = true;
  }

  /** Takes an idle or busy connection out of the pool and closes it. */
  #drop(entry: Pooled<T>, reason: CloseReason): void {
    this.#forget(entry, reason);
    this.#bound?.give();
    this.#roomMade();
    this.#checkDrained();
  }

  #forget(entry: Pooled<T>, reason: CloseReason): void {
    if (entry.state === "idle") this.#idle.remove(entry);
    else this.#busy--;
    entry.state = "gone";
    this.#entries.delete(entry.connection);
    this.#destroy(entry.connection, reason);
  }

  /** There is one connection less: another one may be opened, here or by who asked for it. */
  #roomMade(): void {
    if (!this.#surrender) {
      if (this.#queue.size > this.#openings.size) this.#openForWaiters();
      return;
    }
    this.#surrender = false;
    this.#tell(this.#options.onBoundFreed);
    // Taking it ourselves would be quicker than who asked. We ask in turn, and hear of it when nobody needs it.
    if (this.#queue.size > this.#openings.size) this.#tell(this.#options.onBoundExhausted);
  }

  #destroy(connection: T, reason: CloseReason): void {
    this.#destroyed++;
    try {
      const closing = this.#options.destroy(connection, reason);
      if (closing instanceof Promise) {
        this.#closing++;
        closing
          .catch((error) => this.#report(error))
          .finally(() => {
            this.#closing--;
            this.#checkDrained();
          });
      }
    } catch (error) {
      this.#report(error);
    }
  }

  #watchIdle(untilMs: number, now: number): void {
    if (untilMs >= this.#sweepAtMs) return;
    this.#sweepAtMs = untilMs;
    this.#sweepTimer.set(untilMs - now);
  }

  #sweep(): void {
    this.#sweepAtMs = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    const idleTimeoutMs = this.#limits.idleTimeoutMs;
    for (let entry = this.#idle.oldest; entry !== undefined; entry = this.#idle.oldest) {
      if (entry.idleSinceMs + idleTimeoutMs > now) break;
      this.#drop(entry, "idle-timeout");
    }
    let entry = this.#idle.oldest;
    let nextMs = entry === undefined ? Number.POSITIVE_INFINITY : entry.idleSinceMs + idleTimeoutMs;
    while (entry !== undefined) {
      if (entry.expiresMs <= now) {
        this.#drop(entry, "max-age");
        // What `destroy` did to the list is unknown.
        entry = this.#idle.oldest;
      } else {
        if (entry.expiresMs < nextMs) nextMs = entry.expiresMs;
        entry = entry.newer;
      }
    }
    this.#watchIdle(nextMs, now);
  }

  #watchDeadline(untilMs: number, now: number): void {
    if (untilMs >= this.#deadlineAtMs) return;
    this.#deadlineAtMs = untilMs;
    this.#deadlineTimer.set(untilMs - now);
  }

  #passDeadlines(): void {
    this.#deadlineAtMs = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    for (const opening of this.#openings) {
      // In the order they were begun, so in the order of their ends.
      if (opening.untilMs > now) break;
      const error = timeoutError(`not open after ${this.#limits.openTimeoutMs} ms`);
      this.#openings.delete(opening);
      opening.abort.abort(error);
      this.#openFailed(error);
    }
    for (let left = this.#queue.size; left > 0; left--) {
      const place = this.#queue.shiftOverdue(now);
      if (place === undefined) break;
      this.#fail(place, this.#overdueError(place));
    }
    this.#watchDeadline(this.#queue.nextDeadlineMs(), now);
    for (const opening of this.#openings) {
      this.#watchDeadline(opening.untilMs, now);
      break;
    }
    // Those who are left ask again, should an answer to the others' bound have been lost.
    this.#asked = false;
    this.#openForWaiters();
  }

  /** Whether the backend did not answer or had no connection free is what an operator has to know. */
  #overdueError(place: Waiting<T>): PoolError {
    const opening = this.#openings.size;
    if (opening > 0 && (opening > this.#queue.size || this.#busy === 0)) {
      return new PoolError("unreachable", `no connection opened within ${place.timeoutMs} ms: ${this.#counts()}`, {
        cause: timeoutError(`not open after ${place.timeoutMs} ms`),
      });
    }
    return new PoolError("exhausted", `no connection was free within ${place.timeoutMs} ms: ${this.#counts()}`);
  }

  #counts(): string {
    const of = `${this.#busy} busy and ${this.#openings.size} opening of ${this.#maxConnections}`;
    return this.#bound === undefined ? of : `${of}, ${this.#bound.held()} taken in all pools`;
  }

  #fail(place: Waiting<T>, error: PoolError): void {
    try {
      place.waiter.failed(error);
    } catch (thrown) {
      this.#report(thrown);
    }
  }

  /** Leaves only what is busy. */
  #shut(): void {
    this.#sweepTimer.clear();
    this.#deadlineTimer.clear();
    for (const opening of this.#openings) {
      this.#openings.delete(opening);
      this.#bound?.give();
      opening.abort.abort(this.#closedError());
    }
    for (let place = this.#queue.shift(); place !== undefined; place = this.#queue.shift()) {
      this.#fail(place, this.#closedError());
    }
    this.closeIdle("closed");
  }

  #checkDrained(): void {
    if (this.#state === "open" || this.#busy > 0) return;
    this.#state = "closed";
    if (this.#closing === 0) this.#resolveDrained?.();
  }

  #closedError(): PoolError {
    return new PoolError("closed", `the pool is ${this.#state}`);
  }

  #refuse(entry: Pooled<T> | undefined): void {
    if (entry === undefined) {
      throw new TypeError("this pool does not hold the connection: it was discarded or closed, or is not of this pool");
    }
    if (entry.state !== "gone") throw new TypeError("the connection was released before, and not acquired since");
    this.#entries.delete(entry.connection);
  }

  #total(): number {
    return this.#idle.size + this.#busy + this.#openings.size;
  }

  #held(): number {
    return this.#bound === undefined ? this.#total() : this.#bound.held();
  }

  #tell(callback: (() => void) | undefined): void {
    try {
      callback?.call(this.#options);
    } catch (error) {
      this.#report(error);
    }
  }

  #report(error: unknown): void {
    if (this.#options.onError !== undefined) {
      this.#options.onError(error);
      return;
    }
    queueMicrotask(() => {
      throw error;
    });
  }
}

function timeoutError(message: string): DOMException {
  return new DOMException(message, "TimeoutError");
}
