import type { PickRequest } from "../model/request.ts";
import { queryValue } from "../model/target.ts";
import { compileEntries, type Entry } from "./compile.ts";
import { hostMatches, hostName } from "./host.ts";
import type { NamedPattern, RouteOptions } from "./options.ts";
import { firstSegment, pathEnd } from "./path.ts";
import type { Route } from "./route.ts";

/** Fewer routes than this are faster to walk than to look up. */
const WORTH_AN_INDEX = 8;

/** The routes that requests for one host can take, in order. */
interface HostRoutes<U> {
  /** All of them, where they are few. */
  readonly few: readonly Entry<U>[] | undefined;
  /** Where they are many: by the first segment of the path, each list with those that accept any segment among it; */
  readonly bySegment: ReadonlyMap<string, readonly Entry<U>[]>;
  /** and those alone, for all other segments. */
  readonly rest: readonly Entry<U>[];
}

/**
 * The routes of a listener, compiled once. The first that a request fits takes it.
 *
 * A host leads to its list by one look-up, a wildcard by one per label; in a long list the first segment of the path
 * leads to the few routes that can match. A match allocates at most the two keys.
 */
export class RouteTable<U = string> {
  /** The route that takes every request, where the first one does: no matching is needed then. */
  readonly only: Route<U> | undefined;
  readonly routes: readonly Route<U>[];
  /** For {@link explainRoute}. */
  readonly entries: readonly Entry<U>[];
  readonly #byName: ReadonlyMap<string, HostRoutes<U>>;
  /** By what stands behind the star: `.shop.test`. */
  readonly #byEnding: ReadonlyMap<string, HostRoutes<U>>;
  readonly #anyHost: HostRoutes<U>;
  readonly #asksHost: boolean;

  /** Use {@link compileRoutes}. */
  constructor(entries: readonly Entry<U>[]) {
    this.entries = entries;
    this.routes = entries.map(({ route }) => route);
    this.only = entries[0]?.always === true ? entries[0].route : undefined;
    const patterns = new Set(entries.flatMap(({ hosts }) => hosts ?? []));
    const byName = new Map<string, HostRoutes<U>>();
    const byEnding = new Map<string, HostRoutes<U>>();
    for (const pattern of patterns) {
      // A pattern is itself a name to the others: *.shop.test stands above *.eu.shop.test.
      const routes = hostRoutes(
        entries.filter(({ hosts }) => hosts === undefined || hosts.some((host) => hostMatches(host, pattern))),
      );
      if (pattern.startsWith("*.")) byEnding.set(pattern.slice(1), routes);
      else byName.set(pattern, routes);
    }
    this.#byName = byName;
    this.#byEnding = byEnding;
    this.#anyHost = hostRoutes(entries.filter(({ hosts }) => hosts === undefined));
    this.#asksHost = patterns.size > 0;
  }

  /** The first route that `request` fits, or undefined: 404. */
  match(request: PickRequest): Route<U> | undefined {
    if (this.only !== undefined) return this.only;
    const routes = this.#asksHost ? this.#routesOf(hostName(request.host)) : this.#anyHost;
    const { target } = request;
    const end = pathEnd(target);
    const list = routes.few ?? routes.bySegment.get(firstSegment(target, end)) ?? routes.rest;
    for (let at = 0; at < list.length; at++) {
      const entry = list[at]!;
      if (entry.path !== undefined && !entry.path.matches(target, end)) continue;
      if (entry.always || holds(entry, request)) return entry.route;
    }
    return undefined;
  }

  #routesOf(name: string): HostRoutes<U> {
    const exact = this.#byName.get(name);
    if (exact !== undefined) return exact;
    if (this.#byEnding.size > 0) {
      // The longest ending first: its list holds the routes of the shorter ones too.
      for (let dot = name.indexOf(".", 1); dot !== -1; dot = name.indexOf(".", dot + 1)) {
        const found = this.#byEnding.get(name.slice(dot));
        if (found !== undefined) return found;
      }
    }
    return this.#anyHost;
  }
}

/**
 * Compiles the routes of a listener. `upstreamOf` says what stands for an upstream in an action: its name, or the
 * object. Throws a TypeError or RangeError for what the configuration would have refused.
 */
export function compileRoutes<U>(routes: readonly RouteOptions[], upstreamOf: (name: string) => U): RouteTable<U> {
  return new RouteTable(compileEntries(routes, upstreamOf));
}

function hostRoutes<U>(entries: readonly Entry<U>[]): HostRoutes<U> {
  if (entries.length < WORTH_AN_INDEX) return { few: entries, bySegment: new Map(), rest: entries };
  const anySegment = (entry: Entry<U>): boolean => entry.path?.firstSegment === undefined;
  const segments = new Set(entries.flatMap(({ path }) => path?.firstSegment ?? []));
  const bySegment = new Map<string, readonly Entry<U>[]>();
  for (const segment of segments) {
    bySegment.set(
      segment,
      entries.filter((entry) => anySegment(entry) || entry.path?.firstSegment === segment),
    );
  }
  return { few: undefined, bySegment, rest: entries.filter(anySegment) };
}

/** Whether all that is asked for besides host and path is there. */
function holds<U>(entry: Entry<U>, request: PickRequest): boolean {
  if (entry.methods !== undefined && !entry.methods.includes(request.method)) return false;
  if (entry.clients !== undefined && !entry.clients.has(request.client)) return false;
  return missingHeader(entry, request) === undefined && missingQuery(entry, request) === undefined;
}

/** The first field asked for that is not there. */
export function missingHeader<U>({ headers }: Entry<U>, request: PickRequest): NamedPattern | undefined {
  if (headers === undefined) return undefined;
  for (let at = 0; at < headers.length; at++) {
    const { name, value } = headers[at]!;
    const actual = request.header(name);
    if (actual === undefined || (value !== true && actual !== value)) return headers[at];
  }
  return undefined;
}

/** The first query parameter asked for that is not there. */
export function missingQuery<U>({ query }: Entry<U>, request: PickRequest): NamedPattern | undefined {
  if (query === undefined) return undefined;
  for (let at = 0; at < query.length; at++) {
    const { name, value } = query[at]!;
    const actual = queryValue(request.target, name);
    if (actual === undefined || (value !== true && actual !== value)) return query[at];
  }
  return undefined;
}
