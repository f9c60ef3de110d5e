import type { Backend } from "../model/backend.ts";
import { cookieEnd, findCookie } from "../model/cookie.ts";
import type { PickRequest } from "../model/request.ts";
import type { Affinity, AffinityParts, Session, SessionEvent } from "./affinity.ts";
import { cookieAttributes, cookieText, issuedAt, tokenIn } from "./cookie-value.ts";
import type { AffinityOptions, CookieOptions } from "./options.ts";

/** A cookie is made anew when this part of its time to live has passed. */
const RENEWAL = 0.1;
/** Clocks of several instances differ. A cookie from further ahead than this is made anew at once. */
const MOST_AHEAD_MS = 60_000;

class CookieSession implements Session {
  readonly key = "";
  readonly backend: Backend | undefined;
  readonly sureAtMs = Number.NEGATIVE_INFINITY;
  /** Its cookie has to be made anew. */
  readonly isDue: boolean;

  constructor(backend: Backend | undefined, isDue: boolean) {
    this.backend = backend;
    this.isDue = isDue;
  }
}

/** Of requests without a cookie that counts. */
const nobodys = new CookieSession(undefined, true);

/** A backend, what stands for it in cookies, and the sessions that belong to it: as they remember nothing, two do. */
interface Home {
  readonly token: string;
  readonly fresh: CookieSession;
  readonly due: CookieSession;
}

/**
 * `affinity: { cookie }`: clients carry a cookie that says which backend they belong to, so nothing is remembered here,
 * and every worker and instance with the same key understands it.
 *
 * Only who has the key can tell from a cookie which backend it stands for, or make one. Whatever else comes, a cookie of
 * another upstream or of a backend that is gone too, counts as none. When it was made is not protected: who changes that
 * keeps a session alive that is their own. Asking takes no cryptography: it was done when the members were set.
 */
export class CookieAffinity implements Affinity {
  readonly strict: boolean;
  readonly learnsFrom = undefined;
  readonly store = undefined;
  readonly figures = undefined;
  readonly wakeAtMs = Number.POSITIVE_INFINITY;
  readonly #ttl: number;
  readonly #cookie: CookieOptions;
  readonly #plainAttributes: string;
  readonly #secureAttributes: string;
  readonly #parts: AffinityParts;
  #byToken = new Map<string, Home>();
  #byAddress = new Map<string, Home>();

  constructor(cookie: CookieOptions, options: AffinityOptions, parts: AffinityParts) {
    this.strict = options.strict;
    this.#ttl = options.ttl;
    this.#cookie = cookie;
    this.#plainAttributes = cookieAttributes(cookie, options.ttl, cookie.secure === true);
    this.#secureAttributes = cookieAttributes(cookie, options.ttl, cookie.secure !== false);
    this.#parts = parts;
  }

  update(members: readonly Backend[]): void {
    this.#byToken = new Map();
    this.#byAddress = new Map();
    for (const backend of members) {
      if (this.#byAddress.has(backend.address)) continue;
      const token = this.#parts.digest(`${this.#parts.upstream}\n${backend.address}`);
      const home = { token, fresh: new CookieSession(backend, false), due: new CookieSession(backend, true) };
      this.#byToken.set(token, home);
      this.#byAddress.set(backend.address, home);
    }
  }

  /** Never undefined: a session begins when the exchange is answered. */
  open(request: PickRequest, wallMs: number, _now: number): Session {
    const field = request.header("cookie");
    if (field === undefined) return nobodys;
    const { name } = this.#cookie;
    // A browser that was given them for several paths or domains sends all; those that are not ours count for nothing.
    for (let at = findCookie(field, name, 0); at !== -1; at = findCookie(field, name, at)) {
      const session = this.#sessionOf(field.slice(at, cookieEnd(field, at)), wallMs);
      if (session !== nobodys) return session;
    }
    return nobodys;
  }

  #sessionOf(value: string, wallMs: number): CookieSession {
    const token = tokenIn(value);
    const home = token === undefined ? undefined : this.#byToken.get(token);
    if (home === undefined) return nobodys;
    const age = wallMs - issuedAt(value);
    if (age >= this.#ttl) return nobodys;
    return age < this.#ttl * RENEWAL && age >= -MOST_AHEAD_MS ? home.fresh : home.due;
  }

  peek(request: PickRequest, wallMs: number, now: number): Session {
    return this.open(request, wallMs, now);
  }

  /** There is no store. */
  found(): void {}

  /** Only the client remembers, once it has the cookie. */
  place(): void {}

  /** Nothing was placed. */
  withdraw(): void {}

  /** What others do shows in the next request. */
  review(): void {}

  answered(session: Session | undefined, backend: Backend): SessionEvent | undefined {
    const from = session?.backend?.address;
    if (from === backend.address) return "kept";
    // A backend that was removed while it answered gets no sessions.
    if (!this.#byAddress.has(backend.address)) return undefined;
    return from === undefined ? "begun" : "moved";
  }

  setCookie(session: Session | undefined, backend: Backend, secure: boolean, wallMs: number): string {
    const { backend: from, isDue } = (session ?? nobodys) as CookieSession;
    if (!isDue && from?.address === backend.address) return "";
    const home = this.#byAddress.get(backend.address);
    if (home === undefined) return "";
    const attributes = secure ? this.#secureAttributes : this.#plainAttributes;
    return `${this.#cookie.name}=${cookieText(home.token, wallMs)}${attributes}`;
  }

  /** There is no store. */
  correct(): void {}

  /** There is no store. */
  tellAnew(): void {}

  /** Nothing is remembered. */
  sweep(): void {}
}
