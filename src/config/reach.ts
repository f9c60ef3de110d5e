import { at } from "./schema-findings.ts";
import { type Block, isBlock, listAt } from "./written.ts";

/** Hosts as routes match them, such as `shop.test` and `*.shop.test`; undefined: any. */
export type Hosts = readonly string[] | undefined;

/** The upstreams that requests of a listener may come to, fallbacks too, each with the hosts they are for. */
export function reachedFrom(listener: Block, upstreams: Block): Map<string, Hosts> {
  const reached = new Map<string, Hosts>();
  const reach = (name: unknown, hosts: Hosts): void => {
    if (typeof name !== "string" || !isBlock(at(upstreams, [name]))) return;
    const before = reached.has(name) ? reached.get(name) : [];
    reached.set(name, before && hosts && [...before, ...hosts]);
  };
  const lead = (name: unknown, hosts: Hosts): void => {
    reach(name, hosts);
    if (typeof name === "string") reach(at(upstreams, [name, "circuitBreaker", "fallback", "upstream"]), hosts);
  };
  lead(listener.upstream, undefined);
  for (const route of listAt(listener, "routes")) {
    if (!isBlock(route)) continue;
    const hosts = hostsOf(at(route, ["match", "host"]));
    lead(route.upstream, hosts);
    for (const share of listAt(route, "split")) if (isBlock(share)) lead(share.upstream, hosts);
  }
  return reached;
}

function hostsOf(written: unknown): Hosts {
  if (written === undefined) return undefined;
  return (Array.isArray(written) ? written : [written]).map((host) => String(host).toLowerCase());
}

/** Whether there is a host that both have. */
export function overlap(some: Hosts, others: Hosts): boolean {
  if (some === undefined || others === undefined) return true;
  return some.some((one) => others.some((other) => one === other || takesIn(one, other) || takesIn(other, one)));
}

function takesIn(wide: string, host: string): boolean {
  return wide.startsWith("*.") && host.endsWith(wide.slice(1));
}
