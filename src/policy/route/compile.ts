import { CidrSet } from "./cidr.ts";
import type { HeaderOption, HeaderOptions, NamedPattern, RouteOptions } from "./options.ts";
import { PathMatcher } from "./path.ts";
import type { HeaderRule, HeaderRules, Route, RouteAction } from "./route.ts";
import { parseTemplate } from "./template.ts";

/** A route with what a request has to look like. Undefined: not asked for. */
export interface Entry<U> {
  readonly route: Route<U>;
  readonly hosts: readonly string[] | undefined;
  readonly path: PathMatcher | undefined;
  readonly methods: readonly string[] | undefined;
  readonly clients: CidrSet | undefined;
  readonly clientTexts: readonly string[] | undefined;
  readonly headers: readonly NamedPattern[] | undefined;
  readonly query: readonly NamedPattern[] | undefined;
  /** Nothing is asked for. */
  readonly always: boolean;
}

/** Compiles the routes of a listener, in order; `earlier` routes decide where `..` may not lead. */
export function compileEntries<U>(options: readonly RouteOptions[], upstreamOf: (name: string) => U): Entry<U>[] {
  const earlier: PathMatcher[] = [];
  return options.map((option, index) => {
    const { match } = option;
    const path = match.path === undefined ? undefined : new PathMatcher(match.path);
    const entry: Entry<U> = {
      route: compileRoute(option, index, path, [...earlier], upstreamOf),
      hosts: filled(match.host),
      path,
      methods: filled(match.method),
      clients: filled(match.client) && new CidrSet(match.client!),
      clientTexts: match.client,
      headers: filled(match.headers),
      query: filled(match.query),
      always: Object.values(match).every(
        (wanted) => wanted === undefined || (Array.isArray(wanted) && wanted.length === 0),
      ),
    };
    if (path !== undefined) earlier.push(path);
    return entry;
  });
}

function filled<T>(list: readonly T[] | undefined): readonly T[] | undefined {
  return list === undefined || list.length === 0 ? undefined : list;
}

function compileRoute<U>(
  { name, match, rewrite, headers, timeout, priority, rateLimit, action }: RouteOptions,
  index: number,
  own: PathMatcher | undefined,
  earlier: readonly PathMatcher[],
  upstreamOf: (name: string) => U,
): Route<U> {
  const strip = rewrite.stripPrefix ?? "";
  const add = rewrite.addPrefix ?? "";
  const prefix = match.path?.kind === "prefix" ? match.path.prefix : "";
  const guarded = strip !== "" || add !== "" || own !== undefined || earlier.length > 0;
  return {
    name,
    index,
    action: compileAction(action, upstreamOf),
    requestHeaders: compileHeaders(headers.request),
    responseHeaders: compileHeaders(headers.response),
    timeoutMs: timeout,
    priority,
    rateLimit,
    rewrites: guarded,
    rewrite: { strip, add, prefix, own, earlier, guarded },
  };
}

function compileAction<U>(action: RouteOptions["action"], upstreamOf: (name: string) => U): RouteAction<U> {
  switch (action.kind) {
    case "upstream":
      return { kind: "upstream", upstream: upstreamOf(action.upstream) };
    case "split": {
      const shares = action.split.map(({ upstream, weight }) => ({ upstream: upstreamOf(upstream), weight }));
      return { kind: "split", shares, totalWeight: shares.reduce((sum, { weight }) => sum + weight, 0) };
    }
    case "redirect":
    case "respond":
      return action;
  }
}

function compileHeaders({ set, add, remove }: HeaderOptions): HeaderRules | undefined {
  if (set.length === 0 && add.length === 0 && remove.length === 0) return undefined;
  const rules = {
    remove: remove.map((name) => name.toLowerCase()),
    set: set.map(compileHeader),
    add: add.map(compileHeader),
  };
  return { ...rules, perBackend: [...rules.set, ...rules.add].some(({ value }) => value.perBackend) };
}

function compileHeader({ name, value }: HeaderOption): HeaderRule {
  const template = parseTemplate(value);
  if ("unknown" in template) throw new TypeError(`${name}: there is no variable {${template.unknown}}`);
  return { name, lower: name.toLowerCase(), value: template };
}
