import type { KeyName } from "../balance/key.ts";

/** The cookie that Spillway sets, by `affinity.cookie`. */
export interface CookieOptions {
  readonly name: string;
  readonly path: string;
  /** Empty: the host that set it, and no other. */
  readonly domain: string;
  /** `auto`: where the client came by TLS. */
  readonly secure: boolean | "auto";
  readonly httpOnly: boolean;
  readonly sameSite: "Strict" | "Lax" | "None" | false;
  /** Whether the cookie outlives the browser: with Max-Age, the time to live of a session; without, it ends with it. */
  readonly maxAge: boolean;
}

/**
 * What a session is told by.
 * - `cookie`: one that Spillway sets; it names the backend, so that nothing has to be remembered.
 * - `learned`: an id of the application's own, which a response sets and requests carry: in a cookie or a field.
 * - `key`: something every request of the client's carries anyway.
 */
export type SessionSource =
  | { readonly kind: "cookie"; readonly cookie: CookieOptions }
  | { readonly kind: "learned"; readonly from: "cookie" | "header"; readonly name: string }
  | { readonly kind: "key"; readonly key: KeyName };

/** `affinity` of an upstream. */
export interface AffinityOptions {
  readonly by: SessionSource;
  /** A session ends when it was not used for so long, in milliseconds. */
  readonly ttl: number;
  /** Most sessions that are remembered; who was not seen for longest goes first. Of no effect on `cookie`. */
  readonly maxSessions: number;
  /** A session whose backend is lost is answered 503 and not moved. */
  readonly strict: boolean;
}

/** `affinity.rebalance` of an upstream: how fast tunnels are closed when backends are added or come back. */
export interface RebalanceOptions {
  /** Tunnels closed per second, at most, in each worker. */
  readonly rate: number;
  /** Up to so many milliseconds more before each, so that clients do not come back all at once. */
  readonly jitter: number;
}
