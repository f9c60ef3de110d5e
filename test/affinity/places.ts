import type { SettingsInput } from "../../src/config/settings.ts";
import { type Cast, cast, Gate } from "../isolation/cast.ts";
import { ok } from "../support/raw-backend.ts";
import { get, type Scene, scene } from "../support/scene.ts";
import { eventually, type Message } from "../support/wire.ts";

export type LatLon = readonly [latitude: number, longitude: number];

/** Where backends stand. */
export const REGIONS: Readonly<Record<string, LatLon>> = {
  oregon: [45.8399, -119.7006],
  virginia: [39.0438, -77.4874],
  "sao-paulo": [-23.5505, -46.6333],
  frankfurt: [50.1109, 8.6821],
  seoul: [37.5665, 126.978],
  sydney: [-33.8688, 151.2093],
};

/** Where clients are, and the region that a look at a globe says is theirs. */
export const CITIES: Readonly<Record<string, { readonly at: LatLon; readonly region: string }>> = {
  Busan: { at: [35.1796, 129.0756], region: "seoul" },
  Tokyo: { at: [35.6762, 139.6503], region: "seoul" },
  Vladivostok: { at: [43.1198, 131.8869], region: "seoul" },
  Singapore: { at: [1.3521, 103.8198], region: "seoul" },
  Mumbai: { at: [19.076, 72.8777], region: "seoul" },
  Auckland: { at: [-36.8509, 174.7645], region: "sydney" },
  Suva: { at: [-18.1416, 178.4419], region: "sydney" },
  Apia: { at: [-13.8507, -171.7514], region: "sydney" },
  Perth: { at: [-31.9505, 115.8605], region: "sydney" },
  Papeete: { at: [-17.5516, -149.5585], region: "sydney" },
  Honolulu: { at: [21.3099, -157.8581], region: "oregon" },
  Anchorage: { at: [61.2181, -149.9003], region: "oregon" },
  "Mexico City": { at: [19.4326, -99.1332], region: "virginia" },
  Toronto: { at: [43.6532, -79.3832], region: "virginia" },
  Lima: { at: [-12.0464, -77.0428], region: "sao-paulo" },
  "Buenos Aires": { at: [-34.6037, -58.3816], region: "sao-paulo" },
  "Cape Town": { at: [-33.9249, 18.4241], region: "sao-paulo" },
  Nairobi: { at: [-1.2921, 36.8219], region: "frankfurt" },
  Cairo: { at: [30.0444, 31.2357], region: "frankfurt" },
  Reykjavik: { at: [64.1466, -21.9426], region: "frankfurt" },
};

/**
 * Great-circle distance in kilometres, by another way than Spillway's: the angle between two vectors from the middle of
 * the earth, from their cross product and their dot product.
 */
export function greatCircleKm(a: LatLon, b: LatLon): number {
  const [x1, y1, z1] = vector(a);
  const [x2, y2, z2] = vector(b);
  const cross = Math.hypot(y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2);
  return 6371.0088 * Math.atan2(cross, x1 * x2 + y1 * y2 + z1 * z2);
}

function vector([latitude, longitude]: LatLon): [x: number, y: number, z: number] {
  const [north, east] = [(latitude / 180) * Math.PI, (longitude / 180) * Math.PI];
  return [Math.cos(north) * Math.cos(east), Math.cos(north) * Math.sin(east), Math.sin(north)];
}

/** The regions, nearest first. */
export function regionsFrom(at: LatLon): string[] {
  return Object.keys(REGIONS).sort((a, b) => greatCircleKm(at, REGIONS[a]!) - greatCircleKm(at, REGIONS[b]!));
}

/** One backend: where it stands, and whatever else it is configured with. */
export interface Site {
  readonly at?: LatLon;
  readonly region?: string;
  readonly maxRequests?: number;
  readonly weight?: number;
}

type ListenerInput = SettingsInput["listeners"][number];
type UpstreamInput = SettingsInput["upstreams"][string];

export interface WorldOptions {
  /** Backends by name, which each answers with. Default: one in every region. */
  readonly sites?: Readonly<Record<string, Site>>;
  /** Options of the balancer. */
  readonly nearest?: object;
  readonly listener?: Partial<ListenerInput>;
  readonly upstream?: Partial<UpstreamInput>;
}

/** A proxy that picks the nearest, with backends all over the world. */
export interface World {
  readonly stage: Scene;
  readonly company: Cast;
  /** Marks a backend as down or up. */
  health(name: string, up: boolean): void;
  /** The answer to a client whose request has these fields. */
  visit(fields: readonly string[]): Promise<Message>;
  /** The backend that answers such a client. */
  servedBy(fields: readonly string[]): Promise<string>;
  /** A request that stays with its backend: which one it is, and the answer, once it is let go. */
  hold(fields: readonly string[]): Promise<{ readonly by: string; readonly answer: Promise<Message> }>;
  /** So many, one after the other: the backends they stay with. */
  holdAll(fields: readonly string[], count: number): Promise<string[]>;
  /** Lets the oldest request that stays with a backend go. */
  release(name: string): void;
  /** Resolves when so many run on a backend. */
  running(name: string, count: number): Promise<void>;
}

/** Everything that trusts the tests' clients to say where they are. */
export const BELIEVING: Partial<ListenerInput> = {
  trustedProxies: ["127.0.0.1"],
  clientPosition: { headers: { latitude: "X-Latitude", longitude: "X-Longitude" } },
};

/** Fields by which a client says where it is. */
export function from([latitude, longitude]: LatLon): string[] {
  return [`X-Latitude: ${latitude}`, `X-Longitude: ${longitude}`];
}

/** One backend in each region, with `more` for those that are named. */
export function everywhere(more: Readonly<Record<string, Site>> = {}): Record<string, Site> {
  return Object.fromEntries(
    Object.entries(REGIONS).map(([region, at]) => [region, { at, region, ...more[region] } as Site]),
  );
}

export async function world(options: WorldOptions = {}): Promise<World> {
  const { sites = everywhere(), nearest = {}, listener = BELIEVING } = options;
  const names = Object.keys(sites);
  const gates = names.map(() => new Gate());
  const company = cast(names.length, ({ backend, request }) => {
    const answer = ok(names[backend]!);
    return request.start.includes("/hold") ? gates[backend]!.hold(answer) : answer;
  });
  const stage = await scene(company.scripts, {
    settings: (urls) => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web", ...listener } as ListenerInput],
      upstreams: {
        web: {
          balance: { policy: "nearest", ...nearest },
          backends: urls.map((url, n) => backendAt(url, sites[names[n]!]!)),
          ...options.upstream,
        },
      },
    }),
  });
  const send = async (target: string, fields: readonly string[]) => {
    const wire = await stage.client();
    wire.write(get(target, fields));
    return wire;
  };
  const visit = async (fields: readonly string[]) => (await send("/", fields)).response();
  const hold = async (fields: readonly string[]) => {
    const before = company.deliveries.length;
    const answer = (await send("/hold", fields)).response();
    answer.catch(() => {});
    await eventually(() => company.deliveries.length > before, "it reaches a backend");
    return { by: names[company.deliveries[before]!.backend]!, answer };
  };
  const slotOf = (name: string) => {
    const slot = names.indexOf(name);
    if (slot === -1) throw new Error(`no backend is called ${name}`);
    return slot;
  };
  return {
    stage,
    company,
    visit,
    hold,
    health: (name, up) => stage.proxy.plane.setHealth(slotOf(name), up, "said by the test"),
    servedBy: async (fields) => {
      const { status, body, value } = await visit(fields);
      return status === 200 ? body : `${status} ${value("spillway-reason")}`;
    },
    holdAll: async (fields, count) => {
      const held: string[] = [];
      for (let n = 0; n < count; n++) held.push((await hold(fields)).by);
      return held;
    },
    release: (name) => gates[slotOf(name)]!.release(),
    running: (name, count) => {
      const active = () => stage.proxy.snapshot().upstreams[0]!.backends[slotOf(name)]!.active;
      return eventually(
        () => active() === count,
        () => `${count} run on ${name}, not ${active()}`,
      );
    },
  };
}

/** A backend as it is configured. */
export function backendAt(url: string, { at, region, ...more }: Site): UpstreamInput["backends"][number] {
  if (at === undefined && region === undefined) return { url, ...more };
  const place = at === undefined ? {} : { latitude: at[0], longitude: at[1] };
  return { url, location: { ...place, ...(region === undefined ? {} : { region }) }, ...more };
}
