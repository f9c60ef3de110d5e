import { expect, test } from "vitest";
import { SeededRandom } from "../model/random.ts";
import { AliasTable } from "./alias-table.ts";
import { RandomChoice } from "./random.ts";
import { sampleBackends, sampleRequest } from "./samples.ts";

const request = sampleRequest(0);

test("equal weights count through the backends", () => {
  const table = new AliasTable(sampleBackends({ a: 3, b: 3, c: 3 }));
  expect([0, 0.32, 0.34, 0.66, 0.67, 0.999].map((place) => table.at(place)?.id).join("")).toBe("aabbcc");
});

test("the places of a table are shared exactly by weight", () => {
  for (const weights of [
    { a: 4, b: 2, c: 1 },
    { a: 256, b: 1 },
    { a: 0.25, b: 0.5, c: 1e9 },
    { a: 1, b: 2, c: 3, d: 5 },
  ]) {
    const backends = sampleBackends(weights);
    const table = new AliasTable(backends);
    const total = backends.reduce((sum, { weight }) => sum + weight, 0);
    const steps = 200_000;
    const counts = new Map(backends.map((backend) => [backend, 0]));
    for (let i = 0; i < steps; i++) {
      const backend = table.at((i + 0.5) / steps)!;
      counts.set(backend, counts.get(backend)! + 1);
    }
    for (const [{ weight }, count] of counts) {
      expect(Math.abs(count / steps - weight / total)).toBeLessThanOrEqual((2 * backends.length) / steps);
    }
  }
});

test("an exchange that moves on is shared among the others by their weights", () => {
  const backends = sampleBackends({ a: 8, b: 2, c: 1 });
  const balancer = new RandomChoice(new SeededRandom(7));
  balancer.update(backends);
  const exclude = new Set([backends[0]!]);
  let b = 0;
  for (let n = 0; n < 30_000; n++) if (balancer.pick(request, 0, exclude)?.id === "b") b++;
  expect(b / 30_000).toBeCloseTo(2 / 3, 1.5);
});

test("the last backend catches a draw that rounding leaves over", () => {
  const backends = sampleBackends({ a: 0.1, b: 0.2, c: 0.3 });
  const balancer = new RandomChoice({ next: () => 1 });
  balancer.update(backends);
  expect(balancer.pick(request, 0, new Set([backends[0]!]))?.id).toBe("c");
});
