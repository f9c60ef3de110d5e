import type { PositionSource } from "../metrics/layout.ts";
import type { Position } from "../policy/model/position.ts";
import type { PickExplanation } from "../policy/upstream/explain.ts";

export type {
  BackendExplanation,
  PickChoice,
  PickExplanation,
  SessionExplanation,
} from "../policy/upstream/explain.ts";

/** A route, and what became of the request there. */
export interface RouteStep {
  readonly name: string;
  /** `later`: an earlier route has taken the request. */
  readonly verdict: "taken" | "passed" | "later";
  /** For `passed`: the first thing that does not hold. */
  readonly because: string | undefined;
}

/** A rate limit that the request would be counted by; an explanation is not. */
export interface LimitExplanation {
  readonly key: string;
  /** What it would be counted as; undefined: it has no such key, and is not limited. */
  readonly value: string | undefined;
  /** So many in `perMs` milliseconds, and `burst` at once. */
  readonly rate: number;
  readonly perMs: number;
  readonly burst: number;
}

/** An upstream that takes the request, or a part of all requests like it. */
export interface ShareExplanation {
  /** From 0 to 1. */
  readonly share: number;
  readonly pick: PickExplanation;
  /** What takes over, as none of its backends can be tried. */
  readonly fallback: { readonly pick: PickExplanation | undefined; readonly status: number | undefined } | undefined;
}

/** What would become of a request that nobody has sent; plain data. */
export interface RequestExplanation {
  /** Address of the listener. */
  readonly listener: string;
  readonly method: string;
  readonly host: string;
  readonly target: string;
  /** Address of the client, as far as whoever is in front of Spillway is believed. */
  readonly client: string;
  /** The peer is a trusted proxy. */
  readonly trusted: boolean;
  /** Undefined also where no upstream that may get it goes by it: then nobody asks. */
  readonly position: Position | undefined;
  readonly positionFrom: PositionSource;
  /** In order; empty where the request is refused before. */
  readonly routes: readonly RouteStep[];
  /** Name of the route that takes it. */
  readonly route: string | undefined;
  /** What the backend is asked for; undefined where none is. */
  readonly forwardedTarget: string | undefined;
  readonly rateLimit: LimitExplanation | undefined;
  /** What Spillway answers by itself, whatever the state of any backend. */
  readonly answer: { readonly status: number; readonly reason: string } | undefined;
  /** One, or each of a split; none where there is an `answer`. */
  readonly upstreams: readonly ShareExplanation[];
}

/** As JSON, in which what is not there is null. */
export function explanationJson(explanation: RequestExplanation): string {
  return JSON.stringify(explanation, (_, value: unknown) => value ?? null);
}
