import type { BackendSettings, Settings, UpstreamSettings } from "../config/settings.ts";
import type { AffinityRow } from "../metrics/layout.ts";
import { sourceWords } from "../policy/affinity/source-words.ts";
import type { Position } from "../policy/model/position.ts";

/** A backend with its row in shared counters and metrics. */
export interface BackendSlot {
  readonly slot: number;
  /** Name of its upstream, and the place of that in the configuration: its row in the metrics. */
  readonly upstreamName: string;
  readonly upstream: number;
  readonly id: string;
  readonly region: string;
  readonly position: Position | undefined;
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
      region: backend.region,
      position: backend.position,
      settings: backend,
    }));
}

/** What the sessions of each upstream are, by its row in the metrics; undefined where it has none. */
export function affinityRows({ upstreams }: Pick<Settings, "upstreams">): readonly (AffinityRow | undefined)[] {
  return Object.values(upstreams).map(({ affinity }) => (affinity ? affinityRow(affinity) : undefined));
}

function affinityRow({
  by,
  ttl,
  strict,
  maxSessions,
  store,
}: Exclude<UpstreamSettings["affinity"], false>): AffinityRow {
  const common = { by: sourceWords(by), ttlMs: ttl, strict };
  if (by.kind === "cookie") return { ...common, store: "none", maxSessions: undefined };
  return { ...common, store: store === false ? "memory" : "redis", maxSessions };
}
