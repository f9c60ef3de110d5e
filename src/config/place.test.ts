import { expect, test } from "vitest";
import { formatMistake } from "./mistakes.ts";
import { checkConfig } from "./parse.ts";
import type { Settings, SettingsInput } from "./settings.ts";

type ListenerInput = SettingsInput["listeners"][number];
type UpstreamInput = SettingsInput["upstreams"][string];

function load(listener: Partial<ListenerInput>, web: Partial<UpstreamInput> = {}): Settings {
  const input: SettingsInput = {
    listeners: [{ listen: ":8080", upstream: "web", ...listener }],
    upstreams: { web: { backends: ["http://a"], ...web } },
  };
  const loaded = checkConfig(input, { file: "config", environment: {} });
  if (!loaded.ok) throw new Error(loaded.mistakes.map(formatMistake).join("\n"));
  return loaded.settings;
}

test("where clients are is looked for in fields, in a database, or taken as given", () => {
  const position = (clientPosition: NonNullable<ListenerInput["clientPosition"]>) =>
    load({ clientPosition }).listeners[0]!.clientPosition;
  expect(position({ headers: { latitude: "X-Latitude", longitude: "X-Longitude" } })).toEqual({
    headers: { kind: "pair", latitude: "x-latitude", longitude: "x-longitude" },
    geoip: undefined,
    default: undefined,
  });
  expect(position({ headers: { geo: "Geolocation" }, geoip: "city.mmdb" })).toEqual({
    headers: { kind: "geo", name: "geolocation" },
    geoip: "city.mmdb",
    default: undefined,
  });
  expect(position({ default: { latitude: -90, longitude: 180 } })).toEqual({
    headers: undefined,
    geoip: undefined,
    default: { latitude: -90, longitude: 180 },
  });
  expect(position(false)).toBe(false);
});

test("a backend has a position, a region, both or neither", () => {
  const backends = [
    "http://a",
    { url: "http://b" },
    { url: "http://c", location: { region: "seoul" } },
    { url: "http://d", location: { latitude: 37.5, longitude: 127 } },
    { url: "http://e", location: { latitude: "-0.5" as never, longitude: 0, region: "sea" } },
  ];
  expect(load({}, { backends }).upstreams.web!.backends.map(({ position, region }) => [position, region])).toEqual([
    [undefined, ""],
    [undefined, ""],
    [undefined, "seoul"],
    [{ latitude: 37.5, longitude: 127 }, ""],
    [{ latitude: -0.5, longitude: 0 }, "sea"],
  ]);
});

test("the options of the nearest balancer have its defaults, and unlimited is no number", () => {
  const usual = { withinKm: 0, maxKm: Number.POSITIVE_INFINITY, spillover: true, region: "", regions: [] };
  const balance = (input: NonNullable<UpstreamInput["balance"]>) => load({}, { balance: input }).upstreams.web!.balance;
  expect(balance({ policy: "nearest" })).toEqual({ policy: "nearest", ...usual, fallback: "weighted-round-robin" });
  expect(
    balance({ policy: "nearest", withinKm: 0.5, maxKm: 2000, spillover: false, region: "eu", regions: ["us"] }),
  ).toMatchObject({ withinKm: 0.5, maxKm: 2000, spillover: false, region: "eu", regions: ["us"] });
  expect(balance({ policy: "nearest", maxKm: "unlimited", fallback: "ip-hash" })).toMatchObject({
    ...usual,
    fallback: "ip-hash",
  });
});
