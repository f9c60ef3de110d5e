import { createHash, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import type { SettingsInput } from "../../src/config/settings.ts";
import type { Random } from "../../src/policy/model/random.ts";
import { endAll, httpBackend, SpillwayProcess } from "../process/spillway-process.ts";
import { RedisServer } from "../support/redis.ts";
import { get } from "../support/scene.ts";
import { dial, pause, type Wire } from "../support/wire.ts";

/** Ways to tell a session that a store shares; each has an upstream of its name. */
export const SHARED_KINDS = ["learned", "header", "client-ip"] as const;
export type SharedKind = (typeof SHARED_KINDS)[number];

/** Somebody with a session, who sends one request at a time. */
export class Guest {
  readonly kind: SharedKind;
  readonly #n: number;
  /** Given by the application. */
  #cookie = "";
  /** Backend that served the first request. */
  home = "";
  /** Where the first request went. */
  host: Instance | undefined;

  constructor(n: number, kind: SharedKind = SHARED_KINDS[n % SHARED_KINDS.length]!) {
    this.#n = n;
    this.kind = kind;
  }

  /** Sends a request to one instance or another. */
  async visit(instance: Instance): Promise<Visit> {
    this.host ??= instance;
    const visit = await instance.send(this.#request());
    if (visit.cookie !== "") this.#cookie = visit.cookie;
    if (this.home === "") this.home = visit.backend;
    return visit;
  }

  /** Its home is gone: the next request finds it another. */
  leave(): void {
    this.home = "";
    this.host = undefined;
  }

  /** What it is known by. */
  get id(): string {
    const n = this.#n;
    if (this.kind === "header") return `guest-${n}`;
    if (this.kind === "client-ip") return `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`;
    return this.#cookie.slice("SID=".length);
  }

  #request(): string {
    const target = `/${this.kind}`;
    if (this.kind === "header") return get(target, [`X-Session: ${this.id}`]);
    if (this.kind === "client-ip") return get(target, [`X-Forwarded-For: ${this.id}`]);
    return get(target, this.#cookie === "" ? [] : [`Cookie: ${this.#cookie}`]);
  }
}

/** How one request ended; status 0: the connection did first. */
export interface Visit {
  readonly status: number;
  readonly backend: string;
  readonly cookie: string;
  readonly ms: number;
}

/** Values of metrics by name. */
export type Figures = ReadonlyMap<string, number>;

/** One `spillway run`, and connections to it that are used again. */
export class Instance {
  readonly process: SpillwayProcess;
  readonly #wires: Wire[] = [];
  #port = 0;
  #admin = "";

  constructor(file: string) {
    this.process = new SpillwayProcess(["run", file]);
  }

  async started(): Promise<this> {
    this.#port = await this.process.port();
    this.#admin = `http://127.0.0.1:${await this.process.adminPort()}`;
    return this;
  }

  async send(request: string): Promise<Visit> {
    const wire = this.#wires.pop() ?? (await dial(this.#port));
    const sentAtMs = performance.now();
    wire.write(request);
    try {
      const { status, body, value } = await wire.response();
      const ms = performance.now() - sentAtMs;
      if (value("connection")?.toLowerCase() === "close") wire.destroy();
      else this.#wires.push(wire);
      return { status, ms, backend: status === 200 ? body : "", cookie: value("set-cookie")?.split(";")[0] ?? "" };
    } catch {
      wire.destroy();
      return { status: 0, ms: performance.now() - sentAtMs, backend: "", cookie: "" };
    }
  }

  /** Every metric by its name, all its rows added up. */
  async figures(): Promise<Figures> {
    const text = await (await fetch(`${this.#admin}/metrics`)).text();
    const sums = new Map<string, number>();
    for (const [, name, value] of text.matchAll(/^(\w+)(?:\{.*\})? (\S+)$/gm)) {
      sums.set(name!, (sums.get(name!) ?? 0) + Number(value));
    }
    return sums;
  }

  /** How often its log has this code. */
  logged(code: string): number {
    return this.process.entries.filter((entry) => entry.code === code).length;
  }

  /** Resolves when its log has this code for all upstreams once more than `before` times. */
  hears(code: string, before: number): Promise<void> {
    return this.process.until(() => this.logged(code) >= before + SHARED_KINDS.length, `${code} of all upstreams`);
  }

  hangUp(): void {
    for (const wire of this.#wires) wire.destroy();
  }
}

/** Two instances with the same configuration, one Redis and three backends. */
export class Pair {
  readonly instances: readonly [Instance, Instance];
  readonly redis: RedisServer;
  readonly backends: ReadonlyMap<string, Restartable>;
  readonly #folder: string;
  #before: Figures = new Map();

  private constructor(
    folder: string,
    instances: Pair["instances"],
    redis: RedisServer,
    backends: ReadonlyMap<string, Restartable>,
  ) {
    this.#folder = folder;
    this.instances = instances;
    this.redis = redis;
    this.backends = backends;
  }

  /** @param affinity more options of all upstreams' affinity */
  static async start(redisServer: string, affinity: PairOptions): Promise<Pair> {
    const folder = mkdtempSync(join(tmpdir(), "spillway-pair-"));
    const redis = await RedisServer.start(redisServer);
    const backends = new Map<string, Restartable>();
    for (const name of ["a", "b", "c"]) backends.set(name, await restartable(name));
    const file = join(folder, "spillway.yaml");
    const urls = [...backends.values()].map(({ url }) => url);
    writeFileSync(file, JSON.stringify(settingsOf(urls, redis.url(), affinity)));
    const instances = [new Instance(file), new Instance(file)] as const;
    const pair = new Pair(folder, instances, redis, backends);
    await Promise.all(instances.map((instance) => instance.started()));
    return pair;
  }

  /** Those of whom Redis does not know that they belong where they do. */
  async unshared(guests: readonly Guest[]): Promise<Guest[]> {
    const client = new Redis(this.redis.port, "127.0.0.1");
    const keys = guests.map(({ kind, id }) => {
      const digest = createHash("sha256").update(id).digest("base64url").slice(0, 22);
      return `spillway:${kind}:${digest}`;
    });
    const addresses = await client.mget(keys);
    client.disconnect();
    return guests.filter(({ home }, n) => `http://${addresses[n]}` !== this.backends.get(home)?.url);
  }

  /** From now on {@link changes} are counted. */
  async begin(): Promise<void> {
    this.#before = await this.#figures();
  }

  /** By how much metrics have changed, in both instances together. */
  async changes<Name extends string>(...names: readonly Name[]): Promise<Record<Name, number>> {
    const now = await this.#figures();
    const changes = names.map((name) => {
      const metric = `spillway_${name}`;
      return [name, (now.get(metric) ?? Number.NaN) - (this.#before.get(metric) ?? 0)];
    });
    return Object.fromEntries(changes) as Record<Name, number>;
  }

  /** Resolves when all instances have logged this for all upstreams, after `action`. */
  async afterwards(code: string, action: () => unknown): Promise<void> {
    const before = this.instances.map((instance) => instance.logged(code));
    await action();
    await Promise.all(this.instances.map((instance, n) => instance.hears(code, before[n]!)));
  }

  async close(): Promise<void> {
    for (const instance of this.instances) instance.hangUp();
    await endAll();
    await this.redis.remove();
    rmSync(this.#folder, { recursive: true });
  }

  async #figures(): Promise<Figures> {
    const sums = new Map<string, number>();
    for (const figures of await Promise.all(this.instances.map((instance) => instance.figures()))) {
      for (const [name, value] of figures) sums.set(name, (sums.get(name) ?? 0) + value);
    }
    return sums;
  }
}

/** What pairs differ in. */
export interface PairOptions {
  readonly ttl: string;
  /** How long an answer of Redis is waited for. */
  readonly timeout: string;
}

interface Restartable {
  readonly url: string;
  stop(): void;
  start(): Promise<void>;
}

function settingsOf(backends: readonly string[], redis: string, { ttl, timeout }: PairOptions): SettingsInput {
  const sources = {
    learned: { learned: { cookie: "SID" } },
    header: { header: "X-Session" },
    "client-ip": { "client-ip": true },
  };
  return {
    admin: { listen: "127.0.0.1:0" },
    listeners: [
      {
        listen: "127.0.0.1:0",
        trustedProxies: ["127.0.0.1"],
        routes: SHARED_KINDS.map((kind) => ({ match: { path: `/${kind}` }, upstream: kind })),
      },
    ],
    upstreams: Object.fromEntries(
      SHARED_KINDS.map((kind) => [
        kind,
        {
          backends,
          healthCheck: { interval: "50ms", timeout: "1s" },
          // So that two instances hardly ever agree by chance.
          balance: "random",
          affinity: { ...sources[kind], ttl, store: { url: redis, timeout } },
        },
      ]),
    ) as SettingsInput["upstreams"],
  };
}

/** A backend that answers with its name, and gives clients without a session one of the application's. */
async function restartable(name: string): Promise<Restartable> {
  const answer: Parameters<typeof httpBackend>[0] = (request, response) => {
    if (request.url === "/learned" && request.headers.cookie === undefined) {
      response.setHeader("Set-Cookie", `SID=${randomUUID()}; HttpOnly`);
    }
    response.end(name);
  };
  let now = await httpBackend(answer);
  const { port, url } = now;
  return {
    url,
    stop: () => now.stop(),
    start: async () => {
      now = await httpBackend(answer, port);
    },
  };
}

/** Does `work` for all of a list, so many at a time. */
export async function each<T>(list: readonly T[], work: (item: T) => Promise<unknown>, atOnce = 16): Promise<void> {
  const left = [...list];
  const worker = async (): Promise<void> => {
    for (let item = left.pop(); item !== undefined; item = left.pop()) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

/** The list in a random order. */
export function shuffled<T>(list: readonly T[], random: Random): T[] {
  return list
    .map((item) => ({ item, key: random.next() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}

/** Sends all guests to both instances until each is answered from one backend there. */
export async function agreed(guests: readonly Guest[], [one, other]: readonly [Instance, Instance]): Promise<void> {
  let apart = guests.length;
  for (let tries = 0; tries < 50; tries++) {
    apart = 0;
    await each(guests, async (guest) => {
      const [here, there] = await Promise.all([guest.visit(one), guest.visit(other)]);
      if (here.backend !== there.backend) apart++;
    });
    if (apart === 0) return;
    await pause(20);
  }
  throw new Error(`they never agree on ${apart} of ${guests.length} sessions`);
}
