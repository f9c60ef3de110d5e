import fc from "fast-check";
import { expect, test } from "vitest";
import { cityMmdb, shared, writeMmdb } from "../../test/support/mmdb.ts";
import { GeoipDatabase } from "./geoip-database.ts";

const PLACES = {
  "192.0.2.0/24": [52.5, 13.4],
  "198.51.100.0/25": [37.5, 127],
  "198.51.100.128/32": [-33.9, 151.2],
  "2001:db8::/32": [48.2, 16.4],
  "2001:db9:0:1::/64": [-90, -180],
} as const;

const open = (bytes: Uint8Array): GeoipDatabase => new GeoipDatabase(shared(bytes));
const refusal = (bytes: Uint8Array): string => {
  try {
    open(bytes).check();
  } catch (error) {
    return (error as Error).message;
  }
  return "none";
};

test("it says what it is and when it was made", () => {
  const database = open(cityMmdb(PLACES, { type: "GeoLite2-City", builtAt: new Date("2026-05-06T07:08:09Z") }));
  expect([database.type, database.builtAt?.toISOString()]).toEqual(["GeoLite2-City", "2026-05-06T07:08:09.000Z"]);
  database.check();
});

test.each([
  ["192.0.2.1", [52.5, 13.4]],
  ["192.0.2.255", [52.5, 13.4]],
  ["192.0.3.0", undefined],
  ["198.51.100.127", [37.5, 127]],
  ["198.51.100.128", [-33.9, 151.2]],
  ["198.51.100.129", undefined],
  ["::ffff:192.0.2.9", [52.5, 13.4]],
  ["::ffff:c000:209", [52.5, 13.4]],
  ["2001:db8::1", [48.2, 16.4]],
  ["2001:DB8:ffff:ffff:ffff:ffff:ffff:ffff", [48.2, 16.4]],
  ["2001:db9:0:1::7", [-90, -180]],
  ["2001:db9:0:2::7", undefined],
  ["10.1.2.3", undefined],
  ["127.0.0.1", undefined],
  ["::1", undefined],
  ["fe80::1%eth0", undefined],
  ["unknown", undefined],
  ["192.0.2", undefined],
  ["192.0.2.1:80", undefined],
  ["", undefined],
])("%s is at %j", (address, at) => {
  const position = at === undefined ? undefined : { latitude: at[0], longitude: at[1] };
  expect(open(cityMmdb(PLACES)).find(address)).toEqual(position);
});

test("a database of IPv4 addresses says nothing of IPv6 addresses that begin with the same bits", () => {
  const database = open(cityMmdb({ "32.0.0.0/4": [1, 2] }, { ipVersion: 4 }));
  expect(database.find("32.1.2.3")).toEqual({ latitude: 1, longitude: 2 });
  expect(database.find("::ffff:32.1.2.3")).toEqual({ latitude: 1, longitude: 2 });
  expect(database.find("2001:db8::1")).toBeUndefined();
  database.check();
});

test("a database of IPv6 addresses alone says nothing of IPv4 addresses", () => {
  const database = open(cityMmdb({ "2001:db8::/32": [1, 2] }));
  expect(database.find("192.0.2.1")).toBeUndefined();
  database.check();
});

test("the place may stand beside the name of the city, and degrees may be text", () => {
  const at = (record: Parameters<typeof writeMmdb>[0][number]["record"]) =>
    open(writeMmdb([{ network: "192.0.2.0/24", record }])).find("192.0.2.1");
  expect(at({ city: "Berlin", latitude: 52.5, longitude: 13.4 })).toEqual({ latitude: 52.5, longitude: 13.4 });
  expect(at({ latitude: "52.5", longitude: "-13.4" })).toEqual({ latitude: 52.5, longitude: -13.4 });
  expect(at({ latitude: "", longitude: "" })).toBeUndefined();
  expect(at({ latitude: 52.5 })).toBeUndefined();
  expect(at({ location: { latitude: 91.5, longitude: 0 } })).toBeUndefined();
  expect(at({ location: { latitude: Number.NaN, longitude: 0 } })).toBeUndefined();
  expect(at({ location: "Berlin" })).toBeUndefined();
  expect(at("Berlin")).toBeUndefined();
});

const whole = cityMmdb(PLACES);

test.each([
  ["an empty file", Buffer.alloc(0), "it is empty"],
  ["a compressed file", Buffer.from([0x1f, 0x8b, 8, 0, 0, 0]), "it is compressed: unpack it first"],
  ["another file", Buffer.from("<!doctype html>"), "it is no database in MaxMind's format, or its end is missing"],
  [
    "a file whose end is missing",
    whole.subarray(0, -400),
    "it is no database in MaxMind's format, or its end is missing",
  ],
  ["a file whose metadata is cut off", whole.subarray(0, -20), "it is damaged"],
  [
    "a file whose beginning is missing",
    whole.subarray(whole.indexOf("\xab\xcd\xef", 0, "latin1")),
    "a part of it is missing",
  ],
  ["a file whose beginning has moved", Buffer.concat([Buffer.from("x"), whole]), "it is damaged"],
  ["a later format", cityMmdb(PLACES, { formatVersion: 3 }), "its format has version 3, not 2"],
  ["a database of no network", writeMmdb([]), "it has no record of any network"],
  [
    "a database without places",
    writeMmdb([{ network: "1.0.0.0/8", record: { country: "AU" } }], { type: "GeoLite2-Country" }),
    "its records (GeoLite2-Country) have no latitude and longitude; a city database has them",
  ],
])("%s is refused in words for people", (_name, bytes, reason) => {
  expect(refusal(bytes)).toBe(reason);
});

test("a damaged database is refused or says something of an address, and never throws at a look-up", () => {
  const bytes = cityMmdb(PLACES);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 40 }),
      (changes) => {
        const damaged = Buffer.from(bytes);
        for (const [at, byte] of changes) damaged[at] = byte;
        let database: GeoipDatabase;
        try {
          database = open(damaged);
        } catch {
          return;
        }
        for (const address of ["192.0.2.1", "198.51.100.128", "2001:db8::1", "10.0.0.1"]) {
          const position = database.find(address);
          if (position !== undefined) expect(Math.abs(position.latitude)).toBeLessThanOrEqual(90);
        }
      },
    ),
    { numRuns: 500 },
  );
});
