import type { Affinity, AffinityParts } from "./affinity.ts";
import { CookieAffinity } from "./cookie-affinity.ts";
import type { AffinityOptions } from "./options.ts";
import { TableAffinity } from "./table-affinity.ts";

/** What `affinity` of an upstream says, as an object: one for each upstream and worker. */
export function createAffinity(options: AffinityOptions, parts: AffinityParts): Affinity {
  const { by } = options;
  return by.kind === "cookie" ? new CookieAffinity(by.cookie, options, parts) : new TableAffinity(by, options, parts);
}

export type {
  Affinity,
  AffinityFigures,
  AffinityParts,
  LearnsFrom,
  Session,
  SessionEvent,
  SessionStore,
  StoreAsker,
} from "./affinity.ts";
export { learnedId } from "./learned-id.ts";
export type { AffinityOptions, CookieOptions, RebalanceOptions, SessionSource } from "./options.ts";
