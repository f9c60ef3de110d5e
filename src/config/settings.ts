import type { z } from "zod";
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
