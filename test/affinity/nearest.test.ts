import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { DISTANCE_BOUNDS, prometheusText } from "../../src/metrics/index.ts";
import { queued } from "../isolation/cast.ts";
import { geoipTestFiles } from "../support/geoip.ts";
import { cityMmdb, shared } from "../support/mmdb.ts";
import { answering, ok } from "../support/raw-backend.ts";
import { get, scene } from "../support/scene.ts";
import type { Message } from "../support/wire.ts";
import {
  BELIEVING,
  backendAt,
  CITIES,
  everywhere,
  from,
  greatCircleKm,
  type LatLon,
  REGIONS,
  regionsFrom,
  type World,
  world,
} from "./places.ts";

const BUSAN = CITIES.Busan!.at;
const LONDON: LatLon = [51.5074, -0.1278];
const cities = Object.values(CITIES);

/** Networks of the test database: 10.1.N.0/24 and 2001:db8:N::/48 lie in city N. */
const networks = Object.fromEntries(
  cities.flatMap(({ at }, n) => [
    [`10.1.${n}.0/24`, at],
    [`2001:db8:${n.toString(16)}::/48`, at],
  ]),
);
const database = shared(cityMmdb(networks));

/** Requests by region, in the metrics. */
function requestsByRegion({ stage }: World): Record<string, number> {
  const [web] = stage.proxy.snapshot().upstreams;
  return Object.fromEntries(web!.regions.map(({ region, requests }) => [region, requests]));
}

const positions = ({ stage }: World) => stage.proxy.snapshot().positions;

/** What the metrics have to say when each city was served once by the nearest region. */
function expectDistancesOfCities({ stage }: World): void {
  const distances = cities.map(({ at, region }) => greatCircleKm(at, REGIONS[region]!));
  const buckets = [...DISTANCE_BOUNDS, Number.POSITIVE_INFINITY].map(
    (bound, n) => distances.filter((km) => km <= bound && km > (DISTANCE_BOUNDS[n - 1] ?? -1)).length,
  );
  const [web] = stage.proxy.snapshot().upstreams;
  expect(web!.distances.buckets).toEqual(buckets);
  expect(web!.distances.km).toBeCloseTo(
    distances.reduce((sum, km) => sum + km),
    3,
  );
}

test("the tests' own distances are those of the earth, and say what a globe says", () => {
  expect(greatCircleKm([0, 0], [0, 180])).toBeCloseTo(Math.PI * 6371.0088, 6);
  expect(Math.abs(greatCircleKm(LONDON, [40.7128, -74.006]) - 5_570)).toBeLessThan(1);
  expect(Math.abs(greatCircleKm([-18.1416, 178.4419], [-13.8507, -171.7514]) - 1_151)).toBeLessThan(6);
  for (const { at, region } of cities) expect(regionsFrom(at)[0]).toBe(region);
});

describe("20 cities and 6 regions", () => {
  const byAddress = { trustedProxies: ["127.0.0.1"], clientPosition: { geoip: "city.mmdb" } };
  test.each([
    ["two fields", "header", BELIEVING, from],
    [
      "a geo: URI",
      "header",
      { trustedProxies: ["127.0.0.0/8"], clientPosition: { headers: { geo: "Geolocation" } } },
      ([latitude, longitude]: LatLon) => [`geolocation: geo:${latitude},${longitude},25;u=35`],
    ],
    ["an IPv4 address", "geoip", byAddress, (_: LatLon, n: number) => [`X-Forwarded-For: 10.1.${n}.77`]],
    [
      "an IPv6 address",
      "geoip",
      byAddress,
      (_: LatLon, n: number) => [`X-Forwarded-For: 2001:db8:${n.toString(16)}:1::77`],
    ],
  ])(
    "each is served by the nearest, told by %s, and the metrics know how far that is",
    async (_, source, listener, said) => {
      const all = await world({ listener });
      all.stage.proxy.plane.setGeoip("city.mmdb", database);
      const served = [];
      for (const [n, { at }] of cities.entries()) served.push(await all.servedBy(said(at, n)));
      expect(served).toEqual(cities.map(({ at }) => regionsFrom(at)[0]));
      expect(positions(all)).toEqual({ header: 0, geoip: 0, default: 0, none: 0, [source]: 20 });
      expect(requestsByRegion(all)).toEqual({
        seoul: 5,
        sydney: 5,
        oregon: 2,
        virginia: 2,
        "sao-paulo": 3,
        frankfurt: 3,
      });
      expectDistancesOfCities(all);
    },
  );

  test("with regions down one after the other, each is served by the nearest that is left, and back again", async () => {
    const { servedBy, health } = await world();
    for (const { at } of cities) {
      const order = regionsFrom(at);
      for (const region of order.slice(0, -1)) {
        expect(await servedBy(from(at))).toBe(region);
        health(region, false);
      }
      expect(await servedBy(from(at))).toBe(order.at(-1));
      for (const region of order.slice(0, -1).reverse()) {
        health(region, true);
        expect(await servedBy(from(at))).toBe(region);
      }
    }
  });

  test("what the nearest has no room for overflows by distance", async () => {
    const limits = Object.fromEntries(Object.keys(REGIONS).map((region) => [region, { maxRequests: 1 }]));
    const { stage, holdAll, release } = await world({ sites: everywhere(limits) });
    for (const { at } of cities) {
      const order = regionsFrom(at);
      expect(await holdAll(from(at), 6)).toEqual(order);
      for (const region of order) release(region);
      await stage.quiet();
    }
  });
});

describe("a nearest region that is full", () => {
  const [first, second, third] = regionsFrom(BUSAN) as [string, string, string];
  const full = { sites: everywhere({ [first]: { maxRequests: 2 } }) };

  test("gives its overflow, and only that, to the next nearest, and takes the next when it has room again", async () => {
    const all = await world(full);
    const { holdAll, hold, servedBy, release } = all;
    expect(await holdAll(from(BUSAN), 2)).toEqual([first, first]);
    expect(await holdAll(from(BUSAN), 3)).toEqual([second, second, second]);
    // Others do not notice.
    for (const { at, region } of cities)
      expect(await servedBy(from(at))).toBe(region === first ? regionsFrom(at)[1] : region);
    release(first);
    await all.running(first, 1);
    expect((await hold(from(BUSAN))).by).toBe(first);
    expect((await hold(from(BUSAN))).by).toBe(second);
    expect(all.stage.proxy.plane.inspect().waiting).toBe(0);
  });

  test("overflows past a next nearest that is full, too", async () => {
    const { holdAll } = await world({
      sites: everywhere({ [first]: { maxRequests: 2 }, [second]: { maxRequests: 1 } }),
    });
    expect(await holdAll(from(BUSAN), 5)).toEqual([first, first, second, third, third]);
  });

  test("is waited for without spillover, in turn, while clients of other regions are served at once", async () => {
    const all = await world({
      ...full,
      nearest: { spillover: false },
      upstream: { pool: { queue: { timeout: "10s" } } },
    });
    const { stage, company, visit, servedBy, hold, release } = all;
    const running = [await hold(from(BUSAN)), await hold(from(BUSAN))];
    expect(running.map(({ by }) => by)).toEqual([first, first]);
    const order: number[] = [];
    const waiting: Promise<Message>[] = [];
    for (const n of [0, 1, 2]) {
      const answer = visit([...from(BUSAN), `X-Number: ${n}`]);
      void answer.then(() => order.push(n));
      waiting.push(answer);
      await queued(stage, n + 1);
    }
    for (const { at, region } of cities) if (region !== first) expect(await servedBy(from(at))).toBe(region);
    expect(stage.proxy.snapshot().upstreams[0]!.waiting).toBe(3);
    release(first);
    expect((await Promise.all(waiting)).map(({ status, body }) => [status, body])).toEqual(Array(3).fill([200, first]));
    expect(order).toEqual([0, 1, 2]);
    const numbers = company.deliveries.flatMap(({ request }) => request.values("x-number"));
    expect(numbers).toEqual(["0", "1", "2"]);
    expect(requestsByRegion(all)).toMatchObject({ [first]: 5 });
    expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ failed: 0, waiting: 0 });
  });

  test("that goes down while it is waited for leaves those that wait to the next nearest", async () => {
    const { stage, health, visit, holdAll } = await world({
      ...full,
      nearest: { spillover: false },
      upstream: { pool: { queue: { timeout: "10s" } } },
    });
    await holdAll(from(BUSAN), 2);
    const waiting = [visit(from(BUSAN)), visit(from(BUSAN))];
    await queued(stage, 2);
    health(first, false);
    expect((await Promise.all(waiting)).map(({ body }) => body)).toEqual([second, second]);
  });

  test("without spillover and without a queue refuses at once what another could serve", async () => {
    const { servedBy, holdAll } = await world({
      ...full,
      nearest: { spillover: false },
      upstream: { pool: { queue: false } },
    });
    await holdAll(from(BUSAN), 2);
    expect(await servedBy(from(BUSAN))).toBe("503 queue-full");
    expect(await servedBy(from(LONDON))).toBe("frankfurt");
  });
});

describe("where a client is", () => {
  const everything = {
    trustedProxies: ["127.0.0.1"],
    clientPosition: {
      headers: { latitude: "X-Latitude", longitude: "X-Longitude" },
      geoip: "city.mmdb",
      default: { latitude: -36.8509, longitude: 174.7645 },
    },
  };

  test("is what a trusted proxy says, else what the database says, else the default", async () => {
    const all = await world({ listener: everything });
    const { stage, servedBy } = all;
    // Nothing has been read yet.
    expect(await servedBy(["X-Forwarded-For: 10.1.0.1"])).toBe("sydney");
    stage.proxy.plane.setGeoip("another.mmdb", database);
    expect(await servedBy(["X-Forwarded-For: 10.1.0.1"])).toBe("sydney");
    stage.proxy.plane.setGeoip("city.mmdb", database);
    expect(await servedBy(["X-Forwarded-For: 10.1.0.1", ...from(LONDON)])).toBe("frankfurt");
    expect(await servedBy(["X-Forwarded-For: 10.1.0.1"])).toBe("seoul");
    expect(await servedBy(["X-Forwarded-For: 10.99.0.1"])).toBe("sydney");
    expect(await servedBy([])).toBe("sydney");
    expect(positions(all)).toEqual({ header: 1, geoip: 1, default: 4, none: 0 });
  });

  test("is asked anew when the database has been replaced", async () => {
    const { stage, servedBy } = await world({ listener: everything });
    const client = ["X-Forwarded-For: 10.1.0.1"];
    for (const [at, region] of [
      [BUSAN, "seoul"],
      [LONDON, "frankfurt"],
    ] as const) {
      stage.proxy.plane.setGeoip("city.mmdb", shared(cityMmdb({ "10.1.0.0/16": at })));
      for (let n = 0; n < 3; n++) expect(await servedBy(client)).toBe(region);
    }
    stage.proxy.plane.setGeoip("city.mmdb", shared(Buffer.from("no database")));
    expect(await servedBy(client)).toBe("sydney");
  });

  test.each([
    ["nobody is trusted", {}],
    ["others are trusted", { trustedProxies: ["10.0.0.0/8"] }],
  ])("is not for the client to say, when %s: neither by position nor by address", async (_, trust) => {
    const { trustedProxies: _untrusted, ...rest } = everything;
    const all = await world({ listener: { ...rest, ...trust } });
    all.stage.proxy.plane.setGeoip("city.mmdb", shared(cityMmdb({ "127.0.0.0/8": LONDON, "10.1.0.0/16": BUSAN })));
    for (const fields of [
      [],
      from(BUSAN),
      ["X-Forwarded-For: 10.1.0.1"],
      [...from(BUSAN), "X-Forwarded-For: 10.1.0.1"],
    ]) {
      expect(await all.servedBy(fields)).toBe("frankfurt");
    }
    expect(positions(all)).toEqual({ header: 0, geoip: 4, default: 0, none: 0 });
  });

  const [north, east] = ["X-Latitude: ", "X-Longitude: "];
  const valid: readonly string[] = from(BUSAN);
  test.each([
    ["nothing", [north, east]],
    ["words", [`${north}north`, `${east}east`]],
    ["half of it", [valid[0]!]],
    ["the other half", [valid[1]!]],
    ["a pole and more", [`${north}90.0001`, `${east}0`]],
    ["farther round than there is", [`${north}0`, `${east}-180.5`]],
    ["an exponent", [`${north}3e1`, `${east}129`]],
    ["hexadecimal digits", [`${north}0x10`, `${east}129`]],
    ["a plus sign", [`${north}+35.1`, `${east}129`]],
    ["NaN", [`${north}NaN`, `${east}NaN`]],
    ["Infinity", [`${north}Infinity`, `${east}Infinity`]],
    ["a comma", [`${north}35,1`, `${east}129`]],
    ["bytes of no text", [`${north}35\xff`, `${east}129\xfe`]],
    ["a thousand digits", [`${north}${"9".repeat(1_000)}`, `${east}129`]],
    ["two of one", [...valid, `${north}51.5`]],
  ])("is not known by %s in its fields, and they do no harm", async (_, fields) => {
    const all = await world({ listener: everything });
    expect(await all.servedBy(fields)).toBe("sydney");
    expect(await all.servedBy(valid)).toBe("seoul");
    expect(positions(all)).toEqual({ header: 1, geoip: 0, default: 1, none: 0 });
  });

  test("is not known by a geo: URI that is none, or one of another world", async () => {
    const clientPosition = { headers: { geo: "geolocation" }, default: { latitude: -33, longitude: 151 } };
    const all = await world({ listener: { trustedProxies: ["127.0.0.1"], clientPosition } });
    const wrong = [
      "35.1,129.0",
      "geo:",
      "geo:35.1",
      "geo:91,0",
      "geo:35.1;129.0",
      "geo:35.1,129.0;crs=moon-2011",
      "geo:35.1,129.0;u=many",
      "geo:35.1,129.0 ",
      "geo:35.1,129.0, geo:51.5,0",
      "https://maps.test/@35.1,129.0",
      `geo:${"1".repeat(8_000)}`,
      `geo:35.1,129.0${";a=b".repeat(2_000)}!;`,
      "geo:35.1,129.0;A=%zz",
    ];
    const served = [];
    for (const uri of wrong) served.push(`${uri.slice(0, 40)} ${await all.servedBy([`Geolocation: ${uri}`])}`);
    // Space behind a value is none of it.
    expect(served).toEqual(wrong.map((uri) => `${uri.slice(0, 40)} ${uri.endsWith(" ") ? "seoul" : "sydney"}`));
    expect(positions(all)).toEqual({ header: 1, geoip: 0, default: wrong.length - 1, none: 0 });
  });

  const files = geoipTestFiles();
  test.skipIf(files === undefined).each([
    ["IPv4", files?.ipv4, ["131.111.150.25", "130.149.7.201", "128.32.1.1", "143.248.1.1", "143.107.1.1"]],
    ["IPv6", files?.ipv6, ["2001:630:212::1", "2001:638:809::1", "2607:f140:ffff::1", "2001:320::1", "2001:12d0::1"]],
  ])("is what a real database says of its %s address", async (_, file, addresses) => {
    const { clientPosition, ...rest } = everything;
    const all = await world({ listener: { ...rest, clientPosition: { ...clientPosition, geoip: "real.mmdb" } } });
    all.stage.proxy.plane.setGeoip("real.mmdb", shared(readFileSync(file!)));
    const served = [];
    for (const address of [...addresses, "10.1.0.1"]) served.push(await all.servedBy([`X-Forwarded-For: ${address}`]));
    // Cambridge, Berlin, Berkeley, Daejeon, Sao Paulo; and nowhere.
    expect(served).toEqual(["frankfurt", "frankfurt", "oregon", "seoul", "sao-paulo", "sydney"]);
    expect(positions(all)).toEqual({ header: 0, geoip: 5, default: 1, none: 0 });
  });
});

describe("how far is near", () => {
  const asia: Record<string, { at: LatLon; region: string; weight?: number }> = {
    seoul: { at: REGIONS.seoul!, region: "korea" },
    busan: { at: BUSAN, region: "korea" },
    tokyo: { at: CITIES.Tokyo!.at, region: "japan" },
    frankfurt: { at: REGIONS.frankfurt!, region: "europe" },
  };
  const count = (held: readonly string[]) =>
    Object.fromEntries(Object.keys(asia).map((name) => [name, held.filter((by) => by === name).length]));

  test("maxKm: nobody is served by a backend farther away, but told that there is none", async () => {
    const all = await world({ sites: asia, nearest: { maxKm: 2_000 } });
    expect(await all.servedBy(from(BUSAN))).toBe("busan");
    expect(await all.servedBy(from(LONDON))).toBe("frankfurt");
    const response = await all.visit(from(CITIES.Lima!.at));
    expect([response.status, response.value("spillway-reason")]).toEqual([503, "no-backend"]);
    all.health("frankfurt", false);
    expect(await all.servedBy(from(LONDON))).toBe("503 no-backend");
    all.health("busan", false);
    expect(await all.servedBy(from(BUSAN))).toBe("seoul");
    expect(requestsByRegion(all)).toEqual({ korea: 2, japan: 0, europe: 1 });
  });

  test("maxKm: who has no backend within it does not wait for room at others", async () => {
    const sites = { seoul: { at: REGIONS.seoul!, maxRequests: 1 }, busan: { at: BUSAN, maxRequests: 1 } };
    const { stage, holdAll, servedBy, visit, release } = await world({ sites, nearest: { maxKm: 2_000 } });
    await holdAll(from(BUSAN), 2);
    expect(await servedBy(from(LONDON))).toBe("503 no-backend");
    const waiting = visit(from(BUSAN));
    await queued(stage, 1);
    release("seoul");
    expect((await waiting).body).toBe("seoul");
  });

  test("withinKm: those that are nearly as near share by least connections, and none farther", async () => {
    const all = await world({ sites: asia, nearest: { withinKm: 400 } });
    expect(count(await all.holdAll(from(BUSAN), 10))).toEqual({ seoul: 5, busan: 5, tokyo: 0, frankfurt: 0 });
    for (let n = 0; n < 3; n++) all.release("busan");
    await all.running("busan", 2);
    expect(count(await all.holdAll(from(BUSAN), 3))).toEqual({ seoul: 0, busan: 3, tokyo: 0, frankfurt: 0 });
    expect(await all.servedBy(from(LONDON))).toBe("frankfurt");
  });

  test("withinKm: by their weights", async () => {
    const { holdAll } = await world({
      sites: { ...asia, seoul: { ...asia.seoul!, weight: 2 } },
      nearest: { withinKm: 400 },
    });
    expect(count(await holdAll(from(BUSAN), 9))).toEqual({ seoul: 6, busan: 3, tokyo: 0, frankfurt: 0 });
  });

  test("several backends in one place share its clients", async () => {
    const { holdAll } = await world({ sites: { one: asia.seoul!, other: asia.seoul!, tokyo: asia.tokyo! } });
    expect((await holdAll(from(BUSAN), 6)).sort()).toEqual(["one", "one", "one", "other", "other", "other"]);
  });
});

describe("without coordinates", () => {
  const plain = { ap: { region: "ap" }, us: { region: "us" }, eu: { region: "eu" }, other: {} };
  const ordered = { sites: plain, nearest: { region: "eu", regions: ["us", "ap"] } };

  test("the own region serves, then the others in their order, then those of none; and back", async () => {
    const all = await world(ordered);
    for (const fields of [[], from(BUSAN)]) {
      for (const name of ["eu", "us", "ap"]) {
        expect(await all.servedBy(fields)).toBe(name);
        all.health(name, false);
      }
      expect(await all.servedBy(fields)).toBe("other");
      for (const name of ["ap", "us", "eu"]) {
        all.health(name, true);
        expect(await all.servedBy(fields)).toBe(name);
      }
    }
    expect(requestsByRegion(all)).toEqual({ ap: 4, us: 4, eu: 4, "": 2 });
    expect(all.stage.proxy.snapshot().upstreams[0]!.distances).toEqual({ buckets: Array(7).fill(0), km: 0 });
  });

  test("what the own region has no room for goes to the next, or waits without spillover", async () => {
    const sites = { ...plain, eu: { region: "eu", maxRequests: 2 } };
    const { holdAll } = await world({ ...ordered, sites });
    expect(await holdAll([], 4)).toEqual(["eu", "eu", "us", "us"]);
    const strict = await world({
      sites,
      nearest: { ...ordered.nearest, spillover: false },
      upstream: { pool: { queue: { timeout: "10s" } } },
    });
    expect(await strict.holdAll([], 2)).toEqual(["eu", "eu"]);
    const waiting = strict.visit([]);
    await queued(strict.stage, 1);
    strict.release("eu");
    expect((await waiting).body).toBe("eu");
  });

  test("a backend that nobody has placed serves only when those with a place cannot", async () => {
    const sites = {
      lost: {},
      seoul: { at: REGIONS.seoul!, maxRequests: 1 },
      frankfurt: { at: REGIONS.frankfurt!, maxRequests: 1 },
    };
    const { holdAll, release, running, health, servedBy } = await world({ sites });
    expect(await holdAll(from(BUSAN), 4)).toEqual(["seoul", "frankfurt", "lost", "lost"]);
    release("seoul");
    await running("seoul", 0);
    expect(await servedBy(from(LONDON))).toBe("seoul");
    health("seoul", false);
    expect(await servedBy(from(BUSAN))).toBe("lost");
  });

  test.each([
    ["the default fallback", {}, 16, 6],
    ["weighted round robin", { fallback: "weighted-round-robin" }, 16, 6],
    ["round robin", { fallback: "round-robin" }, 12, 2],
  ])("of a client, %s decides, and has no say in who has a position", async (_, nearest, turns, ofVirginia) => {
    const all = await world({ sites: everywhere({ virginia: { weight: 3 } }), nearest });
    for (let n = 0; n < turns; n++) {
      await all.servedBy([]);
      expect(await all.servedBy(from(BUSAN))).toBe("seoul");
    }
    const others = { oregon: 2, "sao-paulo": 2, frankfurt: 2, sydney: 2 };
    expect(requestsByRegion(all)).toEqual({ ...others, virginia: ofVirginia, seoul: 2 + turns });
    expect(positions(all)).toEqual({ header: turns, geoip: 0, default: 0, none: turns });
  });

  test("of a client, a fallback by address keeps it at one backend", async () => {
    const all = await world({ nearest: { fallback: "ip-hash" } });
    for (let client = 0; client < 20; client++) {
      const served = [];
      for (let n = 0; n < 3; n++) served.push(await all.servedBy([`X-Forwarded-For: 10.7.${client}.1`]));
      expect(new Set(served).size).toBe(1);
    }
    expect(Object.values(requestsByRegion(all)).filter((count) => count > 0).length).toBeGreaterThan(2);
  });
});

describe("together with sessions", () => {
  const cookieOf = (response: Message) => `Cookie: ${response.value("set-cookie")?.split(";")[0]}`;
  const sticky = { upstream: { affinity: { cookie: "spillway", key: "sixteen letters." } } } as const;

  test("a session begins at the nearest, and stays there when its client travels; new ones begin where they are", async () => {
    const all = await world(sticky);
    const first = await all.visit(from(BUSAN));
    expect(first.body).toBe("seoul");
    const cookie = cookieOf(first);
    for (const { at } of cities) expect(await all.servedBy([...from(at), cookie])).toBe("seoul");
    expect(await all.servedBy(from(LONDON))).toBe("frankfurt");
    expect(all.stage.proxy.snapshot().upstreams[0]!.sessions).toMatchObject({ begun: 2, kept: 20, moved: 0 });
  });

  test("a session whose backend goes down moves to the one nearest to where its client is now, and stays there", async () => {
    const all = await world(sticky);
    const cookie = cookieOf(await all.visit(from(BUSAN)));
    all.health("seoul", false);
    const moved = await all.visit([...from(LONDON), cookie]);
    expect(moved.body).toBe("frankfurt");
    all.health("seoul", true);
    expect(await all.servedBy([...from(BUSAN), cookieOf(moved)])).toBe("frankfurt");
    expect(all.stage.proxy.snapshot().upstreams[0]!.sessions).toMatchObject({ begun: 1, kept: 1, moved: 1 });
  });

  test("a session waits for its full backend, where a new client overflows", async () => {
    const all = await world({
      sites: everywhere({ seoul: { maxRequests: 1 } }),
      upstream: { ...sticky.upstream, pool: { queue: { timeout: "10s" } } },
    });
    const cookie = cookieOf(await all.visit(from(BUSAN)));
    await all.hold([...from(BUSAN), cookie]);
    const waiting = all.visit([...from(BUSAN), cookie]);
    await queued(all.stage, 1);
    expect(await all.servedBy(from(BUSAN))).toBe(regionsFrom(BUSAN)[1]);
    all.release("seoul");
    expect((await waiting).body).toBe("seoul");
  });
});

test("a nearest backend that refuses connections costs its clients nothing: the next nearest answers the same request", async () => {
  const all = await world({ upstream: { circuitBreaker: false, outlierDetection: false } });
  await all.stage.backends[4]!.close();
  for (let n = 0; n < 5; n++) expect(await all.servedBy(from(BUSAN))).toBe(regionsFrom(BUSAN)[1]);
  expect(all.stage.proxy.snapshot().upstreams[0]).toMatchObject({ failed: 0, statuses: { 200: 5 } });
});

test("only upstreams that go by it ask where clients are; the exposition says from where it is known", async () => {
  const { proxy, client } = await scene([answering(ok("near")), answering(ok("plain"))], {
    settings: ([near, plain]) => ({
      listeners: [
        {
          listen: "127.0.0.1:0",
          ...BELIEVING,
          routes: [{ match: { path: "/plain" }, upstream: "plain" }, { upstream: "near" }],
        },
      ],
      upstreams: {
        near: { balance: "nearest", backends: [backendAt(near!, { at: REGIONS.seoul!, region: "seoul" })] },
        plain: { backends: [backendAt(plain!, { at: REGIONS.seoul! })] },
      },
    }),
  });
  const wire = await client();
  for (const [target, fields] of [
    ["/plain", from(BUSAN)],
    ["/near", from(BUSAN)],
    ["/near", []],
  ] as const) {
    wire.write(get(target, fields));
    expect(`/${(await wire.response()).body}`).toBe(target);
  }
  const facts = { version: "0", node: "20", workers: 1, startedAt: 0, residentBytes: 0, cpuSeconds: 0 };
  const lines = prometheusText(proxy.snapshot(), facts).split("\n");
  const rows = lines.filter((line) => /^spillway_(region_requests|distance_km|client_positions)/.test(line));
  const km = greatCircleKm(BUSAN, REGIONS.seoul!);
  expect(rows.filter((line) => !line.startsWith("spillway_distance_km_sum"))).toEqual([
    'spillway_region_requests_total{upstream="near",region="seoul"} 2',
    ...["near", "plain"].flatMap((upstream) => [
      `spillway_distance_km_bucket{upstream="${upstream}",le="100"} 0`,
      ...[500, 1000, 2500, 5000, 10000, "+Inf"].map(
        (bound) => `spillway_distance_km_bucket{upstream="${upstream}",le="${bound}"} ${upstream === "near" ? 1 : 0}`,
      ),
      `spillway_distance_km_count{upstream="${upstream}"} ${upstream === "near" ? 1 : 0}`,
    ]),
    'spillway_client_positions_total{source="header"} 1',
    'spillway_client_positions_total{source="geoip"} 0',
    'spillway_client_positions_total{source="default"} 0',
    'spillway_client_positions_total{source="none"} 1',
  ]);
  const sum = rows.find((line) => line.startsWith('spillway_distance_km_sum{upstream="near"}'));
  expect(Number(sum!.split(" ")[1])).toBeCloseTo(km, 6);
});
