import { describe, expect, test } from "vitest";
import { LeastConnections } from "../balance/least-connections.ts";
import { sampleBackends } from "../balance/samples.ts";
import { WeightedRoundRobin } from "../balance/weighted-round-robin.ts";
import type { Backend } from "../model/backend.ts";
import type { Isolation } from "./isolation.ts";
import { SampleExchange, sampleQueue, sampleSlowStart, sampleUpstream } from "./samples.ts";

const { begun } = SampleExchange;
const starting: Isolation = { slowStart: sampleSlowStart };

/** Notes the shares that it is told of. */
class Listening extends WeightedRoundRobin {
  readonly heard: string[] = [];
  override update(backends: readonly Backend[]): void {
    this.heard.push(backends.map(({ id, share }) => `${id} ${Number(share.toFixed(3))}`).join(", "));
    super.update(backends);
  }
}

/** An upstream over a and b; a was away until 1000. */
function recovering(isolation = starting) {
  const balancer = new Listening();
  const sample = sampleUpstream({ a: {}, b: {} }, isolation, { balancer });
  const { upstream, a } = sample;
  upstream.setHealth(a, false, "connection refused", 0);
  upstream.setHealth(a, true, "check passed", 1_000);
  return { ...sample, balancer };
}

describe("a backend that comes back", () => {
  test("begins with its least weight, which its balancer is told of", () => {
    const { a, b, balancer } = recovering();
    expect([a.share, b.share]).toEqual([0.1, 1]);
    expect(balancer.heard.at(-1)).toBe("a 0.1, b 1");
  });

  test("has its whole weight after the window, by steps of a twentieth that nothing else need cause", () => {
    const { upstream, a, balancer } = recovering();
    const steps = balancer.heard.length;
    const shares = [];
    while (upstream.wakeAtMs !== Number.POSITIVE_INFINITY) {
      upstream.advance(upstream.wakeAtMs);
      shares.push(a.share);
    }
    expect(shares).toHaveLength(20);
    expect(shares).toEqual(shares.toSorted((x, y) => x - y));
    expect(shares[9]).toBeCloseTo(0.5);
    expect(shares.at(-1)).toBe(1);
    expect(balancer.heard.length - steps).toBeLessThanOrEqual(20);
    expect(balancer.heard.at(-1)).toBe("a 1, b 1");
  });

  test("has so much of its room, and one place at least", () => {
    const sample = sampleUpstream({ a: { limit: 20 }, b: { limit: 1 } }, { ...starting, queue: sampleQueue });
    const { upstream, a } = sample;
    upstream.setHealth(a, false, "connection refused", 0);
    upstream.setHealth(a, true, "check passed", 1_000);
    for (let n = 0; n < 10; n++) begun(upstream, 1_000);
    expect([a.active, upstream.waiting]).toEqual([2, 7]);
    while (upstream.wakeAtMs <= 1_000 + 15_000) upstream.advance(upstream.wakeAtMs);
    for (let n = 0; n < 20; n++) begun(upstream, 16_000);
    expect(a.active).toBe(10);
  });

  test("gets so much of the traffic", () => {
    const { upstream, a } = recovering();
    while (upstream.wakeAtMs <= 1_000 + 15_000) upstream.advance(upstream.wakeAtMs);
    for (let n = 0; n < 30; n++) begun(upstream, 16_000);
    expect(a.active).toBe(10);
  });

  test("is not ramped in finer steps because the upstream looks for room every 10 ms", () => {
    const { upstream, balancer, counts, backends } = recovering({ ...starting, queue: sampleQueue });
    const steps = balancer.heard.length;
    expect(backends.every(({ slot }) => counts.takeActive(slot, 9))).toBe(true);
    for (let now = 1_010; now <= 10_000; now += 10) upstream.advance(now);
    expect(balancer.heard.length - steps).toBeLessThanOrEqual(6);
  });

  test("is ramped to the end whatever fraction of a millisecond it came back at", () => {
    for (const backAt of [0.1, 1_000.7, 123_456.789, 98_765_432.123]) {
      const { upstream, a } = sampleUpstream({ a: {}, b: {} }, { slowStart: { ...sampleSlowStart, window: 3_333.3 } });
      upstream.setHealth(a, false, "connection refused", backAt);
      upstream.setHealth(a, true, "check passed", backAt);
      let advances = 0;
      for (; upstream.wakeAtMs !== Number.POSITIVE_INFINITY; advances++) upstream.advance(upstream.wakeAtMs);
      expect(a.share).toBe(1);
      expect(advances).toBeLessThan(50);
    }
  });

  test("starts anew when it goes away meanwhile", () => {
    const { upstream, a } = recovering();
    while (upstream.wakeAtMs <= 20_000) upstream.advance(upstream.wakeAtMs);
    upstream.setHealth(a, false, "connection refused", 20_000);
    upstream.setHealth(a, true, "check passed", 21_000);
    expect(a.share).toBe(0.1);
  });

  test("has its whole weight after a drain that was called off, and after a weight of 0: it was never away", () => {
    const { upstream, a } = sampleUpstream({ a: {}, b: {} }, starting);
    upstream.setAdminState(a, "drain", "deploy", 0);
    upstream.setAdminState(a, "up", "called off", 1);
    upstream.setWeight(a, 0, 2);
    upstream.setWeight(a, 3, 3);
    expect(a.share).toBe(3);
  });

  test("has its whole weight at once where no slow start is configured", () => {
    expect(recovering({}).a.share).toBe(1);
  });
});

describe("a backend that is added", () => {
  test("to others that serve begins slowly, as one that comes back does", () => {
    const { upstream, a, b, backends } = sampleUpstream({ a: {}, b: {} }, starting);
    const [c] = sampleBackends({ c: 1 }) as [Backend];
    upstream.update([...backends, c], 1_000);
    expect([a, b, c].map(({ share }) => share)).toEqual([1, 1, 0.1]);
    while (upstream.wakeAtMs <= 1_000 + 15_000) upstream.advance(upstream.wakeAtMs);
    expect(c.share).toBeCloseTo(0.5);
    while (upstream.wakeAtMs !== Number.POSITIVE_INFINITY) upstream.advance(upstream.wakeAtMs);
    expect(c.share).toBe(1);
  });

  test("leaves those that stay as they are, and an update without news changes nothing", () => {
    const { upstream, a, b } = recovering();
    const [c] = sampleBackends({ c: 1 }) as [Backend];
    while (upstream.wakeAtMs <= 16_000) upstream.advance(upstream.wakeAtMs);
    upstream.update([a, b, c], 16_000);
    expect(a.share).toBeCloseTo(0.5);
    upstream.update([a, b, c], 17_500);
    expect([b.share, c.share]).toEqual([1, 0.1]);
  });

  test("where all others are away has its whole weight", () => {
    const { upstream, a, b, backends } = sampleUpstream({ a: {}, b: {} }, starting);
    const [c] = sampleBackends({ c: 1 }) as [Backend];
    for (const backend of [a, b]) upstream.setHealth(backend, false, "connection refused", 0);
    upstream.update([...backends, c], 1_000);
    expect(c.share).toBe(1);
  });

  test("has its whole weight where no slow start is configured", () => {
    const { upstream, backends } = sampleUpstream({ a: {} });
    const [c] = sampleBackends({ c: 1 }) as [Backend];
    upstream.update([...backends, c], 1_000);
    expect(c.share).toBe(1);
  });
});

describe("where nobody can take what another is spared", () => {
  test("all that are new have their whole weight: after an outage of all of them", () => {
    const { upstream, a, b } = sampleUpstream({ a: {}, b: {} }, starting);
    for (const backend of [a, b]) upstream.setHealth(backend, false, "connection refused", 0);
    for (const backend of [a, b]) upstream.setHealth(backend, true, "check passed", 1_000);
    expect([a.share, b.share]).toEqual([1, 1]);
  });

  test("at the start of the whole, too", () => {
    const { a, b, upstream } = sampleUpstream({ a: {}, b: {} }, starting);
    expect([a.share, b.share]).toEqual([1, 1]);
    expect(upstream.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
  });
});

test("a weight that changes during the ramp is a part of the new one", () => {
  const { upstream, a } = recovering();
  upstream.setWeight(a, 4, 1_500);
  expect(a.share).toBeCloseTo(0.4);
});

test("least connections, too, spares who starts slowly", () => {
  const [a, b] = sampleBackends({ a: 1, b: 1 }) as [Backend, Backend];
  const { upstream } = sampleUpstream({}, starting, { balancer: new LeastConnections() });
  upstream.update([a, b], 0);
  upstream.setHealth(a, false, "connection refused", 0);
  upstream.setHealth(a, true, "check passed", 1_000);
  for (let n = 0; n < 22; n++) begun(upstream, 1_000);
  expect(a.active).toBeLessThanOrEqual(2);
});
