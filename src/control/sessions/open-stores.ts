import type { Settings } from "../../config/settings.ts";
import type { Random } from "../../policy/model/random.ts";
import type { Clock } from "../../time/clock.ts";
import type { Log } from "../log.ts";
import { StartError } from "../start-error.ts";
import { loadIoredis, type RedisConstructor } from "./ioredis.ts";
import { MemoryStore } from "./memory-store.ts";
import { RedisConnection } from "./redis-connection.ts";
import { RedisStore } from "./redis-store.ts";
import type { SharedStore } from "./shared-store.ts";

/** What stores are made of. */
export interface StoreParts {
  readonly workers: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Default: the package, if it is there. */
  loadRedis?(): Promise<RedisConstructor | undefined>;
}

/**
 * A store for every upstream whose sessions are remembered and shared: among several workers, or in a Redis. Nothing is
 * connected yet; stores with the same URL have one connection.
 * @throws StartError when a Redis is wanted and the package for it is missing
 */
export async function openStores(
  upstreams: Settings["upstreams"],
  parts: StoreParts,
): Promise<ReadonlyMap<string, SharedStore>> {
  const { workers, clock, random, log } = parts;
  const stores = new Map<string, SharedStore>();
  const connections = new Map<string, RedisConnection>();
  for (const [upstream, { affinity }] of Object.entries(upstreams)) {
    if (affinity === false || affinity.by.kind === "cookie") continue;
    const { store, maxSessions, ttl } = affinity;
    if (store === false) {
      if (workers > 1) stores.set(upstream, new MemoryStore(maxSessions, ttl, clock));
      continue;
    }
    const { url, prefix, timeout } = store;
    let connection = connections.get(url);
    if (connection === undefined) {
      const Redis = await (parts.loadRedis ?? loadIoredis)();
      if (Redis === undefined) throw new StartError(missing(upstream));
      connection = new RedisConnection(url, Redis, clock);
      connections.set(url, connection);
    }
    stores.set(upstream, new RedisStore({ connection, upstream, prefix, timeoutMs: timeout, clock, random, log }));
  }
  return stores;
}

function missing(upstream: string): string {
  return (
    `upstream ${upstream} keeps its sessions in a Redis (affinity.store), and the package for that does not load. ` +
    "Install it beside Spillway: npm install ioredis"
  );
}
