import type { KeyName } from "../balance/key.ts";
import type { Priority, RateLimitOptions } from "../resilience/options.ts";

/** How the path of a request is compared, as sent: everything before `?`, never decoded. */
export type PathPattern =
  | { readonly kind: "exact"; readonly path: string }
  /** `prefix` ends with `/`: the paths that begin with it. */
  | { readonly kind: "prefix"; readonly prefix: string }
  | { readonly kind: "expression"; readonly source: string };

/** A field or query parameter that has to be there; `value` true: with any value. */
export interface NamedPattern {
  readonly name: string;
  readonly value: string | true;
}

/** What a request has to look like; what is absent is not asked for, all that is present has to hold. */
export interface MatchOptions {
  /** Names without port, lower case; `*.shop.test` is any name below shop.test, at any depth, but not shop.test itself. */
  readonly host?: readonly string[] | undefined;
  readonly path?: PathPattern | undefined;
  readonly method?: readonly string[] | undefined;
  /** Field names in lower case. */
  readonly headers?: readonly NamedPattern[] | undefined;
  /** Compared as sent, never decoded. */
  readonly query?: readonly NamedPattern[] | undefined;
  /** Addresses and CIDR blocks. */
  readonly client?: readonly string[] | undefined;
}

/** Path prefixes taken off and put on, `/v1` without a slash at the end. */
export interface RewriteOptions {
  readonly stripPrefix?: string | undefined;
  readonly addPrefix?: string | undefined;
}

/** A field with its value; values may hold the variables of {@link parseTemplate}. */
export interface HeaderOption {
  readonly name: string;
  readonly value: string;
}

/** Changes to the fields of a head, in this order: remove, set, add. */
export interface HeaderOptions {
  readonly set: readonly HeaderOption[];
  readonly add: readonly HeaderOption[];
  readonly remove: readonly string[];
}

/** An upstream with its share of a split. */
export interface SplitOption {
  readonly upstream: string;
  readonly weight: number;
}

/** What a route does with a request it takes. */
export type ActionOptions =
  | { readonly kind: "upstream"; readonly upstream: string }
  | { readonly kind: "split"; readonly split: readonly SplitOption[] }
  | { readonly kind: "redirect"; readonly to: string; readonly status: number }
  | {
      readonly kind: "respond";
      readonly status: number;
      readonly body: string;
      readonly headers: readonly HeaderOption[];
    };

/** How important a request is: what the field says where it holds one of the words, else the default. */
export interface PriorityOptions {
  /** Name in lower case; undefined: all requests are alike. */
  readonly header: string | undefined;
  readonly default: Priority;
}

/** How often one may come, and who "one" is. */
export interface RouteRateLimit extends RateLimitOptions {
  readonly key: KeyName;
}

/** One route as configured. */
export interface RouteOptions {
  /** For people: logs, metrics, the variable `{route}`. */
  readonly name: string;
  readonly match: MatchOptions;
  readonly rewrite: RewriteOptions;
  readonly headers: { readonly request: HeaderOptions; readonly response: HeaderOptions };
  /** Milliseconds from the request head to the end of the response; Infinity for no limit. */
  readonly timeout: number;
  readonly priority: PriorityOptions;
  readonly rateLimit: RouteRateLimit | false;
  readonly action: ActionOptions;
}
