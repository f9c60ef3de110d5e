import type { LatencyHistogram } from "./latency-histogram.ts";
import type { OutlierDetectionOptions } from "./options.ts";

/** What was counted of one backend in an interval. */
export interface Tally {
  readonly requests: number;
  readonly failures: number;
  /** Latencies of the responses; undefined when nobody asks for them. */
  readonly latencies: LatencyHistogram | undefined;
}

/** A tally that stands out, and why, in a few words for people. */
export interface Outlier<T extends Tally> {
  readonly tally: T;
  readonly reason: string;
}

type Settings<Key extends keyof OutlierDetectionOptions> = Exclude<OutlierDetectionOptions[Key], false>;

/*
 * Each detector looks at the tallies with volume alone: a backend without traffic proves nothing, and to count it as one
 * without a failure would raise the mean and shrink the deviation (apple/servicetalk#3551). Each answers its outliers
 * with the worst first, because not all of them may be ejected.
 */

/**
 * Those whose success rate is more than `deviations` standard deviations (of the population) below the mean.
 *
 * A lone backend among n lies at most sqrt(n - 1) deviations below the mean, and it lies there however little it
 * differs: of five, one failed request in a thousand would do (envoyproxy/envoy#37723). So it must also be further below
 * than chance explains: by as many deviations of a share that is taken from so many requests.
 * Source: gRPC A50, "Success Rate Algorithm"; the second condition is ours.
 */
export function lowSuccessRates<T extends Tally>(
  tallies: readonly T[],
  { deviations, minimumBackends, minimumRequests }: Settings<"successRate">,
): Outlier<T>[] {
  const eligible = tallies.filter(({ requests }) => requests >= minimumRequests);
  if (eligible.length === 0 || eligible.length < minimumBackends) return [];
  const mean = sum(eligible.map(successRate)) / eligible.length;
  const spread = Math.sqrt(sum(eligible.map((tally) => (successRate(tally) - mean) ** 2)) / eligible.length);
  return eligible
    .filter((tally) => {
      const chance = Math.sqrt((mean * (1 - mean)) / tally.requests);
      return successRate(tally) < mean - deviations * Math.max(spread, chance);
    })
    .sort((a, b) => successRate(a) - successRate(b))
    .map((tally) => ({
      tally,
      reason: `${percent(successRate(tally))} of ${tally.requests} attempts succeeded, ${percent(mean)} on average`,
    }));
}

/**
 * Those whose share of failures is at least `threshold`, whatever the others do.
 * Source: gRPC A50, "Failure Percentage Algorithm", with the backends counted that have volume, as Envoy does.
 */
export function highFailureShares<T extends Tally>(
  tallies: readonly T[],
  { threshold, minimumBackends, minimumRequests }: Settings<"failureShare">,
): Outlier<T>[] {
  const eligible = tallies.filter(({ requests }) => requests >= minimumRequests);
  if (eligible.length < minimumBackends) return [];
  return eligible
    .filter((tally) => tally.requests > 0 && failureShare(tally) >= threshold)
    .sort((a, b) => failureShare(b) - failureShare(a))
    .map((tally) => ({ tally, reason: `${percent(failureShare(tally))} of ${tally.requests} attempts failed` }));
}

/**
 * Those whose 90th percentile of latency is more than `factor` times the median of the 90th percentiles. The slow
 * ones are among those the median is taken of, and hardly shift it while they are less than half; of two backends,
 * neither can be more than twice the median.
 */
export function highLatencies<T extends Tally>(
  tallies: readonly T[],
  { factor, minimumBackends, minimumRequests }: Settings<"latency">,
): Outlier<T>[] {
  const measured = tallies
    .filter(({ latencies }) => latencies !== undefined && latencies.count > 0 && latencies.count >= minimumRequests)
    .map((tally) => ({ tally, p90: tally.latencies!.quantile(0.9) }))
    .sort((a, b) => b.p90 - a.p90);
  if (measured.length === 0 || measured.length < minimumBackends) return [];
  const middle = (measured.length - 1) / 2;
  const median = (measured[Math.floor(middle)]!.p90 + measured[Math.ceil(middle)]!.p90) / 2;
  return measured
    .filter(({ p90 }) => p90 > factor * median)
    .map(({ tally, p90 }) => ({
      tally,
      reason: `p90 of ${milliseconds(p90)}, the median of all is ${milliseconds(median)}`,
    }));
}

function successRate(tally: Tally): number {
  return (tally.requests - tally.failures) / tally.requests;
}

function failureShare(tally: Tally): number {
  return tally.failures / tally.requests;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function milliseconds(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}
