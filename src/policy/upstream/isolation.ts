import type {
  CircuitBreakerOptions,
  ConcurrencyLimitOptions,
  HedgeOptions,
  OutlierDetectionOptions,
  QueueOptions,
  RetryOptions,
  SlowStartOptions,
  ThrottleOptions,
} from "../resilience/options.ts";

/** What isolates faults in an upstream, by configuration key. What is left out or `false` is off. */
export interface Isolation {
  readonly circuitBreaker?: CircuitBreakerOptions | false;
  readonly outlierDetection?: OutlierDetectionOptions | false;
  readonly retry?: RetryOptions | false;
  readonly queue?: QueueOptions;
  readonly concurrencyLimit?: ConcurrencyLimitOptions | false;
  readonly slowStart?: SlowStartOptions | false;
  /** Share of healthy backends of a tier below which all of them are used. 0: never. */
  readonly panicThreshold?: number;
  readonly hedge?: HedgeOptions | false;
  readonly throttle?: ThrottleOptions | false;
}
