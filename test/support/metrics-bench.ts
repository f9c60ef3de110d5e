import { createLayout, createMetricsMemory, type MetricsLayout } from "../../src/metrics/layout.ts";
import { createCounts, SharedCounts } from "../../src/metrics/shared-counts.ts";
import { type BackendView, readSnapshot, type Snapshot } from "../../src/metrics/snapshot.ts";
import { Stripe } from "../../src/metrics/stripe.ts";

/** Counters of two upstreams, `web` with backends a and b, `api` with c, over some workers. */
export interface Bench {
  readonly layout: MetricsLayout;
  readonly stripes: readonly Stripe[];
  readonly counts: SharedCounts;
  snapshot(views?: readonly BackendView[]): Snapshot;
}

export function bench(workers = 1, names = { web: "web", a: "10.0.0.1:80" }): Bench {
  const layout = createLayout({
    upstreams: [names.web, "api"],
    backends: [
      { slot: 0, upstream: 0, id: names.a },
      { slot: 1, upstream: 0, id: "10.0.0.2:80" },
      { slot: 2, upstream: 1, id: "c" },
    ],
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
    snapshot: (views = []) => readSnapshot(layout, memory, { counts, backends: views }),
  };
}
