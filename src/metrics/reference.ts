import { DISTANCE_BOUNDS, LATENCY_BOUNDS } from "./layout.ts";
import { METRICS } from "./metrics.ts";

/** `docs/reference/metrics.md`, made from the list the exposition is made from. */
export function metricsReference(): string {
  const rows = METRICS.map(
    ({ name, type, labels, help }) =>
      `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(" ")} | ${help} |`,
  );
  return `# Metrics

The admin listener serves these at \`/metrics\` in Prometheus' text format. \`spillway report\` prints the most important
of them for people, \`/api/v1/status\` as JSON.

    curl http://127.0.0.1:9900/metrics

Everything is counted over all workers and since the start of the process. Counters never go back, except that a restart
begins at zero.

| metric | type | labels | meaning |
|---|---|---|---|
${rows.join("\n")}

## Labels

- \`upstream\`: the name from the configuration. The empty name stands for what Spillway answered itself: redirects, fixed
  responses, and requests no route took.
- \`backend\`: its id, which is \`host:port\` unless the configuration names another.
- \`listener\`: the address as configured.
- \`code\`: the status code. Codes that were never sent are missing.
- \`phase\`: what was waited for: \`queue\` room on a backend, \`connect\` a new one, \`response\` the head of the response,
  \`body\` the next part of a body, \`route\` the whole exchange.
- \`reason\`: why a request was refused: \`queue-full\` too many waited already, \`queue-timeout\` it waited too long,
  \`deadline\` it could not be answered in time any more, \`rate\` its key made too many, \`concurrency\` the limit of its
  upstream was reached, \`throttled\` backends fail most of what they are sent, \`connections\` the listener has as many
  connections as it may have. The response says the same in its \`spillway-reason\` field, except for \`connections\`:
  those are closed unanswered.
- \`operation\`: what a shared store of sessions is asked: to \`find\` the backend of a session, or to \`place\` one on it.
- \`region\`: as the configuration names it; empty for the backends that name none, where others of the upstream do.
- \`source\`: where the position of a client was taken from: a \`header\` of a trusted proxy, the \`geoip\` database, the
  configured \`default\`; or from nowhere, \`none\`.

## Latency

\`spillway_request_duration_seconds\` has a bucket up to each of ${LATENCY_BOUNDS.join(", ")} seconds. A duration on a
bound belongs to the bucket it closes. The whole latency distribution of an upstream:

    histogram_quantile(0.99, sum by (upstream, le) (rate(spillway_request_duration_seconds_bucket[1m])))

Mean response time of each backend, and the share of the traffic it took:

    rate(spillway_backend_duration_seconds_total[1m]) / rate(spillway_backend_attempts_ended_total[1m])
    rate(spillway_backend_requests_total[1m]) / ignoring(backend) group_left sum by (upstream, job, instance) (rate(spillway_backend_requests_total[1m]))

Share of the exchanges that failed:

    sum(rate(spillway_requests_failed_total[1m])) / sum(rate(spillway_requests_total[1m]))

Share of the attempts that were retries, and share of the requests that were shed:

    sum by (upstream) (rate(spillway_retries_total[1m])) / sum by (upstream) (rate(spillway_backend_requests_total[1m]))
    sum(rate(spillway_requests_shed_total{reason!="connections"}[1m])) / sum(rate(spillway_requests_total[1m]))

## Sessions and places

The metrics of affinity have a series for each upstream with \`affinity\`. Sessions by \`cookie\` are remembered by nobody
but the client: those upstreams have no \`spillway_affinity_sessions\` and no evictions. Elsewhere each worker has a
table of its own, and a session that several workers have met is in several tables.

A session moves once. By \`cookie\` nobody knows which requests are of one client: those that run side by side when a
backend is lost are placed each by itself, and each counts in \`spillway_affinity_moved_total\`, until their client has
the new cookie.

Share of the exchanges that the backend of their session answered, and the mean time the shared store takes to find one:

    sum by (upstream) (rate(spillway_affinity_kept_total[1m])) / sum by (upstream) (rate(spillway_requests_total[1m]))
    rate(spillway_affinity_store_duration_seconds_sum{operation="find"}[1m]) / rate(spillway_affinity_store_duration_seconds_count{operation="find"}[1m])

\`spillway_affinity_store_up\` has a series for each upstream whose sessions are kept in a Redis. One that is down:

    min by (upstream) (spillway_affinity_store_up) == 0

\`spillway_distance_km\` is shown for upstreams whose backends have a location, and has a bucket up to each of
${DISTANCE_BOUNDS.join(", ")} km.
Like \`spillway_region_requests_total\` it counts attempts: an exchange that goes on to Tokyo when Seoul fails counts for
both. Share of each region, and the mean distance:

    sum by (upstream, region) (rate(spillway_region_requests_total[1m])) / ignoring(region) group_left sum by (upstream) (rate(spillway_region_requests_total[1m]))
    rate(spillway_distance_km_sum[1m]) / rate(spillway_distance_km_count[1m])

## Workers

Each worker has circuits and an outlier detector of its own and learns from its own traffic. So with two workers one
sick backend makes two trips, and \`spillway_circuit_breaker_state\` and \`spillway_backend_ejected\` show what the worker
that thinks worst of the backend does; the reason in \`/api/v1/status\` says how many of them think so.

## What is not counted as an exchange

A request that the parser or a limit refuses (400, 408, 414, 431 and the like) is no exchange: it shows in
\`spillway_requests_rejected_total\` alone. An exchange that ended without a response has no code: it shows in
\`spillway_requests_unanswered_total\`.
`;
}
