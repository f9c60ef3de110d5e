import { describe, expect, test } from "vitest";
import { failure, SampleExchange, sampleBreaker, sampleDetection, sampleQueue, sampleUpstream } from "./samples.ts";

const { begun } = SampleExchange;

describe("the alarm", () => {
  test("is called with each time that is sooner than the last one, and with no other", () => {
    const { upstream, a, b, alarms } = sampleUpstream({ a: {}, b: {} });
    begun(upstream);
    begun(upstream);
    upstream.setAdminState(a, "drain", "deploy", 0, 1_000);
    upstream.setAdminState(b, "drain", "deploy", 0, 2_000);
    expect(alarms).toEqual([1_000]);
    expect(upstream.wakeAtMs).toBe(1_000);
    upstream.advance(1_000);
    expect(alarms).toEqual([1_000, 2_000]);
    upstream.advance(2_000);
    expect(alarms).toEqual([1_000, 2_000]);
    expect(upstream.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
  });

  test("is called anew by an advance that came too early, as the timer may have been used up by it", () => {
    const { upstream, a, alarms } = sampleUpstream({ a: {}, b: {} });
    begun(upstream);
    upstream.setAdminState(a, "drain", "deploy", 0, 1_000);
    upstream.advance(400);
    expect(alarms).toEqual([1_000, 1_000]);
  });

  test("an upstream in which nothing is due asks for nothing", () => {
    const { upstream, alarms } = sampleUpstream(
      { a: {}, b: {} },
      { queue: sampleQueue, circuitBreaker: sampleBreaker },
    );
    for (let n = 0; n < 10; n++) begun(upstream, n).succeeded(n);
    upstream.advance(100);
    expect(alarms).toEqual([]);
    expect(upstream.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
  });

  test("while somebody waits, comes every 10 ms at the latest, and stops with the last that waits", () => {
    const { upstream } = sampleUpstream({ a: { limit: 1 } }, { queue: { ...sampleQueue, timeout: 35 } });
    begun(upstream, 0);
    const waiting = begun(upstream, 0);
    const times = [];
    for (; upstream.wakeAtMs !== Number.POSITIVE_INFINITY; upstream.advance(upstream.wakeAtMs)) {
      times.push(upstream.wakeAtMs);
    }
    expect(times).toEqual([10, 20, 30, 35]);
    expect(waiting.last).toBe("answer 503 queue-timeout");
  });

  test("never comes back to a time that has been done: each advance brings the next one later", () => {
    const everything = {
      queue: { ...sampleQueue, timeout: 333.3, target: 7.7 },
      circuitBreaker: { ...sampleBreaker, openFor: 100.1 },
      outlierDetection: { ...sampleDetection, interval: 77.7, ejectFor: 55.5 },
      slowStart: { window: 999.9, aggression: 1.3, minimumWeight: 0.1 },
    };
    const { upstream, backends, a } = sampleUpstream({ a: { limit: 2 }, b: { limit: 2 }, c: { limit: 2 } }, everything);
    const running = Array.from({ length: 30 }, (_, n) => begun(upstream, n / 7));
    upstream.setAdminState(a, "drain", "deploy", 5, 44.4);
    let advances = 0;
    for (let now = upstream.wakeAtMs; now < 3_000 && advances < 1_000; now = upstream.wakeAtMs, advances++) {
      if (advances % 5 === 0) {
        const one = running.find(({ last }) => last?.startsWith("try"));
        one?.ended(failure("reset"), "request", now);
      }
      upstream.advance(now);
      expect(upstream.wakeAtMs).toBeGreaterThan(now);
    }
    expect(advances).toBeLessThan(1_000);
    expect(backends.every(({ active }) => active <= 2)).toBe(true);
  });
});
