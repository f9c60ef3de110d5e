/**
 * Why the pool gave no connection.
 * `exhausted`: all connections were busy until the deadline. `queue-full`: too many were waiting already.
 * `unreachable`: no connection could be opened, `cause` says why; a `TimeoutError` there means it took too long.
 * `closed`: the pool is draining or closed.
 */
export type PoolErrorCode = "exhausted" | "queue-full" | "unreachable" | "closed";

/** The pool gave no connection. */
export class PoolError extends Error {
  override readonly name = "PoolError";
  readonly code: PoolErrorCode;

  constructor(code: PoolErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
