import type { PickRequest } from "../model/request.ts";
import { queryValue } from "../model/target.ts";
import type { Entry } from "./compile.ts";
import { hostMatches, hostName } from "./host.ts";
import type { NamedPattern, PathPattern } from "./options.ts";
import { pathEnd } from "./path.ts";
import { rewriteTarget } from "./rewrite.ts";
import type { Route } from "./route.ts";
import { missingHeader, missingQuery, type RouteTable } from "./table.ts";

/** What became of a request at one route. */
export interface RouteExplanation<U = string> {
  readonly route: Route<U>;
  /** `later`: an earlier route has taken the request. */
  readonly verdict: "taken" | "passed" | "later";
  /** For `passed`: the first thing that does not hold. */
  readonly because: string | undefined;
}

/** What becomes of a request in a table. */
export interface Explanation<U = string> {
  /** One entry a route, in order. */
  readonly routes: readonly RouteExplanation<U>[];
  readonly taken: Route<U> | undefined;
  /** What the backend would be asked for; undefined where no route takes it or where its path is refused. */
  readonly target: string | undefined;
}

/** Walks the routes one by one, without the look-ups of {@link RouteTable.match}, and says why each does or does not fit. */
export function explainRoute<U>(table: RouteTable<U>, request: PickRequest): Explanation<U> {
  let taken: Route<U> | undefined;
  const routes = table.entries.map((entry): RouteExplanation<U> => {
    const { route } = entry;
    if (taken !== undefined) return { route, verdict: "later", because: undefined };
    const because = whyNot(entry, request);
    if (because !== undefined) return { route, verdict: "passed", because };
    taken = route;
    return { route, verdict: "taken", because: undefined };
  });
  return { routes, taken, target: taken === undefined ? undefined : rewriteTarget(taken, request.target) };
}

function whyNot<U>(entry: Entry<U>, request: PickRequest): string | undefined {
  const { target, method, client } = request;
  const host = hostName(request.host);
  const end = pathEnd(target);
  if (entry.hosts !== undefined && !entry.hosts.some((pattern) => hostMatches(pattern, host))) {
    return `host ${host} is not ${entry.hosts.join(" or ")}`;
  }
  if (entry.path !== undefined && !entry.path.matches(target, end)) {
    return `path ${target.slice(0, end)} ${pathWords(entry.path.pattern)}`;
  }
  if (entry.methods !== undefined && !entry.methods.includes(method)) {
    return `method ${method} is not ${entry.methods.join(" or ")}`;
  }
  if (entry.clients !== undefined && !entry.clients.has(client)) {
    return `client ${client === "" ? "unknown" : client} is not in ${entry.clientTexts!.join(", ")}`;
  }
  const header = missingHeader(entry, request);
  if (header !== undefined) return `header ${namedWords(header, request.header(header.name))}`;
  const query = missingQuery(entry, request);
  if (query !== undefined) return `query parameter ${namedWords(query, queryValue(target, query.name))}`;
  return undefined;
}

function pathWords(pattern: PathPattern): string {
  switch (pattern.kind) {
    case "exact":
      return `is not ${pattern.path}`;
    case "prefix":
      return `does not begin with ${pattern.prefix}`;
    case "expression":
      return `does not match ${pattern.source}`;
  }
}

function namedWords({ name, value }: NamedPattern, actual: string | undefined): string {
  return actual === undefined ? `${name} is missing` : `${name} is "${actual}", not "${String(value)}"`;
}
