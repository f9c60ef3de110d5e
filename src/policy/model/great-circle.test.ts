import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { distanceKm, EARTH_RADIUS_KM, haversine, haversineOfKm, kmOfHaversine, Place } from "./great-circle.ts";
import type { Position } from "./position.ts";

const at = (latitude: number, longitude: number): Position => ({ latitude, longitude });

/** As a pick does it. */
const precomputedKm = (a: Position, b: Position) => kmOfHaversine(haversine(new Place(a), new Place(b)));

/** Of the same two positions, by the arc tangent of cross and dot product: good at every distance. */
function arcTangentKm(a: Position, b: Position): number {
  const radians = Math.PI / 180;
  const [p1, p2, east] = [a.latitude * radians, b.latitude * radians, (b.longitude - a.longitude) * radians];
  const y = Math.hypot(
    Math.cos(p2) * Math.sin(east),
    Math.cos(p1) * Math.sin(p2) - Math.sin(p1) * Math.cos(p2) * Math.cos(east),
  );
  return EARTH_RADIUS_KM * Math.atan2(y, Math.sin(p1) * Math.sin(p2) + Math.cos(p1) * Math.cos(p2) * Math.cos(east));
}

describe("the distance", () => {
  const pairs: [name: string, from: Position, to: Position, km: number][] = [
    ["Seoul to Busan", at(37.5665, 126.978), at(35.1796, 129.0756), 325.1],
    ["London to New York", at(51.5074, -0.1278), at(40.7128, -74.006), 5570.2],
    ["Sydney to Santiago", at(-33.8688, 151.2093), at(-33.4489, -70.6693), 11_346.7],
    ["Singapore to Quito, nearly opposite", at(1.3521, 103.8198), at(-0.1807, -78.4678), 19_729.4],
    ["Suva to Apia, across the date line", at(-18.1416, 178.4419), at(-13.8333, -171.7667), 1150.7],
    ["across the date line on the 10th parallel", at(10, 179.5), at(10, -179.5), 109.506],
    ["one degree of the equator", at(0, 0), at(0, 1), 111.195],
    ["between opposite places of the equator", at(0, 0), at(0, 180), 20_015.1],
    ["between opposite places elsewhere", at(40, -100), at(-40, 80), 20_015.1],
    ["from pole to pole", at(90, 0), at(-90, 77), 20_015.1],
    ["from a pole to the equator", at(90, 12), at(0, -170), 10_007.6],
  ];
  for (const [name, from, to, km] of pairs) {
    test(`${name} is ${km} km, within 0.1 %`, () => {
      for (const distance of [distanceKm(from, to), distanceKm(to, from), precomputedKm(from, to)]) {
        expect(Math.abs(distance - km) / km).toBeLessThan(0.001);
      }
    });
  }

  test("from a place to itself is 0, however it is written", () => {
    expect(distanceKm(at(37.5, 127), at(37.5, 127))).toBe(0);
    expect(precomputedKm(at(37.5, 127), at(37.5, 127))).toBe(0);
    for (const [a, b] of [
      [at(12, 180), at(12, -180)],
      [at(90, 10), at(90, -120)],
    ] as const) {
      expect(distanceKm(a, b)).toBeLessThan(1e-6);
      expect(precomputedKm(a, b)).toBeLessThan(1e-6);
    }
  });

  test("between places a metre apart is a metre", () => {
    const degree = 1 / 111_195;
    expect(distanceKm(at(50, 8), at(50 + degree, 8))).toBeCloseTo(0.001, 8);
    expect(precomputedKm(at(50, 8), at(50 + degree, 8))).toBeCloseTo(0.001, 8);
  });

  test("is the same by both ways and by the arc tangent, between any two positions", () => {
    const position = fc.record({
      latitude: fc.double({ min: -90, max: 90, noNaN: true }),
      longitude: fc.double({ min: -180, max: 180, noNaN: true }),
    });
    fc.assert(
      fc.property(position, position, (a, b) => {
        const km = arcTangentKm(a, b);
        // Near the other side of the earth a haversine is as good as 1: metres are lost there.
        expect(Math.abs(distanceKm(a, b) - km)).toBeLessThan(0.001);
        expect(Math.abs(precomputedKm(a, b) - km)).toBeLessThan(0.001);
      }),
      { seed: 20 },
    );
  });
});

test("a place that is moved is the place of the other position", () => {
  const place = new Place(at(1, 2));
  place.moveTo(at(-33, 151));
  expect(place).toEqual(new Place(at(-33, 151)));
});

test("kilometres and haversines are two words for the same, up to the other side of the earth", () => {
  for (const km of [0, 0.5, 325, 10_000, 20_015]) expect(kmOfHaversine(haversineOfKm(km))).toBeCloseTo(km, 3);
  expect(haversineOfKm(0)).toBe(0);
  for (const km of [20_016, 1e9, Infinity]) expect(haversineOfKm(km)).toBe(1);
});
