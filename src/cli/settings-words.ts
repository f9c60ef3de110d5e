import { defaultsTaken } from "../config/defaults.ts";
import { formatKey } from "../config/mistakes.ts";
import type { ListenerSettings, RouteSettings, Settings, UpstreamSettings } from "../config/settings.ts";
import { formatAddress } from "../config/values.ts";

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

function listenerWords({ listen, routes, trustedProxies }: ListenerSettings): string {
  const trusted =
    trustedProxies.length === 0 ? "no proxy in front is believed" : `believes ${trustedProxies.join(", ")}`;
  const rows = routes.map((route) => [`  ${route.name}`, matchWords(route), `-> ${actionWords(route)}`]);
  const last = routes.some(({ match }) => Object.values(match).every((wanted) => wanted === undefined))
    ? []
    : ["  anything else: 404"];
  return [`Listener ${formatAddress(listen)} (HTTP/1.1, ${trusted})`, ...columns(rows), ...last].join("\n");
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
export function actionWords({ action, rewrite, headers, timeout }: RouteSettings): string {
  const words = [mainWords(action)];
  if (rewrite.stripPrefix !== undefined) words.push(`${rewrite.stripPrefix} stripped`);
  if (rewrite.addPrefix !== undefined) words.push(`${rewrite.addPrefix} put in front`);
  for (const side of ["request", "response"] as const) {
    const { set, add, remove } = headers[side];
    const changes = set.length + add.length + remove.length;
    if (changes > 0) words.push(`${changes} ${side} ${changes === 1 ? "field" : "fields"} changed`);
  }
  if (timeout !== Number.POSITIVE_INFINITY) words.push(`within ${timeWords(timeout)}`);
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

function upstreamWords(name: string, { balance, backends, healthCheck, pool, timeouts }: UpstreamSettings): string {
  const { policy, ...options } = balance;
  const optionWords = Object.entries(options).map(([key, value]) => `, ${key} ${String(value)}`);
  const total = backends.filter(({ state }) => state === "up").reduce((sum, { weight }) => sum + weight, 0);
  const rows = backends.map(({ id, address, weight, state, maxConnections }) => [
    `  ${id}${id === address ? "" : ` at ${address}`}`,
    state === "up"
      ? `weight ${weight}, ${percent(total === 0 ? 0 : weight / total)}`
      : state === "drain"
        ? "draining"
        : "down",
    `at most ${maxConnections} connections`,
  ]);
  const count = `${backends.length} ${backends.length === 1 ? "backend" : "backends"}`;
  const { queue } = pool;
  return [
    `Upstream ${name} (${policy}${optionWords.join("")}, ${count})`,
    ...columns(rows),
    `  health: ${healthWords(healthCheck)}`,
    `  when all connections are busy: ${queue.max === 0 ? "503 at once" : `up to ${queue.max} exchanges wait ${timeWords(queue.timeout)}`}`,
    `  time to connect ${timeWords(timeouts.connect)}, to the response ${timeWords(timeouts.response)}, between parts of it ${timeWords(timeouts.idle)}`,
  ].join("\n");
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
