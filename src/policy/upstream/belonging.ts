import type { Affinity, Session, SessionEvent, StoreAsker } from "../affinity/affinity.ts";
import type { Backend } from "../model/backend.ts";
import type { PickRequest } from "../model/request.ts";
import type { Upstream } from "./upstream.ts";

/** An upstream whose sessions belong to backends. */
export type StickyUpstream = Upstream & { readonly affinity: Affinity };

/** Whether sessions belong anywhere in an upstream. */
export function isSticky(upstream: Upstream): upstream is StickyUpstream {
  return upstream.affinity !== undefined;
}

/**
 * Where one exchange belongs in the upstream that carries it: to the backend of its session as long as that keeps its
 * sessions, and has not failed this exchange.
 */
export class Belonging {
  readonly #upstream: StickyUpstream;
  readonly #request: PickRequest;
  readonly #wallMs: number;
  readonly #session: Session | undefined;

  /** @param wallMs time of day, milliseconds since the Unix epoch. */
  constructor(upstream: StickyUpstream, request: PickRequest, wallMs: number, now: number) {
    this.#upstream = upstream;
    this.#request = request;
    this.#wallMs = wallMs;
    this.#session = upstream.affinity.open(request, wallMs, now);
  }

  /** Time has passed since it was looked: another exchange of its session may have been placed elsewhere meanwhile. */
  lookAgain(now: number): void {
    if (this.#session !== undefined) this.#upstream.affinity.review(this.#session, now);
  }

  /**
   * Somebody else may know better where it belongs: asks, and answers with how long to wait at most. 0: nobody to ask.
   * Where its backend was lost since it was last sure, others may have moved it while this worker did not need to.
   */
  ask(asker: StoreAsker, now: number): number {
    const { store } = this.#upstream.affinity;
    const session = this.#session;
    if (store === undefined || session === undefined || session.key === "") return 0;
    const { backend, sureAtMs } = session;
    const lost = backend === undefined || !this.#upstream.keepsSessions(backend);
    if (!lost && sureAtMs >= this.#upstream.lostAtMs(backend)) {
      return 0;
    }
    return store.find(session.key, asker, now) ? store.timeoutMs : 0;
  }

  /** What was asked for has come. */
  found(address: string | undefined, now: number): void {
    this.#upstream.affinity.found(this.#session!, address, now);
  }

  /** Nobody waits for the answer any more. */
  forget(asker: StoreAsker): void {
    this.#upstream.affinity.store?.forget(asker);
  }

  /** The backend for the next attempt; undefined: any that the balancer says. */
  bound(tried: ReadonlySet<Backend> | undefined): Backend | undefined {
    const backend = this.#session?.backend;
    if (backend === undefined || tried?.has(backend) === true) return undefined;
    return this.#upstream.keepsSessions(backend) ? backend : undefined;
  }

  /** One of its tunnels was closed for it to go elsewhere, and now it comes with another: the backend that it leaves. */
  leaves(now: number): Backend | undefined {
    const backend = this.#session?.backend;
    if (backend === undefined || this.staysPut || !this.#upstream.anyLeaves(backend)) return undefined;
    if (this.#request.header("upgrade") === undefined) return undefined;
    return this.#upstream.leaves(backend, this.who, now) ? backend : undefined;
  }

  /** Which session it is, as far as can be told: a cookie of ours is the same for all that are on a backend. */
  get who(): string {
    const key = this.#session?.key ?? "";
    return key === "" ? this.#request.client : key;
  }

  /** No other backend will do, whatever becomes of its own. */
  get staysPut(): boolean {
    return this.isBound && this.#upstream.affinity.strict;
  }

  /** It belongs to a backend, whether that can serve it or not. */
  get isBound(): boolean {
    return this.#session?.backend !== undefined;
  }

  /** It is tried on `backend`: so will be those of the same session that come before there is an answer. */
  place(backend: Backend, now: number): void {
    if (this.#session === undefined) return;
    this.#upstream.affinity.place(this.#session, backend, now);
    this.#upstream.sessionsUsed(now);
  }

  /** Nobody has answered it, and nobody will. */
  withdraw(now: number): void {
    if (this.#session !== undefined) this.#upstream.affinity.withdraw(this.#session, now);
  }

  /** `backend` has begun to answer; `learnt`: the id of a session that its response begins, or empty. */
  answered(backend: Backend, learnt: string, now: number): SessionEvent | undefined {
    const became = this.#upstream.affinity.answered(this.#session, backend, learnt, this.#wallMs, now);
    if (became !== undefined) this.#upstream.sessionsUsed(now);
    return became;
  }

  /** Value of a Set-Cookie field for who was just answered by `backend`; empty: none is needed. */
  setCookie(backend: Backend, secure: boolean): string {
    return this.#upstream.affinity.setCookie(this.#session, backend, secure, this.#wallMs);
  }
}
