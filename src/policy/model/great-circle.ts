import type { Position } from "./position.ts";

/**
 * Mean radius of the earth, (2a + b) / 3 of its ellipsoid, in kilometres.
 * Source: H. Moritz, Geodetic Reference System 1980, adopted by the IUGG; its radius R1.
 */
export const EARTH_RADIUS_KM = 6371.0088;

const RADIANS = Math.PI / 180;

/**
 * Great-circle distance in kilometres, by the haversine formula. The earth is flatter than a ball: up to 0.6 % off.
 * Source: R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (1984), page 159.
 */
export function distanceKm(a: Position, b: Position): number {
  const north = Math.sin(((b.latitude - a.latitude) * RADIANS) / 2);
  const east = Math.sin(((b.longitude - a.longitude) * RADIANS) / 2);
  const cosines = Math.cos(a.latitude * RADIANS) * Math.cos(b.latitude * RADIANS);
  return kmOfHaversine(Math.min(1, north * north + cosines * east * east));
}

/**
 * A position as a point on a ball of radius 1. What of a distance needs sines and cosines is done once for each place;
 * the rest are a few multiplications, see {@link haversine}.
 */
export class Place {
  /** Towards latitude 0, longitude 0. */
  x = 1;
  /** Towards latitude 0, longitude 90. */
  y = 0;
  /** Towards the north pole. */
  z = 0;

  constructor(position: Position) {
    this.moveTo(position);
  }

  /** Makes this the place of another position. */
  moveTo({ latitude, longitude }: Position): void {
    const fromAxis = Math.cos(latitude * RADIANS);
    this.x = fromAxis * Math.cos(longitude * RADIANS);
    this.y = fromAxis * Math.sin(longitude * RADIANS);
    this.z = Math.sin(latitude * RADIANS);
  }
}

/**
 * The haversine of the angle between two places: 0 where they are one, 1 where they are opposite, and the greater the
 * farther apart they are. It is a quarter of the square of the straight line between them, so differences do: unlike a
 * cosine it tells places a metre apart from each other.
 */
export function haversine(a: Place, b: Place): number {
  const x = a.x - b.x;
  const y = a.y - b.y;
  const z = a.z - b.z;
  return Math.min(1, (x * x + y * y + z * z) / 4);
}

/** The great-circle distance, in kilometres, whose {@link haversine} this is. */
export function kmOfHaversine(value: number): number {
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.sqrt(value));
}

/** The {@link haversine} of a great-circle distance in kilometres; 1 for all that is farther than the other side. */
export function haversineOfKm(km: number): number {
  const sine = Math.sin(Math.min(km / (2 * EARTH_RADIUS_KM), Math.PI / 2));
  return sine * sine;
}
