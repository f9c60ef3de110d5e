import type { Backend } from "../model/backend.ts";
import type { QueueOptions } from "../resilience/options.ts";
import { type ShedFromQueue, type Waiter, WaitingQueue } from "../resilience/queue.ts";

/** An exchange that waits in a line of its upstream: a dispatch. */
export interface Waiting extends Waiter {
  /** It is its turn: takes what it needs to go on, if it is there. */
  take(now: number): boolean;
  /** Goes on with what it took. It is in no line any more. */
  goOn(): void;
  /** It has been given up. */
  shed(why: ShedFromQueue, now: number): void;
}

/** One line: exchanges in the order in which they are served. */
export type Line = WaitingQueue<Waiting>;

/**
 * The exchanges of an upstream that wait for room: those that any backend will do for, in the first line, and those
 * whose session is on one backend, in a line of that backend's own. If they stood in one, a single backend without
 * room would keep everybody waiting who stands behind its sessions.
 *
 * The first line and the others take turns, so that neither starves the other.
 */
export class Lines {
  /** Of those that any backend will do for. */
  readonly any: Line;
  readonly #options: QueueOptions;
  readonly #ofBackend = new Map<Backend, Line>();
  #ownFirst = false;

  constructor(options: QueueOptions) {
    this.#options = options;
    this.any = this.#newLine();
  }

  /** The line for `backend` alone; it is kept until {@link keep}. */
  of(backend: Backend): Line {
    let line = this.#ofBackend.get(backend);
    if (line === undefined) {
      line = this.#newLine();
      this.#ofBackend.set(backend, line);
    }
    return line;
  }

  /** Exchanges in all lines. */
  get size(): number {
    let size = this.any.size;
    if (this.#ofBackend.size === 0) return size;
    for (const line of this.#ofBackend.values()) size += line.size;
    return size;
  }

  /** When somebody is overdue; Infinity: never. */
  get wakeAtMs(): number {
    let wakeAtMs = this.any.wakeAtMs;
    if (this.#ofBackend.size === 0) return wakeAtMs;
    for (const line of this.#ofBackend.values()) wakeAtMs = Math.min(wakeAtMs, line.wakeAtMs);
    return wakeAtMs;
  }

  /** These are the members now: empty lines of others are given up. */
  keep(members: ReadonlyMap<Backend, unknown>): void {
    for (const [backend, line] of this.#ofBackend) {
      if (line.size === 0 && !members.has(backend)) this.#ofBackend.delete(backend);
    }
  }

  /** Who goes on; undefined: nobody can. `concerns`: whether the line of a backend is worth asking. */
  next(now: number, concerns: (backend: Backend) => boolean): Waiting | undefined {
    if (this.#ofBackend.size === 0) return this.any.next(now, (waiting) => waiting.take(now));
    return this.#ownFirst
      ? (this.#nextOfOwn(now, concerns) ?? this.#nextOfAny(now))
      : (this.#nextOfAny(now) ?? this.#nextOfOwn(now, concerns));
  }

  #nextOfAny(now: number): Waiting | undefined {
    const next = this.any.next(now, (waiting) => waiting.take(now));
    if (next !== undefined) this.#ownFirst = true;
    return next;
  }

  #nextOfOwn(now: number, concerns: (backend: Backend) => boolean): Waiting | undefined {
    for (const [backend, line] of this.#ofBackend) {
      if (line.size === 0 || !concerns(backend)) continue;
      const next = line.next(now, (waiting) => waiting.take(now));
      if (next === undefined) continue;
      this.#ownFirst = false;
      return next;
    }
    return undefined;
  }

  #newLine(): Line {
    return new WaitingQueue(this.#options, (waiting, why, now) => waiting.shed(why, now));
  }
}
