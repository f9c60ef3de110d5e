import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";
import { sampleBackends, sampleRequest } from "./samples.ts";
import { WeightedRoundRobin } from "./weighted-round-robin.ts";

const request = sampleRequest(0);
const failure: Outcome = { kind: "failure", reason: "reset", durationMs: 1 };

function over(backends: readonly Backend[]): WeightedRoundRobin {
  const balancer = new WeightedRoundRobin();
  balancer.update(backends);
  return balancer;
}

function pickNames(balancer: WeightedRoundRobin, count: number): string {
  return Array.from({ length: count }, () => balancer.pick(request, 0)?.id).join(" ");
}

const weightsOf = (weights: readonly number[]) =>
  sampleBackends(Object.fromEntries(weights.map((weight, i) => [`b${i}`, weight])));
const repeatable = { seed: 20 };
const someWeights = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 9 });

describe("the sequence", () => {
  test("weights 5,1,1 come out as a a b a c a a", () => {
    expect(pickNames(over(sampleBackends({ a: 5, b: 1, c: 1 })), 14)).toBe("a a b a c a a a a b a c a a");
  });

  test("weights 4,2,1 come out as a b a c a b a, and 10,000 requests as 5714, 2857 and 1429", () => {
    const balancer = over(sampleBackends({ a: 4, b: 2, c: 1 }));
    const picks = pickNames(balancer, 10_000);
    expect(picks).toMatch(/^a b a c a b a /);
    expect(["a", "b", "c"].map((id) => picks.split(id).length - 1)).toEqual([5714, 2857, 1429]);
  });

  test("is nginx's, failures included, as recorded in test-data/nginx-wrr.csv by record.mjs", () => {
    const recorded = readFileSync(new URL("./test-data/nginx-wrr.csv", import.meta.url), "utf8");
    const rows = recorded.trim().split("\n").slice(1);
    expect(rows).toHaveLength(11);
    for (const row of rows) {
      const [weights = "", requests = "", picked] = row.split(",");
      const balancer = over(sampleBackends(Object.fromEntries(weights.split(" ").map((w, i) => ["abcdef"[i]!, +w]))));
      let ours = "";
      for (const kind of requests) {
        const backend = balancer.pick(request, 0)!;
        ours += backend.id;
        balancer.settled(backend, kind === "x" ? failure : { kind: "success", status: 200, durationMs: 1 });
      }
      expect(ours, weights).toBe(picked);
    }
  });
});

describe("shares", () => {
  test("are exact after as many picks as the weights add up to, and the cycle begins again", () => {
    fc.assert(
      fc.property(someWeights, (weights) => {
        const backends = weightsOf(weights);
        const balancer = over(backends);
        const cycle = weights.reduce((sum, weight) => sum + weight, 0);
        const first = Array.from({ length: cycle }, () => balancer.pick(request, 0)!);
        const second = Array.from({ length: cycle }, () => balancer.pick(request, 0)!);
        expect(backends.map((backend) => first.filter((picked) => picked === backend).length)).toEqual(weights);
        expect(second).toEqual(first);
      }),
      repeatable,
    );
  });

  test("are never more than 1 - 1/n picks ahead nor 1/2 + 1/3 + ... + 1/n behind", () => {
    fc.assert(
      fc.property(someWeights, (weights) => {
        expectWithinBounds(weights);
      }),
      repeatable,
    );
  });

  test("can be more than one pick behind from four backends on: the bound is no smaller than it must be", () => {
    const { behind } = expectWithinBounds([170, 1, 170, 8]);
    expect(behind).toBeGreaterThan(1.04);
    expect(expectWithinBounds([1, 151, 151]).behind).toBeGreaterThan(0.83);
  });

  test("follow weights that are fractions or enormous", () => {
    for (const unit of [0.001, 1e9]) {
      const backends = sampleBackends({ a: 4 * unit, b: 2 * unit, c: unit });
      const balancer = over(backends);
      const counts = new Map(backends.map((backend) => [backend, 0]));
      for (let i = 0; i < 7_000; i++) {
        const backend = balancer.pick(request, 0)!;
        counts.set(backend, counts.get(backend)! + 1);
      }
      for (const [{ weight }, count] of counts)
        expect(Math.abs(count - (weight / unit) * 1_000)).toBeLessThanOrEqual(1);
    }
  });
});

function expectWithinBounds(weights: readonly number[]): { behind: number } {
  const backends = weightsOf(weights);
  const balancer = over(backends);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const counts = new Map(backends.map((backend) => [backend, 0]));
  const mostAhead = 1 - 1 / weights.length;
  const mostBehind = weights.slice(1).reduce((sum, _, i) => sum + 1 / (i + 2), 0);
  let behind = 0;
  for (let picks = 1; picks <= total; picks++) {
    const picked = balancer.pick(request, 0)!;
    counts.set(picked, counts.get(picked)! + 1);
    for (const [{ weight }, count] of counts) {
      const ahead = count - (picks * weight) / total;
      if (ahead > mostAhead + 1e-9 || -ahead > mostBehind + 1e-9) expect.fail(`${ahead} ahead after ${picks}`);
      behind = Math.max(behind, -ahead);
    }
  }
  return { behind };
}

describe("a failed attempt", () => {
  test("costs a backend its weight, which comes back by one a pick", () => {
    const [a, b] = sampleBackends({ a: 3, b: 3 });
    const balancer = over([a!, b!]);
    balancer.settled(a!, failure);
    // Effective weights of a: 0 1 2 3. Credits before the charge: 0 3, 1 3, 3 3, 2 6 and so on.
    expect(pickNames(balancer, 8)).toBe("b b a b a b a b");
  });

  test("of every backend at once still leaves one to pick", () => {
    const backends = sampleBackends({ a: 2, b: 1 });
    const balancer = over(backends);
    for (const backend of backends) balancer.settled(backend, failure);
    expect(pickNames(balancer, 4)).not.toContain("undefined");
  });

  test("is a failure or a timeout, not a client that left nor an error status", () => {
    const untouched = pickNames(over(sampleBackends({ a: 4, b: 2 })), 12);
    const afterwards = (outcome: Outcome) => {
      const backends = sampleBackends({ a: 4, b: 2 });
      const balancer = over(backends);
      balancer.settled(backends[0]!, outcome);
      return pickNames(balancer, 12);
    };
    expect(afterwards({ kind: "cancelled", durationMs: 1 })).toBe(untouched);
    expect(afterwards({ kind: "success", status: 503, durationMs: 1 })).toBe(untouched);
    expect(afterwards({ kind: "timeout", phase: "response", durationMs: 1 })).not.toBe(untouched);
  });

  test("is remembered over an update, and a new weight scales it", () => {
    const [a, b] = sampleBackends({ a: 10, b: 10 });
    const balancer = over([a!, b!]);
    balancer.settled(a!, failure);
    a!.weight = 20;
    balancer.update([a!, b!]);
    expect(pickNames(balancer, 3)).toBe("b b b");
  });
});

describe("an update", () => {
  test("does not restart the cycle of those that stay", () => {
    const backends = sampleBackends({ a: 5, b: 1, c: 1 });
    const balancer = over(backends);
    let picks = "";
    for (let i = 0; i < 7; i++) {
      balancer.update([...backends]);
      picks += balancer.pick(request, 0)!.id;
    }
    expect(picks).toBe("aabacaa");
  });

  test("of the weights keeps what a backend is owed, in picks: no burst after 256,1 becomes 1,1", () => {
    const backends = sampleBackends({ a: 256, b: 1 });
    const balancer = over(backends);
    pickNames(balancer, 128);
    backends[0]!.weight = 1;
    balancer.update(backends);
    expect(pickNames(balancer, 6)).toMatch(/^(a b a b a b|b a b a b a)$/);
  });

  test("pays no burst to a backend that comes and goes, however often it left when it was owed a pick", () => {
    const [a, b, c] = sampleBackends({ a: 1, b: 1, c: 1 });
    const balancer = over([a!, b!, c!]);
    for (let i = 0; i < 1_000; i++) {
      balancer.update([a!, b!, c!]);
      balancer.pick(request, 0, new Set([c!]));
      pickNames(balancer, 1);
      balancer.update([a!, b!]);
    }
    balancer.update([a!, b!, c!]);
    expect(pickNames(balancer, 30).split("c")).toHaveLength(11);
  });
});
