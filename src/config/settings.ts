import type { z } from "zod";
import type { AffinityOptions, RebalanceOptions } from "../policy/affinity/options.ts";
import type { Position } from "../policy/model/position.ts";
import type {
  CircuitBreakerOptions,
  ConcurrencyLimitOptions,
  HedgeOptions,
  OutlierDetectionOptions,
  QueueOptions,
  RetryOptions,
  SlowStartOptions,
  ThrottleOptions,
} from "../policy/resilience/options.ts";
import type { settingsSchema } from "./schema.ts";

/**
 * A configuration as everything but this room sees it: defaults filled in, addresses parsed, durations in
 * milliseconds, sizes in bytes, `unlimited` as Infinity. Plain data that can be sent to a worker.
 */
export type Settings = z.output<typeof settingsSchema>;

/** A configuration as people write it; what is not required may be left out. Read only, so that constants will do. */
export type SettingsInput = ReadOnly<z.input<typeof settingsSchema>>;

type ReadOnly<T> = T extends object ? { readonly [Key in keyof T]: ReadOnly<T[Key]> } : T;

export type { Endpoint, ListenAddress } from "./values.ts";

export type AdminSettings = Settings["admin"];
export type LogSettings = Settings["log"];
export type ListenerSettings = Settings["listeners"][number];
/** Assignable to `RouteOptions` of the route room, which compiles it. */
export type RouteSettings = ListenerSettings["routes"][number];
export type UpstreamSettings = Settings["upstreams"][string];
export type BackendSettings = UpstreamSettings["backends"][number];
export type PoolSettings = UpstreamSettings["pool"];
export type HealthCheckSettings = UpstreamSettings["healthCheck"];
/** `policy` is the name of the balancer, the rest are its options. */
export type BalanceSettings = UpstreamSettings["balance"];

/** What the schema makes of a key; does not compile unless the policy that the key is for takes it as it is. */
type For<Options, Made extends Options> = Made;

export type CircuitBreakerSettings = For<CircuitBreakerOptions | false, UpstreamSettings["circuitBreaker"]>;
export type OutlierDetectionSettings = For<OutlierDetectionOptions | false, UpstreamSettings["outlierDetection"]>;
export type RetrySettings = For<RetryOptions | false, UpstreamSettings["retry"]>;
export type ConcurrencyLimitSettings = For<ConcurrencyLimitOptions | false, UpstreamSettings["concurrencyLimit"]>;
export type SlowStartSettings = For<SlowStartOptions | false, UpstreamSettings["slowStart"]>;
export type HedgeSettings = For<HedgeOptions | false, UpstreamSettings["hedge"]>;
export type ThrottleSettings = For<ThrottleOptions | false, UpstreamSettings["throttle"]>;
export type QueueSettings = For<QueueOptions, PoolSettings["queue"]>;
/** With what the control plane and the sessions of listeners need: the secret of cookies, the store, the rebalancing. */
export type AffinitySettings = For<AffinityOptions | false, UpstreamSettings["affinity"]>;
/** A store shared by instances; `false`: shared by the workers of this one alone. */
export type StoreSettings = Exclude<AffinitySettings, false>["store"];
export type RebalanceSettings = For<RebalanceOptions | false, Exclude<AffinitySettings, false>["rebalance"]>;
/** Where the position of a client is looked for. */
export type ClientPositionSettings = ListenerSettings["clientPosition"];
/** Where a backend stands; undefined where nobody said. */
export type BackendPosition = For<Position | undefined, BackendSettings["position"]>;
