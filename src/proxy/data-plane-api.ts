import type { Settings } from "../config/settings.ts";
import type { Stripe } from "../metrics/stripe.ts";
import type { BackendCounts } from "../policy/model/backend.ts";
import type { Random } from "../policy/model/random.ts";
import type { Clock } from "../time/clock.ts";
import type { RequestExplanation } from "./explanation.ts";

export type { RequestExplanation } from "./explanation.ts";

/** Levels of what an operator reads. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Details of a log entry, by name. */
export type LogFields = Readonly<Record<string, string | number>>;

/** Where a listener really listens: what was asked for, with the port the kernel chose where 0 was asked. */
export type BoundAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/**
 * How TCP listeners are bound. `exclusive`: nobody else may have the address. `reuse-port`: SO_REUSEPORT, beside other
 * workers. `fds`: sockets with an address of their own, in the order of `settings.listeners`, that only need to be
 * listened on. A Unix socket has one owner: worker 0 binds it in every mode, the others skip it (and name it among
 * their addresses all the same).
 */
export type Bind =
  | { readonly mode: "exclusive" }
  | { readonly mode: "reuse-port" }
  | { readonly mode: "fds"; readonly fds: readonly (number | undefined)[] };

/** What a data plane is made of: one per worker thread, or one in the caller's thread when embedded. */
export interface DataPlaneInit {
  readonly settings: Settings;
  /** Which worker this is, from 0. */
  readonly worker: number;
  /** Where this worker counts. */
  readonly stripe: Stripe;
  /** Exchanges and connections per backend, over all workers. */
  readonly counts: BackendCounts;
  readonly clock: Clock;
  readonly random: Random;
  readonly bind: Bind;
  readonly events: DataPlaneEvents;
  /** Made at the start of the process, the same for all workers: what cookies are signed with where no key is configured. */
  readonly secret: string;
  /** Upstreams whose sessions several workers or instances share: for them the events `session*` are heard and answered. */
  readonly sharedSessions: ReadonlySet<string>;
  /** Databases by the path in `listeners[].clientPosition.geoip`, as far as they could be read. */
  readonly geoip: ReadonlyMap<string, SharedArrayBuffer>;
}

/** What the policies of one data plane think of a backend, beside what checks say of it. */
export interface BackendCondition {
  readonly circuit: "closed" | "open" | "half-open";
  /** By the outlier detector. */
  readonly ejected: boolean;
  /** What brought it into this condition, in a few words; empty when there is nothing to say in its favour. */
  readonly reason: string;
}

/** What a data plane tells the control plane. None of these may throw or block. */
export interface DataPlaneEvents {
  /** One formatted access log line, without newline; called only when the access log is on. */
  accessLog(line: string): void;
  /**
   * Something an operator should read; rate-limited by the control plane, for each `code` on its own, and for each
   * backend where `fields` name one (`upstream` and `backend`, or `slot`). `code` is stable.
   */
  log(level: LogLevel, code: string, message: string, fields?: LogFields): void;
  /** The shared connection bound of a backend is reached and an exchange waits here: others should give up an idle one. */
  connectionWanted(slot: number): void;
  /** A connection was given up for another worker. */
  connectionFreed(slot: number): void;
  /** The backend in `slot` is in another condition than was told last; at the start all are closed and not ejected. */
  backendCondition(slot: number, condition: BackendCondition): void;
  /** Where does a session belong? `DataPlane.sessionFound` answers with the same `id`, soon or never. */
  sessionWanted(id: number, upstream: string, key: string): void;
  /** A session belongs to the backend at `address` now, or still does, and belonged to `instead` before; for `ttlMs`. */
  sessionPlaced(upstream: string, key: string, address: string, instead: string | undefined, ttlMs: number): void;
}

/** A request that nobody has sent, for a data plane to say what would become of it. */
export interface RequestDescription {
  /** Index of the listener in the configuration. */
  readonly listener: number;
  readonly method: string;
  readonly host: string;
  readonly target: string;
  /** Address of the peer. */
  readonly client: string;
  /** Fields, names in lower case, in order. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** Connections of one backend as one data plane sees them. */
export interface BackendInspection {
  readonly slot: number;
  readonly idle: number;
  readonly busy: number;
  readonly opening: number;
  /** Exchanges for which a connection is being opened. */
  readonly waiting: number;
}

/** What a data plane has open at the moment it is asked. */
export interface DataPlaneInspection {
  readonly clientConnections: number;
  readonly exchanges: number;
  readonly tunnels: number;
  /** Exchanges that wait until a backend has room. */
  readonly waiting: number;
  readonly backends: readonly BackendInspection[];
}

/** The part of Spillway that carries traffic: listeners, sessions, pools and policies of one thread. */
export interface DataPlane {
  /**
   * Binds all listeners; resolves with the bound addresses in the order of `settings.listeners`; rejects with a
   * {@link ListenError} naming the address.
   */
  start(): Promise<readonly BoundAddress[]>;
  /** What health checks say of the backend in `slot` from now on. */
  setHealth(slot: number, up: boolean, reason: string): void;
  /** A check found the backend in `slot` well: one that is ejected may come back. `http`: it answered a request. */
  checkPassed(slot: number, http: boolean): void;
  /** Another worker wants a connection to this backend: give up an idle one, now or as soon as there is one. */
  surrenderConnection(slot: number): void;
  /** Another worker gave one up: exchanges that wait may try again. */
  retryConnections(slot: number): void;
  /**
   * Stops accepting, answers what is running with `Connection: close`, closes idle connections. Resolves when the last
   * exchange ended or `deadlineMs` passed; then the rest is cut, and `cut` says how many exchanges that were. Asked again, it is the same drain.
   */
  drain(deadlineMs: number): Promise<{ readonly cut: number }>;
  /** Closes everything at once. */
  close(): void;
  /**
   * Where a session belongs: the answer to `sessionWanted`. `address` is undefined when nobody knows; `failed`: the store
   * could not be asked, or did not answer in time.
   */
  sessionFound(id: number, address: string | undefined, failed: boolean): void;
  /**
   * A session belongs to the backend at `address`, where it was thought to be at one of `instead`: somebody else has placed
   * it, or moved it. It changes nothing where the session is not known, or known to be at none of these: that is newer.
   */
  sessionCorrected(upstream: string, key: string, address: string, instead: readonly string[]): void;
  /** The store may have lost, or never got, what it was told: all sessions of the upstream are placed at their next use. */
  sessionsForgotten(upstream: string): void;
  /** A database at this path in the configuration has been read anew. */
  setGeoip(path: string, database: SharedArrayBuffer): void;
  /** What would become of a request that nobody has sent; undefined: there is no such listener. Changes nothing. */
  explain(request: RequestDescription): RequestExplanation | undefined;
  /** For status and tests. */
  inspect(): DataPlaneInspection;
}

/** A listener could not be bound. `code` is the system's (`EADDRINUSE`, `EACCES`, ...), `address` as people write it. */
export class ListenError extends Error {
  override readonly name = "ListenError";
  readonly code: string;
  readonly address: string;

  constructor(code: string, address: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.address = address;
  }
}
