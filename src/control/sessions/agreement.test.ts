import { describe, expect, test } from "vitest";
import { type AffinityOptions, createAffinity } from "../../policy/affinity/index.ts";
import { sampleRequest } from "../../policy/balance/samples.ts";
import { SampleExchange, sampleUpstream } from "../../policy/upstream/samples.ts";
import { SharedSessions } from "../../proxy/shared-sessions.ts";
import { VirtualClock } from "../../time/virtual-clock.ts";
import { MemoryStore } from "./memory-store.ts";
import { SessionHub } from "./session-hub.ts";
import type { SharedStore, StoreAnswer, StoreView } from "./shared-store.ts";

/*
 * Workers and instances as they are put together, without the threads: each worker has its table and its upstream, each
 * instance its hub, and messages arrive in order, later.
 */

const HOUR = 3_600_000;
const options: AffinityOptions = {
  by: { kind: "key", key: "header:x-session" },
  ttl: HOUR,
  maxSessions: 1000,
  strict: false,
};

/** One that all instances have, and that can go away, or lose all it knows. */
class FarStore implements SharedStore {
  #sessions: MemoryStore;
  readonly #clock: VirtualClock;
  readonly #recovered: (() => void)[] = [];
  #up = true;
  /** So many placements fail, although it is up. */
  failing = 0;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
    this.#sessions = new MemoryStore(1000, HOUR, clock);
  }

  get view(): StoreView {
    return { kind: "redis", url: "redis://cache.test", up: this.#up };
  }

  listen(recovered: () => void): void {
    this.#recovered.push(recovered);
  }

  async start(): Promise<void> {}

  find(key: string, answer: StoreAnswer): void {
    if (this.#up) this.#sessions.find(key, answer);
    else answer(undefined, true);
  }

  place(key: string, address: string, instead: readonly string[], ttlMs: number, answer: StoreAnswer): void {
    if (!this.#up || this.failing-- > 0) answer(undefined, true);
    else this.#sessions.place(key, address, instead, ttlMs, answer);
  }

  close(): void {}

  goAway(): void {
    this.#up = false;
  }

  comeBack({ empty }: { readonly empty: boolean }): void {
    if (empty) this.#sessions = new MemoryStore(1000, HOUR, this.#clock);
    this.#up = true;
    for (const recovered of this.#recovered) recovered();
  }
}

class World {
  readonly clock = new VirtualClock();
  readonly workers: ReturnType<World["begin"]>[] = [];
  readonly #messages: (() => void)[] = [];

  /** Adds an instance, with so many workers. */
  instance(store: SharedStore, workers: number): void {
    const first = this.workers.length;
    const later = (worker: number, told: (shared: SharedSessions, now: number) => void) =>
      this.#messages.push(() => told(this.workers[first + worker]!.shared, this.clock.now()));
    const hub: SessionHub = new SessionHub({
      stores: new Map([["web", store]]),
      answers: {
        sessionFound: (worker, id, address) => later(worker, (shared, now) => shared.found(id, address, now)),
        sessionCorrected: (worker, upstream, key, address, instead) =>
          later(worker, (shared, now) => shared.corrected(upstream, key, address, instead, now)),
        sessionsForgotten: (upstream) => {
          for (let worker = 0; worker < workers; worker++) later(worker, (shared) => shared.forgotten(upstream));
        },
      },
      counters: { storeAsked: () => {}, storeFailed: () => {} },
      clock: this.clock,
      later: (run) => this.#messages.push(run),
      log: { write: () => {}, flush: () => {} },
    });
    for (let worker = 0; worker < workers; worker++) this.workers.push(this.begin(hub, worker));
  }

  begin(hub: SessionHub, worker: number) {
    const shared = new SharedSessions(new Set(["web"]), {
      sessionWanted: (id, upstream, key) => this.#messages.push(() => hub.sessionWanted(worker, id, upstream, key)),
      sessionPlaced: (upstream, key, address, instead, ttlMs) =>
        this.#messages.push(() => hub.sessionPlaced(worker, upstream, key, address, instead, ttlMs)),
    });
    const store = shared.storeOf("web", HOUR, 50);
    const affinity = createAffinity(options, { upstream: "web", digest: (text) => text, store });
    shared.tell("web", affinity);
    return { shared, affinity, ...sampleUpstream({ a: {}, b: {}, c: {} }, {}, { affinity }) };
  }

  /** What an exchange of the session `id` at `worker` came to. */
  send(worker: number, id: string): string {
    const { upstream } = this.workers[worker]!;
    const request = { ...sampleRequest(0), header: (name: string) => (name === "x-session" ? id : undefined) };
    const now = this.clock.now();
    const exchange = SampleExchange.of(upstream, request, now, { wallMs: now });
    this.deliver();
    const backend = exchange.last!.slice("try ".length);
    exchange.succeeded(now);
    this.deliver();
    return `${backend} ${exchange.events.join()}`;
  }

  deliver(): void {
    for (let message = this.#messages.shift(); message !== undefined; message = this.#messages.shift()) message();
  }

  /** Health checks find that `backend` is down, or up again, for the workers given, or all. */
  health(backend: "a" | "b" | "c", up: boolean, workers = [...this.workers.keys()]): void {
    for (const worker of workers) {
      const { upstream, [backend]: its } = this.workers[worker]!;
      upstream.setHealth(its, up, up ? "" : "refused", this.clock.now());
    }
  }
}

function twoWorkers() {
  const world = new World();
  world.instance(new MemoryStore(1000, HOUR, world.clock), 2);
  return world;
}

function twoInstances() {
  const world = new World();
  const store = new FarStore(world.clock);
  world.instance(store, 1);
  world.instance(store, 1);
  return { world, store };
}

describe("after a second's absence of its backend a session is on one backend", () => {
  const blip = (world: World) => {
    expect([world.send(0, "x"), world.send(1, "x")]).toEqual(["a session-begun", "a session-kept"]);
    // So that the next one of worker 0 is not where that of worker 1 would be.
    world.send(1, "y");
    world.clock.advance(10);
    world.health("a", false);
    world.clock.advance(500);
    const moved = world.send(0, "x");
    expect(moved).toBe("b session-moved");
    world.clock.advance(500);
    world.health("a", true);
    return world;
  };

  test("at the workers of one instance, also where it was not used meanwhile", () => {
    const world = blip(twoWorkers());
    expect([world.send(1, "x"), world.send(0, "x"), world.send(1, "x")]).toEqual(Array(3).fill("b session-kept"));
  });

  test("at another instance", () => {
    const { world } = twoInstances();
    blip(world);
    expect([world.send(1, "x"), world.send(0, "x"), world.send(1, "x")]).toEqual(Array(3).fill("b session-kept"));
  });

  test("at a worker of another instance that was told by nobody, when another worker there has learned of it", () => {
    const world = new World();
    const store = new FarStore(world.clock);
    world.instance(store, 1);
    world.instance(store, 2);
    for (const worker of [0, 1, 2]) expect(world.send(worker, "x")).toMatch(/^a /);
    // Only the first instance thinks that it is lost.
    world.health("a", false, [0]);
    const [moved] = world.send(0, "x");
    expect(moved).not.toBe("a");
    world.clock.advance(HOUR / 10);
    // This one tells the store that it goes on, and hears that it does not: so do all here.
    expect(world.send(1, "x")[0]).toBe("a");
    expect([world.send(1, "x"), world.send(2, "x")]).toEqual(Array(2).fill(`${moved} session-kept`));
  });
});

test("where one worker alone thinks that a backend is lost, the session moves once, for all of them", () => {
  const world = twoWorkers();
  expect([world.send(0, "x"), world.send(1, "x")]).toEqual(["a session-begun", "a session-kept"]);
  world.health("a", false, [0]);
  const moved = world.send(0, "x");
  expect(moved).toMatch(/^[bc] session-moved$/);
  for (let n = 0; n < 10; n++) expect(world.send(n % 2, "x")).toBe(`${moved[0]} session-kept`);
});

test("a worker that does not know a session that moves need not", () => {
  const world = twoWorkers();
  world.send(0, "x");
  world.send(1, "other");
  world.health("a", false);
  expect(world.send(0, "x")).toMatch(/session-moved$/);
  expect(world.workers.map(({ affinity }) => affinity.figures!.held)).toEqual([1, 1]);
});

describe("a session that begins while the store is away", () => {
  test.each([true, false])("is known to it from the moment it is back: empty %j", (empty) => {
    const { world, store } = twoInstances();
    world.send(1, "other");
    world.deliver();
    store.goAway();
    expect(world.send(0, "x")).toBe("a session-begun");
    world.clock.advance(1_000);
    store.comeBack({ empty });
    world.deliver();
    expect([world.send(1, "x"), world.send(0, "x")]).toEqual(["a session-kept", "a session-kept"]);
  });

  test("is known to the other workers of its instance meanwhile", () => {
    const world = new World();
    const store = new FarStore(world.clock);
    world.instance(store, 2);
    world.send(1, "other");
    store.goAway();
    expect([world.send(0, "x"), world.send(1, "x")]).toEqual(["a session-begun", "a session-kept"]);
  });
});

test("a session that moves while the store is away stays where it has gone when it is back", () => {
  const { world, store } = twoInstances();
  for (const worker of [0, 1]) expect(world.send(worker, "x")).toMatch(/^a /);
  world.send(1, "y");
  store.goAway();
  world.clock.advance(10);
  world.health("a", false);
  expect(world.send(0, "x")).toBe("b session-moved");
  world.clock.advance(1_000);
  world.health("a", true);
  store.comeBack({ empty: false });
  world.deliver();
  expect([world.send(1, "x"), world.send(0, "x")]).toEqual(Array(2).fill("b session-kept"));
});

test("a store that comes back empty knows a session again when that is used next", () => {
  const { world, store } = twoInstances();
  expect(world.send(0, "x")).toBe("a session-begun");
  world.send(1, "other");
  store.goAway();
  world.clock.advance(1_000);
  store.comeBack({ empty: true });
  world.deliver();
  expect([world.send(0, "x"), world.send(1, "x")]).toEqual(Array(2).fill("a session-kept"));
});

test("a placement that fails while the store is up is there a second later", () => {
  const { world, store } = twoInstances();
  world.send(1, "other");
  store.failing = 1;
  expect(world.send(0, "x")).toBe("a session-begun");
  world.clock.advance(1_000);
  expect(world.send(1, "x")).toBe("a session-kept");
});
