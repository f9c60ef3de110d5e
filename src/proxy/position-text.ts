import type { Position } from "../policy/model/position.ts";

/** A decimal number as RFC 5870 writes it: no plus sign, no exponent, no space, digits on both sides of a point. */
const UNSIGNED = String.raw`\d+(?:\.\d+)?`;
const NUMBER = `-?${UNSIGNED}`;

const NUMBER_ALONE = new RegExp(`^${NUMBER}$`);

/**
 * `geo:latitude,longitude` with, each if at all, an altitude, the reference system, which has to be WGS 84, the
 * uncertainty, and further parameters, in this order. Source: RFC 5870 section 3.3.
 */
const GEO_URI = new RegExp(
  `^geo:(${NUMBER}),(${NUMBER})(?:,${NUMBER})?(?:;crs=wgs84)?(?:;u=${UNSIGNED})?` +
    String.raw`(?:;(?!(?:crs|u)[=;]|(?:crs|u)$)[a-z\d-]+(?:=(?:[\[\]:&+$a-z\d\-_.!~*'()]|%[\da-f]{2})+)?)*$`,
  "i",
);

/** The position, unless a number is none, not finite or out of range. */
export function toPosition(latitude: number, longitude: number): Position | undefined {
  return latitude >= -90 && latitude <= 90 && longitude >= -180 && longitude <= 180
    ? { latitude, longitude }
    : undefined;
}

/** A position from two plain decimal numbers of degrees. Anything else in either of them: undefined. */
export function positionOfPair(latitude: string | undefined, longitude: string | undefined): Position | undefined {
  if (latitude === undefined || longitude === undefined) return undefined;
  if (!NUMBER_ALONE.test(latitude) || !NUMBER_ALONE.test(longitude)) return undefined;
  return toPosition(Number(latitude), Number(longitude));
}

/** A position from a `geo:` URI (RFC 5870) in WGS 84. Anything else: undefined. */
export function positionOfGeoUri(uri: string | undefined): Position | undefined {
  const match = uri === undefined ? null : GEO_URI.exec(uri);
  return match === null ? undefined : toPosition(Number(match[1]), Number(match[2]));
}
