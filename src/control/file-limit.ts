import { readFile } from "node:fs/promises";
import type { Settings } from "../config/settings.ts";

/** For everything that is no connection: libraries, logs, the threads' own descriptors. */
const OWN_FILES = 128;

/** How many files this process may have open; undefined where that cannot be found out or has no bound. */
export async function openFileLimit(): Promise<number | undefined> {
  const text = await readFile("/proc/self/limits", "utf8").catch(() => "");
  const found = /^Max open files\s+(\d+)/m.exec(text);
  return found === null ? undefined : Number(found[1]);
}

/** The most files that `settings` allow: one per client connection and one per backend connection. */
export function filesNeeded(settings: Settings, workers: number): number {
  const clients = settings.listeners.reduce((sum, { limits }) => sum + limits.connections * workers, 0);
  const backends = Object.values(settings.upstreams).flatMap((upstream) => upstream.backends);
  return clients + backends.reduce((sum, { maxConnections }) => sum + maxConnections, 0) + OWN_FILES;
}

/** A warning when `limit` is lower than what the settings allow for; undefined when there is nothing to say. */
export function explainFileLimit(limit: number | undefined, needed: number): string | undefined {
  if (limit === undefined || limit >= needed) return undefined;
  const wanted = Number.isFinite(needed) ? `up to ${needed}` : "an unlimited number";
  return (
    `at most ${limit} files can be open, and limits.connections with maxConnections allow for ${wanted}: ` +
    "raise the limit (ulimit -n, or LimitNOFILE in the service unit) or lower limits.connections"
  );
}
