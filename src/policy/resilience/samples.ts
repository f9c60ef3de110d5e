import type {
  CircuitBreakerOptions,
  HedgeOptions,
  OutlierDetectionOptions,
  QueueOptions,
  RetryOptions,
  SlowStartOptions,
} from "./options.ts";

/** The defaults of the configuration, for what is on. */
export const sampleQueue: QueueOptions = { max: 1_024, timeout: 1_000, target: Number.POSITIVE_INFINITY };
export const sampleRetry: RetryOptions = {
  attempts: 2,
  on: ["connect", "reset", "timeout", "malformed", 502, 503],
  unsafeMethods: false,
  budget: 0.2,
  minimumBudget: 3,
  perTryTimeout: Number.POSITIVE_INFINITY,
  backoff: { base: 25, max: 250 },
  bodyBytes: 65_536,
};
export const sampleBreaker: CircuitBreakerOptions = {
  on: ["connect", "timeout", "reset", "malformed", "truncated", "5xx"],
  consecutiveFailures: 5,
  errorThreshold: 0.5,
  minimumRequests: 20,
  window: 10_000,
  slowerThan: Number.POSITIVE_INFINITY,
  openFor: 5_000,
  maxOpenFor: 60_000,
  halfOpenRequests: 1,
};
export const sampleDetection: OutlierDetectionOptions = {
  consecutiveFailures: 5,
  consecutiveGatewayFailures: Number.POSITIVE_INFINITY,
  interval: 10_000,
  ejectFor: 30_000,
  maxEjectFor: 300_000,
  maxEjected: 0.1,
  successRate: { deviations: 1.9, minimumBackends: 5, minimumRequests: 100 },
  failureShare: false,
  latency: false,
};
export const sampleSlowStart: SlowStartOptions = { window: 30_000, aggression: 1, minimumWeight: 0.1 };
export const sampleHedge: HedgeOptions = { quantile: 0.95, minimumDelay: 1, budget: 0.05 };
