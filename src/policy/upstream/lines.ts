import type { Backend } from "../model/backend.ts";
import type { QueueOptions } from "../resilience/options.ts";
import { rankOf, type ShedFromQueue, type Waiter, WaitingQueue } from "../resilience/queue.ts";

/** An exchange that waits in a line of its upstream: a dispatch. */
export interface Waiting extends Waiter {
  /**
   * The one backend that it waits for, because its session is there, or its balancer would have no other; undefined: any
   * will do. May change any time.
   */
  readonly bound: Backend | undefined;
  /** It is its turn: takes what it needs to go on, if it is there. */
  take(now: number): boolean;
  /** Goes on with what it took. It is in no line any more. */
  goOn(): void;
  /** It has been given up. */
  shed(why: ShedFromQueue, now: number): void;
}

type Line = WaitingQueue<Waiting>;

/** Who stands in the line of a backend wants what the first one wants: where that has no room, none of them has. */
const OFFERS_OF_OWN = 1;

/**
 * The exchanges of an upstream that wait for room: those that any backend will do for, in the first line, and those that
 * wait for one backend, in a line of that backend's own. If they stood in one, a single backend without room would keep
 * everybody waiting who stands behind its sessions. Who finds, when its turn comes, that it waits for another backend by
 * now changes lines.
 *
 * The first line and the others take turns, and so do the others, so that none starves another. `max` bounds all of them
 * together.
 */
export class Lines {
  readonly #options: QueueOptions;
  readonly #any: Line;
  readonly #ofBackend = new Map<Backend, Line>();
  readonly #strays: Waiting[] = [];
  #ownFirst = false;

  constructor(options: QueueOptions) {
    this.#options = options;
    this.#any = this.#newLine();
  }

  /** Exchanges in all lines. */
  get size(): number {
    let size = this.#any.size;
    if (this.#ofBackend.size === 0) return size;
    for (const line of this.#ofBackend.values()) size += line.size;
    return size;
  }

  /** Those of them that any backend will do for. */
  get sizeOfAny(): number {
    return this.#any.size;
  }

  /** When somebody is overdue; Infinity: never. */
  get wakeAtMs(): number {
    let wakeAtMs = this.#any.wakeAtMs;
    if (this.#ofBackend.size === 0) return wakeAtMs;
    for (const line of this.#ofBackend.values()) wakeAtMs = Math.min(wakeAtMs, line.wakeAtMs);
    return wakeAtMs;
  }

  /** As {@link WaitingQueue.join}, in the line where it belongs. */
  join(waiting: Waiting, now: number): ShedFromQueue | undefined {
    const line = this.#lineOf(waiting.bound);
    if (this.#ofBackend.size > 0 && this.size >= this.#options.max) this.#makeRoom(waiting, line, now);
    return line.join(waiting, now);
  }

  /** Stops waiting. Harmless when it does not wait. */
  leave(waiting: Waiting): void {
    if (this.#any.leave(waiting)) return;
    for (const line of this.#ofBackend.values()) if (line.leave(waiting)) return;
  }

  /** These are the members now: empty lines of others are given up. */
  keep(members: ReadonlyMap<Backend, unknown>): void {
    for (const [backend, line] of this.#ofBackend) {
      if (line.size === 0 && !members.has(backend)) this.#ofBackend.delete(backend);
    }
  }

  /** Who goes on; undefined: nobody can. `concerns`: whether the line of a backend is worth asking. */
  next(now: number, concerns: (backend: Backend) => boolean): Waiting | undefined {
    return this.#ownFirst
      ? (this.#nextOfOwn(now, concerns) ?? this.#nextOfAny(now))
      : (this.#nextOfAny(now) ?? this.#nextOfOwn(now, concerns));
  }

  /** Who is worst has to go, whichever line it stands in: of several in the longest. Its own line sees to itself. */
  #makeRoom({ priority }: Waiting, own: Line, now: number): void {
    let worst = own;
    for (const line of [this.#any, ...this.#ofBackend.values()]) {
      const behind = line.lowestRank - worst.lowestRank;
      if (behind > 0 || (behind === 0 && line.size > worst.size)) worst = line;
    }
    if (worst !== own && worst.lowestRank > rankOf(priority)) worst.shedWorst(now);
  }

  #nextOfAny(now: number): Waiting | undefined {
    const next = this.#nextIn(this.#any, undefined, now, undefined);
    if (next !== undefined) this.#ownFirst = true;
    return next;
  }

  #nextOfOwn(now: number, concerns: (backend: Backend) => boolean): Waiting | undefined {
    for (const [backend, line] of this.#ofBackend) {
      if (line.size === 0 || !concerns(backend)) continue;
      const next = this.#nextIn(line, backend, now, OFFERS_OF_OWN);
      if (next === undefined) continue;
      this.#ownFirst = false;
      // It goes to the end.
      this.#ofBackend.delete(backend);
      this.#ofBackend.set(backend, line);
      return next;
    }
    return undefined;
  }

  /** Only so many of a line are offered at a time: as long as some of them stand in the wrong one, others have their turn. */
  #nextIn(line: Line, owner: Backend | undefined, now: number, offers: number | undefined): Waiting | undefined {
    for (;;) {
      const next = line.next(now, (waiting) => this.#offer(waiting, owner, now), offers);
      if (this.#strays.length === 0) return next;
      for (const stray of this.#strays.splice(0)) line.moveTo(this.#lineOf(stray.bound), stray, now);
      if (next !== undefined) return next;
    }
  }

  #offer(waiting: Waiting, owner: Backend | undefined, now: number): boolean {
    if (waiting.take(now)) return true;
    if (waiting.bound !== owner) this.#strays.push(waiting);
    return false;
  }

  #lineOf(backend: Backend | undefined): Line {
    if (backend === undefined) return this.#any;
    let line = this.#ofBackend.get(backend);
    if (line === undefined) {
      line = this.#newLine();
      this.#ofBackend.set(backend, line);
    }
    return line;
  }

  #newLine(): Line {
    const line: Line = new WaitingQueue(
      this.#options,
      (waiting, why, now) => waiting.shed(why, now),
      () => this.size - line.size,
    );
    return line;
  }
}
