import type { BackendSettings, Settings } from "../config/settings.ts";

/** A backend with its row in shared counters and metrics. */
export interface BackendSlot {
  readonly slot: number;
  /** Name of its upstream, and the place of that in the configuration: its row in the metrics. */
  readonly upstreamName: string;
  readonly upstream: number;
  readonly id: string;
  readonly settings: BackendSettings;
}

/**
 * Numbers every backend of every upstream, in the order of the configuration. The same settings give the same slots,
 * so that all threads agree on them without asking each other.
 */
export function assignSlots(settings: Pick<Settings, "upstreams">): readonly BackendSlot[] {
  return Object.entries(settings.upstreams)
    .flatMap(([upstreamName, { backends }], upstream) =>
      backends.map((backend) => ({ upstreamName, upstream, backend })),
    )
    .map(({ upstreamName, upstream, backend }, slot) => ({
      slot,
      upstreamName,
      upstream,
      id: backend.id,
      settings: backend,
    }));
}
