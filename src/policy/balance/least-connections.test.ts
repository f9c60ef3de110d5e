import fc from "fast-check";
import { expect, test } from "vitest";
import type { Backend } from "../model/backend.ts";
import { LeastConnections } from "./least-connections.ts";
import { sampleBackends, sampleRequest } from "./samples.ts";

const request = sampleRequest(0);

function over(backends: readonly Backend[]): LeastConnections {
  const balancer = new LeastConnections();
  balancer.update(backends);
  return balancer;
}

/** Picks whose exchanges run on. */
function takeNames(balancer: LeastConnections, count: number): string {
  return Array.from({ length: count }, () => {
    const backend = balancer.pick(request, 0);
    backend?.take();
    return backend?.id;
  }).join(" ");
}

test("an idle heavy backend comes before an idle light one", () => {
  const balancer = over(sampleBackends({ light: 1, heavy: 4 }));
  expect(balancer.pick(request, 0)?.id).toBe("heavy");
});

test("weights 4,2,1 fill up as 1/4, 2/4 = 1/2, 3/4, 4/4 = 2/2 = 1/1", () => {
  const backends = sampleBackends({ a: 4, b: 2, c: 1 });
  takeNames(over(backends), 7);
  expect(backends.map((backend) => backend.active)).toEqual([4, 2, 1]);
});

test("backends that are equally loaded take turns, so that an idle upstream does not wear out its first", () => {
  const balancer = over(sampleBackends({ a: 1, b: 1, c: 1 }));
  const picks = Array.from({ length: 7 }, () => balancer.pick(request, 0)?.id).join(" ");
  expect(picks).toBe("a b c a b c a");
});

test("among equally loaded ones the heavy has more turns, as in smooth weighted round robin", () => {
  const [a, b] = sampleBackends({ a: 4, b: 2 });
  for (const [backend, active] of [
    [a!, 3],
    [b!, 1],
  ] as const)
    for (let i = 0; i < active; i++) backend.take();
  const balancer = over([a!, b!]);
  expect(Array.from({ length: 6 }, () => balancer.pick(request, 0)?.id).join(" ")).toBe("a b a a b a");
});

test("picks a backend whose (active + 1) / weight is the least of all that are not excluded", () => {
  const member = fc.record({ weight: fc.integer({ min: 1, max: 256 }), active: fc.nat(40), excluded: fc.boolean() });
  fc.assert(
    fc.property(fc.array(member, { minLength: 1, maxLength: 8 }), (members) => {
      const backends = sampleBackends(Object.fromEntries(members.map(({ weight }, i) => [`b${i}`, weight])));
      members.forEach(({ active }, i) => {
        for (let n = 0; n < active; n++) backends[i]!.take();
      });
      const exclude = new Set(backends.filter((_, i) => members[i]!.excluded));
      const allowed = backends.filter((backend) => !exclude.has(backend));
      const balancer = over(backends);
      for (let n = 0; n < 5; n++) {
        const picked = balancer.pick(request, 0, exclude);
        if (allowed.length === 0) {
          expect(picked).toBeUndefined();
          continue;
        }
        expect(allowed).toContain(picked);
        for (const other of allowed) {
          expect((picked!.active + 1) * other.weight).toBeLessThanOrEqual((other.active + 1) * picked!.weight);
        }
      }
    }),
    { seed: 20 },
  );
});

test("settles on a backend though another worker changes the counts between two reads", () => {
  const [a, b] = sampleBackends({ a: 1, b: 1 });
  const balancer = over([a!, b!]);
  let reads = 0;
  for (const backend of [a!, b!]) Object.defineProperty(backend, "active", { get: () => (reads++ < 2 ? 0 : reads) });
  expect(["a", "b"]).toContain(balancer.pick(request, 0)?.id);
});
