export { BUCKETS, bucketOf, quantileMs } from "./histogram.ts";
export {
  type AffinityRow,
  type BackendRow,
  changeLayout,
  createLayout,
  createMetricsMemory,
  DISTANCE_BOUNDS,
  LATENCY_BOUNDS,
  type LayoutInit,
  type MetricsLayout,
  POSITION_SOURCES,
  type PositionSource,
  SHED_REASONS,
  type ShedReason,
  type StoreOperation,
  TIMEOUT_PHASES,
} from "./layout.ts";
export type { ProcessFacts } from "./metrics.ts";
export { PROMETHEUS_CONTENT_TYPE, prometheusText } from "./prometheus.ts";
export { reportText } from "./report.ts";
export { createCounts, SharedCounts } from "./shared-counts.ts";
export {
  type BackendState,
  type BackendStats,
  type BackendView,
  type CircuitState,
  type DistanceStats,
  type ExchangeStats,
  type ListenerStats,
  type RegionStats,
  readSnapshot,
  type SessionStats,
  type Snapshot,
  type SnapshotExtra,
  type StoreStats,
  type UpstreamStats,
} from "./snapshot.ts";
export { Stripe } from "./stripe.ts";
