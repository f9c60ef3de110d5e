import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { geoipTestFiles } from "../../test/support/geoip.ts";
import { shared } from "../../test/support/mmdb.ts";
import { GeoipDatabase } from "./geoip-database.ts";

const files = geoipTestFiles();
const open = (path: string | undefined): GeoipDatabase | undefined =>
  path === undefined ? undefined : new GeoipDatabase(shared(readFileSync(path)));
const ipv4 = open(files?.ipv4);
const ipv6 = open(files?.ipv6);

// Universities: they have had their addresses for decades, and stand where they stand.
test.skipIf(files === undefined).each([
  ["Cambridge", 52.2, 0.12, "131.111.150.25", "2001:630:212::1"],
  ["ETH Zurich", 47.38, 8.55, "129.132.19.216", "2001:67c:10ec::1"],
  ["TU Berlin", 52.51, 13.33, "130.149.7.201", "2001:638:809::1"],
  ["Berkeley", 37.87, -122.26, "128.32.1.1", "2607:f140:ffff::1"],
  ["KAIST, Daejeon", 36.37, 127.36, "143.248.1.1", "2001:320::1"],
  ["University of Sao Paulo", -23.56, -46.73, "143.107.1.1", "2001:12d0::1"],
])("%s is where it is, by its IPv4 and by its IPv6 address", (_name, latitude, longitude, address4, address6) => {
  for (const position of [ipv4?.find(address4), ipv4?.find(`::ffff:${address4}`), ipv6?.find(address6)]) {
    // A quarter of a degree is 28 km at most.
    expect(Math.abs(position!.latitude - latitude)).toBeLessThan(0.25);
    expect(Math.abs(position!.longitude - longitude)).toBeLessThan(0.25);
  }
});

test.skipIf(files === undefined)("a real database passes the check, and private addresses are nowhere", () => {
  ipv4?.check();
  ipv6?.check();
  expect([ipv4?.type, ipv6?.type]).toEqual(["city ipv4", "city ipv6"]);
  for (const address of ["10.1.2.3", "127.0.0.1", "192.168.1.1", "169.254.0.1", "203.0.113.1", "224.0.0.1"]) {
    expect([address, ipv4?.find(address), ipv6?.find(address)]).toEqual([address, undefined, undefined]);
  }
  for (const address of ["::1", "fe80::1", "fd00::1", "2001:db8::1", "ff02::1"]) {
    expect([address, ipv4?.find(address), ipv6?.find(address)]).toEqual([address, undefined, undefined]);
  }
  // The other version's addresses are not looked for among its own.
  expect(ipv4?.find("2001:638:809::1")).toBeUndefined();
  expect(ipv6?.find("130.149.7.201")).toBeUndefined();
});
