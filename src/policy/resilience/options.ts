/*
 * What the state machines of this room are configured with: one interface for each key of an upstream or a route, with
 * the same names. Durations are milliseconds, shares are between 0 and 1, Infinity stands for "no limit" or "never".
 */

/**
 * A word for how an attempt may fail, or a status of its response. `connect`: no connection; `timeout`: a deadline of
 * the attempt passed; `reset`: the connection broke before a response; `malformed`: not HTTP; `truncated`: the response
 * ended early; `5xx`: any status from 500 on.
 */
export type FailureKind = "connect" | "timeout" | "reset" | "malformed" | "truncated" | "5xx" | number;

/** `circuitBreaker`, of each backend. */
export interface CircuitBreakerOptions {
  /** What counts as a failure. 429, where it is listed, counts for the share only. */
  readonly on: readonly FailureKind[];
  /** Failures in a row that open the circuit. */
  readonly consecutiveFailures: number;
  /** Share of failures among the attempts of `window` that opens it, */
  readonly errorThreshold: number;
  /** once there are so many. */
  readonly minimumRequests: number;
  readonly window: number;
  /** An attempt that takes longer counts as a failure, whatever came of it. */
  readonly slowerThan: number;
  /** How long the circuit is open the first time; each time after a failed trial twice as long, */
  readonly openFor: number;
  /** up to this. */
  readonly maxOpenFor: number;
  /** Attempts that are let through to try; the circuit closes when all of them have succeeded. */
  readonly halfOpenRequests: number;
}

/** `outlierDetection`, over the backends of an upstream. */
export interface OutlierDetectionOptions {
  /** Responses of 500 and above, or failures, in a row that eject. */
  readonly consecutiveFailures: number;
  /** 502, 503, 504, or failures, in a row that eject. */
  readonly consecutiveGatewayFailures: number;
  /** How often the statistics are looked at and begin anew. */
  readonly interval: number;
  /** How long the first ejection lasts; the n-th lasts n times as long, */
  readonly ejectFor: number;
  /** up to this. */
  readonly maxEjectFor: number;
  /** Share of the backends that may be ejected at a time; at least one, where there are two or more. */
  readonly maxEjected: number;
  /** Ejects whose success rate is more than `deviations` standard deviations below the mean; false for never. */
  readonly successRate:
    | false
    | { readonly deviations: number; readonly minimumBackends: number; readonly minimumRequests: number };
  /** Ejects whose share of failures is at least `threshold`. */
  readonly failureShare:
    | false
    | { readonly threshold: number; readonly minimumBackends: number; readonly minimumRequests: number };
  /** Ejects whose 90th percentile of latency is more than `factor` times the median of those of all. */
  readonly latency:
    | false
    | { readonly factor: number; readonly minimumBackends: number; readonly minimumRequests: number };
}

/** `retry`. */
export interface RetryOptions {
  /** Most times that a request may be sent, with the first. Connections that could not be made do not count. */
  readonly attempts: number;
  readonly on: readonly FailureKind[];
  /** Also what is not idempotent: it may then be carried out twice. */
  readonly unsafeMethods: boolean;
  /** Retries that may run at a time, as a share of the exchanges that run or wait, */
  readonly budget: number;
  /** and at least so many. */
  readonly minimumBudget: number;
  /** How long one attempt may take to begin its response. */
  readonly perTryTimeout: number;
  /** Before the n-th retry a random time from 0 to `base` times 2^(n-1), at most `max`. */
  readonly backoff: { readonly base: number; readonly max: number };
  /** A request body up to this size is kept, so that it can be sent again. */
  readonly bodyBytes: number;
}

/** `pool.queue`: exchanges that wait because no backend has room. */
export interface QueueOptions {
  readonly max: number;
  readonly timeout: number;
  /**
   * The delay the queue should stay below. Once it has not been empty for five times as long, the newest go first and
   * who has waited longer than this is shed. Infinity: the oldest always go first.
   */
  readonly target: number;
}

/** Who goes first when exchanges wait, and who stays when the queue is full. */
export type Priority = "high" | "normal" | "low";

/** `concurrencyLimit`, adaptive, of an upstream. */
export interface ConcurrencyLimitOptions {
  readonly initial: number;
  readonly min: number;
  readonly max: number;
}

/** `rateLimit`, of a route. */
export interface RateLimitOptions {
  /** Requests that one key may make in `per`, */
  readonly rate: number;
  readonly per: number;
  /** and so many at once. */
  readonly burst: number;
  /** Most keys remembered; the ones not seen for longest are forgotten first. */
  readonly keys: number;
}

/** `slowStart`: after a backend has come back. */
export interface SlowStartOptions {
  /** How long until it has its whole weight again. */
  readonly window: number;
  /** 1: in a straight line; above: faster at first. */
  readonly aggression: number;
  /** Share of its weight that it begins with. */
  readonly minimumWeight: number;
}

/** `hedge`: a second attempt for a request that takes long. */
export interface HedgeOptions {
  /** The quantile of recent latencies after which it is sent, */
  readonly quantile: number;
  /** and never sooner than this. */
  readonly minimumDelay: number;
  /** Hedges that may be sent, as a share of the requests. */
  readonly budget: number;
}

/** `throttle`: requests are refused before they are sent when backends fail most of them. */
export interface ThrottleOptions {
  /** Requests let through for each one that succeeds, before any is refused. */
  readonly factor: number;
  /** How far back is counted. */
  readonly window: number;
  /** Never more than this share is refused, so that recovery is noticed. */
  readonly maxRefused: number;
}
