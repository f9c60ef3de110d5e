import { type HistogramSample, type Labels, METRICS, type Metric, type ProcessFacts } from "./metrics.ts";
import type { Snapshot } from "./snapshot.ts";

/** The `Content-Type` of {@link prometheusText}. */
export const PROMETHEUS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/**
 * The snapshot in Prometheus' text exposition format 0.0.4. A metric without a single value is left out.
 * `upstream=""` stands for what Spillway answered itself. Source: prometheus.io, "Exposition formats".
 */
export function prometheusText(snapshot: Snapshot, facts: ProcessFacts): string {
  let text = "";
  for (const metric of METRICS) {
    const lines = sampleLines(metric, snapshot, facts);
    if (lines.length === 0) continue;
    text += `# HELP ${metric.name} ${escapeHelp(metric.help)}\n# TYPE ${metric.name} ${metric.type}\n${lines.join("")}`;
  }
  return text;
}

function sampleLines(metric: Metric, snapshot: Snapshot, facts: ProcessFacts): string[] {
  const { name } = metric;
  switch (metric.type) {
    case "histogram":
      return metric.samples(snapshot).flatMap((sample) => histogramLines(name, metric.bounds, sample));
    case "summary":
      return metric
        .samples(snapshot)
        .flatMap(({ labels, count, sum }) => [line(`${name}_sum`, labels, sum), line(`${name}_count`, labels, count)]);
    default:
      return metric.samples(snapshot, facts).map(({ labels, value }) => line(name, labels, value));
  }
}

function histogramLines(name: string, bounds: readonly number[], { labels, buckets, sum }: HistogramSample): string[] {
  let below = 0;
  const lines = buckets.map((count, index) => {
    below += count;
    const bound = bounds[index];
    return line(`${name}_bucket`, { ...labels, le: bound === undefined ? "+Inf" : String(bound) }, below);
  });
  return [...lines, line(`${name}_sum`, labels, sum), line(`${name}_count`, labels, below)];
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}\n`;
}

function escapeLabel(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}
