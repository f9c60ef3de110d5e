import fc from "fast-check";
import { expect, test } from "vitest";
import { positionOfGeoUri, positionOfPair } from "./position-text.ts";

test.each([
  ["52.5", "13.4", [52.5, 13.4]],
  ["-33.8688", "151.2093", [-33.8688, 151.2093]],
  ["90", "180", [90, 180]],
  ["-90.0", "-180.000", [-90, -180]],
  ["007.50", "0", [7.5, 0]],
])("%s and %s are a position", (latitude, longitude, [north, east]) => {
  expect(positionOfPair(latitude, longitude)).toEqual({ latitude: north, longitude: east });
});

test.each([
  "",
  " ",
  "+52.5",
  "52,5",
  "52.",
  ".5",
  "-",
  "5e1",
  "0x34",
  " 52.5",
  "52.5\n",
  "52.5, 52.5",
  "52.5N",
  "NaN",
  "Infinity",
  "1_0",
  "٥٢",
  "90.000001",
  "-91",
  "9".repeat(400),
])("%j is no latitude", (latitude) => {
  expect(positionOfPair(latitude, "13.4")).toBeUndefined();
});

test("longitude has its own range, and half a pair is none", () => {
  expect(positionOfPair("13.4", "180.1")).toBeUndefined();
  expect(positionOfPair("13.4", "-180.1")).toBeUndefined();
  expect(positionOfPair("13.4", undefined)).toBeUndefined();
  expect(positionOfPair(undefined, "13.4")).toBeUndefined();
});

test.each([
  ["geo:37.786971,-122.399677", [37.786971, -122.399677]],
  ["geo:37.78,-122.40;u=35", [37.78, -122.4]],
  ["GEO:48.198634,16.371648;CRS=WGS84;U=40", [48.198634, 16.371648]],
  ["geo:48.2010,16.3695,183", [48.201, 16.3695]],
  ["geo:90,-22.43;crs=wgs84", [90, -22.43]],
  ["geo:66,30;u=6.500;FOo=this%2dthat", [66, 30]],
  ["geo:47,11;foo=blue;bar=white", [47, 11]],
  ["geo:47,11;foo", [47, 11]],
  ["geo:22,-33;u=0;under=a", [22, -33]],
  ["geo:-1,-2,-3;crs-like=x", [-1, -2]],
])("%s is a position", (uri, [latitude, longitude]) => {
  expect(positionOfGeoUri(uri)).toEqual({ latitude, longitude });
});

test.each([
  "",
  "37.78,-122.40",
  "geo:37.78",
  "geo:37.78,",
  "geo:37.78, -122.40",
  "geo:+37.78,-122.40",
  "geo:37.78,-122.40,1,2",
  "geo:91,0",
  "geo:0,181",
  "geo:37.78,-122.40;crs=nad27",
  "geo:37.78,-122.40;crs=wgs84x",
  "geo:37.78,-122.40;crs",
  "geo:37.78,-122.40;u=35;crs=wgs84",
  "geo:37.78,-122.40;u=-1",
  "geo:37.78,-122.40;u",
  "geo:37.78,-122.40;u=1;u=2",
  "geo:37.78,-122.40;crs=wgs84;crs=wgs84",
  "geo:37.78,-122.40;",
  "geo:37.78,-122.40;a=",
  "geo:37.78,-122.40;a=%2",
  "geo:37.78,-122.40;a=b c",
  "geo:37.78,-122.40, geo:37.78,-122.40",
  "<geo:37.78,-122.40>",
])("%j is none", (uri) => {
  expect(positionOfGeoUri(uri)).toBeUndefined();
});

test("no field there is no position", () => {
  expect(positionOfGeoUri(undefined)).toBeUndefined();
});

test("whatever the text, the answer is none or lies in range", () => {
  const number = fc.oneof(
    fc.double({ min: -200, max: 200, noNaN: true }).map((value) => value.toFixed(4)),
    fc.string({ unit: fc.constantFrom(..."0123456789.-+e ,;") }),
  );
  fc.assert(
    fc.property(number, number, (latitude, longitude) => {
      for (const position of [positionOfPair(latitude, longitude), positionOfGeoUri(`geo:${latitude},${longitude}`)]) {
        if (position === undefined) continue;
        expect(Math.abs(position.latitude)).toBeLessThanOrEqual(90);
        expect(Math.abs(position.longitude)).toBeLessThanOrEqual(180);
      }
    }),
  );
});

test("a long field with many parameters takes time in proportion to its length", () => {
  const parameters = ";a=b".repeat(8_000);
  expect(positionOfGeoUri(`geo:1,2${parameters}`)).toEqual({ latitude: 1, longitude: 2 });
  expect(positionOfGeoUri(`geo:1,2${parameters};`)).toBeUndefined();
});
