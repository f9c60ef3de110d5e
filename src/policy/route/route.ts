import type { PriorityOptions, RouteRateLimit } from "./options.ts";
import type { PathMatcher } from "./path.ts";
import type { Template } from "./template.ts";

/** A field to be set or added. */
export interface HeaderRule {
  /** As configured. */
  readonly name: string;
  /** In lower case, for comparing. */
  readonly lower: string;
  readonly value: Template;
}

/** Changes to the fields of a head, in this order: remove, set (replaces all of that name), add (beside what is there). */
export interface HeaderRules {
  /** Names in lower case. */
  readonly remove: readonly string[];
  readonly set: readonly HeaderRule[];
  readonly add: readonly HeaderRule[];
  /** Some value mentions `{backend}`: the head differs from attempt to attempt. */
  readonly perBackend: boolean;
}

/** An upstream with its share of a split. */
export interface SplitShare<U> {
  readonly upstream: U;
  readonly weight: number;
}

/** What a route does with a request. `U` stands for an upstream: its name, or the object itself. */
export type RouteAction<U> =
  | { readonly kind: "upstream"; readonly upstream: U }
  | { readonly kind: "split"; readonly shares: readonly SplitShare<U>[]; readonly totalWeight: number }
  | { readonly kind: "redirect"; readonly to: string; readonly status: number }
  | {
      readonly kind: "respond";
      readonly status: number;
      readonly body: string;
      readonly headers: readonly { readonly name: string; readonly value: string }[];
    };

/** A compiled route. */
export interface Route<U = string> {
  readonly name: string;
  /** Place in the listener's list, from 0. */
  readonly index: number;
  readonly action: RouteAction<U>;
  /** Undefined where nothing is changed. */
  readonly requestHeaders: HeaderRules | undefined;
  readonly responseHeaders: HeaderRules | undefined;
  /** Milliseconds from the request head to the end of the response; Infinity for no limit. */
  readonly timeoutMs: number;
  readonly priority: PriorityOptions;
  readonly rateLimit: RouteRateLimit | false;
  /** True when {@link rewriteTarget} may change or refuse the target; where false the call can be left out. */
  readonly rewrites: boolean;
  /** For {@link rewriteTarget}. */
  readonly rewrite: RewriteRule;
}

/** What {@link rewriteTarget} goes by. */
export interface RewriteRule {
  /** Taken off the path: without a slash at the end, empty for nothing. */
  readonly strip: string;
  /** Put before the path: without a slash at the end, empty for nothing. */
  readonly add: string;
  /** Prefix the route matched by, ending with `/`; empty where it has none. */
  readonly prefix: string;
  /** Resolved, a path with `..` still has to match this one, */
  readonly own: PathMatcher | undefined;
  /** and none of these: they belong to routes that come first. */
  readonly earlier: readonly PathMatcher[];
  /** Whether `..` is looked for at all. */
  readonly guarded: boolean;
}

/** The upstream of a split for a uniform `random` in [0, 1): each gets its weight's share. */
export function chooseSplit<U>(action: Extract<RouteAction<U>, { kind: "split" }>, random: number): U {
  let left = random * action.totalWeight;
  const { shares } = action;
  for (let at = 0; at < shares.length; at++) {
    left -= shares[at]!.weight;
    if (left < 0) return shares[at]!.upstream;
  }
  // Rounding can leave a hair at the end: it belongs to the last share that has any.
  for (let at = shares.length - 1; at > 0; at--) if (shares[at]!.weight > 0) return shares[at]!.upstream;
  return shares[0]!.upstream;
}
