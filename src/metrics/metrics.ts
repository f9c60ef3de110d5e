import { DISTANCE_BOUNDS, LATENCY_BOUNDS, STORE_OPERATIONS } from "./layout.ts";
import type { BackendStats, CircuitState, ExchangeStats, SessionStats, Snapshot, UpstreamStats } from "./snapshot.ts";

/** What the process knows of itself; measured by the caller, since this room reads no clock and no process. */
export interface ProcessFacts {
  readonly version: string;
  readonly node: string;
  readonly workers: number;
  /** Milliseconds since the Unix epoch. */
  readonly startedAt: number;
  readonly residentBytes: number;
  /** User and system time together, over all threads. */
  readonly cpuSeconds: number;
}

const CIRCUIT_VALUES: Readonly<Record<CircuitState, number>> = { closed: 0, "half-open": 1, open: 2 };

export type Labels = Readonly<Record<string, string>>;

interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

export interface HistogramSample {
  readonly labels: Labels;
  readonly buckets: readonly number[];
  readonly sum: number;
}

/** What a summary without quantiles shows: how many there were, and their sum. */
interface SummarySample {
  readonly labels: Labels;
  readonly count: number;
  readonly sum: number;
}

/** One metric: its line in the reference and how to read it. */
export type Metric = {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
} & (
  | { readonly type: "counter" | "gauge"; readonly samples: (snapshot: Snapshot, facts: ProcessFacts) => Sample[] }
  | {
      readonly type: "histogram";
      /** Upper bounds of the buckets but the last. */
      readonly bounds: readonly number[];
      readonly samples: (snapshot: Snapshot) => HistogramSample[];
    }
  | { readonly type: "summary"; readonly samples: (snapshot: Snapshot) => SummarySample[] }
);

/** Every metric, in the order in which they are shown. `docs/reference/metrics.md` is made from this list. */
export const METRICS: readonly Metric[] = [
  {
    name: "spillway_requests_total",
    type: "counter",
    help: "Exchanges that began, the active ones included.",
    labels: ["upstream"],
    samples: perUpstream((stats) => stats.requests),
  },
  {
    name: "spillway_requests_failed_total",
    type: "counter",
    help: "Exchanges whose client got an error of Spillway's own or only part of a response.",
    labels: ["upstream"],
    samples: perUpstream((stats) => stats.failed),
  },
  {
    name: "spillway_requests_active",
    type: "gauge",
    help: "Exchanges running now.",
    labels: ["upstream"],
    samples: perUpstream((stats) => stats.active),
  },
  {
    name: "spillway_requests_unanswered_total",
    type: "counter",
    help: "Exchanges that ended before a response was begun, mostly because the client left.",
    labels: ["upstream"],
    samples: perUpstream((stats) => stats.unanswered),
  },
  {
    name: "spillway_responses_total",
    type: "counter",
    help: "Responses sent to clients, by status code.",
    labels: ["upstream", "code"],
    samples: (snapshot) => exchangeRows(snapshot).flatMap(([upstream, stats]) => byCode(stats.statuses, { upstream })),
  },
  {
    name: "spillway_request_duration_seconds",
    type: "histogram",
    help: "Time from the first byte of a request to the end of its exchange.",
    labels: ["upstream"],
    bounds: LATENCY_BOUNDS,
    samples: (snapshot) =>
      exchangeRows(snapshot).map(([upstream, stats]) => ({
        labels: { upstream },
        buckets: stats.buckets,
        sum: stats.durationMs / 1000,
      })),
  },
  {
    name: "spillway_requests_rejected_total",
    type: "counter",
    help: "Requests refused by the parser or a limit before they were routed, by status code.",
    labels: ["code"],
    samples: (snapshot) => byCode(snapshot.rejected, {}),
  },
  {
    name: "spillway_requests_shed_total",
    type: "counter",
    help: "Requests refused on purpose to protect the rest, by reason.",
    labels: ["reason"],
    samples: (snapshot) => byName("reason", snapshot.shed),
  },
  {
    name: "spillway_timeouts_total",
    type: "counter",
    help: "Deadlines that passed, by what was waited for.",
    labels: ["phase"],
    samples: (snapshot) => byName("phase", snapshot.timeouts),
  },
  {
    name: "spillway_backend_requests_total",
    type: "counter",
    help: "Attempts that began on a backend.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => backend.requests),
  },
  {
    name: "spillway_backend_failures_total",
    type: "counter",
    help: "Attempts that failed on a backend: no connection, broken, malformed or cut short, or timed out.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => backend.failures),
  },
  {
    name: "spillway_backend_requests_active",
    type: "gauge",
    help: "Exchanges running on a backend now.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => backend.active),
  },
  {
    name: "spillway_backend_attempts_ended_total",
    type: "counter",
    help: "Attempts that ended on a backend; divides spillway_backend_duration_seconds_total into a mean.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => backend.ended),
  },
  {
    name: "spillway_backend_duration_seconds_total",
    type: "counter",
    help: "Time spent in the attempts that ended on a backend.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => backend.durationMs / 1000),
  },
  {
    name: "spillway_backend_up",
    type: "gauge",
    help: "1 while a backend takes new exchanges, if only a few to try; 0 while it is down, draining, ejected or its circuit is open, in any worker.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => (backend.state === "up" || backend.state === "half-open" ? 1 : 0)),
  },
  {
    name: "spillway_backend_ejected",
    type: "gauge",
    help: "1 while any worker's outlier detector keeps a backend out.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => (backend.ejected ? 1 : 0)),
  },
  {
    name: "spillway_outlier_ejections_total",
    type: "counter",
    help: "Times a backend was ejected by the outlier detector, in each worker on its own.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => backend.ejections),
  },
  {
    name: "spillway_backend_weight",
    type: "gauge",
    help: "Share of traffic of a backend relative to its siblings.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => backend.weight),
  },
  {
    name: "spillway_backend_connections",
    type: "gauge",
    help: "Connections to a backend now: idle, busy and opening.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => backend.connections),
  },
  {
    name: "spillway_backend_connections_opened_total",
    type: "counter",
    help: "Connections opened to a backend.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => backend.connectionsOpened),
  },
  {
    name: "spillway_backend_connections_closed_total",
    type: "counter",
    help: "Connections to a backend that were closed, by either side.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => backend.connectionsClosed),
  },
  {
    name: "spillway_backend_connections_reused_total",
    type: "counter",
    help: "Attempts sent on a connection that had carried one before.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => backend.reused),
  },
  {
    name: "spillway_backend_replayed_total",
    type: "counter",
    help: "Attempts sent anew because the backend had just closed the idle connection they were sent on.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => backend.replayed),
  },
  {
    name: "spillway_circuit_breaker_state",
    type: "gauge",
    help: "Circuit of a backend: 0 closed, 1 half-open, 2 open; the worst over all workers.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => CIRCUIT_VALUES[backend.circuit]),
  },
  {
    name: "spillway_circuit_breaker_trips_total",
    type: "counter",
    help: "Times the circuit of a backend opened, in each worker on its own.",
    labels: ["upstream", "backend"],
    samples: perBackend((backend) => backend.breakerTrips),
  },
  {
    name: "spillway_circuit_breaker_fallbacks_total",
    type: "counter",
    help: "Exchanges that a fallback took over, because no backend was left to try: circuits open, ejected, down or tried.",
    labels: ["upstream"],
    samples: perNamedUpstream((upstream) => upstream.fallbacks),
  },
  {
    name: "spillway_retries_total",
    type: "counter",
    help: "Attempts beyond the first that were sent because one that had been sent failed, or for its status.",
    labels: ["upstream"],
    samples: perNamedUpstream((upstream) => upstream.retries),
  },
  {
    name: "spillway_moves_total",
    type: "counter",
    help: "Attempts that went on to another backend because nothing had been sent to the one before; they repeat nothing and are no retries.",
    labels: ["upstream"],
    samples: perNamedUpstream((upstream) => upstream.moves),
  },
  {
    name: "spillway_retries_denied_total",
    type: "counter",
    help: "Failures of a kind to retry that were not retried, because the budget or the rules said no.",
    labels: ["upstream"],
    samples: perNamedUpstream((upstream) => upstream.retriesDenied),
  },
  {
    name: "spillway_hedges_total",
    type: "counter",
    help: "Second attempts sent beside a slow first one.",
    labels: ["upstream"],
    samples: perNamedUpstream((upstream) => upstream.hedges),
  },
  {
    name: "spillway_hedges_won_total",
    type: "counter",
    help: "Second attempts that answered before the first one.",
    labels: ["upstream"],
    samples: perNamedUpstream((upstream) => upstream.hedgesWon),
  },
  {
    name: "spillway_queue_waiting",
    type: "gauge",
    help: "Exchanges that wait for room on a backend now, over all workers.",
    labels: ["upstream"],
    samples: perNamedUpstream((upstream) => upstream.waiting),
  },
  {
    name: "spillway_concurrency_limit",
    type: "gauge",
    help: "Exchanges that the adaptive limit lets run at a time now, over all workers; 0 where there is no such limit.",
    labels: ["upstream"],
    samples: perNamedUpstream((upstream) => upstream.concurrencyLimit),
  },
  {
    name: "spillway_affinity_sessions",
    type: "gauge",
    help: "Sessions in the tables of the workers now; one that several workers have met counts in each of them.",
    labels: ["upstream"],
    samples: perTable((sessions) => sessions.held),
  },
  {
    name: "spillway_affinity_begun_total",
    type: "counter",
    help: "Sessions that began.",
    labels: ["upstream"],
    samples: perAffinity((sessions) => sessions.begun),
  },
  {
    name: "spillway_affinity_kept_total",
    type: "counter",
    help: "Exchanges answered by the backend of their session.",
    labels: ["upstream"],
    samples: perAffinity((sessions) => sessions.kept),
  },
  {
    name: "spillway_affinity_moved_total",
    type: "counter",
    help: "Sessions that another backend answered, and has from then on, because their own was lost.",
    labels: ["upstream"],
    samples: perAffinity((sessions) => sessions.moved),
  },
  {
    name: "spillway_affinity_lost_total",
    type: "counter",
    help: "Exchanges answered 503 because the backend of their session was lost and affinity is strict.",
    labels: ["upstream"],
    samples: perAffinity((sessions) => sessions.lost),
  },
  {
    name: "spillway_affinity_evicted_total",
    type: "counter",
    help: "Sessions forgotten before their time, because the table of a worker was full.",
    labels: ["upstream"],
    samples: perTable((sessions) => sessions.evicted),
  },
  {
    name: "spillway_affinity_store_requests_total",
    type: "counter",
    help: "What the shared store of sessions was asked, with or without an answer.",
    labels: ["operation"],
    samples: (snapshot) => (hasTable(snapshot) ? byName("operation", snapshot.sessionStore.asked) : []),
  },
  {
    name: "spillway_affinity_store_failures_total",
    type: "counter",
    help: "What the shared store of sessions did not answer, or too late.",
    labels: [],
    samples: (snapshot) => (hasTable(snapshot) ? [{ labels: {}, value: snapshot.sessionStore.failures }] : []),
  },
  {
    name: "spillway_affinity_store_duration_seconds",
    type: "summary",
    help: "Time the shared store of sessions took, as the control plane sees it.",
    labels: ["operation"],
    samples: (snapshot) =>
      hasTable(snapshot)
        ? STORE_OPERATIONS.map((operation) => ({
            labels: { operation },
            count: snapshot.sessionStore.asked[operation],
            sum: snapshot.sessionStore.durationMs[operation] / 1000,
          }))
        : [],
  },
  {
    name: "spillway_affinity_store_up",
    type: "gauge",
    help: "1 while the Redis that keeps the sessions of an upstream can be asked, 0 while it cannot.",
    labels: ["upstream"],
    samples: (snapshot) =>
      snapshot.upstreams.flatMap(({ name, store }) =>
        store?.kind === "redis" ? [{ labels: { upstream: name }, value: store.up ? 1 : 0 }] : [],
      ),
  },
  {
    name: "spillway_rebalanced_total",
    type: "counter",
    help: "Tunnels closed so that their clients come back and may be sent to a backend that was added or came back.",
    labels: ["upstream"],
    samples: perAffinity((sessions) => sessions.rebalanced),
  },
  {
    name: "spillway_region_requests_total",
    type: "counter",
    help: "Attempts that began on the backends of a region.",
    labels: ["upstream", "region"],
    samples: (snapshot) =>
      snapshot.upstreams.flatMap(({ name, regions }) =>
        regions.map(({ region, requests }) => ({ labels: { upstream: name, region }, value: requests })),
      ),
  },
  {
    name: "spillway_distance_km",
    type: "histogram",
    help: "Great-circle distance between client and backend, for each attempt where both positions are known.",
    labels: ["upstream"],
    bounds: DISTANCE_BOUNDS,
    samples: (snapshot) =>
      snapshot.upstreams
        .filter(({ backends }) => backends.some(({ position }) => position !== undefined))
        .map(({ name, distances }) => ({ labels: { upstream: name }, buckets: distances.buckets, sum: distances.km })),
  },
  {
    name: "spillway_client_positions_total",
    type: "counter",
    help: "Exchanges for which the position of the client was wanted, by where it was taken from.",
    labels: ["source"],
    samples: (snapshot) => byName("source", snapshot.positions),
  },
  {
    name: "spillway_client_connections_total",
    type: "counter",
    help: "Connections accepted from clients.",
    labels: ["listener"],
    samples: (snapshot) =>
      snapshot.listeners.map((listener) => ({
        labels: { listener: listener.name },
        value: listener.connectionsOpened,
      })),
  },
  {
    name: "spillway_client_connections_active",
    type: "gauge",
    help: "Connections of clients open now.",
    labels: ["listener"],
    samples: (snapshot) =>
      snapshot.listeners.map((listener) => ({
        labels: { listener: listener.name },
        value: listener.connectionsActive,
      })),
  },
  {
    name: "spillway_client_received_bytes_total",
    type: "counter",
    help: "Bytes read from clients.",
    labels: [],
    samples: (snapshot) => [{ labels: {}, value: snapshot.bytesIn }],
  },
  {
    name: "spillway_client_sent_bytes_total",
    type: "counter",
    help: "Bytes written to clients.",
    labels: [],
    samples: (snapshot) => [{ labels: {}, value: snapshot.bytesOut }],
  },
  {
    name: "spillway_tunnels_total",
    type: "counter",
    help: "Connections upgraded to a tunnel, such as WebSockets.",
    labels: [],
    samples: (snapshot) => [{ labels: {}, value: snapshot.tunnelsOpened }],
  },
  {
    name: "spillway_tunnels_active",
    type: "gauge",
    help: "Tunnels open now.",
    labels: [],
    samples: (snapshot) => [{ labels: {}, value: snapshot.tunnelsActive }],
  },
  {
    name: "spillway_access_log_dropped_total",
    type: "counter",
    help: "Access log lines thrown away because whatever reads them did not keep up.",
    labels: [],
    samples: (snapshot) => [{ labels: {}, value: snapshot.accessLogDropped }],
  },
  {
    name: "spillway_build_info",
    type: "gauge",
    help: "Always 1; the labels say what is running.",
    labels: ["version", "node"],
    samples: (_snapshot, facts) => [{ labels: { version: facts.version, node: facts.node }, value: 1 }],
  },
  {
    name: "spillway_workers",
    type: "gauge",
    help: "Threads that run the data plane.",
    labels: [],
    samples: (_snapshot, facts) => [{ labels: {}, value: facts.workers }],
  },
  {
    name: "process_start_time_seconds",
    type: "gauge",
    help: "When the process started, in seconds since the Unix epoch.",
    labels: [],
    samples: (_snapshot, facts) => [{ labels: {}, value: facts.startedAt / 1000 }],
  },
  {
    name: "process_resident_memory_bytes",
    type: "gauge",
    help: "Memory the process holds.",
    labels: [],
    samples: (_snapshot, facts) => [{ labels: {}, value: facts.residentBytes }],
  },
  {
    name: "process_cpu_seconds_total",
    type: "counter",
    help: "CPU time spent by all threads of the process.",
    labels: [],
    samples: (_snapshot, facts) => [{ labels: {}, value: facts.cpuSeconds }],
  },
];

/** Spillway's own answers under the empty name, then the upstreams. */
function exchangeRows(snapshot: Snapshot): [string, ExchangeStats][] {
  return [
    ["", snapshot.own],
    ...snapshot.upstreams.map((upstream): [string, ExchangeStats] => [upstream.name, upstream]),
  ];
}

function perUpstream(value: (stats: ExchangeStats) => number): (snapshot: Snapshot) => Sample[] {
  return (snapshot) =>
    exchangeRows(snapshot).map(([upstream, stats]) => ({ labels: { upstream }, value: value(stats) }));
}

/** For what cannot happen to answers of Spillway's own. */
function perNamedUpstream(value: (upstream: UpstreamStats) => number): (snapshot: Snapshot) => Sample[] {
  return (snapshot) =>
    snapshot.upstreams.map((upstream) => ({ labels: { upstream: upstream.name }, value: value(upstream) }));
}

/** For upstreams that have sessions. */
function perAffinity(value: (sessions: SessionStats) => number): (snapshot: Snapshot) => Sample[] {
  return (snapshot) =>
    snapshot.upstreams
      .filter(({ affinity }) => affinity !== undefined)
      .map(({ name, sessions }) => ({ labels: { upstream: name }, value: value(sessions) }));
}

/** For those whose sessions are remembered. */
function perTable(value: (sessions: SessionStats) => number): (snapshot: Snapshot) => Sample[] {
  return (snapshot) =>
    snapshot.upstreams
      .filter(remembers)
      .map(({ name, sessions }) => ({ labels: { upstream: name }, value: value(sessions) }));
}

function hasTable({ upstreams }: Snapshot): boolean {
  return upstreams.some(remembers);
}

function remembers({ affinity }: UpstreamStats): boolean {
  return affinity !== undefined && affinity.store !== "none";
}

function perBackend(value: (backend: BackendStats) => number): (snapshot: Snapshot) => Sample[] {
  return (snapshot) =>
    snapshot.upstreams.flatMap(({ name, backends }) =>
      backends.map((backend) => ({ labels: { upstream: name, backend: backend.id }, value: value(backend) })),
    );
}

function byCode(counts: Readonly<Record<number, number>>, labels: Labels): Sample[] {
  return Object.entries(counts).map(([code, value]) => ({ labels: { ...labels, code }, value }));
}

function byName(label: string, counts: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(counts).map(([name, value]) => ({ labels: { [label]: name }, value }));
}
