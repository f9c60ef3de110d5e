import { onTestFinished, vi } from "vitest";
import type { SettingsInput } from "../../src/config/settings.ts";
import { SystemClock } from "../../src/time/system-clock.ts";
import { type Cast, cast } from "../isolation/cast.ts";
import { ok } from "../support/raw-backend.ts";
import { get, type Scene, type SceneOptions, scene } from "../support/scene.ts";
import type { Message, Wire } from "../support/wire.ts";

export type AffinityInput = NonNullable<SettingsInput["upstreams"][string]["affinity"]>;

/** What cookies are made with. */
export const KEY = "a key of the tests, long enough";

/** A client with a session: what it was given, and who has served it. */
export class Visitor {
  readonly n: number;
  /** What the last response that gave something gave: a cookie's `name=value`, or an id. Empty: nothing yet. */
  given = "";
  /** How often it was given something. */
  gifts = 0;
  /** Backends, by their place, in the order of its requests. */
  readonly served: number[] = [];

  constructor(n: number) {
    this.n = n;
  }
}

/** A way to tell a session: what Spillway is told, what the application does, and what a client sends. */
export interface Kind {
  readonly name: string;
  readonly affinity: AffinityInput & object;
  /** Nothing is remembered. */
  readonly stateless?: boolean;
  readonly listener?: SceneOptions["listener"];
  request(visitor: Visitor): string;
  /** Fields of the application's response. */
  application?(request: Message): readonly string[];
  /** What the client is given by a response. */
  gift?(response: Message): string | undefined;
}

/** `name=value` of what a response sets last; undefined: it sets nothing. */
export function cookieOf(response: Message): string | undefined {
  return response.values("set-cookie").at(-1)?.split(";")[0];
}

const path = ({ n }: Visitor) => `/s/${n}`;
const numberIn = ({ start }: Message) => /\/s\/(\d+)/.exec(start)?.[1] ?? "0";
const withCookie = (visitor: Visitor) =>
  get(path(visitor), visitor.given === "" ? [] : [`Cookie: theme=dark; ${visitor.given}`]);

/** Every way there is. */
export const KINDS: readonly Kind[] = [
  {
    name: "cookie",
    affinity: { cookie: "spillway", key: KEY },
    stateless: true,
    request: withCookie,
    gift: cookieOf,
  },
  {
    name: "learned cookie",
    affinity: { learned: { cookie: "SID" } },
    request: withCookie,
    application: (request) =>
      request.value("cookie")?.includes("SID=") === true
        ? []
        : ["Set-Cookie: other=1", `Set-Cookie: SID=application-${numberIn(request)}; Path=/; HttpOnly`],
    gift: cookieOf,
  },
  {
    name: "learned header",
    affinity: { learned: { header: "X-Session-Id" } },
    request: (visitor) => get(path(visitor), visitor.given === "" ? [] : [`x-session-id: ${visitor.given}`]),
    application: (request) =>
      request.value("x-session-id") === undefined ? [`X-Session-ID: application-${numberIn(request)}`] : [],
    gift: (response) => response.value("x-session-id"),
  },
  {
    name: "header",
    affinity: { header: "X-Session" },
    request: (visitor) => get(path(visitor), [`x-session: client-${visitor.n}`]),
  },
  {
    name: "query",
    affinity: { query: "sid" },
    request: (visitor) => get(`${path(visitor)}?a=1&sid=client-${visitor.n}&b=2`),
  },
  {
    name: "client-ip",
    affinity: { "client-ip": true },
    listener: { trustedProxies: ["127.0.0.1"] },
    request: (visitor) => get(path(visitor), [`X-Forwarded-For: 10.9.9.9, 10.0.${visitor.n >> 8}.${visitor.n & 255}`]),
  },
];

/** One of {@link KINDS}. */
export function kindOf(name: string): Kind {
  return KINDS.find((kind) => kind.name === name)!;
}

export interface Crowd {
  readonly stage: Scene;
  readonly company: Cast;
  readonly visitors: readonly Visitor[];
  /**
   * Every visitor sends so many requests, one after the other, on one of a few connections that each carry those of many
   * others, too, all that are due in one write.
   */
  rounds(count: number): Promise<void>;
  /** One request of one visitor. */
  visit(visitor: Visitor, wire?: Wire): Promise<Message>;
  /** Figures of the upstream's sessions. */
  sessions(): ReturnType<Scene["proxy"]["snapshot"]>["upstreams"][number]["sessions"];
}

export interface CrowdOptions {
  readonly visitors: number;
  readonly weights?: readonly number[];
  readonly affinity?: object;
  readonly upstream?: SceneOptions["upstream"];
  /** Of every backend. */
  readonly backend?: { readonly maxRequests?: number };
  readonly connections?: number;
}

/** Visitors in front of backends that answer with their place. */
export async function crowd(kind: Kind, options: CrowdOptions): Promise<Crowd> {
  const { weights = [4, 2, 1], connections = 32 } = options;
  const company = cast(weights.length, ({ backend, request }) => ok(String(backend), kind.application?.(request)));
  const stage = await scene(company.scripts, {
    settings: (urls) => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web", ...kind.listener }],
      upstreams: {
        web: {
          backends: urls.map((url, n) => ({ url, weight: weights[n]!, ...options.backend })),
          ...options.upstream,
          affinity: { ...kind.affinity, ...options.affinity } as AffinityInput,
        },
      },
    }),
  });
  const visitors = Array.from({ length: options.visitors }, (_, n) => new Visitor(n));
  const wires = await Promise.all(
    Array.from({ length: Math.min(connections, options.visitors) }, () => stage.client()),
  );
  const visit = (visitor: Visitor, wire = wires[0]!): Promise<Message> => {
    wire.write(kind.request(visitor));
    return heard(visitor, wire);
  };
  const heard = async (visitor: Visitor, wire: Wire): Promise<Message> => {
    const response = await wire.response();
    visitor.served.push(response.status === 200 ? Number(response.body) : response.status);
    const gift = kind.gift?.(response);
    if (gift !== undefined) {
      visitor.given = gift;
      visitor.gifts++;
    }
    return response;
  };
  return {
    stage,
    company,
    visitors,
    visit,
    rounds: async (count) => {
      for (let round = 0; round < count; round++) {
        await Promise.all(
          wires.map(async (wire, at) => {
            const its = visitors.filter(({ n }) => n % wires.length === at);
            wire.write(its.map((visitor) => kind.request(visitor)).join(""));
            for (const visitor of its) await heard(visitor, wire);
          }),
        );
      }
    },
    sessions: () => stage.proxy.snapshot().upstreams[0]!.sessions,
  };
}

/** The time of the proxy, which stands still until a test says how much of it passes. */
export function stoppedTime(): { pass(ms: number): void; readonly wallMs: number } {
  // Whole milliseconds: sums of fractions would end a session a hair too early or too late.
  let nowMs = Math.ceil(performance.now());
  let wallMs = Date.now();
  vi.spyOn(SystemClock.prototype, "now").mockImplementation(() => nowMs);
  vi.spyOn(SystemClock.prototype, "wallTime").mockImplementation(() => wallMs);
  onTestFinished(() => {
    vi.restoreAllMocks();
  });
  return {
    pass: (ms) => {
      nowMs += ms;
      wallMs += ms;
    },
    get wallMs() {
      return wallMs;
    },
  };
}
