import type { Backend } from "../model/backend.ts";
import type { PickRequest } from "../model/request.ts";

/** The session of one exchange. */
export interface Session {
  /** What the table knows it by; empty where there is no table, or the request carries nothing to be known by. */
  readonly key: string;
  /** Where it belongs, whether that can serve it or not; undefined: nowhere yet. */
  readonly backend: Backend | undefined;
  /** When a shared store last said so, or was last told, in milliseconds of the injected clock; -Infinity: never. */
  readonly sureAtMs: number;
}

/** What became of a session when its exchange was answered. */
export type SessionEvent = "kept" | "begun" | "moved";

/** Who waits for what a shared store knows of a session. */
export interface StoreAsker {
  /** Address of the session's backend; undefined: it knows none, or it cannot be asked. Called once, never within `find`. */
  found(address: string | undefined, now: number): void;
}

/**
 * Sessions shared with others: the other workers of this process, or other instances. It answers later; the table of
 * this worker is what counts until then.
 */
export interface SessionStore {
  /** Asks for the backend of a session. False: it cannot be asked now, `asker` will not hear of it. */
  find(key: string, asker: StoreAsker, now: number): boolean;
  /** Nobody waits for the answer any more. */
  forget(asker: StoreAsker): void;
  /**
   * The session belongs to the backend at `address` from now on, or still does. `instead`: where it belonged before.
   * Who else has placed it meanwhile wins: then {@link Affinity.correct} is called.
   */
  place(key: string, address: string, instead: string | undefined): void;
  /** How long to wait for an answer, in milliseconds. */
  readonly timeoutMs: number;
}

/** Which id of the application's in a response begins a session. */
export interface LearnsFrom {
  readonly from: "cookie" | "header";
  /** A field's in lower case. */
  readonly name: string;
}

/** Figures of one worker's table. */
export interface AffinityFigures {
  /** Sessions in the table now. */
  readonly held: number;
  /** Sessions that had to go for others since the start. */
  readonly evicted: number;
}

/**
 * Which backend a session belongs to. Asked before the balancer; where it knows nothing, the balancer places the session,
 * and is asked again when its backend is lost.
 *
 * `wallMs` is the time of day in milliseconds since the Unix epoch, for what outlives the process; `now` as everywhere.
 */
export interface Affinity {
  readonly strict: boolean;
  /** Where responses have to be searched for an id. */
  readonly learnsFrom: LearnsFrom | undefined;
  readonly store: SessionStore | undefined;
  /** The table's; undefined where nothing is remembered. */
  readonly figures: AffinityFigures | undefined;
  /** When the next session ends, should nothing happen before; Infinity: none does. For `sweep`. */
  readonly wakeAtMs: number;
  /** All members of the upstream have been set. Sessions of those that are gone belong nowhere. */
  update(members: readonly Backend[]): void;
  /** The session a request belongs to; undefined: it carries none, and none begins by its being answered but a cookie's. */
  open(request: PickRequest, wallMs: number, now: number): Session | undefined;
  /** What {@link open} would answer, changing nothing: the session is not used by it. For explanations. */
  peek(request: PickRequest, wallMs: number, now: number): Session | undefined;
  /**
   * What the store knows of it: may change `session.backend`. Where it knows nothing of a session that is known here, it
   * is told by the next exchange that is placed.
   */
  found(session: Session, address: string | undefined, now: number): void;
  /** It will be served by `backend` if all goes well: for those that come before it is answered. */
  place(session: Session, backend: Backend, now: number): void;
  /** Its exchange was answered by nobody: what it has `placed`, and nobody was served by, is undone. */
  withdraw(session: Session, now: number): void;
  /** Time has passed: shows what others have done with the session meanwhile. */
  review(session: Session, now: number): void;
  /**
   * `backend` has answered. `session` is what `open` gave, `learnt` the id the response sets (empty: none).
   * @returns what became of it; undefined: there is no session
   */
  answered(
    session: Session | undefined,
    backend: Backend,
    learnt: string,
    wallMs: number,
    now: number,
  ): SessionEvent | undefined;
  /**
   * Value of a Set-Cookie field for the client whose exchange was just `answered` by `backend`; empty: none is needed.
   * `secure`: the client came by TLS.
   */
  setCookie(session: Session | undefined, backend: Backend, secure: boolean, wallMs: number): string;
  /**
   * The store knows better, or another worker has moved the session. `instead`: it changes nothing where the session is
   * at none of these, as that is newer; undefined: wherever it is. A session that is not known here is not entered:
   * tables need not be full of what only others use.
   */
  correct(key: string, address: string, now: number, instead?: readonly string[]): void;
  /** The store may have forgotten, or never got, what it was told up to now: it is told of every session at its next use. */
  tellAnew(): void;
  /** Forgets what has ended, or a part of it where that is much: `wakeAtMs` then stays in the past. */
  sweep(now: number): void;
}

/** What an affinity needs besides its options. */
export interface AffinityParts {
  /** Name of the upstream, in what is derived for its cookies. */
  readonly upstream: string;
  /**
   * 16 bytes as 22 characters (base64url) that follow from `text`, and from which nobody can tell it. For cookies by a
   * secret key, so that nobody without it can make them; for tables the same in all workers and instances.
   */
  digest(text: string): string;
  readonly store?: SessionStore | undefined;
}
