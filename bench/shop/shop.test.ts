import { describe, expect, test } from "vitest";

// The bench is plain JavaScript that runs without a build; its types are in comments.
const { arrivals } = await import(new URL("./arrivals.mjs", import.meta.url).href);
const { classify, failed, readHead, served, shed } = await import(new URL("./answers.mjs", import.meta.url).href);
const { quantile } = await import(new URL("./quantile.mjs", import.meta.url).href);
const { spillwayConfiguration } = await import(new URL("./proxies.mjs", import.meta.url).href);

describe("arrivals", () => {
  const day = [
    { ms: 10_000, perSecond: 20 },
    { ms: 10_000, perSecond: 400 },
  ];

  test("come in order, as often as each segment says, and a share of them are POSTs", () => {
    const { atMs, post } = arrivals(day, { seed: 7, postShare: 0.1 });
    const times: number[] = [...atMs];
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(times.at(-1)).toBeLessThan(20_000);
    const calm = times.filter((at) => at < 10_000).length;
    expect(calm).toBeGreaterThan(150);
    expect(calm).toBeLessThan(250);
    expect(times.length - calm).toBeGreaterThan(3800);
    expect(times.length - calm).toBeLessThan(4200);
    const posts = [...post].filter((flag) => flag === 1).length;
    expect(posts / times.length).toBeCloseTo(0.1, 1);
  });

  test("are the same for the same seed, so that every proxy meets the same day", () => {
    expect(arrivals(day, { seed: 1, postShare: 0.5 })).toEqual(arrivals(day, { seed: 1, postShare: 0.5 }));
    expect(arrivals(day, { seed: 1, postShare: 0.5 })).not.toEqual(arrivals(day, { seed: 2, postShare: 0.5 }));
  });

  test("gaps vary as those of independent customers do", () => {
    const { atMs } = arrivals([{ ms: 100_000, perSecond: 100 }], { seed: 3, postShare: 0 });
    const gaps = [...atMs].slice(1).map((at: number, i) => at - atMs[i]);
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length);
    expect(deviation / mean).toBeCloseTo(1, 1); // what is evenly spaced has 0
  });
});

describe("answers", () => {
  const head = (text: string) => readHead(text.replaceAll("\n", "\r\n"));

  test("a head is read once it is whole", () => {
    expect(head("HTTP/1.1 200 OK\nContent-Length: 3\n")).toBeUndefined();
    expect(head("HTTP/1.1 200 OK\nContent-Length: 3\n\nok")).toEqual({
      status: 200,
      reason: undefined,
      end: 41,
      close: false,
    });
    expect(head("HTTP/1.1 503 No\nSpillway-Reason:  queue-full\nConnection: close\n\n")).toEqual({
      status: 503,
      reason: "queue-full",
      end: undefined,
      close: true,
    });
  });

  test("a field is not found in the middle of another", () => {
    expect(head("HTTP/1.1 200 OK\nx-content-length: 9\nContent-Length: 3\n\nok\n").end).toBe(62);
  });

  test.each([
    [200, undefined, false, served],
    [503, "queue-timeout", false, shed],
    [429, "rate", false, shed],
    [503, "reset", false, failed],
    [503, undefined, false, failed], // a backend's own
    [503, undefined, true, shed],
    [502, undefined, true, failed],
    [504, "response-timeout", false, failed],
    [500, undefined, true, failed],
  ])("%i with reason %s from a proxy without reasons (%s)", (status, reason, plain, outcome) => {
    expect(classify({ status, reason, end: 0, close: false }, plain)).toBe(outcome);
  });
});

test("a quantile is the smallest value that so many do not exceed", () => {
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect(quantile(hundred, 0.5)).toBe(50);
  expect(quantile(hundred, 0.99)).toBe(99);
  expect(quantile(hundred, 1)).toBe(100);
  expect(quantile([7], 0.01)).toBe(7);
  expect(quantile([], 0.5)).toBeUndefined();
});

describe("Spillway's configuration", () => {
  const setting = { port: 1, adminPort: 2, backendPorts: [3, 4, 5, 6], pace: 0.1 };

  test("the story's times shrink with it, a request's do not", () => {
    const { upstreams } = spillwayConfiguration(setting, { isolation: true });
    expect(upstreams.shop.healthCheck.interval).toBe("500ms");
    expect(upstreams.shop.circuitBreaker.openFor).toBe("500ms");
    expect(upstreams.shop.timeouts.connect).toBe("1s");
  });

  test("with isolation on and off, all else is the same", () => {
    const plain = (isolation: boolean) => {
      const configuration = spillwayConfiguration(setting, { isolation });
      for (const key of ["circuitBreaker", "outlierDetection", "retry", "slowStart"])
        delete configuration.upstreams.shop[key];
      return configuration;
    };
    expect(plain(true)).toEqual(plain(false));
  });
});
