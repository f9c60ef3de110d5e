import type { Position } from "./position.ts";

/** What routes and balancers may ask of a request. The proxy answers lazily, from bytes it has already checked. */
export interface PickRequest {
  readonly method: string;
  /** The authority the client asked for, lower case, with its port when it sent one. */
  readonly host: string;
  /** Request target in origin form, exactly as sent: `/path?query`. */
  readonly target: string;
  /** IP address of the client: the peer, or what trusted proxies say of it. Empty on a Unix socket. */
  readonly client: string;
  /** Where the client is, as far as anybody knows. */
  readonly position?: Position | undefined;
  /** Value of a field, name in lower case; repeated fields are joined with `, ` (cookies with `; `). */
  header(name: string): string | undefined;
}
