import {
  type AffinityRow,
  type BackendRow,
  createLayout,
  createMetricsMemory,
  type MetricsLayout,
} from "../../src/metrics/layout.ts";
import { createCounts, SharedCounts } from "../../src/metrics/shared-counts.ts";
import { type BackendView, readSnapshot, type SessionStoreView, type Snapshot } from "../../src/metrics/snapshot.ts";
import { Stripe } from "../../src/metrics/stripe.ts";

/** Counters of two upstreams, `web` with backends a and b, `api` with c, over some workers. */
export interface Bench {
  readonly layout: MetricsLayout;
  readonly stripes: readonly Stripe[];
  readonly counts: SharedCounts;
  snapshot(views?: readonly BackendView[], stores?: readonly SessionStoreView[]): Snapshot;
}

/** Sessions of `web` that are told by a field and remembered in this process. */
export const BY_HEADER: AffinityRow = {
  by: "header:x-session",
  ttlMs: 3_600_000,
  strict: false,
  store: "memory",
  maxSessions: 100_000,
};

/** What else is known of `web`: its sessions, and the regions and positions of a and b. */
export interface BenchPlaces {
  readonly affinity?: AffinityRow;
  readonly regions?: readonly [a: string, b: string];
}

export function bench(
  workers = 1,
  names = { web: "web", a: "10.0.0.1:80" },
  { affinity, regions }: BenchPlaces = {},
): Bench {
  const place = (index: 0 | 1, latitude: number, longitude: number): Pick<BackendRow, "region" | "position"> =>
    regions === undefined ? {} : { region: regions[index], position: { latitude, longitude } };
  const layout = createLayout({
    upstreams: [names.web, "api"],
    backends: [
      { slot: 0, upstream: 0, id: names.a, ...place(0, 37.5, 127) },
      { slot: 1, upstream: 0, id: "10.0.0.2:80", ...place(1, 35.7, 139.7) },
      { slot: 2, upstream: 1, id: "c" },
    ],
    affinities: [affinity],
    listeners: ["127.0.0.1:8080", "[::1]:8081"],
    spareBackends: 2,
    spareUpstreams: 1,
  });
  const memory = createMetricsMemory(layout, workers);
  const counts = new SharedCounts(createCounts(layout.capacity.backends));
  return {
    layout,
    stripes: Array.from({ length: workers }, (_, worker) => new Stripe(layout, memory, worker)),
    counts,
    snapshot: (views = [], stores = []) => readSnapshot(layout, memory, { counts, backends: views, stores }),
  };
}
