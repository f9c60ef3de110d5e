import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Backend } from "../model/backend.ts";
import { LocalCounts } from "../model/local-counts.ts";
import type { PickRequest } from "../model/request.ts";
import { ConsistentHash } from "./consistent-hash.ts";
import { HashRing } from "./hash-ring.ts";
import { keySource } from "./key.ts";
import { murmur3 } from "./murmur3.ts";
import { sampleBackends, sampleRequest } from "./samples.ts";

const KEYS = 1_000;
const repeatable = { seed: 20, numRuns: 50 };

function ringOf(members: readonly Backend[], available = members, virtualNodes = 150): HashRing {
  const ring = new HashRing(virtualNodes);
  ring.update(available, members);
  return ring;
}

/** The owner of each key, by name. */
function owners(ring: HashRing, exclude?: ReadonlySet<Backend>): (string | undefined)[] {
  return Array.from({ length: KEYS }, (_, n) => ring.find(murmur3(`key-${n}`), exclude)?.id);
}

const memberNames = fc.uniqueArray(fc.constantFrom("a", "b", "c", "d", "e", "f"), { minLength: 2 });
const weighted = memberNames.chain((names) =>
  fc
    .array(fc.integer({ min: 1, max: 5 }), { minLength: names.length, maxLength: names.length })
    .map((weights) => sampleBackends(Object.fromEntries(names.map((name, i) => [name, weights[i]!])))),
);

describe("the ring", () => {
  test("agrees with the rule written down: the first point at or behind the key's hash, else the first of all", () => {
    const backends = sampleBackends({ "10.0.0.1": 1, "10.0.0.2": 2, "10.0.0.3": 1 });
    const points = backends.flatMap(({ id, address, weight }) =>
      Array.from({ length: 150 * weight }, (_, j) => ({ id, at: murmur3(`${address}#${j}`, 0) })),
    );
    const lowest = points.reduce((a, b) => (b.at < a.at ? b : a));
    const byRule = Array.from({ length: KEYS }, (_, n) => {
      const hash = murmur3(`key-${n}`, 0);
      const behind = points.filter(({ at }) => at >= hash);
      return behind.length === 0 ? lowest.id : behind.reduce((a, b) => (b.at < a.at ? b : a)).id;
    });
    expect(owners(ringOf(backends))).toEqual(byRule);
  });

  test("goes on at its start behind its last point", () => {
    const ring = ringOf(sampleBackends({ a: 1, b: 1 }), undefined, 1);
    const first = ring.find(0)?.id;
    expect(ring.find(0xffffffff)?.id).toBe(first);
    expect(ring.find(Math.max(murmur3("a.test:80#0"), murmur3("b.test:80#0")))?.id).not.toBe(first);
  });

  test("a member that is unavailable moves only its own keys, and gets them back", () => {
    fc.assert(
      fc.property(weighted, (members) => {
        const ring = ringOf(members);
        const before = owners(ring);
        const [away] = members;
        ring.update(members.slice(1), members);
        const meanwhile = owners(ring);
        before.forEach((owner, n) => {
          if (owner === away!.id) expect(meanwhile[n]).not.toBe(owner);
          else expect(meanwhile[n]).toBe(owner);
        });
        ring.update(members, members);
        expect(owners(ring)).toEqual(before);
      }),
      repeatable,
    );
  });

  test("keys of a backend that is away go where they would go without it, spread over all others", () => {
    const members = sampleBackends({ a: 1, b: 1, c: 1, d: 1 });
    const away = owners(ringOf(members, members.slice(1)));
    expect(away).toEqual(owners(ringOf(members.slice(1))));
    expect(away).toEqual(owners(ringOf(members), new Set([members[0]!])));
    const moved = away.filter((_, n) => owners(ringOf(members))[n] === "a");
    expect(new Set(moved)).toEqual(new Set(["b", "c", "d"]));
  });

  test("a member that is added takes keys for itself and moves none between others", () => {
    fc.assert(
      fc.property(weighted, (members) => {
        const added = members.at(-1)!;
        const before = owners(ringOf(members.slice(0, -1)));
        owners(ringOf(members)).forEach((owner, n) => {
          if (owner !== added.id) expect(owner).toBe(before[n]);
        });
      }),
      repeatable,
    );
  });

  test("more weight only takes keys, less only gives some away", () => {
    fc.assert(
      fc.property(weighted, (members) => {
        const ring = ringOf(members);
        const light = owners(ring);
        const grown = members[0]!;
        grown.weight += 3;
        ring.update(members, members);
        const heavy = owners(ring);
        heavy.forEach((owner, n) => {
          if (owner !== grown.id) expect(owner).toBe(light[n]);
        });
        expect(heavy.filter((owner) => owner === grown.id).length).toBeGreaterThan(
          light.filter((owner) => owner === grown.id).length,
        );
        grown.weight -= 3;
        ring.update(members, members);
        expect(owners(ring)).toEqual(light);
      }),
      repeatable,
    );
  });

  test("does not depend on the order of the members", () => {
    fc.assert(
      fc.property(weighted, (members) => {
        expect(owners(ringOf(members.toReversed()))).toEqual(owners(ringOf(members)));
      }),
      repeatable,
    );
  });

  test("of two equal points the one of the lesser address counts, in whatever order the members are", () => {
    // Found by search: the first points of these two fall together.
    const counts = new LocalCounts();
    const [low, high] = ["10.0.120.19:80", "10.0.240.204:80"].map(
      (address, slot) => new Backend({ id: `${slot}`, address, weight: 1, slot }, counts),
    );
    const point = murmur3(`${low!.address}#0`);
    expect(murmur3(`${high!.address}#0`)).toBe(point);
    for (const members of [
      [low!, high!],
      [high!, low!],
    ]) {
      const ring = ringOf(members, members, 1);
      expect(ring.find(point)).toBe(low);
      expect(ring.find(point, new Set([low!]))).toBe(high);
    }
  });

  test("gives each at least a point when weights are fractions, and fewer to all when they are enormous", () => {
    const tiny = ringOf(sampleBackends({ a: 0.001, b: 1 }));
    expect(new Set(Array.from({ length: 40_000 }, (_, n) => tiny.find(murmur3(`${n}`))?.id))).toContain("a");
    const huge = owners(ringOf(sampleBackends({ a: 1e6, b: 3e6 })));
    expect(huge.filter((owner) => owner === "a").length / KEYS).toBeCloseTo(0.25, 1);
  });

  test("has nobody for a key when all are away or excluded", () => {
    const members = sampleBackends({ a: 1, b: 1 });
    expect(ringOf([]).find(1)).toBeUndefined();
    expect(ringOf(members, []).find(1)).toBeUndefined();
    expect(ringOf(members).find(1, new Set(members))).toBeUndefined();
    expect(ringOf(members, [members[0]!]).find(1, new Set(members))).toBeUndefined();
    expect(ringOf(members, [members[0]!]).find(1, new Set([members[1]!, ...sampleBackends({ x: 1 })]))?.id).toBe("a");
  });
});

describe("the balancer", () => {
  const withUser = (user: string | undefined): PickRequest => ({ ...sampleRequest(0), header: () => user });

  test("sends a key to the same backend each time", () => {
    const balancer = new ConsistentHash({ key: keySource("header:x-user") });
    balancer.update(sampleBackends({ a: 1, b: 1, c: 1 }));
    const first = Array.from({ length: 100 }, (_, n) => balancer.pick(withUser(`u${n}`), 0));
    expect(Array.from({ length: 100 }, (_, n) => balancer.pick(withUser(`u${n}`), 0))).toEqual(first);
    expect(new Set(first).size).toBe(3);
  });

  test("has requests without the key take turns by weight", () => {
    const balancer = new ConsistentHash({ key: keySource("header:x-user") });
    balancer.update(sampleBackends({ a: 5, b: 1, c: 1 }));
    for (const none of [undefined, ""]) {
      const picks = Array.from({ length: 7 }, () => balancer.pick(withUser(none), 0)?.id);
      expect(picks.join(" ")).toBe("a a b a c a a");
    }
  });
});
