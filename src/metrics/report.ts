import { quantileMs } from "./histogram.ts";
import { LATENCY_BOUNDS } from "./layout.ts";
import type { BackendStats, ExchangeStats, Snapshot, StoreStats, UpstreamStats } from "./snapshot.ts";

/** The report's latency classes: label and the bound in seconds up to which they reach. */
const CLASSES: readonly (readonly [label: string, upTo: number])[] = [
  ["< 50 ms", 0.05],
  ["50-100 ms", 0.1],
  ["100-200 ms", 0.2],
  ["200-500 ms", 0.5],
  ["500-1000 ms", 1],
  ["> 1000 ms", Number.POSITIVE_INFINITY],
];

const BAR = 40;
const BLOCKS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/** Ended exchanges per latency class of the report, in order. */
export function latencyClasses(buckets: readonly number[]): { readonly label: string; readonly count: number }[] {
  return CLASSES.map(([label, upTo], index) => {
    const above = CLASSES[index - 1]?.[1] ?? 0;
    const count = buckets.reduce((sum, inBucket, bucket) => {
      const bound = LATENCY_BOUNDS[bucket] ?? Number.POSITIVE_INFINITY;
      return bound > above && bound <= upTo ? sum + inBucket : sum;
    }, 0);
    return { label, count };
  });
}

/** Failed exchanges per exchange that ended, 0 to 1. */
export function errorRate(stats: ExchangeStats): number {
  const ended = stats.requests - stats.active;
  return ended > 0 ? stats.failed / ended : 0;
}

/** Mean time of the exchanges that ended, in milliseconds. */
export function meanMs(stats: ExchangeStats): number {
  const timed = stats.buckets.reduce((sum, count) => sum + count, 0);
  return timed === 0 ? 0 : stats.durationMs / timed;
}

/** The snapshot as a report for people: plain text, at most 80 columns, ends with a newline. */
export function reportText(snapshot: Snapshot): string {
  const { total } = snapshot;
  const timeouts = Object.values(snapshot.timeouts).reduce((sum, count) => sum + count, 0);
  const lines = [
    "Requests",
    row("total", count(total.requests)),
    row("failed", count(total.failed), `${percent(errorRate(total))} of those that ended`),
    row("active", count(total.active)),
    row("rejected", count(sum(snapshot.rejected)), detail(snapshot.rejected, "before they were routed")),
    row("shed", count(sum(snapshot.shed)), detail(snapshot.shed)),
    row("timeouts", count(timeouts), detail(snapshot.timeouts)),
    row("breaker trips", count(snapshot.breakerTrips)),
    row("ejections", count(snapshot.ejections)),
    row("retries", count(total.retries), detail({ moves: total.moves, denied: total.retriesDenied })),
    row("fallbacks", count(total.fallbacks)),
    ...positionLines(snapshot.positions),
    ...storeLines(snapshot.sessionStore),
    "",
    "Latency",
    row("mean", duration(meanMs(total)), percentiles(total)),
    ...latencyLines(total),
    ...snapshot.upstreams.flatMap(upstreamLines),
  ];
  return `${lines.join("\n")}\n`;
}

function latencyLines(stats: ExchangeStats): string[] {
  const classes = latencyClasses(stats.buckets);
  const all = classes.reduce((ended, { count }) => ended + count, 0);
  return classes.map(({ label, count: inClass }) => {
    const share = all === 0 ? 0 : inClass / all;
    return `  ${label.padEnd(12)}${count(inClass).padStart(11)} ${percent(share).padStart(7)}  ${bar(share)}`.trimEnd();
  });
}

function upstreamLines(upstream: UpstreamStats): string[] {
  const ours = upstream.backends.reduce((all, backend) => all + backend.requests, 0);
  return [
    "",
    `Upstream ${printable(upstream.name)}`,
    row(
      "requests",
      count(upstream.requests),
      `${count(upstream.failed)} failed, ${count(upstream.active)} active, ${count(upstream.waiting)} waiting`,
    ),
    row("mean", duration(meanMs(upstream)), percentiles(upstream)),
    row("retries", count(upstream.retries), detail(afterFailures(upstream))),
    ...(upstream.hedges === 0 ? [] : [row("hedges", count(upstream.hedges), `${count(upstream.hedgesWon)} won`)]),
    ...(upstream.concurrencyLimit === 0 ? [] : [row("limit", count(upstream.concurrencyLimit), "at a time")]),
    ...sessionLines(upstream),
    ...storeDownLines(upstream),
    ...placeLines(upstream),
    `  ${"backend".padEnd(25)}${"state".padEnd(10)}${"requests".padStart(10)}${"share".padStart(8)}${"failed".padStart(8)}${"mean".padStart(9)}${"active".padStart(7)}`,
    ...upstream.backends.flatMap((backend) => backendLines(backend, ours)),
  ];
}

function afterFailures({ moves, retriesDenied, fallbacks }: ExchangeStats): Record<string, number> {
  return { moves, denied: retriesDenied, fallbacks };
}

/** Where positions of clients came from. */
function positionLines(positions: Snapshot["positions"]): string[] {
  const all = sum(positions);
  return all === 0 ? [] : [row("positions", count(all), detail(positions))];
}

function storeLines({ asked, durationMs, failures }: StoreStats): string[] {
  const all = sum(asked);
  if (all === 0) return [];
  return [
    row("session store", count(all), detail({ ...asked, failures })),
    row("store mean", duration(sum(durationMs) / all)),
  ];
}

/** Where nothing is remembered, sessions live in the cookies of clients: none is held. */
function sessionLines({ affinity, sessions }: UpstreamStats): string[] {
  if (affinity === undefined) return [];
  const { held, begun, kept, moved, lost, evicted, rebalanced } = sessions;
  const happened = Object.entries({ moved, lost, evicted }).flatMap(([name, times]) =>
    times > 0 ? [`${count(times)} ${name}`] : [],
  );
  return [
    affinity.store === "none"
      ? row("sessions", count(begun), ["begun", ...happened].join(", "))
      : row("sessions", count(held), ["held", `${count(begun)} begun`, ...happened].join(", ")),
    ...(kept === 0 ? [] : [row("kept", count(kept), "answered by the backend of their session")]),
    ...(rebalanced === 0 ? [] : [row("rebalanced", count(rebalanced), "tunnels closed")]),
  ];
}

function storeDownLines({ store }: UpstreamStats): string[] {
  return store === undefined || store.up ? [] : [row("session store", "down", cut(printable(store.url), 50))];
}

function placeLines({ regions, distances }: UpstreamStats): string[] {
  const away = distances.buckets.reduce((all, inBucket) => all + inBucket, 0);
  const requests = regions.map(({ region, requests }) => [printable(region || "no region"), requests] as const);
  return [
    ...(regions.length === 0 ? [] : [row("regions", count(regions.length), nonZero(requests))]),
    ...(away === 0
      ? []
      : [row("distance", `${count(Math.round(distances.km / away))} km`, "mean from client to backend")]),
  ];
}

/** With a line of its own for why a backend does not take its part. */
function backendLines(backend: BackendStats, all: number): string[] {
  const share = all === 0 ? 0 : backend.requests / all;
  const line = `  ${cut(printable(backend.id), 24).padEnd(25)}${backend.state.padEnd(10)}${count(backend.requests).padStart(10)}${percent(share).padStart(8)}${count(backend.failures).padStart(8)}${duration(backend.meanMs).padStart(9)}${count(backend.active).padStart(7)}`;
  const why = backend.state === "up" ? "" : printable(backend.reason);
  return why === "" ? [line] : [line, `    ${cut(why, 76)}`];
}

function row(name: string, value: string, note = ""): string {
  return `  ${name.padEnd(14)}${value.padStart(9)}   ${note}`.trimEnd();
}

function percentiles(stats: ExchangeStats): string {
  if (stats.buckets.every((inBucket) => inBucket === 0)) return "";
  const [p50, p90, p99] = [0.5, 0.9, 0.99].map((quantile) => duration(quantileMs(stats.buckets, quantile)));
  return `p50 ~${p50}   p90 ~${p90}   p99 ~${p99}`;
}

/** The figures that are not zero: `queue 3, response 1`. */
function detail(counts: Readonly<Record<string, number>>, otherwise = ""): string {
  return nonZero(Object.entries(counts), otherwise);
}

function nonZero(counts: readonly (readonly [name: string, value: number])[], otherwise = ""): string {
  const parts = counts.flatMap(([name, value]) => (value > 0 ? [`${name}: ${count(value)}`] : []));
  return parts.length === 0 ? otherwise : cut(parts.join(", "), 50);
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((all, value) => all + value, 0);
}

function bar(share: number): string {
  const eighths = Math.round(share * BAR * 8);
  return "█".repeat(eighths >> 3) + BLOCKS[eighths & 7]!;
}

/** Whole numbers up to six digits, above that in thousands or millions, so that columns hold. */
export function count(value: number): string {
  if (value < 1e6) return String(value);
  if (value < 1e9) return `${(value / 1e6).toFixed(2)}M`;
  return `${(value / 1e9).toFixed(2)}G`;
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Milliseconds as people read them: `0.42 ms`, `87 ms`, `1.24 s`. */
export function duration(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  if (ms >= 100) return `${ms.toFixed(0)} ms`;
  if (ms >= 10) return `${ms.toFixed(1)} ms`;
  return `${ms.toFixed(2)} ms`;
}

/** Names come from configuration; what could drive a terminal is shown as `?`. */
function printable(name: string): string {
  return name.replace(/[\u0000-\u001f\u007f-\u009f]/g, "?");
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`;
}
