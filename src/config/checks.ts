import { checkAffinity, checkCookies } from "./affinity-checks.ts";
import { standardAt } from "./defaults.ts";
import { checkFallbacks, checkIsolation } from "./isolation-checks.ts";
import type { Finding, KeyPath } from "./mistakes.ts";
import { checkClientPosition, checkPlaces, checkPositions } from "./place-checks.ts";
import { ACTIONS } from "./route-schema.ts";
import { at } from "./schema-findings.ts";
import { suggest } from "./suggest.ts";
import * as check from "./text-checks.ts";
import { formatAddress, isWrong, type ListenAddress, parseBackendUrl, parseListen, quote } from "./values.ts";
import { type Block, isBlock, listAt } from "./written.ts";

/** What is wrong between the parts, and what is allowed but hardly meant. */
export interface Checked {
  readonly mistakes: Finding[];
  readonly warnings: Finding[];
}

/**
 * Looks at how the parts fit together. It works on what was written, not on what the schema made of it, so that these
 * mistakes are told in the same run as those within the parts; what the schema refuses is passed over here.
 */
export function checkTogether(data: unknown): Checked {
  const checked: Checked = { mistakes: [], warnings: [] };
  if (!isBlock(data)) return checked;
  const upstreams = isBlock(data.upstreams) ? data.upstreams : {};
  const used = new Set<string>();
  const use = (name: unknown, path: KeyPath): void => useUpstream(name, path, upstreams, used, checked);
  checkListeners(data, checked, use);
  for (const [name, upstream] of Object.entries(upstreams)) checkUpstream(name, upstream, checked);
  checkFallbacks(upstreams, checked, use);
  if (checked.mistakes.length > 0) return checked;
  for (const name of Object.keys(upstreams)) {
    if (used.has(name)) continue;
    checked.warnings.push({
      code: "CONFIG_UPSTREAM_UNUSED",
      path: ["upstreams", name],
      at: "key",
      wrong: "no route leads to this upstream",
      fix: "Send a route to it, or remove it",
    });
  }
  checkCookies(data, upstreams, checked);
  checkPositions(data, upstreams, checked);
  checkAdmin(data, checked);
  return checked;
}

function useUpstream(name: unknown, path: KeyPath, upstreams: Block, used: Set<string>, { mistakes }: Checked): void {
  if (typeof name !== "string" || isWrong(check.name(name))) return;
  used.add(name);
  if (Object.hasOwn(upstreams, name)) return;
  const names = Object.keys(upstreams);
  const near = suggest(name, names);
  const defined = names.length === 0 ? "Define it under upstreams" : `Defined are ${names.slice(0, 10).join(", ")}`;
  mistakes.push({
    code: "CONFIG_UPSTREAM_UNKNOWN",
    path,
    wrong: `there is no upstream ${quote(name)}`,
    fix: near === undefined ? defined : `Did you mean ${near}?`,
  });
}

type Use = (name: unknown, path: KeyPath) => void;

function checkListeners(data: Block, checked: Checked, use: Use): void {
  const addresses: { address: ListenAddress; path: KeyPath }[] = [];
  const claim = (value: unknown, path: KeyPath): void => {
    const address = parseListen(value);
    if (isWrong(address)) return;
    const other = addresses.find((each) => clash(each.address, address));
    addresses.push({ address, path });
    if (other === undefined) return;
    const who = other.path[0] === "admin" ? "the admin API" : `listener ${Number(other.path[1]) + 1}`;
    checked.mistakes.push({
      code: "CONFIG_LISTEN_TWICE",
      path,
      wrong: `${formatAddress(address)} is taken by ${who}`,
      fix: "Give each its own port",
    });
  };
  if (data.admin !== false) claim(at(data, ["admin", "listen"]) ?? "127.0.0.1:9900", ["admin", "listen"]);
  const listeners = listAt(data, "listeners");
  if (Array.isArray(data.listeners) && listeners.length === 0) {
    checked.mistakes.push({
      code: "CONFIG_LISTENERS",
      path: ["listeners"],
      wrong: "there is no listener",
      fix: "Write at least one: - listen: 127.0.0.1:8080",
    });
  }
  for (const [index, listener] of listeners.entries()) {
    const path = ["listeners", index];
    if (!isBlock(listener)) continue;
    claim(listener.listen, [...path, "listen"]);
    if ((listener.routes === undefined) === (listener.upstream === undefined)) {
      const wrong =
        listener.routes === undefined ? "this listener leads nowhere" : "routes and upstream exclude each other";
      checked.mistakes.push({ code: "CONFIG_ACTION", path, wrong, fix: "Write either routes or upstream" });
    } else if (listener.upstream !== undefined) use(listener.upstream, [...path, "upstream"]);
    checkForwarded(listener, path, checked);
    checkClientPosition(listener, path, checked);
    checkRoutes(listener, path, checked, use);
  }
}

/** One field cannot carry two things. */
function checkForwarded(listener: Block, path: KeyPath, { mistakes }: Checked): void {
  const [id, deadline] = ["requestId", "deadline"].map(
    (key) => at(listener, ["forwarded", key]) ?? standardAt(["listeners", 0, "forwarded", key]),
  );
  if (typeof id !== "string" || typeof deadline !== "string" || id.toLowerCase() !== deadline.toLowerCase()) return;
  mistakes.push({
    code: "CONFIG_NAME",
    path: [...path, "forwarded"],
    wrong: `requestId and deadline are both called ${quote(id)}`,
    fix: "Give each its own field",
  });
}

/** Whether both cannot be listened on at the same time. Port 0 takes a free one. */
function clash(a: ListenAddress, b: ListenAddress): boolean {
  if (a.kind === "unix" || b.kind === "unix") return a.kind === b.kind && formatAddress(a) === formatAddress(b);
  if (a.port !== b.port || a.port === 0) return false;
  return a.host === b.host || takesIn(a.host, b.host) || takesIn(b.host, a.host);
}

/** Whether `wide` is an address that stands for `host` too. */
function takesIn(wide: string | undefined, host: string | undefined): boolean {
  if (wide === undefined || wide === "::") return true;
  return wide === "0.0.0.0" && (host === undefined || /^[\d.]+$/.test(host));
}

function checkRoutes(listener: Block, base: KeyPath, checked: Checked, use: Use): void {
  const routes = listAt(listener, "routes");
  const names = new Set<unknown>();
  let taken: number | undefined;
  if (Array.isArray(listener.routes) && routes.length === 0) {
    checked.mistakes.push({
      code: "CONFIG_ACTION",
      path: [...base, "routes"],
      wrong: "there is no route",
      fix: "Write at least one: - upstream: NAME",
    });
  }
  for (const [index, route] of routes.entries()) {
    const path = [...base, "routes", index];
    if (!isBlock(route)) continue;
    if (typeof route.name === "string" && names.has(route.name)) {
      checked.mistakes.push({
        code: "CONFIG_NAME",
        path: [...path, "name"],
        wrong: `another route of the listener is called ${quote(route.name)}`,
        fix: "Give each its own name",
      });
    }
    names.add(route.name);
    if (taken !== undefined) {
      checked.warnings.push({
        code: "CONFIG_ROUTE_UNREACHED",
        path,
        wrong: `route ${taken + 1} takes every request, so this one is never reached`,
        fix: "Move it up, or remove it",
      });
    } else if (route.match === undefined || (isBlock(route.match) && Object.keys(route.match).length === 0))
      taken = index;
    checkRoute(route, path, checked, use);
  }
}

function checkRoute(route: Block, path: KeyPath, { mistakes }: Checked, use: Use): void {
  const actions = ACTIONS.filter((key) => route[key] !== undefined);
  if (actions.length !== 1) {
    const wrong = actions.length === 0 ? "this route does nothing" : `${actions.join(" and ")} exclude each other`;
    mistakes.push({ code: "CONFIG_ACTION", path, wrong, fix: `Write exactly one of ${ACTIONS.join(", ")}` });
  }
  if (route.upstream !== undefined) use(route.upstream, [...path, "upstream"]);
  checkSplit(route, path, mistakes, use);
  checkStrip(route, path, mistakes);
  checkAnswer(route, path, mistakes);
  for (const block of BLOCKS_OF_FIELDS) checkFieldsTwice(route, path, block, mistakes);
}

const BLOCKS_OF_FIELDS: readonly KeyPath[] = [
  ["match", "headers"],
  ["headers", "request", "set"],
  ["headers", "request", "add"],
  ["headers", "response", "set"],
  ["headers", "response", "add"],
];

/** Names of fields are the same in upper and lower case. */
function checkFieldsTwice(owner: Block, base: KeyPath, block: KeyPath, mistakes: Finding[]): void {
  const fields = at(owner, block);
  if (!isBlock(fields)) return;
  const seen = new Set<string>();
  for (const name of Object.keys(fields)) {
    if (seen.has(name.toLowerCase())) {
      mistakes.push({
        code: "CONFIG_DUPLICATE_KEY",
        path: [...base, ...block, name],
        at: "key",
        wrong: `the field ${quote(name)} stands here twice, in different case`,
        fix: "Keep one",
      });
    }
    seen.add(name.toLowerCase());
  }
}

/** Checks the `respond` of a route or a fallback. */
function checkAnswer(block: Block, path: KeyPath, mistakes: Finding[]): void {
  checkFieldsTwice(block, path, ["respond", "headers"], mistakes);
  const status = Number(at(block, ["respond", "status"]));
  const body = at(block, ["respond", "body"]);
  if (![204, 205, 304].includes(status) || typeof body !== "string" || body === "") return;
  mistakes.push({
    code: "CONFIG_STATUS",
    path: [...path, "respond", "body"],
    wrong: `an answer with status ${status} has no body`,
    fix: "Leave body out, or choose another status",
  });
}

function checkSplit(route: Block, base: KeyPath, mistakes: Finding[], use: Use): void {
  const split = listAt(route, "split");
  const path = [...base, "split"];
  if (Array.isArray(route.split) && split.length === 0) {
    mistakes.push({
      code: "CONFIG_ACTION",
      path,
      wrong: "this split has no shares",
      fix: "Write { upstream: NAME, weight: 95 } for each",
    });
  } else if (split.length > 0 && split.every((share) => isBlock(share) && isZero(share.weight))) {
    mistakes.push({
      code: "CONFIG_WEIGHT",
      path,
      wrong: "all weights are 0",
      fix: "Give at least one a weight above 0",
    });
  }
  for (const [index, share] of split.entries()) {
    if (isBlock(share)) use(share.upstream, [...path, index, "upstream"]);
  }
}

/** A prefix that no path of the route can have was hardly meant. */
function checkStrip(route: Block, path: KeyPath, mistakes: Finding[]): void {
  const strip = at(route, ["rewrite", "stripPrefix"]);
  const pattern = at(route, ["match", "path"]);
  if (typeof strip !== "string" || typeof pattern !== "string") return;
  const prefix = check.pathPrefix(strip);
  if (isWrong(prefix) || check.pathMistake(pattern) !== undefined) return;
  const below = `${prefix}/`;
  const wide = pattern.endsWith("/*") && below.startsWith(pattern.slice(0, -1));
  if (wide || pattern === prefix || pattern.startsWith(below)) return;
  mistakes.push({
    code: "CONFIG_PATH",
    path: [...path, "rewrite", "stripPrefix"],
    wrong: `no path that matches ${pattern} begins with ${prefix}`,
    fix: "Strip a prefix of match.path, or leave it out",
  });
}

function checkUpstream(name: string, upstream: unknown, checked: Checked): void {
  const { mistakes } = checked;
  const path = ["upstreams", name];
  const named = check.name(name);
  if (isWrong(named)) mistakes.push({ code: named.code, path, at: "key", wrong: named.wrong, fix: named.fix });
  if (!isBlock(upstream)) return;
  checkHealth(upstream, path, mistakes);
  checkIsolation(upstream, path, checked);
  checkAffinity(upstream, path, checked);
  checkPlaces(upstream, path, checked);
  const fallback = at(upstream, ["circuitBreaker", "fallback"]);
  if (isBlock(fallback)) checkAnswer(fallback, [...path, "circuitBreaker", "fallback"], mistakes);
  if (!Array.isArray(upstream.backends)) return;
  const backends = listAt(upstream, "backends");
  if (backends.length === 0) {
    mistakes.push({
      code: "CONFIG_NO_BACKENDS",
      path: [...path, "backends"],
      wrong: "this upstream has no backends",
      fix: "List at least one: - http://127.0.0.1:9001",
    });
  } else if (backends.every((backend) => isBlock(backend) && isZero(backend.weight))) {
    mistakes.push({
      code: "CONFIG_WEIGHT",
      path: [...path, "backends"],
      wrong: "all weights are 0",
      fix: "Give at least one a weight above 0",
    });
  }
  checkTwice(backends, path, mistakes);
}

const HTTP_ONLY = ["path", "method", "host", "expectStatus", "expectBody"];

function checkHealth(upstream: unknown, path: KeyPath, mistakes: Finding[]): void {
  const health = at(upstream, ["healthCheck"]);
  if (!isBlock(health) || (health.type !== undefined && health.type !== "tcp")) return;
  for (const key of HTTP_ONLY) {
    if (health[key] === undefined) continue;
    mistakes.push({
      code: "CONFIG_HEALTH_CHECK",
      path: [...path, "healthCheck", key],
      at: "key",
      wrong: `${key} has no meaning for a tcp check`,
      fix: "Write type: http beside it, or leave it out",
    });
  }
}

function checkTwice(backends: readonly unknown[], path: KeyPath, mistakes: Finding[]): void {
  const addresses = new Map<string, number>();
  const ids = new Map<string, number>();
  for (const [index, backend] of backends.entries()) {
    const here = [...path, "backends", index];
    const url = isBlock(backend) ? backend.url : backend;
    const endpoint = parseBackendUrl(url);
    const address = isWrong(endpoint) ? undefined : formatAddress(endpoint);
    const same = address === undefined ? undefined : addresses.get(address);
    if (same !== undefined) {
      mistakes.push({
        code: "CONFIG_BACKEND_TWICE",
        path: here,
        wrong: `backend ${same + 1} has the address ${address} too`,
        fix: "Keep one; a greater weight gives it more traffic",
      });
    }
    const id = isBlock(backend) && typeof backend.id === "string" ? backend.id : address;
    const namesake = id === undefined ? undefined : ids.get(id);
    if (namesake !== undefined && same === undefined) {
      mistakes.push({
        code: "CONFIG_BACKEND_TWICE",
        path: isBlock(backend) && backend.id !== undefined ? [...here, "id"] : here,
        wrong: `backend ${namesake + 1} has the id ${quote(id!)} too`,
        fix: "Give each its own id",
      });
    }
    if (address !== undefined && same === undefined) addresses.set(address, index);
    if (id !== undefined && namesake === undefined) ids.set(id, index);
  }
}

function isZero(weight: unknown): boolean {
  return weight === 0 || weight === "0";
}

function checkAdmin(data: Block, { warnings }: Checked): void {
  const listen = parseListen(at(data, ["admin", "listen"]) ?? "127.0.0.1:9900");
  if (data.admin === false || isWrong(listen) || listen.kind === "unix") return;
  if (listen.host === "localhost" || listen.host === "::1" || listen.host?.startsWith("127.") === true) return;
  warnings.push({
    code: "CONFIG_ADMIN_OPEN",
    path: ["admin", "listen"],
    wrong: "metrics and states can be read from other machines",
    fix: "Listen on 127.0.0.1",
  });
}
