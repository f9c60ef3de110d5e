import type { BalancerName } from "../policy/balance/index.ts";
import type { Checked } from "./checks.ts";
import { listOf } from "./leaf.ts";
import type { Finding, KeyPath } from "./mistakes.ts";
import { reachedFrom } from "./reach.ts";
import { at } from "./schema-findings.ts";
import { suggest } from "./suggest.ts";
import { quote } from "./values.ts";
import { type Block, isBlock, listAt } from "./written.ts";

// How the keys fit together that say where clients and backends are.

/** The balancer that goes by where they are. */
const NEAREST: BalancerName = "nearest";

/** Checks `clientPosition` of a listener. */
export function checkClientPosition(listener: Block, base: KeyPath, { mistakes, warnings }: Checked): void {
  const position = listener.clientPosition;
  if (!isBlock(position)) return;
  const path = [...base, "clientPosition"];
  const { headers, geoip, default: standard } = position;
  if (headers === undefined && geoip === undefined && standard === undefined) {
    mistakes.push({
      code: "CONFIG_CLIENT_POSITION",
      path,
      wrong: "nothing says where clients are",
      fix: "Write headers, geoip, default, or several of them",
    });
  }
  if (!isBlock(headers)) return;
  const wrong = headersMistake(headers);
  if (wrong !== undefined) {
    const fix = "Write either latitude and longitude, or geo";
    mistakes.push({ code: "CONFIG_CLIENT_POSITION", path: [...path, "headers"], wrong, fix });
  }
  if (listAt(listener, "trustedProxies").length > 0) return;
  warnings.push({
    code: "CONFIG_POSITION_UNTRUSTED",
    path: [...path, "headers"],
    wrong: "fields are believed from trustedProxies alone, and there are none",
    fix: "List the proxies in front under trustedProxies",
  });
}

function headersMistake({ latitude, longitude, geo }: Block): string | undefined {
  if (geo !== undefined)
    return latitude === undefined && longitude === undefined
      ? undefined
      : "geo holds both: it excludes latitude and longitude";
  if (latitude === undefined && longitude === undefined) return "no field is named";
  if (latitude === undefined || longitude === undefined) return half(latitude);
  const [first, second] = [String(latitude), String(longitude)];
  return first.toLowerCase() === second.toLowerCase() ? `both are called ${quote(first)}` : undefined;
}

function half(latitude: unknown): string {
  return latitude === undefined ? "longitude stands without latitude" : "latitude stands without longitude";
}

/** Checks the locations of the backends of an upstream, and whether they are what its balancer goes by. */
export function checkPlaces(upstream: Block, base: KeyPath, { mistakes, warnings }: Checked): void {
  for (const [index, backend] of listAt(upstream, "backends").entries()) {
    const location = at(backend, ["location"]);
    if (!isBlock(location)) continue;
    const { latitude, longitude, region } = location;
    const nothing = latitude === undefined && longitude === undefined && region === undefined;
    if (!nothing && (latitude === undefined) === (longitude === undefined)) continue;
    mistakes.push({
      code: "CONFIG_LOCATION",
      path: [...base, "backends", index, "location"],
      wrong: nothing ? "this location says nothing" : half(latitude),
      fix: nothing ? "Write latitude and longitude, region, or all three" : "Write both, or neither",
    });
  }
  if (!isNearest(upstream)) return;
  checkReach(upstream, base, mistakes);
  checkLocated(upstream, base, warnings);
  checkRegions(upstream, base, warnings);
}

function isNearest({ balance }: Block): boolean {
  return (isBlock(balance) ? balance.policy : balance) === NEAREST;
}

function checkReach({ balance }: Block, base: KeyPath, mistakes: Finding[]): void {
  const [within, max] = ["withinKm", "maxKm"].map((key) => at(balance, [key]));
  if (!(Number(within) > Number(max))) return;
  mistakes.push({
    code: "CONFIG_BOUNDS",
    path: [...base, "balance", "withinKm"],
    wrong: `withinKm (${String(within)}) is more than maxKm (${String(max)})`,
    fix: "Lower withinKm, or raise maxKm",
  });
}

function checkLocated(upstream: Block, base: KeyPath, warnings: Finding[]): void {
  const backends = listAt(upstream, "backends");
  const lost = backends.flatMap((backend, index) => (isLocated(backend) ? [] : [index]));
  const code = "CONFIG_NO_LOCATION";
  if (lost.length === backends.length) {
    if (backends.length === 0 || hasOrder(upstream)) return;
    const regions = backends.some((backend) => at(backend, ["location", "region"]) !== undefined);
    warnings.push({
      code,
      path: [...base, "balance"],
      wrong: regions
        ? "the backends have regions alone, and nothing says in which order to take those, so the fallback picks"
        : "no backend has a location, and there is no order of regions, so the fallback picks",
      fix: regions
        ? "Write region and regions, or give the backends a latitude and a longitude"
        : "Give the backends a location",
    });
  } else if (lost.length > 0) {
    const which = listOf(lost.map((index) => String(index + 1))).replace(" or ", " and ");
    warnings.push({
      code,
      path: [...base, "backends", lost[0]!],
      wrong: `nobody knows how far ${lost.length === 1 ? `backend ${which} is` : `backends ${which} are`}, so they come last`,
      fix: "Give each a latitude and a longitude",
    });
  }
}

function isLocated(backend: unknown): boolean {
  return at(backend, ["location", "latitude"]) !== undefined;
}

/** Whether an order of regions says where requests go that bring no position. */
function hasOrder({ balance }: Block): boolean {
  return orderOf(balance).length > 0;
}

/** The regions that a balancer names, with where. */
function orderOf(balance: unknown): { region: unknown; path: KeyPath }[] {
  if (!isBlock(balance)) return [];
  const own =
    balance.region === undefined || balance.region === "" ? [] : [{ region: balance.region, path: ["region"] }];
  return [...own, ...listAt(balance, "regions").map((region, index) => ({ region, path: ["regions", index] }))];
}

function checkRegions(upstream: Block, base: KeyPath, warnings: Finding[]): void {
  const regions = listAt(upstream, "backends").map((backend) => at(backend, ["location", "region"]));
  const known = [...new Set(regions.filter((region) => typeof region === "string"))];
  for (const { region, path } of orderOf(upstream.balance)) {
    if (typeof region !== "string" || known.includes(region)) continue;
    const near = suggest(region, known);
    const there = known.length === 0 ? "Give the backends a region" : `There are ${known.slice(0, 10).join(", ")}`;
    warnings.push({
      code: "CONFIG_REGION_UNKNOWN",
      path: [...base, "balance", ...path],
      wrong: `no backend stands in a region ${quote(region)}`,
      fix: near === undefined ? there : `Did you mean ${near}?`,
    });
  }
}

/** Warns of listeners that do not find out where clients are, although an upstream they lead to asks for it. */
export function checkPositions(data: Block, upstreams: Block, { warnings }: Checked): void {
  for (const [index, listener] of listAt(data, "listeners").entries()) {
    if (!isBlock(listener) || isBlock(listener.clientPosition)) continue;
    for (const name of reachedFrom(listener, upstreams).keys()) {
      const upstream = upstreams[name] as Block;
      if (!isNearest(upstream) || hasOrder(upstream) || !listAt(upstream, "backends").some(isLocated)) continue;
      warnings.push({
        code: "CONFIG_NO_POSITION",
        path: ["listeners", index],
        wrong: `upstream ${name} asks for the nearest backend, but nothing here says where clients are, so its fallback picks`,
        fix: "Write clientPosition for this listener",
      });
    }
  }
}
