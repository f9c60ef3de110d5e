import fc from "fast-check";
import { expect, test } from "vitest";
import type { SessionStore, StoreAsker } from "../affinity/affinity.ts";
import { createAffinity } from "../affinity/index.ts";
import type { SessionSource } from "../affinity/options.ts";
import { type BalanceSettings, createBalancer } from "../balance/index.ts";
import { sampleRequest } from "../balance/samples.ts";
import type { Backend } from "../model/backend.ts";
import { type FailureReason, saysNobodyServes, type TimeoutPhase } from "../model/outcome.ts";
import type { Position } from "../model/position.ts";
import { SeededRandom } from "../model/random.ts";
import type { Priority } from "../resilience/options.ts";
import type { AttemptTicket, DispatchEvent } from "./dispatch.ts";
import type { Isolation } from "./isolation.ts";
import {
  type Fate,
  failure,
  type News,
  type Plan,
  PlannedExchange,
  SAMPLE_DRAIN_MS,
  type SampleBackend,
  sampleBreaker,
  sampleDetection,
  sampleHedge,
  sampleRetry,
  sampleUpstream,
  tellNews,
  timeout,
  World,
} from "./samples.ts";
import type { Upstream } from "./upstream.ts";

const never = Number.POSITIVE_INFINITY;
/** Who waits looks again this often. */
const LOOK_AGAIN_MS = 10;
const STORE_TIMEOUT_MS = 50;

const places = {
  Seoul: { latitude: 37.5, longitude: 127 },
  Tokyo: { latitude: 35.7, longitude: 139.7 },
  Frankfurt: { latitude: 50.1, longitude: 8.7 },
} satisfies Record<string, Position>;
type Place = keyof typeof places;

/** Requests that come at the same time. */
interface Visit extends Plan {
  readonly times: number;
  /** Which client; empty: one that nothing tells from others. */
  readonly who: string;
  readonly from: Place | undefined;
  readonly upgrade: boolean;
  readonly leavesAfterMs: number;
  /** Whether the application gives its client an id. */
  readonly learns: boolean;
}

/** What a store makes of a question. */
type StoreAnswer =
  | { readonly kind: "knows" | "is wrong"; readonly afterMs: number }
  | { readonly kind: "never" }
  | { readonly kind: "cannot be asked" };

type Turn =
  | News
  | { readonly what: "may leave"; readonly atMs: number; readonly backend: number; readonly who: string };

interface Setup {
  readonly balance: BalanceSettings;
  readonly by: "key" | "learned" | "cookie" | "nothing";
  readonly strict: boolean;
  readonly store: readonly StoreAnswer[] | false;
  readonly fallback: boolean;
  readonly isolation: Isolation;
}

const maybe = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 2, arbitrary: fc.constant(false as const) }, arbitrary);
const ms = (max: number) => fc.integer({ min: 0, max: max * 10 }).map((tenths) => tenths / 10);
/** What is printed when a case fails. */
const told = <T extends object>(value: T, text: string): T => ({ ...value, toString: () => text });

const anyFate: fc.Arbitrary<Fate> = fc
  .oneof(
    fc.record({
      kind: fc.constant("answers" as const),
      afterMs: ms(40),
      status: fc.constantFrom(200, 200, 200, 404, 503),
      retryAfterMs: fc.constantFrom(undefined, 30),
    }),
    fc.record({
      kind: fc.constant("fails" as const),
      afterMs: ms(40),
      outcome: fc.oneof(
        fc.constantFrom<FailureReason>("connect", "exhausted", "reset").map(failure),
        fc.constantFrom<TimeoutPhase>("connect", "response").map(timeout),
      ),
      progress: fc.constantFrom("nothing" as const, "request" as const),
    }),
    fc.record({ kind: fc.constant("answers, then breaks" as const), afterMs: ms(40) }),
    fc.record({ kind: fc.constant("is left" as const), afterMs: ms(40) }),
  )
  .map((fate) => {
    if (fate.kind === "answers") return told(fate, `${fate.status} after ${fate.afterMs}`);
    if (fate.kind !== "fails") return told(fate, `${fate.kind} after ${fate.afterMs}`);
    const { outcome, progress } = fate;
    const why =
      outcome.kind === "failure" ? outcome.reason : outcome.kind === "timeout" ? `${outcome.phase} timeout` : "";
    return told(fate, `${why} (sent: ${progress}) after ${fate.afterMs}`);
  });

const anyVisit: fc.Arbitrary<Visit> = fc
  .record({
    atMs: ms(200),
    times: fc.oneof({ weight: 15, arbitrary: fc.constant(1) }, fc.constantFrom(2, 3, 18)),
    method: fc.constantFrom("GET", "GET", "GET", "POST"),
    who: fc.constantFrom("x", "x", "y", "z", ""),
    from: fc.constantFrom<(Place | undefined)[]>("Seoul", "Tokyo", "Frankfurt", undefined),
    upgrade: fc.constantFrom(false, false, false, true),
    priority: fc.constantFrom<Priority>("normal", "normal", "normal", "high", "low"),
    patienceMs: fc.constantFrom(never, never, never, 10, 60),
    leavesAfterMs: fc.oneof({ weight: 5, arbitrary: fc.constant(never) }, ms(60)),
    learns: fc.boolean(),
    fates: fc.array(anyFate, { maxLength: 4 }),
  })
  .map((visit) => {
    const { atMs, times, method, who, from, upgrade, priority, patienceMs, leavesAfterMs, learns, fates } = visit;
    const words = [
      `${atMs} ms: ${times > 1 ? `${times} times ` : ""}${method} of ${who || "nobody"}`,
      from === undefined ? "" : `from ${from}`,
      upgrade ? "upgrade" : "",
      priority === "normal" ? "" : `${priority} priority`,
      patienceMs === never ? "" : `patience ${patienceMs}`,
      leavesAfterMs === never ? "" : `leaves after ${leavesAfterMs}`,
      learns ? "gets an id" : "",
      fates.join(", then "),
    ];
    return told(visit, words.filter((word) => word !== "").join("; "));
  });

const anyTurn: fc.Arbitrary<Turn> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .record({
        atMs: ms(250),
        backend: fc.nat(3),
        what: fc.constantFrom("health", "drain", "down", "back", "weight", "check", "taken elsewhere", "member"),
      })
      .map((news: News) => told(news, `${news.atMs} ms: ${news.what} of b${news.backend}`)),
  },
  fc
    .record({
      atMs: ms(250),
      backend: fc.nat(3),
      what: fc.constant("may leave" as const),
      who: fc.constantFrom("x", "y", "z"),
    })
    .map((turn) => told(turn, `${turn.atMs} ms: ${turn.who} may leave b${turn.backend}`)),
);

const anyIsolation: fc.Arbitrary<Isolation> = fc.record({
  retry: fc.oneof(
    fc.constant(false as const),
    fc
      .record({ attempts: fc.integer({ min: 1, max: 4 }), budget: fc.constantFrom(0.2, 1), minimumBudget: fc.nat(3) })
      .map((options) => ({ ...sampleRetry, ...options })),
  ),
  queue: fc.record({
    max: fc.constantFrom(2, 5, 100),
    timeout: fc.integer({ min: 20, max: 300 }),
    target: fc.constantFrom(never, never, 20),
  }),
  circuitBreaker: maybe(
    fc
      .record({ consecutiveFailures: fc.integer({ min: 1, max: 3 }), openFor: fc.integer({ min: 1, max: 100 }) })
      .map((options) => ({ ...sampleBreaker, ...options })),
  ),
  outlierDetection: maybe(
    fc
      .record({ consecutiveFailures: fc.integer({ min: 1, max: 3 }), ejectFor: fc.integer({ min: 1, max: 100 }) })
      .map((options) => ({ ...sampleDetection, interval: 50, maxEjected: 0.5, ...options })),
  ),
  concurrencyLimit: maybe(
    fc.record({ initial: fc.integer({ min: 1, max: 4 }), min: fc.constant(1), max: fc.constant(4) }),
  ),
  slowStart: maybe(fc.constant({ window: 1_500, aggression: 1.5, minimumWeight: 0.1 })),
  hedge: maybe(fc.constant({ ...sampleHedge, quantile: 0.5, budget: 1 })),
});

const anyStoreAnswer: fc.Arbitrary<StoreAnswer> = fc.oneof(
  fc.record({ kind: fc.constantFrom("knows" as const, "is wrong" as const), afterMs: ms(60) }),
  fc.constantFrom<StoreAnswer>({ kind: "never" }, { kind: "cannot be asked" }),
);

const anySetup: fc.Arbitrary<Setup> = fc.record({
  balance: fc.oneof(
    fc.constantFrom<BalanceSettings>({ policy: "weighted-round-robin" }, { policy: "least-connections" }),
    fc.record({
      policy: fc.constant("nearest" as const),
      spillover: fc.boolean(),
      maxKm: fc.constantFrom(never, 3_000),
      withinKm: fc.constantFrom(0, 2_000),
    }),
  ),
  by: fc.constantFrom("key", "key", "learned", "cookie", "nothing"),
  strict: fc.constantFrom(false, false, false, true),
  store: maybe(fc.array(anyStoreAnswer, { minLength: 1, maxLength: 4 })),
  fallback: fc.constantFrom(false, false, true),
  isolation: anyIsolation,
});

const anyBackend: fc.Arbitrary<SampleBackend> = fc
  .record({
    weight: fc.constantFrom(1, 1, 2, 0),
    limit: fc.constantFrom(1, 1, 2, never),
    place: fc.constantFrom<(Place | undefined)[]>("Seoul", "Tokyo", "Frankfurt", undefined),
  })
  .map(({ place, ...backend }) => {
    const position = place === undefined ? undefined : places[place];
    const text = `{ weight: ${backend.weight}, limit: ${backend.limit}${place ? `, in ${place}` : ""} }`;
    return told(position === undefined ? backend : { ...backend, position }, text);
  });

/** A promise that was broken, in words. */
function must(holds: boolean, otherwise: () => string): void {
  if (!holds) throw new Error(otherwise());
}

/** What can be told of a session of one upstream from outside: where its exchanges went, and who answered them. */
class Watched {
  /** It was answered from there, and nothing has happened since that would let it be elsewhere. */
  home: Backend | undefined;
  /** Where it was last known to be, until that left the upstream. */
  last: Backend | undefined;
  /** Attempts of its exchanges, in their order. */
  readonly tries: { readonly by: Visitor; readonly ticket: AttemptTicket; readonly order: number }[] = [];
  /** When it was last answered, or heard of from the store, and by whom. */
  turns: { readonly backend: Backend | undefined; readonly order: number }[] = [];
  begun = 0;
  isAnswered = false;
  /** The store has named a backend. */
  isHinted = false;
  /** Some response has begun it. */
  isLearnt = false;
}

/** One upstream under watch, with the store of its sessions. */
class Side {
  readonly world: World;
  readonly setup: Setup;
  readonly name: string;
  readonly sample: ReturnType<typeof sampleUpstream>;
  readonly store: FakeStore | undefined;
  readonly sessions = new Map<string, Watched>();
  readonly drainUntilMs = new Map<Backend, number>();
  readonly out = new Set<Backend>();
  readonly unhealthy = new Set<Backend>();
  /** Who may leave which backend. */
  readonly leavers = new Set<string>();

  constructor(world: World, setup: Setup, name: string, specs: readonly SampleBackend[]) {
    this.world = world;
    this.setup = setup;
    this.name = name;
    this.store =
      setup.store && (setup.by === "key" || setup.by === "learned") ? new FakeStore(this, setup.store) : undefined;
    const random = new SeededRandom(7);
    const options = { ttl: 3_600_000, maxSessions: 1_000, strict: setup.strict };
    const parts = { upstream: name, digest: (text: string) => text.replace("\n", "@").padEnd(22), store: this.store };
    const makeBalancer = () => createBalancer(setup.balance, random);
    this.sample = sampleUpstream(Object.fromEntries(specs.map((spec, n) => [`${name}${n}`, spec])), setup.isolation, {
      balancer: makeBalancer(),
      makeBalancer,
      random,
      affinity: setup.by === "nothing" ? undefined : createAffinity({ by: sources[setup.by], ...options }, parts),
    });
    for (let n = 0; n < 20; n++) this.upstream.hedging?.observed(10, 0);
  }

  get upstream(): Upstream {
    return this.sample.upstream;
  }

  session(key: string): Watched {
    const session = this.sessions.get(key) ?? new Watched();
    this.sessions.set(key, session);
    return session;
  }

  /** Where something may have been said of the session that its exchanges do not show. */
  hinted(key: string, order: number): void {
    const session = this.session(key);
    session.isHinted = true;
    session.home = session.last = undefined;
    session.turns.push({ backend: undefined, order });
  }

  /** Whether sessions on a backend are to be served there; undefined: either may be right at this moment. */
  keeps(backend: Backend): boolean | undefined {
    const { upstream, world } = this;
    const status = upstream.stateOf(backend);
    // It has just changed: somebody may have looked before, or not have heard yet.
    if (status?.since === world.now) return undefined;
    if (status === undefined || this.out.has(backend) || this.unhealthy.has(backend)) return false;
    if (upstream.ejectionOf(backend) !== undefined) return false;
    const circuit = upstream.circuitOf(backend)?.state ?? "closed";
    if (circuit !== "closed") return circuit === "open" ? false : undefined;
    const untilMs = this.drainUntilMs.get(backend) ?? never;
    return world.now === untilMs ? undefined : world.now < untilMs;
  }

  /** Whether a backend takes who comes for the first time. */
  takesNew(backend: Backend): boolean {
    return backend.weight > 0 && this.keeps(backend) !== false && !this.drainUntilMs.has(backend);
  }

  tell(turn: Turn): void {
    const { backends } = this.sample;
    const backend = backends[turn.backend % backends.length]!;
    this.world.note(`${turn.what} of ${backend.id}`);
    if (turn.what === "may leave") {
      this.leavers.add(`${turn.who} ${backend.id}`);
      return this.upstream.mayLeave(backend, turn.who, this.world.now);
    }
    const isMember = this.upstream.stateOf(backend) !== undefined;
    if (turn.what === "member" || isMember) this.#note(turn.what, backend);
    tellNews(turn, this.world, this.sample);
  }

  #note(what: News["what"], backend: Backend): void {
    const { out, unhealthy, drainUntilMs } = this;
    switch (what) {
      case "health": {
        // As `tellNews` does: what is down comes up, also where an operator has said so.
        if (this.upstream.stateOf(backend)!.state === "down") unhealthy.delete(backend);
        else unhealthy.add(backend);
        return;
      }
      case "drain":
      case "down":
      case "back":
      case "member":
        out.delete(backend);
        drainUntilMs.delete(backend);
        if (what === "drain") drainUntilMs.set(backend, this.world.now + SAMPLE_DRAIN_MS);
        if (what === "down") out.add(backend);
        if (what === "member") unhealthy.delete(backend);
    }
  }
}

const sources: Readonly<Record<"key" | "learned" | "cookie", SessionSource>> = {
  key: { kind: "key", key: "header:x-session" },
  learned: { kind: "learned", from: "header", name: "x-session" },
  cookie: {
    kind: "cookie",
    cookie: { name: "spillway", path: "/", domain: "", secure: false, httpOnly: true, sameSite: "Lax", maxAge: true },
  },
};

/** A store that others use, too: it does what was planned, over and over. */
class FakeStore implements SessionStore {
  readonly timeoutMs = STORE_TIMEOUT_MS;
  readonly asking = new Set<StoreAsker>();
  readonly #side: Side;
  readonly #answers: readonly StoreAnswer[];
  readonly #owners = new Map<string, string>();
  #asked = 0;

  constructor(side: Side, answers: readonly StoreAnswer[]) {
    this.#side = side;
    this.#answers = answers;
  }

  find(key: string, asker: StoreAsker): boolean {
    const answer = this.#answers[this.#asked++ % this.#answers.length]!;
    const { world } = this.#side;
    world.note(`the store is asked for ${key}: ${answer.kind}`);
    if (answer.kind === "cannot be asked") return false;
    this.asking.add(asker);
    if (answer.kind === "never") return true;
    world.at(world.now + answer.afterMs, () => {
      if (!this.asking.delete(asker)) return;
      if (answer.kind === "is wrong") this.#owners.set(key, this.#another(key));
      const address = this.#owners.get(key);
      world.note(`the store says ${key} is at ${address ?? "nobody's"}`);
      const { home } = this.#side.session(key);
      if (address !== undefined && address !== home?.address) this.#side.hinted(key, nextInOrder());
      asker.found(address, world.now);
    });
    return true;
  }

  forget(asker: StoreAsker): void {
    this.asking.delete(asker);
  }

  place(key: string, address: string, instead: string | undefined): void {
    const owner = this.#owners.get(key);
    if (owner === undefined || owner === instead || owner === address) {
      this.#owners.set(key, address);
      return;
    }
    const { world } = this.#side;
    world.at(world.now + 1, () => {
      world.note(`the store corrects: ${key} is at ${owner}`);
      this.#side.hinted(key, nextInOrder());
      this.#side.upstream.affinity!.correct(key, owner, world.now);
    });
  }

  /** Also of a backend that nobody knows. */
  #another(key: string): string {
    const addresses = [...this.#side.sample.backends.map(({ address }) => address), "gone.test:80"];
    return addresses[(this.#asked * 7 + key.charCodeAt(0)) % addresses.length]!;
  }
}

/** The order in which things happen, many of them at the same time. */
let things = 0;
const nextInOrder = () => ++things;

/** What a client has been given. */
interface Bag {
  cookie: { readonly value: string; readonly backend: Backend; readonly side: Side } | undefined;
  hasId: boolean;
}

const isOfSession = (event: DispatchEvent) => event.startsWith("session-") && event !== "session-lost";

/** An exchange that watches where its session is served. */
class Visitor extends PlannedExchange {
  readonly #visit: Visit;
  readonly #sides: readonly Side[];
  readonly #bag: Bag;
  readonly #name: string;
  #cookie: Bag["cookie"];
  #id: string | undefined;
  /** Upstreams where its id was known when it began. */
  #known: readonly Side[] = [];
  /** It went elsewhere than its cookie said, and had reason to. */
  #movedOn = false;
  #idleSinceMs = never;

  constructor(world: World, sides: readonly Side[], visit: Visit, bag: Bag, name: string) {
    const request = {
      ...sampleRequest(0),
      method: visit.method,
      client: visit.who,
      position: visit.from === undefined ? undefined : places[visit.from],
      header: (field: string) => this.#header(field),
    };
    super(world, sides[0]!.upstream, visit, (backend) => this.#mayGoTo(backend), request);
    this.#visit = visit;
    this.#sides = sides;
    this.#bag = bag;
    this.#name = name;
  }

  override begin(): void {
    const { by } = this.#sides[0]!.setup;
    if (by === "cookie") this.#cookie = this.#bag.cookie;
    if (by === "key" || (by === "learned" && this.#bag.hasId)) this.#id = this.#visit.who || undefined;
    const id = this.#id;
    if (id !== undefined) this.#known = this.#sides.filter((side) => by === "key" || side.session(id).isLearnt);
    super.begin();
  }

  override proceed(step: Parameters<PlannedExchange["proceed"]>[0]): void {
    const { attempt, status, reason } = this.dispatch;
    const detail = step === "try" ? attempt!.backend.id : step === "answer" ? `${status} ${reason}` : "";
    this.world.note(`${this.#name}: ${step} ${detail}`);
    super.proceed(step);
  }

  /** Nobody waits for longer than it should. Asked when all that could happen by now has happened. */
  checkWait(): void {
    const { place, upstream } = this.dispatch;
    if (place === undefined) {
      this.#idleSinceMs = never;
      return;
    }
    const { now } = this.world;
    must(
      now <= place.joinedMs + upstream.patienceMs,
      () => `${this.#name} still waits at ${now} since ${place.joinedMs}`,
    );
    const idle = this.#idle();
    if (idle === undefined) this.#idleSinceMs = never;
    else this.#idleSinceMs = Math.min(this.#idleSinceMs, now);
    must(
      now - this.#idleSinceMs <= LOOK_AGAIN_MS + 1e-6,
      () => `${this.#name} waits, and ${idle!.id} is idle since ${this.#idleSinceMs}`,
    );
  }

  protected override began(ticket: AttemptTicket): void {
    const { backend } = ticket;
    const side = this.#sideOf(ticket);
    const { setup } = side;
    const order = nextInOrder();
    if (this.running.size > 1) this.world.note(`${this.#name}: hedged to ${backend.id}`);
    const session = this.#sessionAt(side);
    const cookie = this.#cookieIn(side);
    const home = session?.home ?? cookie;
    if (home !== undefined && home !== backend) {
      const stillRuns = [...this.running].some((other) => other.backend === home);
      const failedIt = this.tried.has(home) && !stillRuns;
      const excused = side.keeps(home) !== true || failedIt || this.#mayLeave(side, home);
      must(excused, () => `${this.#name}: its session is at ${home.id}, and it went to ${backend.id}`);
      if (session !== undefined) session.home = undefined;
      this.#movedOn = true;
    }
    const last = session?.last ?? cookie;
    if (session !== undefined && last !== undefined && side.upstream.stateOf(last) === undefined) {
      session.last = undefined;
    } else if (setup.strict && last !== undefined && side.upstream.stateOf(last) !== undefined) {
      must(last === backend, () => `${this.#name}: its session never leaves ${last.id}, and it went to ${backend.id}`);
    }
    session?.tries.push({ by: this, ticket, order });
  }

  protected override learnt(): string {
    const { who, learns } = this.#visit;
    return this.#sides[0]!.setup.by === "learned" && learns ? who : "";
  }

  protected override answered(ticket: AttemptTicket, status: number): void {
    const side = this.#sideOf(ticket);
    const events = this.events.filter(isOfSession);
    this.world.note(`${this.#name}: ${ticket.backend.id} answers ${status} ${events}`);
    must(events.length <= 1, () => `${this.#name}: ${events}`);
    const learnt = this.learnt();
    const counts = learnt !== "" || !saysNobodyServes(status);
    if (side.setup.by === "cookie") this.#gotCookie(side, ticket.backend, counts, events[0]);
    if (!counts) return must(events.length === 0, () => `${this.#name}: ${events} by ${status}`);
    this.#servedBy(side, ticket, learnt, events[0]);
    if (learnt !== "") this.#bag.hasId = true;
  }

  #servedBy(side: Side, ticket: AttemptTicket, learnt: string, event: DispatchEvent | undefined): void {
    const { backend } = ticket;
    const begins = learnt !== "" && (this.#id === undefined || !this.#known.includes(side));
    const session = begins ? side.session(learnt) : this.#sessionAt(side);
    if (session === undefined) return;
    const order = nextInOrder();
    // No session begins with a backend that is gone by the time it answers.
    if (learnt !== "" && side.upstream.stateOf(backend) !== undefined) session.isLearnt = true;
    if (event === "session-begun") session.begun++;
    must(session.begun <= 1 || session.isHinted, () => `${this.#name}: its session has begun again`);
    if (session.home === backend && !begins) {
      must(event === "session-kept", () => `${this.#name}: its session was at ${backend.id}, and it is ${event}`);
    }
    const since = session.tries.find((one) => one.ticket === ticket)?.order ?? 0;
    const isNews =
      begins ||
      (session.tries.every((one) => one.order < since || one.by === this || one.ticket.backend === backend) &&
        session.turns.every((turn) => turn.order < since || turn.backend === backend));
    session.turns.push({ backend, order });
    session.isAnswered = true;
    if (!isNews || side.upstream.stateOf(backend) === undefined) return;
    must(
      session.begun === 1 || session.isHinted,
      () => `${this.#name}: answered by ${backend.id}, and it has not begun`,
    );
    session.home = session.last = backend;
  }

  #gotCookie(side: Side, backend: Backend, counts: boolean, event: DispatchEvent | undefined): void {
    const value = this.dispatch.setCookie(false);
    const isMember = side.upstream.stateOf(backend) !== undefined;
    if (!counts || !isMember) return must(value === "", () => `${this.#name}: a cookie of ${backend.id}`);
    const had = this.#cookie?.side === side ? this.#cookie.backend : undefined;
    const expected = had === undefined ? ["session-begun"] : had === backend ? ["session-kept"] : ["session-moved"];
    // A cookie of one that is gone, when it began or now, counts as none.
    if (had !== undefined && had !== backend) expected.push("session-begun");
    if (side.sample.changes.some((change) => change.endsWith("removed"))) expected.push("session-begun");
    must(expected.includes(event!), () => `${this.#name}: ${backend.id} instead of ${had?.id}, and it is ${event}`);
    if (value !== "") this.#bag.cookie = { value: value.slice(0, value.indexOf(";")), backend, side };
    else must(had === backend, () => `${this.#name}: no cookie of ${backend.id}`);
  }

  /** The backend that it need not wait for. */
  #idle(): Backend | undefined {
    const side = this.#sides.find(({ upstream }) => upstream === this.dispatch.upstream)!;
    const { upstream, setup } = side;
    if (upstream.limit?.admits(upstream.running) === false) return undefined;
    const session = this.#sessionAt(side);
    const cookie = this.#cookieIn(side);
    const home = session?.home ?? cookie;
    const isFree = (backend: Backend) => backend.hasRoom && !this.tried.has(backend) && side.keeps(backend) === true;
    if (home !== undefined && !this.tried.has(home) && side.keeps(home) !== false && !this.#mayLeave(side, home)) {
      return isFree(home) ? home : undefined;
    }
    const { bound } = this.dispatch;
    if (bound !== undefined) {
      // Its view may be old, which does no harm as long as it has not its turn.
      const to = session?.tries.at(-1)?.ticket.backend ?? bound;
      return to === bound && isFree(bound) && upstream.available.includes(bound) ? bound : undefined;
    }
    if (setup.balance.policy === "nearest" && (setup.balance.spillover === false || setup.balance.maxKm !== never)) {
      return undefined;
    }
    return upstream.available.find(isFree);
  }

  /** Who takes nobody new serves only those that were there. */
  #mayGoTo(backend: Backend): boolean {
    const side = this.#sides.find(({ sample }) => sample.backends.includes(backend))!;
    if (side.keeps(backend) === false) return false;
    if (side.takesNew(backend)) return true;
    const session = this.#id === undefined ? undefined : side.session(this.#id);
    if (session === undefined) return this.#cookie?.backend === backend;
    return (
      session.isHinted ||
      session.tries.some(({ ticket }) => ticket.backend === backend) ||
      session.turns.some((turn) => turn.backend === backend)
    );
  }

  #mayLeave({ leavers }: Side, home: Backend): boolean {
    return this.#visit.upgrade && leavers.has(`${this.#visit.who} ${home.id}`);
  }

  #sessionAt(side: Side): Watched | undefined {
    return this.#id !== undefined && this.#known.includes(side) ? side.session(this.#id) : undefined;
  }

  /** Where its cookie says that it belongs. */
  #cookieIn(side: Side): Backend | undefined {
    return this.#cookie?.side === side && !this.#movedOn ? this.#cookie.backend : undefined;
  }

  #sideOf({ upstream }: AttemptTicket): Side {
    return this.#sides.find((side) => side.upstream === upstream)!;
  }

  #header(name: string): string | undefined {
    if (name === "x-session") return this.#id;
    if (name === "cookie") return this.#cookie?.value;
    return name === "upgrade" && this.#visit.upgrade ? "websocket" : undefined;
  }
}

/** What has to hold whenever all that could happen by now has happened. */
function checkCounts({ world, upstream, sample, setup }: Side, visitors: readonly Visitor[]): void {
  const here = visitors.filter(({ dispatch }) => dispatch.upstream === upstream);
  for (const backend of sample.backends) {
    let runs = world.elsewhere.get(backend) ?? 0;
    for (const visitor of here) for (const ticket of visitor.running) if (ticket.backend === backend) runs++;
    must(backend.active === runs, () => `${backend.active} are counted on ${backend.id}, and ${runs} run`);
  }
  const running = here.reduce((sum, visitor) => sum + visitor.unanswered, 0);
  must(upstream.running === running, () => `${upstream.running} are counted in all, and ${running} run`);
  const waiting = here.filter(({ dispatch }) => dispatch.place !== undefined).length;
  must(upstream.waiting === waiting, () => `${upstream.waiting} are counted in the lines, and ${waiting} wait`);
  const { max } = setup.isolation.queue as { max: number };
  must(waiting <= max, () => `${waiting} wait, and ${max} may`);
}

/** Lets it all happen, and checks it. A failure tells what happened until then. */
function play(setup: Setup, specs: readonly SampleBackend[], visits: readonly Visit[], turns: readonly Turn[]): void {
  const visitors: Visitor[] = [];
  const upstreams: Upstream[] = [];
  const world = new World(upstreams, () => {
    const live = visitors.filter(({ finals, left }) => finals === 0 && !left);
    for (const side of sides) checkCounts(side, live);
    for (const visitor of live) visitor.checkWait();
  });
  const web = new Side(world, setup, "web", specs);
  const spare = new Side(world, setup, "spare", [{ limit: 1 }, {}]);
  const sides = [web, spare];
  upstreams.push(web.upstream, spare.upstream);
  if (setup.fallback) web.upstream.fallback = { upstream: spare.upstream };
  const bags = new Map<string, Bag>();
  for (const [n, visit] of visits.entries()) {
    // Who is nobody in particular brings back nothing.
    const bag = visit.who === "" ? undefined : bags.get(visit.who);
    const own = bag ?? { cookie: undefined, hasId: false };
    bags.set(visit.who, own);
    for (let time = 1; time <= visit.times; time++) {
      const name = `#${n}${visit.times > 1 ? `.${time}` : ""}${visit.who && ` of ${visit.who}`}`;
      const visitor = new Visitor(world, sides, visit, own, name);
      visitors.push(visitor);
      world.exchanges.push(visitor);
      world.at(visit.atMs, () => visitor.begin());
      if (visit.leavesAfterMs < never) world.at(visit.atMs + visit.leavesAfterMs, () => visitor.leave());
    }
  }
  for (const turn of turns) world.at(turn.atMs, () => web.tell(turn));
  try {
    must(world.run(), () => "it never ends");
    checkEnd(sides, visitors);
  } catch (error) {
    throw new Error([(error as Error).message, "What happened:", ...world.history].join("\n  "), { cause: error });
  }
}

function checkEnd(sides: readonly Side[], visitors: readonly Visitor[]): void {
  for (const { finals, left, waits, errors, dispatch } of visitors) {
    expect([finals, waits, errors, dispatch.place]).toEqual([left ? 0 : 1, false, [], undefined]);
  }
  for (const { upstream, sample, store, sessions } of sides) {
    expect(sample.backends.map(({ active }) => active)).toEqual(sample.backends.map(() => 0));
    const { running, waiting, retry } = upstream;
    expect([running, waiting, retry?.budget.running ?? 0, store?.asking.size ?? 0]).toEqual([0, 0, 0, 0]);
    // Who was answered by nobody leaves no trace.
    const known = [...sessions.values()].filter(({ begun, isHinted }) => begun > 0 || isHinted).length;
    must((upstream.affinity?.figures?.held ?? 0) <= known, () => `more sessions are held than the ${known} that began`);
  }
}

test("sessions are served by one backend at a time; all are counted off, and nobody waits beside an idle backend", () => {
  fc.assert(
    fc.property(
      anySetup,
      fc.array(anyBackend, { minLength: 1, maxLength: 4 }),
      fc.array(anyVisit, { minLength: 1, maxLength: 14 }),
      fc.array(anyTurn, { maxLength: 8 }),
      play,
    ),
    { seed: 5, numRuns: 1_000 },
  );
});
