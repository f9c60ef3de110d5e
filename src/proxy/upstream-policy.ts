import { createHash, createHmac } from "node:crypto";
import type { UpstreamSettings } from "../config/settings.ts";
import type { Affinity } from "../policy/affinity/affinity.ts";
import { createAffinity } from "../policy/affinity/index.ts";
import { type BalanceSettings, createBalancer } from "../policy/balance/index.ts";
import { Backend, type BackendCounts } from "../policy/model/backend.ts";
import type { Random } from "../policy/model/random.ts";
import type { Upstream, UpstreamInit } from "../policy/upstream/upstream.ts";
import type { SharedSessions } from "./shared-sessions.ts";

/** How long a worker waits for what the other workers of its process know of a session. */
const OTHER_WORKERS_MS = 250;
/** Characters of a digest that are kept: 132 bits. */
const DIGEST_CHARACTERS = 22;

/** What the policy of an upstream takes from its surroundings. */
export interface PolicySurroundings {
  readonly random: Random;
  /** What cookies are signed with where no key is configured. */
  readonly secret: string;
  /** Undefined: nobody is asked, whatever is shared. */
  readonly sharedSessions: SharedSessions | undefined;
}

/** What the settings of an upstream mean for its policy. */
export function policyOf(name: string, settings: UpstreamSettings, surroundings: PolicySurroundings): UpstreamInit {
  const { random } = surroundings;
  // The settings of a balancer are checked by its own description; the schema's type is wider.
  const makeBalancer = () => createBalancer(settings.balance as BalanceSettings, random);
  return {
    name,
    balancer: makeBalancer(),
    makeBalancer,
    isolation: { ...settings, queue: settings.pool.queue, panicThreshold: settings.panicThreshold || 0 },
    affinity: affinityOf(name, settings, surroundings),
    random,
  };
}

/** A backend as the settings say it, counted in the row `slot` of `counts`. */
export function backendOf(
  settings: UpstreamSettings["backends"][number],
  slot: number,
  counts: BackendCounts,
): Backend {
  // An exchange takes a connection of its own, so the tighter of both limits is the one that counts.
  const limit = Math.min(settings.maxConnections, settings.maxRequests);
  return new Backend({ ...settings, slot, limit }, counts);
}

/** The first members of an upstream, in the states that the settings say. */
export function setMembers(
  upstream: Upstream,
  members: readonly Backend[],
  { backends }: UpstreamSettings,
  now: number,
): void {
  upstream.update(members, now);
  for (const [at, { state }] of backends.entries()) {
    if (state !== "up") upstream.setAdminState(members[at]!, state, "set in the configuration", now);
  }
}

/** What goes into a cookie: nobody else can make it. */
function keyed(text: string, key: string): string {
  return createHmac("sha256", key).update(text).digest("base64url").slice(0, DIGEST_CHARACTERS);
}

/** What stands for a long id in a table: the same in all instances that share it. */
function plain(text: string): string {
  return createHash("sha256").update(text).digest("base64url").slice(0, DIGEST_CHARACTERS);
}

function affinityOf(
  upstream: string,
  { affinity: options }: UpstreamSettings,
  { secret, sharedSessions }: PolicySurroundings,
): Affinity | undefined {
  if (options === false) return undefined;
  const { key = secret, ttl, store } = options;
  const affinity = createAffinity(options, {
    upstream,
    digest: options.by.kind === "cookie" ? (text) => keyed(text, key) : plain,
    store: sharedSessions?.storeOf(upstream, ttl, store === false ? OTHER_WORKERS_MS : store.timeout),
  });
  sharedSessions?.tell(upstream, affinity);
  return affinity;
}
