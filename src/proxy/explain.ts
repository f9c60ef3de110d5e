import type { UpstreamSettings } from "../config/settings.ts";
import { keySource } from "../policy/balance/key.ts";
import type { Position } from "../policy/model/position.ts";
import type { PickRequest } from "../policy/model/request.ts";
import { networkOf } from "../policy/resilience/client-network.ts";
import { explainRoute } from "../policy/route/explain.ts";
import type { Route } from "../policy/route/route.ts";
import type { RouteTable } from "../policy/route/table.ts";
import { explainPick, type PickExplanation } from "../policy/upstream/explain.ts";
import type { Upstream } from "../policy/upstream/upstream.ts";
import type { KnownNames } from "../wire/fields.ts";
import { REFUSALS, type Refusal } from "../wire/refusal.ts";
import { RequestHead, type RequestLimits } from "../wire/request-head.ts";
import type { ClientPositions } from "./client-position.ts";
import type { RequestDescription } from "./data-plane-api.ts";
import type { LimitExplanation, RequestExplanation, ShareExplanation } from "./explanation.ts";
import { clientOf, type Trust } from "./forwarding.ts";

/** What an explanation has to know of a listener. */
export interface ExplainedListener extends Trust {
  readonly limits: RequestLimits;
  readonly fieldNames: KnownNames;
  readonly positions: ClientPositions | undefined;
  readonly routes: RouteTable<ExplainedUpstream>;
}

/** What an explanation has to know of an upstream. */
export interface ExplainedUpstream {
  readonly upstream: Upstream;
  readonly settings: UpstreamSettings;
  /** Whether it matters where clients are, here or in the fallback. */
  readonly asksForPosition: boolean;
}

/** When, and among which upstreams. */
export interface ExplainedWorld {
  /** Address of the listener, for people. */
  readonly address: string;
  /** All there are: a fallback may lead to any. */
  readonly upstreams: ReadonlyMap<Upstream, ExplainedUpstream>;
  /** Time of day, milliseconds since the Unix epoch. */
  readonly wallMs: number;
  readonly now: number;
}

/**
 * What would become of a request: which route takes it, who its client is and where, and what each upstream that may
 * get it would do. It is read as if it had come over the wire, and nothing is sent, counted or remembered.
 *
 * A session that may leave its backend, because a tunnel of it was closed for that, is explained as one that stays: whether
 * it leaves is decided when it comes with an upgrade.
 */
export function explainRequest(
  listener: ExplainedListener,
  request: RequestDescription,
  world: ExplainedWorld,
): RequestExplanation {
  const head = new RequestHead(listener.limits, listener.fieldNames);
  const refusal = read(head, request);
  const trusted = listener.trusts(request.client);
  const known = {
    listener: world.address,
    method: request.method,
    host: request.host.toLowerCase(),
    target: request.target,
    client: request.client,
    trusted,
    position: undefined,
    positionFrom: "none",
    routes: [],
    route: undefined,
    forwardedTarget: undefined,
    rateLimit: undefined,
    answer: undefined,
    upstreams: [],
  } as const satisfies RequestExplanation;
  if (refusal !== undefined) return { ...known, answer: { status: refusal.status, reason: refusal.code } };

  head.client = trusted ? clientOf(head, request.client, listener) : request.client;
  const { routes, taken, target } = explainRoute(listener.routes, head);
  const goesByPosition = taken !== undefined && upstreamsOf(taken).some(({ asksForPosition }) => asksForPosition);
  const located = goesByPosition ? listener.positions?.peek(head, trusted) : undefined;
  return {
    ...known,
    method: head.method,
    host: head.host,
    target: head.target,
    client: head.client,
    position: located?.position,
    positionFrom: located?.source ?? "none",
    routes: routes.map(({ route, verdict, because }) => ({ name: route.name, verdict, because })),
    route: taken?.name,
    ...(taken === undefined
      ? { answer: { status: 404, reason: "no-route" } }
      : explainTaken(taken, target, { head, position: located?.position }, world)),
  };
}

/** Reads the request from bytes; answers with why it is refused. */
function read(head: RequestHead, { method, target, host, headers }: RequestDescription): Refusal | undefined {
  const lines = [
    `${method} ${target} HTTP/1.1`,
    `host: ${host}`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
  ];
  // One of them that holds the end of a line is two.
  if (lines.some((line) => /[\r\n]/.test(line))) return REFUSALS.lineEnd;
  const bytes = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`);
  return head.parse(bytes, 0, bytes.length) < 0 ? (head.refusal ?? REFUSALS.requestLine) : undefined;
}

/** The request as it was read, and where its client is for upstreams that ask. */
interface Located {
  readonly head: RequestHead;
  readonly position: Position | undefined;
}

type Taken = Pick<RequestExplanation, "forwardedTarget" | "rateLimit" | "answer" | "upstreams">;

function explainTaken(
  route: Route<ExplainedUpstream>,
  target: string | undefined,
  request: Located,
  world: ExplainedWorld,
): Taken {
  const { action } = route;
  const rateLimit = limitOf(route, request.head);
  const own = { forwardedTarget: undefined, rateLimit, upstreams: [] };
  if (target === undefined) return { ...own, answer: { status: 400, reason: "path-leaves-prefix" } };
  if (action.kind === "redirect" || action.kind === "respond") {
    return { ...own, answer: { status: action.status, reason: action.kind } };
  }
  return {
    forwardedTarget: target,
    rateLimit,
    answer: undefined,
    upstreams: upstreamsOf(route).map((upstream, index) => {
      const share = action.kind === "split" ? action.shares[index]!.weight / action.totalWeight : 1;
      return explainShare(upstream, share, request, world);
    }),
  };
}

/** Those that may get what a route takes. */
function upstreamsOf({ action }: Route<ExplainedUpstream>): readonly ExplainedUpstream[] {
  if (action.kind === "upstream") return [action.upstream];
  return action.kind === "split" ? action.shares.map(({ upstream }) => upstream) : [];
}

function limitOf({ rateLimit }: Route<unknown>, request: PickRequest): LimitExplanation | undefined {
  if (rateLimit === false) return undefined;
  const { key, rate, per, burst } = rateLimit;
  const value = keySource(key)(request);
  return { key, value: key === "client-ip" ? networkOf(value) : value, rate, perMs: per, burst };
}

function explainShare(
  explained: ExplainedUpstream,
  share: number,
  { head, position }: Located,
  world: ExplainedWorld,
): ShareExplanation {
  head.position = explained.asksForPosition ? position : undefined;
  const pick = pickOf(explained, head, world);
  const { fallback } = explained.upstream;
  if (fallback === undefined || !fallsBack(pick)) return { share, pick, fallback: undefined };
  const other = fallback.upstream && world.upstreams.get(fallback.upstream);
  const taker = other && pickOf(other, head, world);
  const response = fallback.respond as { readonly status: number } | undefined;
  // The response stands for the error that the other upstream would bring, too.
  const responds = taker === undefined || fallsBack(taker) ? response?.status : undefined;
  return { share, pick, fallback: { pick: taker, status: responds } };
}

function pickOf(
  { upstream, settings }: ExplainedUpstream,
  request: PickRequest,
  world: ExplainedWorld,
): PickExplanation {
  const { affinity, balance } = settings;
  const by = affinity === false ? undefined : affinity.by;
  return explainPick(upstream, request, world.wallMs, world.now, { by, balance });
}

/** Whether nobody can be tried, for which a fallback stands in. */
function fallsBack({ choice }: PickExplanation): boolean {
  return choice.kind === "answer" && (choice.reason === "no-backend" || choice.reason === "circuit-open");
}
