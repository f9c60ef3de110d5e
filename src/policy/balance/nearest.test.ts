import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Backend } from "../model/backend.ts";
import { distanceKm } from "../model/great-circle.ts";
import { LocalCounts } from "../model/local-counts.ts";
import type { Position } from "../model/position.ts";
import type { PickRequest } from "../model/request.ts";
import { Nearest, type NearestInit } from "./nearest.ts";
import { RandomChoice } from "./random.ts";
import { RoundRobin } from "./round-robin.ts";
import { sampleRequest } from "./samples.ts";

type LatLon = readonly [latitude: number, longitude: number];

interface Sample {
  readonly at?: LatLon;
  readonly region?: string;
  readonly limit?: number;
  readonly weight?: number;
}

const sites: Record<string, LatLon> = {
  seoul: [37.5665, 126.978],
  tokyo: [35.6762, 139.6503],
  singapore: [1.3521, 103.8198],
  frankfurt: [50.1109, 8.6821],
  virginia: [39.0438, -77.4874],
  saoPaulo: [-23.5505, -46.6333],
};

const cities: Record<string, { at: LatLon; nearest: string }> = {
  Busan: { at: [35.1796, 129.0756], nearest: "seoul" },
  Beijing: { at: [39.9042, 116.4074], nearest: "seoul" },
  Vladivostok: { at: [43.1198, 131.8869], nearest: "seoul" },
  Osaka: { at: [34.6937, 135.5023], nearest: "tokyo" },
  Honolulu: { at: [21.3099, -157.8581], nearest: "tokyo" },
  Anchorage: { at: [61.2181, -149.9003], nearest: "virginia" },
  Jakarta: { at: [-6.2088, 106.8456], nearest: "singapore" },
  Mumbai: { at: [19.076, 72.8777], nearest: "singapore" },
  Sydney: { at: [-33.8688, 151.2093], nearest: "singapore" },
  Suva: { at: [-18.1416, 178.4419], nearest: "tokyo" },
  London: { at: [51.5074, -0.1278], nearest: "frankfurt" },
  Cairo: { at: [30.0444, 31.2357], nearest: "frankfurt" },
  Moscow: { at: [55.7558, 37.6173], nearest: "frankfurt" },
  Reykjavik: { at: [64.1466, -21.9426], nearest: "frankfurt" },
  Nairobi: { at: [-1.2921, 36.8219], nearest: "frankfurt" },
  "New York": { at: [40.7128, -74.006], nearest: "virginia" },
  "San Francisco": { at: [37.7749, -122.4194], nearest: "virginia" },
  Lima: { at: [-12.0464, -77.0428], nearest: "saoPaulo" },
  "Buenos Aires": { at: [-34.6037, -58.3816], nearest: "saoPaulo" },
  "Cape Town": { at: [-33.9249, 18.4241], nearest: "saoPaulo" },
};

const position = ([latitude, longitude]: LatLon): Position => ({ latitude, longitude });
const from = (at: LatLon): PickRequest => ({ ...sampleRequest(0), position: position(at) });
const busan = from(cities.Busan!.at);
const nowhere = sampleRequest(0);

function backendsOf(samples: Readonly<Record<string, Sample>>): Backend[] {
  const counts = new LocalCounts();
  return Object.entries(samples).map(([id, { at, region = "", limit = Infinity, weight = 1 }], slot) => {
    const where = { position: at && position(at), region };
    return new Backend({ id, address: `${id}.test:80`, weight, slot, limit, ...where }, counts);
  });
}

function over(backends: readonly Backend[], init?: NearestInit): Nearest {
  const balancer = new Nearest(init);
  balancer.update(backends);
  return balancer;
}

/** The sites as backends, with room for `limit` exchanges each. */
const world = (limit = Infinity) =>
  backendsOf(Object.fromEntries(Object.entries(sites).map(([id, at]) => [id, { at, limit }])));

/** Picks whose exchanges run on, where there is room. */
function takeNames(balancer: Nearest, request: PickRequest, count: number): string {
  return Array.from({ length: count }, () => {
    const backend = balancer.pick(request, 0);
    backend?.take();
    return backend?.id;
  }).join(" ");
}

const named = (backends: readonly Backend[], ...ids: string[]) =>
  new Set(backends.filter(({ id }) => ids.includes(id)));

/** By the spherical law of cosines. */
function lawOfCosinesKm(a: LatLon, b: LatLon): number {
  const [sinA, cosA] = [Math.sin((a[0] * Math.PI) / 180), Math.cos((a[0] * Math.PI) / 180)];
  const [sinB, cosB] = [Math.sin((b[0] * Math.PI) / 180), Math.cos((b[0] * Math.PI) / 180)];
  return 6371.0088 * Math.acos(sinA * sinB + cosA * cosB * Math.cos(((b[1] - a[1]) * Math.PI) / 180));
}

const byDistance = (at: LatLon) =>
  Object.keys(sites).sort((a, b) => lawOfCosinesKm(at, sites[a]!) - lawOfCosinesKm(at, sites[b]!));

describe("20 cities and 6 regions", () => {
  for (const [city, { at, nearest }] of Object.entries(cities)) {
    test(`${city} goes to ${nearest}`, () => {
      const picked = over(world()).pick(from(at), 0)?.id;
      expect(picked).toBe(byDistance(at)[0]);
      expect(picked).toBe(nearest);
    });

    test(`what ${nearest} has no room for goes on from ${city} by distance, and no other`, () => {
      const backends = world(2);
      const balancer = over(backends);
      const order = byDistance(at);
      expect(takeNames(balancer, from(at), 12)).toBe(order.map((id) => `${id} ${id}`).join(" "));
      backends.find(({ id }) => id === nearest)!.give();
      expect(takeNames(balancer, from(at), 1)).toBe(nearest);
      expect(balancer.pick(from(at), 0)?.id, "nobody has room: wait for the nearest").toBe(nearest);
    });

    test(`without ${nearest}, ${city} goes to the next nearest, and back when it is back`, () => {
      const backends = world();
      const [down, next] = byDistance(at);
      const balancer = over(backends);
      const rest = backends.filter(({ id }) => id !== down);
      balancer.update(rest, backends);
      expect(takeNames(balancer, from(at), 3)).toBe(`${next} ${next} ${next}`);
      balancer.update(backends, backends);
      expect(takeNames(balancer, from(at), 1)).toBe(down);
    });
  }
});

describe("near and far", () => {
  test("each client goes its own way, one after the other", () => {
    const balancer = over(world());
    const picks = [...Object.values(cities), ...Object.values(cities).reverse()];
    for (const { at, nearest } of picks) expect(balancer.pick(from(at), 0)?.id).toBe(nearest);
  });

  test("what is farther than maxKm is never picked, even when nobody else is left", () => {
    const backends = world(1);
    const balancer = over(backends, { maxKm: 1000 });
    expect(takeNames(balancer, busan, 3)).toBe("seoul tokyo seoul");
    expect(balancer.pick(busan, 0, named(backends, "seoul", "tokyo"))).toBeUndefined();
    expect(over(backends, { maxKm: 300 }).pick(busan, 0)).toBeUndefined();
    expect(over(backends, { maxKm: 326 }).pick(busan, 0)?.id).toBe("seoul");
  });

  test("without maxKm the other side of the earth is near enough", () => {
    const backends = backendsOf({ a: { at: [40, -100] } });
    expect(over(backends).pick(from([-40, 80]), 0)?.id).toBe("a");
  });

  test("withinKm of the nearest, least connections decides", () => {
    const backends = world();
    // Seoul is 325 km from Busan, Tokyo 959: 634 behind.
    expect(takeNames(over(backends, { withinKm: 633 }), busan, 4)).toBe("seoul seoul seoul seoul");
    expect(takeNames(over(backends, { withinKm: 635 }), busan, 5)).toBe("tokyo tokyo tokyo tokyo seoul");
  });

  test("withinKm counts from the nearest that has room", () => {
    const backends = backendsOf({
      near: { at: [0, 1], limit: 1 },
      middle: { at: [0, 2] },
      far: { at: [0, 2.5] },
    });
    // A degree of the equator is 111.2 km.
    const balancer = over(backends, { withinKm: 60 });
    expect(takeNames(balancer, from([0, 0]), 5)).toBe("near middle far far middle");
  });

  test("the nearest is among those within any distance of it, however small", () => {
    const anywhere = fc.tuple(
      fc.double({ min: -90, max: 90, noNaN: true }),
      fc.double({ min: -180, max: 180, noNaN: true }),
    );
    fc.assert(
      fc.property(anywhere, anywhere, (client, at) => {
        const balancer = over(backendsOf({ a: { at } }), { withinKm: Number.EPSILON });
        expect(balancer.pick(from(client), 0)?.id).toBe("a");
      }),
      { seed: 20 },
    );
  });

  test("equally near ones take turns, the heavy more often", () => {
    const at = sites.seoul!;
    const equals = backendsOf({ a: { at }, b: { at }, c: { at: sites.tokyo! } });
    const balancer = over(equals);
    expect(Array.from({ length: 5 }, () => balancer.pick(busan, 0)?.id).join(" ")).toBe("a b a b a");
    expect(takeNames(over(backendsOf({ a: { at, weight: 2 }, b: { at } })), busan, 6)).toBe("a a b a b a");
  });

  test("a failed attempt costs an equally near one its next turns, as in weighted round robin", () => {
    const at = sites.seoul!;
    const backends = backendsOf({ a: { at, weight: 3 }, b: { at, weight: 3 } });
    const balancer = over(backends);
    expect(balancer.pick(busan, 0)?.id).toBe("a");
    balancer.settled(backends[0]!, { kind: "failure", reason: "connect", durationMs: 1 }, 0);
    expect(Array.from({ length: 4 }, () => balancer.pick(busan, 0)?.id).join(" ")).toBe("b b b a");
  });

  test("one that was tried in vain is passed over for the next nearest", () => {
    const backends = world();
    const balancer = over(backends);
    expect(balancer.pick(busan, 0, named(backends, "seoul"))?.id).toBe("tokyo");
    expect(balancer.pick(busan, 0, named(backends, "seoul", "tokyo"))?.id).toBe("singapore");
  });

  test("a backend whose position is not known is for when nobody else can be picked", () => {
    const backends = backendsOf({ unknown: {}, far: { at: sites.saoPaulo!, limit: 1 } });
    expect(takeNames(over(backends, { withinKm: 20_015 }), busan, 3)).toBe("far unknown unknown");
    expect(over(backends).pick(busan, 0, named(backends, "far"))?.id).toBe("unknown");
    expect(over(backends, { maxKm: 500 }).pick(busan, 0)?.id).toBe("unknown");
  });

  test("while all whose position is known are away, the others are picked by least connections", () => {
    const backends = backendsOf({ away: { at: sites.seoul! }, a: {}, b: {} });
    const balancer = over(backends, { fallback: new RoundRobin() });
    balancer.update(backends.slice(1), backends);
    backends[1]!.take();
    backends[1]!.take();
    expect(takeNames(balancer, busan, 2)).toBe("b b");
  });

  test("among those whose positions are not known the order of the regions counts", () => {
    const backends = backendsOf({ c: { region: "west" }, b: { region: "east" }, a: { at: sites.seoul!, limit: 1 } });
    expect(takeNames(over(backends, { regions: ["east"] }), busan, 3)).toBe("a b b");
  });

  test("for any positions, limits and exchanges that run, the nearest with room is picked", () => {
    const anywhere = fc.tuple(fc.integer({ min: -90, max: 90 }), fc.integer({ min: -180, max: 180 }));
    const backend = fc.record({ at: anywhere, limit: fc.integer({ min: 1, max: 3 }), active: fc.nat(3) });
    fc.assert(
      fc.property(anywhere, fc.array(backend, { minLength: 1, maxLength: 8 }), (client, samples) => {
        const backends = backendsOf(Object.fromEntries(samples.map((sample, i) => [`b${i}`, sample])));
        samples.forEach(({ active }, i) => {
          for (let n = 0; n < active; n++) backends[i]!.take();
        });
        const kmOf = (other: Backend) => distanceKm(other.position!, position(client));
        const withRoom = backends.filter(({ hasRoom }) => hasRoom);
        const least = Math.min(...(withRoom.length > 0 ? withRoom : backends).map(kmOf));
        const picked = over(backends).pick(from(client), 0)!;
        if (withRoom.length > 0) expect(picked.hasRoom).toBe(true);
        expect(kmOf(picked)).toBeCloseTo(least, 3);
      }),
      { seed: 20 },
    );
  });
});

describe("without spillover", () => {
  const init = { spillover: false };

  test("what the nearest has no room for waits for it", () => {
    const backends = world(2);
    const balancer = over(backends, init);
    expect(takeNames(balancer, busan, 4)).toBe("seoul seoul seoul seoul");
    expect(backends.map(({ active }) => active)).toEqual([2, 0, 0, 0, 0, 0]);
  });

  test("one that was tried in vain, full by now or not, is passed over for the next nearest", () => {
    const backends = world(1);
    const balancer = over(backends, init);
    expect(balancer.pick(busan, 0, named(backends, "seoul"))?.id).toBe("tokyo");
    backends[0]!.take();
    expect(balancer.pick(busan, 0, named(backends, "seoul"))?.id).toBe("tokyo");
    backends[1]!.take();
    expect(balancer.pick(busan, 0, named(backends, "seoul"))?.id, "tokyo is the nearest now").toBe("tokyo");
    expect(balancer.pick(busan, 0, named(backends, "seoul", "tokyo"))?.id).not.toBe("tokyo");
  });

  test("those that are equally near stand in for each other", () => {
    const at = sites.seoul!;
    const backends = backendsOf({ a: { at, limit: 1, weight: 9 }, b: { at, limit: 2 }, far: { at: sites.tokyo! } });
    const balancer = over(backends, init);
    expect(takeNames(balancer, busan, 3)).toBe("a b b");
    expect(balancer.pick(busan, 0)?.id).toBe("a");
    expect(balancer.pick(busan, 0, named(backends, "a"))?.id).toBe("b");
    expect(balancer.pick(busan, 0, named(backends, "a", "b"))?.id).toBe("far");
  });

  test("one of two equally near that failed leaves the other, also to wait for", () => {
    const at = sites.seoul!;
    const backends = backendsOf({ a: { at }, b: { at, limit: 1 }, far: { at: sites.tokyo! } });
    const balancer = over(backends, init);
    const failed = named(backends, "a");
    expect(balancer.pick(busan, 0, failed)?.id).toBe("b");
    backends[1]!.take();
    expect(balancer.pick(busan, 0, failed)?.id).toBe("b");
    expect(balancer.pick(busan, 0, named(backends, "a", "b"))?.id).toBe("far");
  });
});

describe("without positions", () => {
  const regions = () =>
    backendsOf({
      tokyo: { region: "tokyo", limit: 1 },
      seoul1: { region: "seoul", limit: 1 },
      seoul2: { region: "seoul", limit: 1 },
      nowhere: { limit: 1 },
      frankfurt: { region: "frankfurt", limit: 1 },
    });
  const init = { region: "seoul", regions: ["frankfurt", "seoul", "tokyo"] };

  test("the own region comes first, then the others in their order, then the rest", () => {
    const balancer = over(regions(), init);
    expect(takeNames(balancer, nowhere, 5)).toBe("seoul1 seoul2 frankfurt tokyo nowhere");
    expect(["seoul1", "seoul2"]).toContain(balancer.pick(nowhere, 0)?.id);
  });

  test("regions are not brought together by withinKm", () => {
    const balancer = over(regions(), { ...init, withinKm: 20_015 });
    expect(takeNames(balancer, nowhere, 5)).toBe("seoul1 seoul2 frankfurt tokyo nowhere");
  });

  test("a backend without a region is in none, and an own region of none is none", () => {
    const balancer = over(regions(), { regions: ["frankfurt"] });
    expect(takeNames(balancer, nowhere, 1)).toBe("frankfurt");
  });

  test("the regions count, too, when only the client's position is known, or only the backends'", () => {
    expect(over(regions(), init).pick(from(sites.tokyo!), 0)?.id).toBe("seoul1");
    const backends = backendsOf({ a: { at: sites.tokyo!, region: "tokyo" }, b: { region: "seoul" } });
    expect(over(backends, init).pick(nowhere, 0)?.id).toBe("b");
    expect(over(backends, init).pick(from(sites.saoPaulo!), 0)?.id, "distance comes before regions").toBe("a");
  });

  test("a region that is down or was tried in vain is passed over", () => {
    const backends = regions();
    const balancer = over(backends, init);
    expect(balancer.pick(nowhere, 0, named(backends, "seoul1", "seoul2"))?.id).toBe("frankfurt");
    balancer.update(backends.slice(3), backends);
    expect(balancer.pick(nowhere, 0)?.id).toBe("frankfurt");
  });

  test("without spillover the first region is waited for", () => {
    const backends = regions();
    const balancer = over(backends, { ...init, spillover: false });
    expect(takeNames(balancer, nowhere, 2)).toBe("seoul1 seoul2");
    expect(["seoul1", "seoul2"]).toContain(balancer.pick(nowhere, 0)?.id);
    expect(balancer.pick(nowhere, 0, named(backends, "seoul1", "seoul2"))?.id, "tried in vain").toBe("frankfurt");
  });

  test("without regions the fallback decides, and hears all that it has to", () => {
    const backends = backendsOf({ a: { at: sites.seoul!, weight: 9 }, b: { at: sites.tokyo! }, c: {} });
    const heard: string[] = [];
    class Listening extends RoundRobin {
      settled(backend: Backend): void {
        heard.push(backend.id);
      }
    }
    const balancer = over(backends, { fallback: new Listening() });
    expect(takeNames(balancer, nowhere, 4)).toBe("a b c a");
    expect(takeNames(balancer, busan, 2), "takes no turn of the fallback").toBe("a a");
    expect(balancer.peek?.(nowhere, 0)?.id).toBe("b");
    expect(balancer.pick(nowhere, 0, named(backends, "b"))?.id).toBe("c");
    balancer.update(backends.slice(1), backends);
    expect(takeNames(balancer, nowhere, 2)).toBe("b c");
    balancer.settled(backends[2]!, { kind: "success", status: 200, durationMs: 1 }, 0);
    expect(heard).toEqual(["c"]);
  });

  test("backends without positions go by the fallback, wherever the client is", () => {
    const backends = backendsOf({ a: { weight: 2 }, b: {} });
    const balancer = over(backends);
    expect(Array.from({ length: 6 }, () => balancer.pick(busan, 0)?.id).join(" ")).toBe("a b a a b a");
  });
});

describe("a peek", () => {
  test("tells the next pick of every city, and leaves full and excluded ones out as a pick does", () => {
    const backends = world(3);
    const balancer = over(backends, { withinKm: 500 });
    const exclude = named(backends, "tokyo");
    for (let n = 0; n < 20; n++) {
      for (const { at } of Object.values(cities)) {
        const peeked = balancer.peek?.(from(at), 0, exclude);
        const picked = balancer.pick(from(at), 0, exclude);
        expect(peeked).toBe(picked);
        picked?.take();
      }
      for (const backend of backends.slice(n % 6)) if (backend.active > 0) backend.give();
    }
  });

  test("is not to be had where a fallback leaves it to chance, but where no fallback is ever asked", () => {
    const fallback = new RandomChoice({ next: () => 0 });
    expect(new Nearest({ fallback }).peek).toBeUndefined();
    expect(new Nearest({ fallback, region: "seoul" }).peek).toBeDefined();
  });
});
