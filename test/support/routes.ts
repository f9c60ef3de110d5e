import type { PickRequest } from "../../src/policy/model/request.ts";
import type { RouteOptions } from "../../src/policy/route/options.ts";

/** For tests: a request as the proxy would show it. */
export function requestOf(
  target: string,
  {
    method = "GET",
    host = "shop.test",
    client = "192.0.2.1",
    headers = {},
  }: {
    method?: string;
    host?: string;
    client?: string;
    headers?: Record<string, string>;
  } = {},
): PickRequest {
  return { method, host, target, client, header: (name) => headers[name] };
}

const unchanged = { set: [], add: [], remove: [] };

/** For tests: a route to the upstream of its name. */
export function routeOf(name: string, rest: Partial<RouteOptions> = {}): RouteOptions {
  return {
    name,
    match: {},
    rewrite: {},
    headers: { request: unchanged, response: unchanged },
    timeout: Number.POSITIVE_INFINITY,
    priority: { header: undefined, default: "normal" },
    rateLimit: false,
    action: { kind: "upstream", upstream: name },
    ...rest,
  };
}
