import { expect, test } from "vitest";
import { cityMmdb, shared } from "../../test/support/mmdb.ts";
import type { Position } from "../policy/model/position.ts";
import type { PickRequest } from "../policy/model/request.ts";
import { type ClientPositionSettings, ClientPositions } from "./client-position.ts";

const BERLIN = { latitude: 52.5, longitude: 13.4 };
const SEOUL = { latitude: 37.5, longitude: 127 };
const PAIR = { kind: "pair", latitude: "x-latitude", longitude: "x-longitude" } as const;
const DATABASE = shared(cityMmdb({ "192.0.2.0/24": [52.5, 13.4], "2001:db8::/32": [37.5, 127] }));

function positions(settings: Partial<ClientPositionSettings>, databases = { "city.mmdb": DATABASE }): ClientPositions {
  return new ClientPositions(
    { headers: undefined, geoip: undefined, default: undefined, ...settings },
    new Map(Object.entries(databases)),
  );
}

function request(client: string, headers: Readonly<Record<string, string>> = {}): PickRequest {
  return { method: "GET", host: "a", target: "/", client, header: (name) => headers[name] };
}

/** The answer, and what it was taken from. */
function ask(at: ClientPositions, head: PickRequest, trusted = false): [Position | undefined, string] {
  return [at.locate(head, trusted), at.source];
}

const SAID = { "x-latitude": "37.5", "x-longitude": "127" };

test("what a trusted proxy says comes first, then the database, then the default", () => {
  const at = positions({ headers: PAIR, geoip: "city.mmdb", default: { latitude: 1, longitude: 2 } });
  expect(ask(at, request("192.0.2.1", SAID), true)).toEqual([SEOUL, "header"]);
  expect(ask(at, request("192.0.2.1"), true)).toEqual([BERLIN, "geoip"]);
  expect(ask(at, request("203.0.113.1"), true)).toEqual([{ latitude: 1, longitude: 2 }, "default"]);
});

test("without any of them nobody knows", () => {
  expect(ask(positions({}), request("192.0.2.1", SAID), true)).toEqual([undefined, "none"]);
  expect(ask(positions({ headers: PAIR, geoip: "city.mmdb" }), request("203.0.113.1"))).toEqual([undefined, "none"]);
});

test("fields of a peer that is not trusted count for nothing", () => {
  const at = positions({ headers: PAIR, geoip: "city.mmdb" });
  expect(ask(at, request("192.0.2.1", SAID), false)).toEqual([BERLIN, "geoip"]);
  expect(ask(at, request("203.0.113.1", SAID), false)).toEqual([undefined, "none"]);
});

test("fields that hold no valid position count as none", () => {
  const at = positions({ headers: PAIR, geoip: "city.mmdb" });
  for (const fields of [
    { "x-latitude": "37.5" },
    { "x-longitude": "127" },
    { "x-latitude": "91", "x-longitude": "127" },
    { "x-latitude": "37.5, 37.5", "x-longitude": "127" },
    { "x-latitude": "", "x-longitude": "" },
  ]) {
    expect(ask(at, request("192.0.2.1", fields), true)).toEqual([BERLIN, "geoip"]);
  }
});

test("one field may hold it as a geo: URI", () => {
  const at = positions({ headers: { kind: "geo", name: "geolocation" } });
  expect(ask(at, request("192.0.2.1", { geolocation: "geo:37.5,127;u=35" }), true)).toEqual([SEOUL, "header"]);
  expect(ask(at, request("192.0.2.1", { geolocation: "37.5,127" }), true)).toEqual([undefined, "none"]);
});

test.each([
  ["192.0.2.200", BERLIN],
  ["::ffff:192.0.2.200", BERLIN],
  ["2001:db8:1::1", SEOUL],
  ["10.0.0.1", undefined],
  ["::1", undefined],
  ["", undefined],
])("the client %j is looked up by its address, whichever form it has", (client, position) => {
  const at = positions({ geoip: "city.mmdb" });
  // Twice: found, and remembered.
  for (let asked = 0; asked < 2; asked++) {
    expect(ask(at, request(client))).toEqual([position, position === undefined ? "none" : "geoip"]);
  }
});

test("a client that comes again gets the same object", () => {
  const at = positions({ geoip: "city.mmdb" });
  const first = at.locate(request("192.0.2.1"), false);
  expect(at.locate(request("192.0.2.1"), false)).toBe(first);
});

test("more clients than are remembered are still found, each at its own place", () => {
  const city = shared(cityMmdb({ "10.0.0.0/8": [37.5, 127], "11.0.0.0/8": [52.5, 13.4] }));
  const at = positions({ geoip: "city.mmdb" }, { "city.mmdb": city });
  const wrong: string[] = [];
  for (let i = 0; i < 140_000; i++) {
    const seat = i % 70_000;
    const client = `${10 + (i % 3)}.${seat >> 16}.${(seat >> 8) & 255}.${seat & 255}`;
    if (at.locate(request(client), false)?.latitude !== [37.5, 52.5, undefined][i % 3]) wrong.push(client);
  }
  expect(wrong).toEqual([]);
});

test("a new database counts from its first request on, for clients that are remembered too", () => {
  const at = positions({ geoip: "city.mmdb" });
  expect(ask(at, request("192.0.2.1"))).toEqual([BERLIN, "geoip"]);
  expect(ask(at, request("203.0.113.1"))).toEqual([undefined, "none"]);
  at.setDatabase("city.mmdb", shared(cityMmdb({ "203.0.113.0/24": [37.5, 127] })));
  expect(ask(at, request("192.0.2.1"))).toEqual([undefined, "none"]);
  expect(ask(at, request("203.0.113.1"))).toEqual([SEOUL, "geoip"]);
});

test("another listener's database changes nothing", () => {
  const at = positions({ geoip: "city.mmdb" });
  at.setDatabase("other.mmdb", shared(cityMmdb({ "192.0.2.0/24": [1, 2] })));
  expect(ask(at, request("192.0.2.1"))).toEqual([BERLIN, "geoip"]);
  const without = positions({ default: SEOUL });
  without.setDatabase("city.mmdb", DATABASE);
  expect(ask(without, request("192.0.2.1"))).toEqual([SEOUL, "default"]);
});

test("a database that is missing or damaged costs the place and not the request", () => {
  const missing = positions({ geoip: "other.mmdb", default: SEOUL });
  expect(ask(missing, request("192.0.2.1"))).toEqual([SEOUL, "default"]);
  const damaged = positions({ geoip: "city.mmdb" }, { "city.mmdb": shared(Buffer.from("nothing")) });
  expect(ask(damaged, request("192.0.2.1"))).toEqual([undefined, "none"]);
  damaged.setDatabase("city.mmdb", DATABASE);
  expect(ask(damaged, request("192.0.2.1"))).toEqual([BERLIN, "geoip"]);
});

test("looking for a client that nobody has sent tells the same, and leaves nothing behind", () => {
  const at = positions({ headers: PAIR, geoip: "city.mmdb", default: { latitude: 1, longitude: 2 } });
  ask(at, request("203.0.113.1"));
  for (const [head, trusted] of [
    [request("192.0.2.1", SAID), true],
    [request("192.0.2.1", SAID), false],
    [request("192.0.2.1"), true],
    [request("203.0.113.1"), false],
    [request(""), false],
  ] as const) {
    const { position, source } = at.peek(head, trusted);
    expect(at.source).toBe("default");
    const other = positions({ headers: PAIR, geoip: "city.mmdb", default: { latitude: 1, longitude: 2 } });
    expect([position, source]).toEqual(ask(other, head, trusted));
  }
  expect(positions({}).peek(request("192.0.2.1"), true)).toEqual({ position: undefined, source: "none" });
  const peeked = at.peek(request("192.0.2.1"), false).position;
  const located = at.locate(request("192.0.2.1"), false);
  expect(located).toEqual(peeked);
  // One that was remembered would be the same.
  expect(located).not.toBe(peeked);
});
