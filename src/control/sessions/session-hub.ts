import type { SessionStoreView } from "../../metrics/snapshot.ts";
import type { Clock } from "../../time/clock.ts";
import type { SessionListener } from "../data-planes.ts";
import type { Log } from "../log.ts";
import { LogLimiter, limitLog } from "../log-limiter.ts";
import type { SharedStore } from "./shared-store.ts";
import { type StoreCounters, UpstreamSessions } from "./upstream-sessions.ts";

/** The way back to the workers. */
export interface SessionAnswers {
  sessionFound(worker: number, id: number, address: string | undefined, failed: boolean): void;
  sessionCorrected(worker: number, upstream: string, key: string, address: string, instead: readonly string[]): void;
  /** For all workers. */
  sessionsForgotten(upstream: string): void;
}

/** What a hub is made of. */
export interface SessionHubInit {
  /** By the name of the upstream. */
  readonly stores: ReadonlyMap<string, SharedStore>;
  readonly answers: SessionAnswers;
  readonly counters: StoreCounters;
  readonly clock: Clock;
  /** Calls `run` when all that the workers had sent before has been read. */
  later(run: () => void): void;
  readonly log: Log;
}

/** One thread in the place of a worker, from its start to its death. */
interface WorkerLife {
  readonly worker: number;
  alive: boolean;
}

/**
 * Where the workers' questions about sessions meet the stores: each is answered once, to the worker that asked, as long
 * as it lives. The one that takes its place does not hear what it did not ask. What moves a session is told to all workers
 * that have ever asked or said anything; no other can know of a session.
 */
export class SessionHub implements SessionListener {
  readonly #answers: SessionAnswers;
  readonly #later: (run: () => void) => void;
  readonly #stores: ReadonlyMap<string, SharedStore>;
  readonly #upstreams = new Map<string, UpstreamSessions<WorkerLife>>();
  readonly #lives: (WorkerLife | undefined)[] = [];

  constructor({ stores, answers, counters, clock, later, log }: SessionHubInit) {
    this.#answers = answers;
    this.#later = later;
    this.#stores = stores;
    for (const [upstream, store] of stores) {
      const limited = limitLog(log, clock, new LogLimiter(1, 60_000));
      this.#upstreams.set(
        upstream,
        new UpstreamSessions<WorkerLife>({
          store,
          clock,
          counters,
          corrected: (key, address, instead, believed) => {
            for (const life of this.#lives) {
              if (life === undefined || believed.get(life) === address) continue;
              answers.sessionCorrected(life.worker, upstream, key, address, instead);
            }
          },
          forgotten: () => answers.sessionsForgotten(upstream),
          overloaded: () => {
            const message = `upstream ${upstream}: the session store is too slow for what it is asked`;
            limited.write("warn", "session_store_overloaded", message, { upstream });
          },
        }),
      );
    }
  }

  /** Resolves when all stores are ready, or have shown that they are not. */
  async start(): Promise<void> {
    await Promise.all([...this.#stores.values()].map((store) => store.start()));
  }

  sessionWanted(worker: number, id: number, upstream: string, key: string): void {
    const life = this.#lifeOf(worker);
    const sessions = this.#upstreams.get(upstream);
    // Nobody shares these sessions: that is an answer, not a failure.
    if (sessions === undefined) return this.#answers.sessionFound(worker, id, undefined, false);
    // Messages of one worker come in order, those of two do not: another may have placed this session before it was asked
    // for, and be read after. Its client has had the answer and would find itself with another backend.
    this.#later(() => {
      if (!life.alive) return;
      sessions.find(key, (address, failed) => {
        if (life.alive) this.#answers.sessionFound(worker, id, address, failed);
      });
    });
  }

  sessionPlaced(
    worker: number,
    upstream: string,
    key: string,
    address: string,
    instead: string | undefined,
    ttlMs: number,
  ): void {
    this.#upstreams.get(upstream)?.place(this.#lifeOf(worker), key, address, instead, ttlMs);
  }

  /** What it asked need not be answered any more. */
  workerDied(worker: number): void {
    const life = this.#lives[worker];
    if (life !== undefined) life.alive = false;
    this.#lives[worker] = undefined;
  }

  views(): readonly SessionStoreView[] {
    return [...this.#stores].map(([upstream, { view }]) => ({ upstream, ...view }));
  }

  /** What was asked is not answered any more. */
  close(): void {
    for (const life of this.#lives) if (life !== undefined) life.alive = false;
    for (const sessions of this.#upstreams.values()) sessions.close();
    for (const store of this.#stores.values()) store.close();
  }

  #lifeOf(worker: number): WorkerLife {
    this.#lives[worker] ??= { worker, alive: true };
    return this.#lives[worker];
  }
}
