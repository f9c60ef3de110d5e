import { expect, test } from "vitest";
import { LatencyHistogram } from "./latency-histogram.ts";
import { highFailureShares, highLatencies, lowSuccessRates, type Outlier, type Tally } from "./outlier-statistics.ts";

interface Named extends Tally {
  readonly name: string;
}

/** `requests` of which a share fails. */
function tally(name: string, requests: number, failureShare: number): Named {
  return { name, requests, failures: Math.round(requests * failureShare), latencies: undefined };
}

/** `requests` that all take `ms`. */
function timed(name: string, requests: number, ms: number): Named {
  const latencies = new LatencyHistogram();
  for (let request = 0; request < requests; request++) latencies.add(ms);
  return { name, requests, failures: 0, latencies };
}

const names = (outliers: readonly Outlier<Named>[]): string => outliers.map(({ tally: { name } }) => name).join(" ");

const successRate = { deviations: 1.9, minimumBackends: 5, minimumRequests: 100 };
const failureShare = { threshold: 0.85, minimumBackends: 5, minimumRequests: 50 };
const latency = { factor: 3, minimumBackends: 3, minimumRequests: 50 };

test("of five, the one at 50 % is below 0.9 - 1.9 x 0.2 and stands out", () => {
  const tallies = [..."abcd"].map((name) => tally(name, 100, 0));
  const outliers = lowSuccessRates([...tallies, tally("e", 100, 0.5)], successRate);
  expect(names(outliers)).toBe("e");
  expect(outliers[0]!.reason).toBe("50 % of 100 attempts succeeded, 90 % on average");
});

test("the deviation is the population's: a sample's would keep the fifth in for ever", () => {
  // Population: 0.9 - 1.9 x 0.2 = 0.52 > 0.5. Sample: 0.9 - 1.9 x 0.2236 = 0.475 < 0.5.
  const tallies = [..."abcd"].map((name) => tally(name, 1_000, 0));
  expect(names(lowSuccessRates([...tallies, tally("e", 1_000, 0.5)], successRate))).toBe("e");
});

test("within as many deviations as allowed nobody stands out", () => {
  const tallies = [0.1, 0.2, 0.3, 0.4, 0.5].map((share, index) => tally("abcde"[index]!, 1_000, share));
  expect(names(lowSuccessRates(tallies, successRate))).toBe("");
  expect(names(lowSuccessRates(tallies, { ...successRate, deviations: 1.4 }))).toBe("e");
});

test("four with volume are too few for five", () => {
  const tallies = [..."abc"].map((name) => tally(name, 100, 0));
  expect(names(lowSuccessRates([...tallies, tally("d", 99, 0), tally("e", 100, 0.9)], successRate))).toBe("");
});

test("hosts without volume neither stand out nor shift the mean (servicetalk#3551)", () => {
  const withVolume = [0, 0.1, 0.2, 0.3, 0.48].map((share, index) => tally("abcde"[index]!, 200, share));
  const idle = [..."fghijklmnopqrst"].map((name) => tally(name, 0, 0));
  expect(names(lowSuccessRates(withVolume, successRate))).toBe("");
  expect(names(lowSuccessRates([...withVolume, ...idle, tally("u", 99, 1)], successRate))).toBe("");
  // What would come of idle hosts that count as successful: the borderline one is ejected.
  const fabricated = idle.map(({ name }) => tally(name, 200, 0));
  expect(names(lowSuccessRates([...withVolume, ...fabricated], successRate))).toContain("e");
});

test("a single failed request ejects nobody, although it is the only one (envoy#37723)", () => {
  for (const requests of [100, 1_000, 100_000]) {
    const tallies = [..."abcd"].map((name) => tally(name, requests, 0));
    expect(names(lowSuccessRates([...tallies, tally("e", requests, 1 / requests)], successRate)), `${requests}`).toBe(
      "",
    );
  }
});

test("a small share of many requests is no chance", () => {
  const tallies = [..."abcd"].map((name) => tally(name, 2_000, 0));
  expect(names(lowSuccessRates([...tallies, tally("e", 2_000, 0.01)], successRate))).toBe("e");
});

test("when all are the same, nobody stands out, however bad", () => {
  for (const share of [0, 0.1, 0.3, 1]) {
    const tallies = [..."abcdefg"].map((name) => tally(name, 100, share));
    expect(names(lowSuccessRates(tallies, { ...successRate, minimumBackends: 0 })), `${share}`).toBe("");
  }
  expect(lowSuccessRates([], { ...successRate, minimumBackends: 0 })).toEqual([]);
});

test("the lowest success rate comes first", () => {
  const good = [..."abcdefghijklmnopqr"].map((name) => tally(name, 1_000, 0));
  const outliers = lowSuccessRates([tally("x", 1_000, 0.5), ...good, tally("y", 1_000, 0.7)], successRate);
  expect(names(outliers)).toBe("y x");
});

test("a share of failures at the threshold stands out, one below it does not", () => {
  const tallies = [..."abc"].map((name) => tally(name, 100, 0));
  const outliers = highFailureShares([...tallies, tally("d", 100, 0.84), tally("e", 100, 0.85)], failureShare);
  expect(names(outliers)).toBe("e");
  expect(outliers[0]!.reason).toBe("85 % of 100 attempts failed");
});

test("the share of failures is judged by itself: all may stand out, the worst first", () => {
  const tallies = [0.9, 1, 0.95, 0.86, 0.99].map((share, index) => tally("abcde"[index]!, 100, share));
  expect(names(highFailureShares(tallies, failureShare))).toBe("b e c a d");
});

test("a failure of few requests is no share", () => {
  const tallies = [..."abcde"].map((name) => tally(name, 50, 0));
  expect(names(highFailureShares([...tallies, tally("f", 49, 1), tally("g", 1, 1)], failureShare))).toBe("");
  expect(names(highFailureShares(tallies.slice(1), { ...failureShare, threshold: 0 }))).toBe("");
  const lenient = { threshold: 0, minimumBackends: 0, minimumRequests: 0 };
  expect(names(highFailureShares([tally("idle", 0, 0)], lenient))).toBe("");
});

test("ten times the median latency stands out, twice does not", () => {
  const tallies = [timed("a", 50, 10), timed("b", 50, 12), timed("c", 50, 20), timed("d", 50, 100)];
  const outliers = highLatencies(tallies, latency);
  expect(names(outliers)).toBe("d"); // the median is 16
  expect(outliers[0]!.reason).toMatch(/^p90 of \d+ ms, the median of all is 1[5-7] ms$/);
});

test("short latencies are told with a digit after the point", () => {
  const outliers = highLatencies([timed("a", 50, 1), timed("b", 50, 1), timed("c", 50, 9)], latency);
  expect(outliers[0]!.reason).toMatch(/^p90 of [89]\.\d ms, the median of all is 1\.0 ms$/);
});

test("one slow request in twenty is not the 90th percentile, three are", () => {
  const others = [timed("a", 100, 10), timed("b", 100, 10)];
  for (const [slow, expected] of [
    [5, ""],
    [15, "c"],
  ] as const) {
    const mixed = timed("c", 100 - slow, 10);
    for (let request = 0; request < slow; request++) mixed.latencies!.add(1_000);
    expect(names(highLatencies([...others, mixed], latency)), `${slow}`).toBe(expected);
  }
});

test("half of the backends slow: the median is between, and nobody stands out", () => {
  const tallies = [timed("a", 50, 10), timed("b", 50, 10), timed("c", 50, 100), timed("d", 50, 100)];
  expect(names(highLatencies(tallies, latency))).toBe("");
});

test("latencies of few responses do not enter the median and do not stand out", () => {
  const tallies = [timed("a", 50, 10), timed("b", 50, 10), timed("c", 49, 500)];
  expect(names(highLatencies(tallies, latency))).toBe("");
  expect(names(highLatencies([...tallies, timed("d", 50, 100)], latency))).toBe("d");
  const lenient = { ...latency, minimumBackends: 0, minimumRequests: 0 };
  expect(highLatencies([timed("idle", 0, 0), tally("unmeasured", 100, 0)], lenient)).toEqual([]);
});

test("the slowest comes first", () => {
  const fast = [..."abcde"].map((name) => timed(name, 50, 10));
  expect(names(highLatencies([timed("x", 50, 60), ...fast, timed("y", 50, 90)], latency))).toBe("y x");
});
