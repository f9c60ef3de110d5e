import type { Affinity, SessionStore, StoreAsker } from "../policy/affinity/affinity.ts";
import type { DataPlaneEvents } from "./data-plane-api.ts";

/** Exchanges that wait for what is known of their session, at most; the local answer counts for any more. */
const MOST_WAITING = 4096;

/**
 * The sessions that this data plane shares with others, over the control plane: sends what is asked and placed, and
 * brings the answers to those who still wait for them.
 */
export class SharedSessions {
  readonly #upstreams: ReadonlySet<string>;
  readonly #events: Pick<DataPlaneEvents, "sessionWanted" | "sessionPlaced">;
  readonly #questions = new Map<number, StoreAsker>();
  readonly #ids = new Map<StoreAsker, number>();
  readonly #affinities = new Map<string, Affinity>();
  #lastId = 0;

  /** @param upstreams whose sessions are shared; nobody else's are asked for */
  constructor(upstreams: ReadonlySet<string>, events: Pick<DataPlaneEvents, "sessionWanted" | "sessionPlaced">) {
    this.#upstreams = upstreams;
    this.#events = events;
  }

  /** The store of an upstream, whose sessions live for `ttlMs`; undefined where nobody shares them. */
  storeOf(upstream: string, ttlMs: number, timeoutMs: number): SessionStore | undefined {
    if (!this.#upstreams.has(upstream)) return undefined;
    return {
      timeoutMs,
      find: (key, asker) => {
        if (this.#questions.size >= MOST_WAITING) return false;
        const id = ++this.#lastId;
        this.#questions.set(id, asker);
        this.#ids.set(asker, id);
        this.#events.sessionWanted(id, upstream, key);
        return true;
      },
      forget: (asker) => {
        const id = this.#ids.get(asker);
        if (id === undefined) return;
        this.#ids.delete(asker);
        this.#questions.delete(id);
      },
      place: (key, address, instead) => this.#events.sessionPlaced(upstream, key, address, instead, ttlMs),
    };
  }

  /** Whose table is told what others have placed. */
  tell(upstream: string, affinity: Affinity): void {
    this.#affinities.set(upstream, affinity);
  }

  /** The answer to a question; nobody may wait for it any more. */
  found(id: number, address: string | undefined, now: number): void {
    const asker = this.#questions.get(id);
    if (asker === undefined) return;
    this.#questions.delete(id);
    this.#ids.delete(asker);
    asker.found(address, now);
  }

  /** Somebody else has placed a session. */
  corrected(upstream: string, key: string, address: string, instead: readonly string[], now: number): void {
    this.#affinities.get(upstream)?.correct(key, address, now, instead);
  }

  /** The store has to be told of everything anew. */
  forgotten(upstream: string): void {
    this.#affinities.get(upstream)?.tellAnew();
  }
}
