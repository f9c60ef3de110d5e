import { RecentKeys } from "../resilience/recent-keys.ts";
import type { AffinityFigures, SessionEvent } from "./affinity.ts";

const NONE = -1;
/**
 * How far a session is where it was put: `BEGINNING` and `MOVING`: it was not served there yet, and before nowhere, or
 * elsewhere; `SERVED`: it was; `RESTORED`: it was, and a move from there came to nothing since.
 */
export const BEGINNING = 0;
export const MOVING = 1;
export const SERVED = 2;
export const RESTORED = 3;
export type Stage = typeof BEGINNING | typeof MOVING | typeof SERVED | typeof RESTORED;
const FIRST_ROOM = 64;
/** The store hears of a session that goes on when this part of its time to live has passed since it last did. */
const RENEWAL = 0.1;
/** A hundred thousand sessions that end at once would hold everything up for tens of milliseconds. */
const SWEPT_AT_ONCE = 10_000;

/**
 * Sessions by key: the address each belongs to, for as long as it is used. A session ends when it was not used for `ttl`
 * milliseconds, exactly then; it is used whenever it is found or put. At most `max` are held: who was not used for
 * longest goes first. As every use starts the time anew, who was not used for longest is also who ends next.
 *
 * Everything is O(1). Finding allocates nothing; memory grows with the sessions, up to `max` of them, and stays.
 */
export class SessionTable implements AffinityFigures {
  readonly #ttl: number;
  readonly #endsAt: RecentKeys;
  readonly #addresses: string[] = [];
  // What is known of the store in an era before this one counts for nothing.
  #era = 0;
  #eras = new Uint32Array(FIRST_ROOM);
  #tellAt = new Float64Array(FIRST_ROOM);
  #sureAt = new Float64Array(FIRST_ROOM);
  #stages = new Uint8Array(FIRST_ROOM);
  #evicted = 0;

  /** `max` is 1 or more, `ttl` more than 0. */
  constructor(max: number, ttl: number) {
    this.#ttl = ttl;
    this.#endsAt = new RecentKeys(max);
  }

  /** Sessions in the table; those that have ended are among them until they are looked for or swept. */
  get held(): number {
    return this.#endsAt.size;
  }

  /** Sessions that went for others before their time. */
  get evicted(): number {
    return this.#evicted;
  }

  /** When the next session ends, should it not be used before; Infinity when there is none. */
  get wakeAtMs(): number {
    return this.#endsAt.size === 0 ? Number.POSITIVE_INFINITY : this.#endsAt.oldestValue;
  }

  /** Uses the session of `key`: its slot, good until the next call of `find`, `put` or `sweep`; -1: there is none. */
  find(key: string, now: number): number {
    const slot = this.#endsAt.find(key);
    if (slot === NONE) return NONE;
    if (this.#endsAt.value(slot) <= now) {
      this.#endsAt.remove(slot);
      return NONE;
    }
    this.#endsAt.setValue(slot, now + this.#ttl);
    return slot;
  }

  /** What `find` would answer, without using the session. */
  peek(key: string, now: number): number {
    const slot = this.#endsAt.peek(key);
    return slot === NONE || this.#endsAt.value(slot) <= now ? NONE : slot;
  }

  /**
   * The session of `key` belongs to `address` from now on, of which the store has to be told. Its slot as in `find`.
   * `stage`: how far it is there.
   */
  put(key: string, address: string, now: number, stage: Stage = BEGINNING): number {
    let slot = this.#endsAt.find(key);
    if (slot === NONE) {
      if (this.#endsAt.isFull && this.#endsAt.oldestValue > now) this.#evicted++;
      slot = this.#endsAt.add(key);
      if (slot === this.#tellAt.length) this.#grow();
    }
    this.#endsAt.setValue(slot, now + this.#ttl);
    this.#addresses[slot] = address;
    this.#tellAt[slot] = Number.NEGATIVE_INFINITY;
    this.#sureAt[slot] = Number.NEGATIVE_INFINITY;
    this.#stages[slot] = stage;
    return slot;
  }

  /** There is no session in `slot` any more. */
  remove(slot: number): void {
    this.#endsAt.remove(slot);
  }

  /** How far the session in `slot` is where it was put. */
  stage(slot: number): Stage {
    return this.#stages[slot] as Stage;
  }

  /** The session in `slot` has been served where it is now: answers with what has become of it by that. */
  served(slot: number): SessionEvent {
    const stage = this.#stages[slot];
    this.#stages[slot] = SERVED;
    return stage === BEGINNING ? "begun" : stage === MOVING ? "moved" : "kept";
  }

  /** Where the session in `slot` belongs. */
  address(slot: number): string {
    return this.#addresses[slot]!;
  }

  /**
   * Whether the store has to hear of the session in `slot`: it never has since `put`, `unknown` or `tellAnew`, or a tenth
   * of `ttl` ago.
   */
  isToTell(slot: number, now: number): boolean {
    return this.#tellAt[slot]! <= now || this.#eras[slot] !== this.#era;
  }

  /** When the store last said where the session in `slot` belongs, or heard of it; -Infinity: not since `put` or `tellAnew`. */
  sureAt(slot: number): number {
    return this.#eras[slot] === this.#era ? this.#sureAt[slot]! : Number.NEGATIVE_INFINITY;
  }

  /** The store has just heard of the session in `slot`. */
  told(slot: number, now: number): void {
    this.#tellAt[slot] = now + this.#ttl * RENEWAL;
    this.#sureAt[slot] = now;
    this.#eras[slot] = this.#era;
  }

  /** The store has said where the session in `slot` belongs. By that it was not renewed there. */
  confirmed(slot: number, now: number): void {
    const isToTell = this.isToTell(slot, now);
    const tellAt = this.#tellAt[slot]!;
    this.told(slot, now);
    this.#tellAt[slot] = isToTell ? Number.NEGATIVE_INFINITY : tellAt;
  }

  /** The store has said that it knows nothing of the session in `slot`: there is no more to ask it, but to tell it. */
  unknown(slot: number, now: number): void {
    this.told(slot, now);
    this.#tellAt[slot] = Number.NEGATIVE_INFINITY;
  }

  /** Whatever the store has heard or said up to now counts for nothing. Takes no time, however many sessions there are. */
  tellAnew(): void {
    this.#era++;
  }

  /** Forgets sessions that have ended, 10,000 at most: `wakeAtMs` says whether there are more. */
  sweep(now: number): void {
    for (let i = 0; i < SWEPT_AT_ONCE && this.wakeAtMs <= now; i++) this.#endsAt.remove(this.#endsAt.oldest);
  }

  #grow(): void {
    const room = 2 * this.#tellAt.length;
    const [eras, tellAt, sureAt] = [new Uint32Array(room), new Float64Array(room), new Float64Array(room)];
    eras.set(this.#eras);
    tellAt.set(this.#tellAt);
    sureAt.set(this.#sureAt);
    const stages = new Uint8Array(room);
    stages.set(this.#stages);
    this.#stages = stages;
    this.#eras = eras;
    this.#tellAt = tellAt;
    this.#sureAt = sureAt;
  }
}
