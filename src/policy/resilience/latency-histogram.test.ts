import fc from "fast-check";
import { expect, test } from "vitest";
import { LatencyHistogram } from "./latency-histogram.ts";

function histogramOf(samples: readonly number[]): LatencyHistogram {
  const histogram = new LatencyHistogram();
  for (const ms of samples) histogram.add(ms);
  return histogram;
}

test("a quantile is within a sixteenth, or a microsecond, of the sample that has its rank", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 2_000_000, noNaN: true }), { minLength: 1, maxLength: 100 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (samples, quantile) => {
        const sorted = samples.toSorted((a, b) => a - b);
        const exact = sorted[Math.max(0, Math.ceil(quantile * sorted.length) - 1)]!;
        const answer = histogramOf(samples).quantile(quantile);
        expect(Math.abs(answer - exact)).toBeLessThanOrEqual(exact / 16 + 0.001);
      },
    ),
    { numRuns: 1000 },
  );
});

test("a greater quantile is never a shorter latency", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 60_000, noNaN: true }), { minLength: 1 }), (samples) => {
      const histogram = histogramOf(samples);
      let before = 0;
      for (let percent = 0; percent <= 100; percent++) {
        const answer = histogram.quantile(percent / 100);
        expect(answer).toBeGreaterThanOrEqual(before);
        before = answer;
      }
    }),
  );
});

test("without samples every quantile is endless", () => {
  const histogram = new LatencyHistogram();
  expect(histogram.quantile(0.5)).toBe(Number.POSITIVE_INFINITY);
  histogram.add(5);
  histogram.clear();
  expect(histogram.count).toBe(0);
  expect(histogram.quantile(0.95)).toBe(Number.POSITIVE_INFINITY);
});

test("what is no latency counts as none, and what is endless as the longest", () => {
  const histogram = histogramOf([Number.NaN, -5, 0]);
  expect(histogram.count).toBe(3);
  expect(histogram.quantile(1)).toBeLessThanOrEqual(0.001);
  histogram.clear();
  histogram.add(Number.POSITIVE_INFINITY);
  expect(histogram.quantile(1)).toBeGreaterThan(2_000_000);
});

test("decay lets the new outweigh the old", () => {
  const histogram = histogramOf(new Array<number>(100).fill(10));
  expect(histogram.quantile(0.95)).toBeCloseTo(10, 0);
  histogram.decay(0.05);
  expect(histogram.count).toBeCloseTo(5);
  for (let sample = 0; sample < 10; sample++) histogram.add(1000);
  expect(histogram.quantile(0.95)).toBeGreaterThan(950);
});

test("decay keeps the quantiles of what is there, and in the end leaves nothing", () => {
  const histogram = histogramOf([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  const before = histogram.quantile(0.8);
  histogram.decay(0.5);
  expect(histogram.quantile(0.8)).toBeCloseTo(before);
  for (let time = 0; time < 20; time++) histogram.decay(0.5);
  expect(histogram.count).toBe(0);
  expect(histogram.quantile(0.8)).toBe(Number.POSITIVE_INFINITY);
});

test("decay by thirds never loses the greatest sample to rounding", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.1, max: 1000, noNaN: true }), { minLength: 1, maxLength: 50 }),
      fc.integer({ min: 1, max: 4 }),
      (samples, times) => {
        const histogram = histogramOf(samples);
        for (let time = 0; time < times; time++) histogram.decay(1 / 3);
        const greatest = Math.max(...samples);
        expect(Math.abs(histogram.quantile(1) - greatest)).toBeLessThanOrEqual(greatest / 16 + 0.001);
      },
    ),
  );
});
