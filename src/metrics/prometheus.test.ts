import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { BY_HEADER, bench } from "../../test/support/metrics-bench.ts";
import { LATENCY_BOUNDS } from "./layout.ts";
import { METRICS, type ProcessFacts } from "./metrics.ts";
import { prometheusText } from "./prometheus.ts";
import { metricsReference } from "./reference.ts";

const facts: ProcessFacts = {
  version: "1.2.3",
  node: "v20.19.0",
  workers: 2,
  startedAt: 1_700_000_000_500,
  residentBytes: 50_000_000,
  cpuSeconds: 1.25,
};

/** Something in every metric. */
function busy(names?: { web: string; a: string }): string {
  const places = { affinity: BY_HEADER, regions: [names?.web ?? "seoul", ""] } as const;
  const { stripes, counts, snapshot } = bench(1, names, places);
  const stripe = stripes[0]!;
  for (const [upstream, status, failed, ms] of [
    [0, 200, false, 0.4],
    [0, 200, false, 60],
    [0, 502, true, 12_000],
    [1, 0, true, 3],
    [-1, 308, false, 0.1],
  ] as const) {
    stripe.exchangeStarted(upstream);
    stripe.exchangeEnded(upstream, status, failed, ms);
  }
  stripe.exchangeStarted(1);
  stripe.attemptStarted(0);
  stripe.attemptEnded(0, true, 250);
  stripe.rejected(400);
  stripe.clientConnectionOpened(1);
  stripe.bytesOut(2 ** 50);
  stripe.breakerTripped(1);
  for (let i = 0; i < 2; i++) stripe.ejected(1);
  stripe.fellBack(0);
  for (let i = 0; i < 2; i++) stripe.retried(0);
  for (let i = 0; i < 3; i++) stripe.moved(0);
  for (let i = 0; i < 4; i++) stripe.retryDenied(0);
  for (let i = 0; i < 5; i++) stripe.hedged(0);
  for (let i = 0; i < 6; i++) stripe.hedgeWon(0);
  stripe.waiting(0, 7);
  stripe.concurrencyLimit(0, 20);
  stripe.shed("throttled");
  stripe.sessionsHeld(0, 8);
  for (let i = 0; i < 9; i++) stripe.sessionBegun(0);
  for (let i = 0; i < 10; i++) stripe.sessionKept(0);
  for (let i = 0; i < 11; i++) stripe.sessionMoved(0);
  for (let i = 0; i < 12; i++) stripe.sessionLost(0);
  stripe.sessionsEvicted(0, 13);
  for (let i = 0; i < 14; i++) stripe.rebalanced(0);
  for (const km of [80, 300, 12_000]) stripe.distance(0, km);
  stripe.positionFrom("geoip");
  for (const ms of [250, 500]) stripe.storeAsked("find", ms);
  stripe.storeFailed();
  counts.takeActive(2, Number.POSITIVE_INFINITY);
  const view = {
    address: "10.0.0.2:80",
    since: 0,
    reason: "connection refused",
    weight: 4,
    circuit: "open",
    ejected: true,
  } as const;
  const store = { upstream: names?.web ?? "web", kind: "redis", url: "redis://cache.test", up: false } as const;
  return prometheusText(snapshot([{ ...view, slot: 1, state: "down" }], [store]), facts);
}

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const LABEL = String.raw`[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\n"])*"`;
const SAMPLE = new RegExp(
  String.raw`^(${NAME})(?:\{(${LABEL}(?:,${LABEL})*)\})? (-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)$`,
);

const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  counter: [""],
  gauge: [""],
  histogram: ["_bucket", "_sum", "_count"],
  summary: ["_sum", "_count"],
};

/**
 * Reads exposition text by the letter of the format and fails on anything else: families in one block, HELP and TYPE
 * first and once, samples named after their family, no series twice, histograms cumulative and closed by `+Inf`.
 */
function parseStrictly(text: string): Map<string, { type: string; series: Map<string, number> }> {
  expect(text.endsWith("\n")).toBe(true);
  const families = new Map<string, { type: string; series: Map<string, number> }>();
  const lines = text.slice(0, -1).split("\n");
  let current: { name: string; type: string; series: Map<string, number> } | undefined;
  for (let i = 0; i < lines.length; i++) {
    const help = new RegExp(`^# HELP (${NAME}) [^\\n]+$`).exec(lines[i]!);
    if (help) {
      const type = new RegExp(`^# TYPE ${help[1]} (counter|gauge|histogram|summary)$`).exec(lines[++i] ?? "");
      expect(type, `TYPE after ${help[0]}`).not.toBeNull();
      expect(families.has(help[1]!), `${help[1]} twice`).toBe(false);
      current = { name: help[1]!, type: type![1]!, series: new Map() };
      families.set(current.name, current);
      continue;
    }
    const sample = SAMPLE.exec(lines[i]!);
    expect(sample, `line ${i + 1}: ${lines[i]}`).not.toBeNull();
    const suffix = sample![1]!.slice(current!.name.length);
    expect(sample![1]!.startsWith(current!.name)).toBe(true);
    expect(SUFFIXES[current!.type]).toContain(suffix);
    const key = `${suffix}{${sample![2] ?? ""}}`;
    expect(current!.series.has(key), `series twice: ${lines[i]}`).toBe(false);
    current!.series.set(key, Number(sample![3]));
  }
  for (const [name, { type, series }] of families) {
    expect(series.size, `${name} has no sample`).toBeGreaterThan(0);
    if (type === "histogram") expectHistogram(series);
  }
  return families;
}

function expectHistogram(series: ReadonlyMap<string, number>): void {
  let below = 0;
  let bound = Number.NEGATIVE_INFINITY;
  for (const [key, value] of series) {
    const bucket = /^_bucket\{(.*,)?le="([^"]+)"\}$/.exec(key);
    if (!bucket) continue;
    const le = bucket[2] === "+Inf" ? Number.POSITIVE_INFINITY : Number(bucket[2]);
    expect(value).toBeGreaterThanOrEqual(below);
    expect(le).toBeGreaterThan(bound);
    [below, bound] = [value, le];
    if (le !== Number.POSITIVE_INFINITY) continue;
    const rest = (bucket[1] ?? "").replace(/,$/, "");
    expect(series.get(`_count{${rest}}`)).toBe(value);
    expect(series.has(`_sum{${rest}}`)).toBe(true);
    [below, bound] = [0, Number.NEGATIVE_INFINITY];
  }
  expect(bound, "the last bucket is +Inf").toBe(Number.NEGATIVE_INFINITY);
}

describe("exposition", () => {
  test("every metric of the list is shown, and each by the letter of the format", () => {
    const families = parseStrictly(busy());
    expect([...families.keys()]).toEqual(METRICS.map(({ name }) => name));
    for (const { name, type } of METRICS) expect(families.get(name)!.type).toBe(type);
  });

  test("labels are those the list names, in every sample", () => {
    for (const [name, { series }] of parseStrictly(busy())) {
      const expected = METRICS.find((metric) => metric.name === name)!.labels;
      for (const key of series.keys()) {
        const labels = [...key.matchAll(/([a-z_]+)="/g)].map((match) => match[1]!).filter((label) => label !== "le");
        expect(labels).toEqual(expected);
      }
    }
  });

  test("an idle Spillway shows its figures as zero", () => {
    const families = parseStrictly(prometheusText(bench().snapshot(), facts));
    expect(families.get("spillway_requests_total")!.series.get('{upstream="web"}')).toBe(0);
    expect(families.get("spillway_backend_up")!.series.get('{upstream="api",backend="c"}')).toBe(1);
    expect(families.has("spillway_responses_total")).toBe(false);
  });

  test("counts arrive under their labels", () => {
    const text = busy();
    for (const line of [
      'spillway_requests_total{upstream="web"} 3',
      'spillway_requests_total{upstream=""} 1',
      'spillway_requests_failed_total{upstream="web"} 1',
      'spillway_requests_active{upstream="api"} 1',
      'spillway_requests_unanswered_total{upstream="api"} 1',
      'spillway_responses_total{upstream="web",code="502"} 1',
      'spillway_request_duration_seconds_bucket{upstream="web",le="0.05"} 1',
      'spillway_request_duration_seconds_bucket{upstream="web",le="0.1"} 2',
      'spillway_request_duration_seconds_bucket{upstream="web",le="10"} 2',
      'spillway_request_duration_seconds_bucket{upstream="web",le="+Inf"} 3',
      'spillway_request_duration_seconds_count{upstream="web"} 3',
      'spillway_backend_failures_total{upstream="web",backend="10.0.0.1:80"} 1',
      'spillway_backend_duration_seconds_total{upstream="web",backend="10.0.0.1:80"} 0.25',
      'spillway_backend_up{upstream="web",backend="10.0.0.2:80"} 0',
      'spillway_backend_ejected{upstream="web",backend="10.0.0.1:80"} 0',
      'spillway_backend_ejected{upstream="web",backend="10.0.0.2:80"} 1',
      'spillway_outlier_ejections_total{upstream="web",backend="10.0.0.2:80"} 2',
      'spillway_circuit_breaker_state{upstream="web",backend="10.0.0.2:80"} 2',
      'spillway_circuit_breaker_trips_total{upstream="web",backend="10.0.0.2:80"} 1',
      'spillway_circuit_breaker_fallbacks_total{upstream="web"} 1',
      'spillway_retries_total{upstream="web"} 2',
      'spillway_moves_total{upstream="web"} 3',
      'spillway_retries_denied_total{upstream="web"} 4',
      'spillway_hedges_total{upstream="web"} 5',
      'spillway_hedges_won_total{upstream="web"} 6',
      'spillway_queue_waiting{upstream="web"} 7',
      'spillway_queue_waiting{upstream="api"} 0',
      'spillway_concurrency_limit{upstream="web"} 20',
      'spillway_requests_shed_total{reason="throttled"} 1',
      'spillway_affinity_sessions{upstream="web"} 8',
      'spillway_affinity_begun_total{upstream="web"} 9',
      'spillway_affinity_kept_total{upstream="web"} 10',
      'spillway_affinity_moved_total{upstream="web"} 11',
      'spillway_affinity_lost_total{upstream="web"} 12',
      'spillway_affinity_evicted_total{upstream="web"} 13',
      'spillway_rebalanced_total{upstream="web"} 14',
      'spillway_affinity_store_requests_total{operation="find"} 2',
      'spillway_affinity_store_requests_total{operation="place"} 0',
      "spillway_affinity_store_failures_total 1",
      'spillway_affinity_store_duration_seconds_sum{operation="find"} 0.75',
      'spillway_affinity_store_duration_seconds_count{operation="find"} 2',
      'spillway_affinity_store_up{upstream="web"} 0',
      'spillway_region_requests_total{upstream="web",region="seoul"} 1',
      'spillway_region_requests_total{upstream="web",region=""} 0',
      'spillway_distance_km_bucket{upstream="web",le="100"} 1',
      'spillway_distance_km_bucket{upstream="web",le="10000"} 2',
      'spillway_distance_km_bucket{upstream="web",le="+Inf"} 3',
      'spillway_distance_km_sum{upstream="web"} 12380',
      'spillway_client_positions_total{source="geoip"} 1',
      'spillway_backend_weight{upstream="web",backend="10.0.0.2:80"} 4',
      'spillway_backend_requests_active{upstream="api",backend="c"} 1',
      'spillway_requests_rejected_total{code="400"} 1',
      'spillway_client_connections_active{listener="[::1]:8081"} 1',
      `spillway_client_sent_bytes_total ${2 ** 50}`,
      'spillway_build_info{version="1.2.3",node="v20.19.0"} 1',
      "process_start_time_seconds 1700000000.5",
    ]) {
      expect(text).toContain(`\n${line}\n`);
    }
  });

  test.each([
    ["up", "closed", 1, 0],
    ["half-open", "half-open", 1, 1],
    ["open", "open", 0, 2],
    ["ejected", "closed", 0, 0],
    ["draining", "closed", 0, 0],
    ["down", "half-open", 0, 1],
  ] as const)(
    "a backend that is %s with its circuit %s shows up %i and circuit state %i",
    (state, circuit, up, value) => {
      const view = { slot: 2, address: "c", since: 0, reason: "", weight: 1, ejected: false };
      const families = parseStrictly(prometheusText(bench().snapshot([{ ...view, state, circuit }]), facts));
      const of = (name: string) => families.get(name)!.series.get('{upstream="api",backend="c"}');
      expect([of("spillway_backend_up"), of("spillway_circuit_breaker_state")]).toEqual([up, value]);
    },
  );

  test("a Redis with sessions is 1 while it can be asked, and memory has no series", () => {
    const { snapshot } = bench();
    const redis = { kind: "redis", url: "redis://cache.test", up: true } as const;
    const memory = { kind: "memory", url: "", up: true } as const;
    const stores = [
      { ...memory, upstream: "web" },
      { ...redis, upstream: "api" },
    ];
    const text = prometheusText(snapshot([], stores), facts);
    expect(text).toContain('\nspillway_affinity_store_up{upstream="api"} 1\n');
    expect(text).not.toContain('spillway_affinity_store_up{upstream="web"}');
  });

  test("who has no sessions, regions or locations has no series of them", () => {
    const text = busy();
    expect(text).not.toMatch(/^spillway_(affinity_\w+|rebalanced_total|region_\w+|distance_\w+)\{upstream="api"/m);
    expect(prometheusText(bench().snapshot(), facts)).not.toMatch(/spillway_(affinity|rebalanced|region|distance)_/);
  });

  test("sessions in cookies are counted, but held, evicted and stored by nobody", () => {
    const affinity = { ...BY_HEADER, by: "cookie:s", store: "none", maxSessions: undefined } as const;
    const families = parseStrictly(prometheusText(bench(1, undefined, { affinity }).snapshot(), facts));
    expect(families.get("spillway_affinity_kept_total")!.series.get('{upstream="web"}')).toBe(0);
    expect([...families.keys()].filter((name) => /affinity_(sessions|evicted|store)/.test(name))).toEqual([]);
  });

  test("the bounds a dashboard asks for are among the buckets", () => {
    for (const bound of [0.05, 0.1, 0.2, 0.5, 1]) expect(LATENCY_BOUNDS).toContain(bound);
  });

  test("quotes, backslashes and newlines in names are escaped, so that no name can forge a sample", () => {
    const evil = 'a"} 1\nspillway_workers 9\\';
    const families = parseStrictly(busy({ web: evil, a: evil }));
    expect(families.get("spillway_requests_total")!.series.get('{upstream="a\\"} 1\\nspillway_workers 9\\\\"}')).toBe(
      3,
    );
    expect(families.get("spillway_workers")!.series.get("{}")).toBe(2);
  });

  test("Prometheus' own promtool finds nothing to complain about", (context) => {
    const found = spawnSync("promtool", ["--version"]);
    if (found.error !== undefined) {
      const reason =
        "promtool is not installed (Debian package prometheus): exposition text checked by our grammar alone";
      if (process.env.CI === "true") throw new Error(reason);
      console.warn(reason);
      return context.skip(reason);
    }
    const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], { input: busy(), encoding: "utf8" });
    expect(`${stdout}${stderr}`).toBe("");
    expect(status).toBe(0);
  });
});

test("docs/reference/metrics.md says what the code shows; npx vitest run -u src/metrics writes it anew", async () => {
  await expect(metricsReference()).toMatchFileSnapshot("../../docs/reference/metrics.md");
});
