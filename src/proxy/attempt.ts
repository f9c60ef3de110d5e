import type { Outcome, Progress } from "../policy/model/outcome.ts";
import type { AttemptTicket } from "../policy/upstream/dispatch.ts";
import { mayBeStale } from "../policy/upstream/repeat.ts";
import type { PoolError } from "../pool/pool-error.ts";
import type { Waiter } from "../pool/pool-options.ts";
import type { ResponseHead } from "../wire/response-head.ts";
import type { BackendConnection, ResponseReader } from "./backend-connection.ts";
import { poolOutcome } from "./pool-outcome.ts";
import type { Services } from "./services.ts";
import type { BackendRuntime } from "./upstream-runtime.ts";

/** Whose attempt it is. What its backend sends comes with the attempt: there may be two at a time. */
export interface AttemptOwner {
  readonly method: string;
  /** Here is a connection: write the request to it. `reused`: it carried others before. */
  send(attempt: Attempt, connection: BackendConnection, reused: boolean): void;
  /** No connection could be had. */
  unconnected(attempt: Attempt, outcome: Outcome): void;
  /** A 1xx head but 101. */
  interim(attempt: Attempt, head: ResponseHead): void;
  /** Status 101. */
  switched(attempt: Attempt, head: ResponseHead, bytes: Buffer, from: number, to: number): void;
  /** The final head. */
  responded(attempt: Attempt, head: ResponseHead, bytes: Buffer, from: number, to: number): void;
  /** More of the response's body. */
  responseBytes(bytes: Buffer, from: number, to: number): void;
  /** The backend has taken what was written to it. */
  backendDrained(attempt: Attempt): void;
  /** The backend will send no more. */
  backendEnded(attempt: Attempt): void;
  /** Its connection broke. */
  broken(attempt: Attempt): void;
  /** What arrived is not HTTP. */
  malformed(attempt: Attempt, why: string): void;
  /** The backend took too long. */
  backendLate(attempt: Attempt): void;
}

const FRESH = { fresh: true } as const;

/**
 * One try of an exchange on one backend: gets a connection from its pool, and gives it back, once, however it ends.
 *
 * An idle connection that was closed just as it was used is replaced by a fresh one, at most once: that is the idle
 * race's fault, not the backend's, and no attempt of its own.
 */
export class Attempt implements Waiter<BackendConnection>, ResponseReader {
  readonly runtime: BackendRuntime;
  readonly ticket: AttemptTicket;
  readonly method: string;
  readonly #owner: AttemptOwner;
  readonly #services: Services;
  #waiting = false;
  #sent = false;
  #connection: BackendConnection | undefined;
  /** The whole message, as long as it may have to be sent again. */
  #replay = "";

  constructor(owner: AttemptOwner, ticket: AttemptTicket, services: Services) {
    this.#owner = owner;
    this.method = owner.method;
    this.ticket = ticket;
    this.runtime = services.runtimes.get(ticket.backend)!;
    this.#services = services;
    services.stripe.attemptStarted(ticket.backend.slot);
  }

  /** While it runs and has one. */
  get connection(): BackendConnection | undefined {
    return this.#connection;
  }

  /** Still waiting for a connection. */
  get waiting(): boolean {
    return this.#waiting;
  }

  /** How far the request got; whether a response began is its exchange's to know. */
  get progress(): Progress {
    return this.#sent ? "request" : "nothing";
  }

  get elapsedMs(): number {
    return this.#services.clock.now() - this.ticket.startedMs;
  }

  /**
   * Asks for a connection; the owner may be called before this returns. What must not be sent twice does not go on a
   * connection that may have been closed meanwhile (RFC 9110 section 9.2.2).
   */
  begin(mayRepeat: boolean): void {
    const { pool } = this.runtime;
    const idleSinceMs = mayRepeat ? undefined : pool.newestIdleSinceMs;
    const stale = idleSinceMs !== undefined && mayBeStale(idleSinceMs, this.ticket.startedMs);
    this.#waiting = true;
    pool.request(this, stale ? FRESH : undefined);
  }

  acquired(connection: BackendConnection, reused: boolean): void {
    this.#waiting = false;
    this.#sent = true;
    this.#connection = connection;
    if (reused) this.#services.stripe.connectionReused(connection.slot);
    connection.begin(this);
    this.#owner.send(this, connection, reused);
  }

  failed(error: PoolError): void {
    this.#waiting = false;
    this.#owner.unconnected(this, poolOutcome(error, this.elapsedMs));
  }

  /** `message` may be sent again, should the connection turn out to be closed. */
  mayReplay(message: string): void {
    this.#replay = message;
  }

  /** Whether the message may be sent again: it went out on a used connection, and nothing has come back. */
  get replayable(): boolean {
    return this.#replay !== "";
  }

  /** Sends the message again on a fresh connection. Only while it is `replayable`. */
  replay(): void {
    this.#replay = "";
    this.#services.stripe.replayed(this.runtime.backend.slot);
    this.#giveBack(false);
    this.#sent = false;
    this.#waiting = true;
    this.runtime.pool.request(this, FRESH);
  }

  /** It is over: the connection goes back, to be used again or not, and the outcome is counted. */
  end(outcome: Outcome, failed: boolean, reusable = false): void {
    if (this.#waiting) this.runtime.pool.cancel(this);
    this.#waiting = false;
    this.#giveBack(reusable);
    if (outcome.kind === "timeout") this.#services.stripe.timeout(outcome.phase);
    this.#services.stripe.attemptEnded(this.runtime.backend.slot, failed, outcome.durationMs);
  }

  // From the backend.

  /** It has begun to answer, so it has the request. */
  heard(): void {
    this.#replay = "";
  }

  interim(head: ResponseHead): void {
    this.#replay = "";
    this.#owner.interim(this, head);
  }

  switched(head: ResponseHead, bytes: Buffer, from: number, to: number): void {
    this.#replay = "";
    this.#owner.switched(this, head, bytes, from, to);
  }

  responded(head: ResponseHead, bytes: Buffer, from: number, to: number): void {
    this.#replay = "";
    this.#owner.responded(this, head, bytes, from, to);
  }

  responseBytes(bytes: Buffer, from: number, to: number): void {
    this.#owner.responseBytes(bytes, from, to);
  }

  backendDrained(): void {
    this.#owner.backendDrained(this);
  }

  backendEnded(): void {
    this.#owner.backendEnded(this);
  }

  backendClosed(error: Error | undefined): void {
    if (error === undefined) this.#owner.backendEnded(this);
    else this.#owner.broken(this);
  }

  malformed(why: string): void {
    this.#owner.malformed(this, why);
  }

  backendLate(): void {
    this.#owner.backendLate(this);
  }

  #giveBack(reusable: boolean): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#connection = undefined;
    connection.finish();
    if (reusable) this.runtime.pool.release(connection);
    else this.runtime.pool.discard(connection, "not reusable");
  }
}
