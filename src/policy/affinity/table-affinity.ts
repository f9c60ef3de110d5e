import { type KeyName, type KeySource, keySource } from "../balance/key.ts";
import type { Backend } from "../model/backend.ts";
import type { PickRequest } from "../model/request.ts";
import { networkOf } from "../resilience/client-network.ts";
import type {
  Affinity,
  AffinityFigures,
  AffinityParts,
  LearnsFrom,
  Session,
  SessionEvent,
  SessionStore,
} from "./affinity.ts";
import type { AffinityOptions, SessionSource } from "./options.ts";
import { BEGINNING, MOVING, RESTORED, SERVED, SessionTable, type Stage } from "./session-table.ts";

const NONE = -1;
/** Clients choose their ids, up to a head full. */
const LONGEST_KEPT = 64;

class TableSession implements Session {
  readonly key: string;
  backend: Backend | undefined;
  sureAtMs = Number.NEGATIVE_INFINITY;
  /** An exchange may place it. Not so an id that a client made up, or that has ended: only a response begins it. */
  isKnown: boolean;
  /** Where it belonged when the exchange came to it; undefined: nowhere. It may be the address of no member. */
  from: string | undefined;
  /** How far it was there. */
  stage: Stage = BEGINNING;
  /** Where it belongs now, as far as the exchange has seen or decided. */
  at: string | undefined;

  constructor(key: string, isKnown: boolean) {
    this.key = key;
    this.isKnown = isKnown;
  }

  belongs(address: string, backend: Backend | undefined, sureAtMs: number, stage: Stage): void {
    this.backend = backend;
    this.sureAtMs = sureAtMs;
    this.stage = stage;
    this.isKnown = true;
    this.from = this.at = address;
  }

  /** Nobody knows where it belongs, after all. */
  belongsNowhere(): void {
    this.backend = this.from = this.at = undefined;
    this.sureAtMs = Number.NEGATIVE_INFINITY;
    this.stage = BEGINNING;
  }
}

/**
 * `affinity` by what the client carries anyway (`header`, `query`, `client-ip`), or by an id that the application gave it
 * (`learned`): a table remembers where each session belongs. A client's IP address stands for its network, as it does in
 * rate limits: an IPv6 client changes its address within its /64 (RFC 8981) and would lose its session with it.
 *
 * Exchanges of one session may run side by side. The first one to place it wins, here as in the store; those that came to
 * it before and were sent elsewhere change nothing. `review` shows an exchange what others did meanwhile.
 *
 * Ids of more than 64 characters are kept as a digest.
 */
export class TableAffinity implements Affinity {
  readonly strict: boolean;
  readonly learnsFrom: LearnsFrom | undefined;
  readonly store: SessionStore | undefined;
  readonly #idOf: KeySource;
  readonly #digest: (text: string) => string;
  readonly #table: SessionTable;
  #members = new Map<string, Backend>();

  constructor(by: Exclude<SessionSource, { kind: "cookie" }>, options: AffinityOptions, parts: AffinityParts) {
    this.strict = options.strict;
    this.store = parts.store;
    this.#digest = parts.digest;
    this.#table = new SessionTable(options.maxSessions, options.ttl);
    if (by.kind === "learned") {
      this.learnsFrom = { from: by.from, name: by.from === "header" ? by.name.toLowerCase() : by.name };
      this.#idOf = keySource(`${by.from}:${by.name}`);
    } else {
      this.#idOf = idSource(by.key);
    }
  }

  get figures(): AffinityFigures {
    return this.#table;
  }

  get wakeAtMs(): number {
    return this.#table.wakeAtMs;
  }

  update(members: readonly Backend[]): void {
    this.#members = new Map();
    for (const backend of members) {
      if (!this.#members.has(backend.address)) this.#members.set(backend.address, backend);
    }
  }

  open(request: PickRequest, _wallMs: number, now: number): Session | undefined {
    const key = this.#keyIn(request);
    return key === undefined ? undefined : this.#known(this.#sessionAt(key, this.#table.find(key, now)));
  }

  peek(request: PickRequest, _wallMs: number, now: number): Session | undefined {
    const key = this.#keyIn(request);
    return key === undefined ? undefined : this.#known(this.#sessionAt(key, this.#table.peek(key, now)));
  }

  found(session: Session, address: string | undefined, now: number): void {
    const its = session as TableSession;
    let slot = this.#table.find(its.key, now);
    const here = slot === NONE ? undefined : this.#table.address(slot);
    // What has been done here since the store was asked is newer than its answer.
    if (here === undefined || here === its.at) {
      if (address === undefined) {
        if (slot === NONE) return;
        this.#table.unknown(slot, now);
      } else {
        if (address !== here) slot = this.#put(its.key, address, now);
        this.#table.confirmed(slot, now);
        this.#table.served(slot);
      }
    }
    this.#show(its, slot);
  }

  place(session: Session, backend: Backend, now: number): void {
    const its = session as TableSession;
    if (its.isKnown) this.#claim(its, backend, now, true);
  }

  answered(
    session: Session | undefined,
    backend: Backend,
    learnt: string,
    _wallMs: number,
    now: number,
  ): SessionEvent | undefined {
    let its = session as TableSession | undefined;
    if (learnt !== "") {
      const key = this.#keyOf(learnt);
      if (its?.key !== key) its = this.#sessionAt(key, this.#table.find(key, now));
      its.isKnown = true;
    }
    if (its === undefined || !its.isKnown) return undefined;
    const { address } = backend;
    const slot = this.#claim(its, backend, now, learnt !== "");
    if (slot === NONE) {
      // It is not where it answered: what it had placed before is nobody's.
      this.withdraw(its, now);
      return its.from === address ? "kept" : undefined;
    }
    const became = this.#table.served(slot);
    this.#tell(its, slot, address, now);
    return its.from === address && its.stage === SERVED ? "kept" : became;
  }

  withdraw(session: Session, now: number): void {
    const its = session as TableSession;
    const { key, from, at, stage } = its;
    if (at === undefined || at === from) return;
    const slot = this.#table.peek(key, now);
    if (slot === NONE || this.#table.address(slot) !== at || this.#table.stage(slot) === SERVED) return;
    // Where it has never been served it need not go back to.
    if (from === undefined || stage === BEGINNING) this.#table.remove(slot);
    else this.#table.put(key, from, now, stage === SERVED ? RESTORED : stage);
    its.at = from;
  }

  review(session: Session, now: number): void {
    const its = session as TableSession;
    const slot = this.#table.find(its.key, now);
    if (slot === NONE) {
      // What it saw was the place of an exchange that was answered by nobody.
      if (its.from !== undefined && its.from === its.at && its.stage === BEGINNING) its.belongsNowhere();
      return;
    }
    const address = this.#table.address(slot);
    const isElsewhere = address !== its.at;
    const isServedSince = this.#table.stage(slot) === SERVED && its.stage !== SERVED;
    // Its backend was removed, or added again.
    const isAnother = address === its.from && its.backend !== this.#members.get(address);
    if (isElsewhere || isServedSince || isAnother) this.#show(its, slot);
  }

  /** The client has its id from elsewhere. */
  setCookie(): string {
    return "";
  }

  correct(key: string, address: string, now: number, instead?: readonly string[]): void {
    const slot = this.#table.peek(key, now);
    if (slot === NONE || !this.#members.has(address)) return;
    if (instead !== undefined && !instead.includes(this.#table.address(slot))) return;
    // With its answer the store has renewed the session.
    const placed = this.#put(key, address, now);
    this.#table.told(placed, now);
    this.#table.served(placed);
  }

  tellAnew(): void {
    this.#table.tellAnew();
  }

  sweep(now: number): void {
    this.#table.sweep(now);
  }

  /**
   * The session is with `backend` now: its slot. -1: no, others have placed it since this exchange came to it.
   * `moves`: also from where it has been served; an answer that comes late does not do that.
   */
  #claim(its: TableSession, backend: Backend, now: number, moves: boolean): number {
    const { address } = backend;
    let slot = this.#table.find(its.key, now);
    const here = slot === NONE ? undefined : this.#table.address(slot);
    if (here !== address) {
      const isOwn =
        here === its.at
          ? (moves && here === its.from) || this.#table.stage(slot) !== SERVED
          : // It has followed a move that was undone, and was answered there all the same.
            address === its.at && this.#table.stage(slot) === RESTORED;
      // A backend that was removed while it answered gets no sessions.
      if ((here !== undefined && !isOwn) || !this.#members.has(address)) return NONE;
      // Others may have been answered there since it looked.
      if (here !== undefined && here === its.from) its.stage = this.#table.stage(slot);
      const stage = slot === NONE ? its.stage : this.#table.stage(slot);
      slot = this.#table.put(its.key, address, now, stage === BEGINNING ? BEGINNING : MOVING);
    } else if (its.at !== address) {
      this.#show(its, slot);
    }
    its.at = address;
    return slot;
  }

  /** The store, of what has been answered only: a backend that does not answer leaves no trace there. */
  #tell(its: TableSession, slot: number, address: string, now: number): void {
    if (this.store === undefined || !this.#table.isToTell(slot, now)) return;
    this.#table.told(slot, now);
    this.store.place(its.key, address, its.from === address ? undefined : its.from);
  }

  /** Of an id that is not known here a store may know. */
  #known(session: TableSession): TableSession | undefined {
    return session.isKnown || this.store !== undefined ? session : undefined;
  }

  #sessionAt(key: string, slot: number): TableSession {
    const session = new TableSession(key, !this.learnsFrom);
    if (slot !== NONE) this.#show(session, slot);
    return session;
  }

  /** The exchange sees where its session, in `slot`, belongs now. */
  #show(its: TableSession, slot: number): void {
    const address = this.#table.address(slot);
    const stage = this.#table.stage(slot);
    const backend = this.#members.get(address);
    its.belongs(address, backend, this.#table.sureAt(slot), stage === RESTORED ? SERVED : stage);
  }

  /** What the store says. Of equal addresses one string is kept. */
  #put(key: string, address: string, now: number): number {
    return this.#table.put(key, this.#members.get(address)?.address ?? address, now);
  }

  #keyIn(request: PickRequest): string | undefined {
    const id = this.#idOf(request);
    return id === undefined ? undefined : this.#keyOf(id);
  }

  #keyOf(id: string): string {
    return id.length > LONGEST_KEPT ? this.#digest(id) : id;
  }
}

function idSource(key: KeyName): KeySource {
  return key === "client-ip" ? (request) => networkOf(request.client || undefined) : keySource(key);
}
