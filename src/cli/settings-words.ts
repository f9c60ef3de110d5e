import { defaultsTaken } from "../config/defaults.ts";
import { formatKey } from "../config/mistakes.ts";
import { hidePassword } from "../config/secrets.ts";
import type {
  AffinitySettings,
  BackendSettings,
  BalanceSettings,
  ClientPositionSettings,
  ListenerSettings,
  QueueSettings,
  RetrySettings,
  RouteSettings,
  Settings,
  UpstreamSettings,
} from "../config/settings.ts";
import { formatAddress } from "../config/values.ts";
import type { SessionSource } from "../policy/affinity/options.ts";
import type { Position } from "../policy/model/position.ts";

// A configuration in words: what `spillway check` prints.

/** Listeners with their routes, upstreams with their backends, the rest, and which keys took their default. */
export function settingsWords(settings: Settings, written: unknown): string {
  const sections = [
    ...settings.listeners.map(listenerWords),
    ...Object.entries(settings.upstreams).map(([name, upstream]) => upstreamWords(name, upstream)),
    generalWords(settings),
    defaultWords(written),
  ];
  return `${sections.filter((section) => section !== "").join("\n\n")}\n`;
}

function listenerWords({ listen, routes, trustedProxies, clientPosition }: ListenerSettings): string {
  const trusted =
    trustedProxies.length === 0 ? "no proxy in front is believed" : `believes ${trustedProxies.join(", ")}`;
  const rows = routes.map((route) => [`  ${route.name}`, matchWords(route), `-> ${actionWords(route)}`]);
  const last = routes.some(({ match }) => Object.values(match).every((wanted) => wanted === undefined))
    ? []
    : ["  anything else: 404"];
  return [
    `Listener ${formatAddress(listen)} (HTTP/1.1, ${trusted})`,
    ...columns(rows),
    ...last,
    ...clientPositionWords(clientPosition),
  ].join("\n");
}

function clientPositionWords(clientPosition: ClientPositionSettings): string[] {
  if (clientPosition === false) return [];
  const { headers, geoip, default: standard } = clientPosition;
  const sources: string[] = [];
  if (headers?.kind === "pair") sources.push(`${headers.latitude} and ${headers.longitude} from trusted proxies`);
  if (headers?.kind === "geo") sources.push(`${headers.name} from trusted proxies`);
  if (geoip !== undefined) sources.push(geoip);
  if (standard !== undefined) sources.push(positionWords(standard));
  return [`  where clients are: ${sources.join(", else ")}`];
}

function positionWords({ latitude, longitude }: Position): string {
  return `${latitude}, ${longitude}`;
}

function matchWords({ match }: RouteSettings): string {
  const words: string[] = [];
  if (match.host !== undefined) words.push(`host ${match.host.join(" or ")}`);
  if (match.path?.kind === "exact") words.push(`path ${match.path.path}`);
  if (match.path?.kind === "prefix") words.push(`paths below ${match.path.prefix}`);
  if (match.path?.kind === "expression") words.push(`paths like ${match.path.source}`);
  if (match.method !== undefined) words.push(`method ${match.method.join(" or ")}`);
  for (const { name, value } of match.headers ?? []) words.push(`header ${name}${value === true ? "" : ` "${value}"`}`);
  for (const { name, value } of match.query ?? []) words.push(`query ${name}${value === true ? "" : `=${value}`}`);
  if (match.client !== undefined) words.push(`clients in ${match.client.join(", ")}`);
  return words.length === 0 ? "everything" : words.join(", ");
}

/** What a route does, such as `upstream api, /v1 stripped, within 10s`. */
export function actionWords({ action, rewrite, headers, timeout, priority, rateLimit }: RouteSettings): string {
  const words = [mainWords(action)];
  if (rewrite.stripPrefix !== undefined) words.push(`${rewrite.stripPrefix} stripped`);
  if (rewrite.addPrefix !== undefined) words.push(`${rewrite.addPrefix} put in front`);
  for (const side of ["request", "response"] as const) {
    const { set, add, remove } = headers[side];
    const changes = set.length + add.length + remove.length;
    if (changes > 0) words.push(`${changes} ${side} ${changes === 1 ? "field" : "fields"} changed`);
  }
  if (timeout !== Number.POSITIVE_INFINITY) words.push(`within ${timeWords(timeout)}`);
  if (priority.header !== undefined) words.push(`priority by ${priority.header}, else ${priority.default}`);
  else if (priority.default !== "normal") words.push(`${priority.default} priority`);
  if (rateLimit !== false) {
    const { rate, per, burst, key } = rateLimit;
    words.push(`at most ${rate} in ${timeWords(per)} for each ${key}${burst === rate ? "" : `, ${burst} at once`}`);
  }
  return words.join(", ");
}

function mainWords(action: RouteSettings["action"]): string {
  switch (action.kind) {
    case "upstream":
      return `upstream ${action.upstream}`;
    case "split": {
      const total = action.split.reduce((sum, { weight }) => sum + weight, 0);
      return action.split.map(({ upstream, weight }) => `${percent(weight / total)} upstream ${upstream}`).join(", ");
    }
    case "redirect":
      return `redirect ${action.status} to ${action.to}`;
    case "respond":
      return `answer ${action.status}`;
  }
}

function upstreamWords(name: string, upstream: UpstreamSettings): string {
  const { balance, backends, healthCheck, pool, timeouts } = upstream;
  const count = `${backends.length} ${backends.length === 1 ? "backend" : "backends"}`;
  return [
    `Upstream ${name} (${balanceWords(balance)}, ${count})`,
    ...columns(backends.map((backend) => backendWords(backend, backends))),
    ...affinityWords(upstream.affinity),
    `  health: ${healthWords(healthCheck)}`,
    `  when no backend has room: ${queueWords(pool.queue)}`,
    `  when an attempt fails: ${retryWords(upstream.retry)}`,
    `  when a backend fails: ${ejectionWords(upstream)}`,
    ...switchedOn(upstream).map((words) => `  ${words}`),
    `  time to connect ${timeWords(timeouts.connect)}, to the response ${timeWords(timeouts.response)}, between parts of it ${timeWords(timeouts.idle)}`,
  ].join("\n");
}

function balanceWords({ policy, ...options }: BalanceSettings): string {
  const words = Object.entries(options as Record<string, unknown>)
    .filter(([, value]) => value !== "" && !(Array.isArray(value) && value.length === 0))
    .map(([key, value]) => `, ${key} ${optionWords(value)}`);
  return `${policy}${words.join("")}`;
}

function optionWords(value: unknown): string {
  if (Array.isArray(value)) return `[${value.join(", ")}]`;
  return value === Number.POSITIVE_INFINITY ? "unlimited" : String(value);
}

function affinityWords(affinity: AffinitySettings): string[] {
  if (affinity === false) return [];
  const { by, ttl, maxSessions, strict, store, rebalance } = affinity;
  const kept = by.kind === "cookie" ? "" : `, up to ${maxSessions} in each worker`;
  const shared = store === false ? "" : `, shared through ${hidePassword(store.url)}`;
  const lost = `${strict ? "answered 503" : "moved"} when the backend is lost`;
  const words = [
    `  sessions: by ${sourceWords(by)}, until ${timeWords(ttl)} without a request${kept}${shared}; ${lost}`,
  ];
  if (rebalance !== false)
    words.push(
      `  when backends are added or come back: up to ${rebalance.rate} tunnels a second are closed in each worker`,
    );
  return words;
}

function sourceWords(by: SessionSource): string {
  if (by.kind === "cookie") return `the cookie ${by.cookie.name}`;
  if (by.kind === "key") return by.key;
  return `the application's ${by.from === "cookie" ? "cookie" : "field"} ${by.name}`;
}

function backendWords(backend: BackendSettings, backends: readonly BackendSettings[]): string[] {
  const { id, address, weight, state, tier, maxConnections, maxRequests, position, region } = backend;
  const beside = backends.filter((other) => other.state === "up" && other.tier === tier);
  const total = beside.reduce((sum, other) => sum + other.weight, 0);
  const share = `weight ${weight}, ${percent(total === 0 ? 0 : weight / total)}`;
  const traffic = tier === 0 ? share : `${share} of backup tier ${tier}`;
  const requests = maxRequests === Number.POSITIVE_INFINITY ? "" : `, ${maxRequests} exchanges`;
  const place = `${region === "" ? "" : ` in ${region}`}${position === undefined ? "" : ` at ${positionWords(position)}`}`;
  return [
    `  ${id}${id === address ? "" : ` at ${address}`}`,
    state === "up" ? traffic : state === "drain" ? "draining" : "down",
    `at most ${maxConnections} connections${requests}${place === "" ? "" : `,${place}`}`,
  ];
}

function queueWords({ max, timeout, target }: QueueSettings): string {
  if (max === 0) return "503 at once";
  const waiting = `up to ${max} exchanges wait ${timeWords(timeout)}`;
  return target === Number.POSITIVE_INFINITY
    ? waiting
    : `${waiting}, newest first while they wait over ${timeWords(target)}`;
}

function retryWords(retry: RetrySettings): string {
  if (retry === false) return "its failure is final";
  const unsent = "what was not sent goes elsewhere";
  if (retry.attempts === 1) return unsent;
  const { attempts, unsafeMethods, budget, perTryTimeout } = retry;
  const what = unsafeMethods ? "any request" : "what is idempotent";
  const each = perTryTimeout === Number.POSITIVE_INFINITY ? "" : ` ${timeWords(perTryTimeout)} each,`;
  return `${unsent}, ${what} is sent up to ${attempts} times,${each} ${percent(budget)} of the exchanges at most`;
}

function ejectionWords({ outlierDetection, circuitBreaker }: UpstreamSettings): string {
  const words: string[] = [];
  if (outlierDetection !== false) {
    const { ejectFor, maxEjected } = outlierDetection;
    words.push(`ejected for ${timeWords(ejectFor)} and more, one or ${percent(maxEjected)} of them at most`);
  }
  if (circuitBreaker !== false) {
    const { openFor, fallback } = circuitBreaker;
    const { upstream, respond } = fallback ?? {};
    const instead = [
      ...(upstream === undefined ? [] : [`upstream ${upstream}`]),
      ...(respond === undefined ? [] : [`answer ${respond.status}`]),
    ];
    const after = instead.length === 0 ? "" : `; with none left ${instead.join(", then ")}`;
    words.push(`circuit opens for ${timeWords(openFor)} and more${after}`);
  }
  return words.length === 0 ? "it keeps its traffic" : words.join("; ");
}

/** What is off unless it is asked for. */
function switchedOn(upstream: UpstreamSettings): string[] {
  const { concurrencyLimit, slowStart, panicThreshold, hedge, throttle } = upstream;
  const words: string[] = [];
  if (concurrencyLimit !== false) {
    words.push(`exchanges at a time: ${concurrencyLimit.min} to ${concurrencyLimit.max}, as response times allow`);
  }
  if (slowStart !== false) words.push(`back again: whole weight after ${timeWords(slowStart.window)}`);
  if (panicThreshold !== false)
    words.push(`panic: all get traffic when fewer than ${percent(panicThreshold)} are well`);
  if (hedge !== false) words.push(`hedged: requests slower than ${percent(hedge.quantile)} of others`);
  if (throttle !== false) words.push(`throttled: up to ${percent(throttle.maxRefused)} refused while most fail`);
  return words;
}

function healthWords(check: UpstreamSettings["healthCheck"]): string {
  if (check === false) return "never checked, every backend counts as up";
  const what = check.type === "tcp" ? "a connection" : `${check.method} ${check.path}`;
  return `${what} every ${timeWords(check.interval)}; down after ${check.unhealthyAfter} failures in a row, up after ${check.healthyAfter} good`;
}

function generalWords({ workers, admin, log }: Settings): string {
  const adminWords = admin === false ? "Admin API: off" : `Admin API ${formatAddress(admin.listen)}`;
  const access =
    log.access.format === "off" ? "no access log" : `access log (${log.access.format}) to ${log.access.path}`;
  return `${adminWords}\nWorkers: ${workers === "auto" ? "one per core" : workers}. Log level ${log.level}, ${access}.`;
}

function defaultWords(written: unknown): string {
  const blocks = new Map<string, string[]>();
  for (const { path, value } of defaultsTaken(written)) {
    const block = formatKey(path.slice(0, -1));
    const entries = blocks.get(block) ?? [];
    if (entries.length === 0) blocks.set(block, entries);
    entries.push(`${path.at(-1)} ${String(value)}`);
  }
  if (blocks.size === 0) return "";
  return [
    "Not written, so by default",
    ...[...blocks].map(([block, entries]) => `  ${block === "" ? "" : `${block}: `}${entries.join(", ")}`),
  ].join("\n");
}

/** `250ms`, `5s`, `1h`. */
export function timeWords(ms: number): string {
  if (ms === Number.POSITIVE_INFINITY) return "unlimited";
  for (const [unit, size] of [
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1000],
  ] as const) {
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

function percent(share: number): string {
  return `${Math.round(share * 1000) / 10} %`;
}

/** Rows with their cells one below the other. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.min(60, Math.max(...rows.map((row) => row[column]?.length ?? 0))),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}
