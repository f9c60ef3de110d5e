import type { Affinity, Session } from "../affinity/affinity.ts";
import type { SessionSource } from "../affinity/options.ts";
import { sourceWords } from "../affinity/source-words.ts";
import { keySource } from "../balance/key.ts";
import type { Backend } from "../model/backend.ts";
import type { PickRequest } from "../model/request.ts";
import { describeBackends } from "./explain-backends.ts";
import type { BackendState } from "./member.ts";
import type { NoBackend, Upstream } from "./upstream.ts";

/** The session of a described request. */
export interface SessionExplanation {
  /** What sessions are told by: `cookie:NAME`, `learned cookie:NAME`, `header:NAME`, ...; empty where nobody knows. */
  readonly by: string;
  /**
   * `none`: the request carries nothing to tell a session by. `unknown`: what it carries belongs to no backend (yet).
   * `kept`: its backend serves it. `lost`: its backend cannot.
   */
  readonly state: "none" | "unknown" | "kept" | "lost";
  /** Id of the backend it belongs to, for `kept` and `lost`. */
  readonly backend: string | undefined;
  /** Its backend is the only one that will do: a lost session is answered 503. */
  readonly strict: boolean;
  /** Other workers or instances would be asked first, and may know better. */
  readonly asksStore: boolean;
}

/** One backend as a described request meets it. */
export interface BackendExplanation {
  readonly id: string;
  readonly address: string;
  /** Empty: none. */
  readonly region: string;
  /** 0 for those that serve, from 1 on for backups. */
  readonly tier: number;
  readonly state: BackendState;
  /** Why it is in that state. */
  readonly reason: string;
  readonly weight: number;
  /** Exchanges that run on it now. */
  readonly active: number;
  /** Most that may run on it; undefined: no limit. */
  readonly limit: number | undefined;
  readonly hasRoom: boolean;
  /** From the client, where both positions are known. */
  readonly distanceKm: number | undefined;
  /** `chosen`: it would get the request. `candidate`: it might, were it not for the choice. `out`: it cannot now. */
  readonly verdict: "chosen" | "candidate" | "out";
  /** Why so, in a few words. */
  readonly because: string;
}

/** Where a described request would go. */
export type PickChoice =
  | { readonly kind: "backend"; readonly backend: string }
  /** Chance decides among the candidates. */
  | { readonly kind: "any" }
  /** It would wait for room; `backend`: on this one. */
  | { readonly kind: "wait"; readonly backend: string | undefined; readonly upToMs: number }
  | { readonly kind: "answer"; readonly status: number; readonly reason: string };

/** What becomes of a described request in an upstream. */
export interface PickExplanation {
  readonly upstream: string;
  /** Name of the balancer; empty where nobody knows. */
  readonly balance: string;
  /** Undefined without affinity. */
  readonly session: SessionExplanation | undefined;
  /** All members, in the order of the configuration. */
  readonly backends: readonly BackendExplanation[];
  readonly choice: PickChoice;
  /** The choice is what would be done at this moment; false: chance, a shared store or the throttle has a say. */
  readonly sure: boolean;
  /** Share of requests that the throttle refuses at the moment, from 0 to 1. */
  readonly refused: number;
}

/** What is known of an upstream beside its policy, for better words. */
export interface PickFacts {
  readonly by?: SessionSource | undefined;
  /** `balance` as configured. */
  readonly balance?: BalanceFacts | undefined;
}

/** Name and options of a balancer. */
export type BalanceFacts = { readonly policy: string } & Readonly<Record<string, unknown>>;

/**
 * What an upstream would do with a request that nobody has sent, and why. Nothing changes: nothing is counted, no credit
 * is spent, no session used.
 *
 * @param wallMs time of day, milliseconds since the Unix epoch
 */
export function explainPick(
  upstream: Upstream,
  request: PickRequest,
  wallMs: number,
  now: number,
  facts: PickFacts = {},
): PickExplanation {
  const { affinity } = upstream;
  const session = affinity?.peek(request, wallMs, now);
  const own = session?.backend;
  const kept = own !== undefined && upstream.keepsSessions(own);
  const strict = own !== undefined && !kept && affinity!.strict;
  const limited = upstream.limit?.admits(upstream.running) === false;
  const found = kept ? own : strict ? "lost" : peek(upstream, request, now);
  const choice = choiceOf(upstream, kept, limited, found);
  const told = affinity === undefined ? undefined : sessionOf(affinity, session, kept, request, facts.by);
  const refused = upstream.throttle?.refusalProbability(now) ?? 0;
  return {
    upstream: upstream.name,
    balance: facts.balance?.policy ?? "",
    session: told,
    backends: describeBackends(upstream, request, {
      chosen: choice.kind === "backend" ? (found as Backend) : undefined,
      own: kept || strict ? own : undefined,
      refused: strict ? "strict" : limited ? "limited" : undefined,
      balance: facts.balance,
    }),
    choice,
    sure: choice.kind !== "any" && told?.asksStore !== true && refused === 0,
    refused,
  };
}

/** What came of looking for a backend. `threw`: the balancer did. */
type Found = Backend | NoBackend | "lost" | "threw" | undefined;

function peek(upstream: Upstream, request: PickRequest, now: number): Found {
  try {
    return upstream.peek(request, now);
  } catch {
    return "threw";
  }
}

function choiceOf(upstream: Upstream, kept: boolean, limited: boolean, found: Found): PickChoice {
  if (found === undefined) return { kind: "any" };
  if (found === "lost") return { kind: "answer", status: 503, reason: "affinity-lost" };
  if (found === "threw") return { kind: "answer", status: 500, reason: "policy-threw" };
  if (found === "none") {
    const reason = upstream.nextTrialMs() === Number.POSITIVE_INFINITY ? "no-backend" : "circuit-open";
    return { kind: "answer", status: 503, reason };
  }
  if (found !== "full" && found.hasRoom && !limited) return { kind: "backend", backend: found.id };
  if (upstream.patienceMs === 0) {
    return { kind: "answer", status: 503, reason: limited ? "concurrency" : "queue-full" };
  }
  const only = kept && found !== "full" ? found.id : undefined;
  return { kind: "wait", backend: only, upToMs: upstream.patienceMs };
}

function sessionOf(
  affinity: Affinity,
  session: Session | undefined,
  kept: boolean,
  request: PickRequest,
  by: SessionSource | undefined,
): SessionExplanation {
  const own = session?.backend;
  const carried = by === undefined ? session !== undefined && session.key !== "" : carries(by, request);
  return {
    by: by === undefined ? "" : sourceWords(by),
    state: kept ? "kept" : own !== undefined ? "lost" : carried ? "unknown" : "none",
    backend: own?.id,
    strict: affinity.strict,
    asksStore: affinity.store !== undefined && session !== undefined && session.key !== "" && !kept,
  };
}

/** Whether a request brings what sessions are told by, whatever it is worth. */
function carries(by: SessionSource, request: PickRequest): boolean {
  if (by.kind === "key") return keySource(by.key)(request) !== undefined;
  const { from, name } = by.kind === "cookie" ? { from: "cookie" as const, name: by.cookie.name } : by;
  return keySource(`${from}:${name}`)(request) !== undefined;
}
