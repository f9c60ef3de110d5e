import { describe, expect, test } from "vitest";
import { SampleExchange, sampleQueue, sampleUpstream } from "./samples.ts";

const { begun } = SampleExchange;

/** An upstream over a and b with an exchange on each. */
function running() {
  const sample = sampleUpstream({ a: {}, b: {} }, { queue: sampleQueue });
  const exchanges = [begun(sample.upstream), begun(sample.upstream)];
  expect(exchanges.map(({ last }) => last)).toEqual(["try a", "try b"]);
  return { ...sample, onA: exchanges[0]! };
}

describe("a drain", () => {
  test("ends with the last exchange, and is told once", () => {
    const { upstream, a, onA, changes } = running();
    upstream.setAdminState(a, "drain", "deploy", 10, 30_000);
    expect([1, 2].map(() => begun(upstream, 11).last)).toEqual(["try b", "try b"]);
    expect(changes).toEqual(["a up -> draining: deploy"]);
    onA.succeeded(20);
    expect(changes).toEqual(["a up -> draining: deploy", "a drained"]);
    upstream.advance(30_010);
    expect(changes).toHaveLength(2);
  });

  test("ends at its deadline with exchanges that still run, and says so; they run on", () => {
    const { upstream, a, onA, changes, alarms } = running();
    upstream.setAdminState(a, "drain", "deploy", 10, 30_000);
    expect(alarms).toEqual([30_010]);
    expect(upstream.wakeAtMs).toBe(30_010);
    upstream.advance(30_010);
    expect(changes.at(-1)).toBe("a did not drain in time");
    expect(upstream.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
    expect(onA.succeeded(40_000)).toBe("done");
    expect(changes).toHaveLength(2);
    expect(a.active).toBe(0);
  });

  test("without a deadline is waited for as long as it takes", () => {
    const { upstream, a, onA, changes } = running();
    upstream.setAdminState(a, "drain", "deploy", 10);
    expect(upstream.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
    onA.succeeded(3_600_000);
    expect(changes.at(-1)).toBe("a drained");
  });

  test("of a backend with no exchange ends at once", () => {
    const { upstream, a, changes } = sampleUpstream({ a: {}, b: {} });
    upstream.setAdminState(a, "drain", "deploy", 10, 30_000);
    expect(changes).toEqual(["a up -> draining: deploy", "a drained"]);
    upstream.advance(40_000);
    expect(changes).toHaveLength(2);
  });

  test("waits for the exchanges of other workers, too", () => {
    const { upstream, a, counts, changes } = sampleUpstream({ a: {}, b: {} });
    counts.takeActive(a.slot, 9);
    upstream.setAdminState(a, "drain", "deploy", 10, 30_000);
    expect(changes).toEqual(["a up -> draining: deploy"]);
    counts.giveActive(a.slot);
    while (upstream.wakeAtMs !== Number.POSITIVE_INFINITY) upstream.advance(upstream.wakeAtMs);
    expect(changes.at(-1)).toBe("a drained");
  });

  test("with no time at all ends at once, late", () => {
    const { upstream, a, changes } = running();
    upstream.setAdminState(a, "drain", "deploy", 10, 0);
    expect(changes.at(-1)).toBe("a did not drain in time");
    upstream.advance(10);
    expect(upstream.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
  });

  test("can be given more time, or less, while it goes on", () => {
    for (const [drainMs, endsMs] of [
      [60_000, 60_020],
      [100, 120],
    ] as const) {
      const { upstream, a, onA, changes } = running();
      upstream.setAdminState(a, "drain", "deploy", 10, 30_000);
      upstream.setAdminState(a, "drain", "deploy, again", 20, drainMs);
      expect(upstream.stateOf(a)).toEqual({ state: "draining", reason: "deploy, again", since: 10 });
      while (upstream.wakeAtMs < endsMs) upstream.advance(upstream.wakeAtMs);
      expect(changes).toEqual(["a up -> draining: deploy"]);
      upstream.advance(endsMs);
      expect(changes).toEqual(["a up -> draining: deploy", "a did not drain in time"]);
      onA.succeeded(100_000);
      expect(changes).toHaveLength(2);
    }
  });

  test("that is asked for again when it has ended is told of again", () => {
    const { upstream, a, onA, changes } = running();
    upstream.setAdminState(a, "drain", "deploy", 10, 30_000);
    onA.succeeded(20);
    upstream.setAdminState(a, "drain", "deploy, again", 30, 30_000);
    expect(changes).toEqual(["a up -> draining: deploy", "a drained", "a drained"]);
  });

  test("that is called off tells nothing more, and a second one is told anew", () => {
    const { upstream, a, onA, changes } = running();
    upstream.setAdminState(a, "drain", "deploy", 10, 30_000);
    upstream.setAdminState(a, "up", "called off", 20);
    upstream.advance(30_010);
    onA.succeeded(30_020);
    expect(changes).toEqual(["a up -> draining: deploy", "a draining -> up: called off"]);
    upstream.setAdminState(a, "drain", "again", 40_000);
    expect(changes.at(-1)).toBe("a drained");
  });

  test("sheds those that wait when no other backend is left", () => {
    const { upstream, a } = sampleUpstream({ a: { limit: 1 } }, { queue: sampleQueue });
    const [first, waiting] = [begun(upstream), begun(upstream)];
    upstream.setAdminState(a, "drain", "deploy", 1);
    expect(waiting.last).toBe("answer 503 no-backend");
    expect(first.succeeded(2)).toBe("done");
  });
});
