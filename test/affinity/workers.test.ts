import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { SettingsInput } from "../../src/config/settings.ts";
import { findReusePort } from "../../src/control/reuse-port.ts";
import { endAll, httpBackend, SpillwayProcess } from "../process/spillway-process.ts";
import { get } from "../support/scene.ts";
import { dial, type Message, type Wire } from "../support/wire.ts";
import { cookieOf } from "./visitors.ts";

const sharing = await findReusePort();
if (sharing === undefined) {
  const missing = "two workers need Node.js 22.12, or the package koffi on Linux";
  if (process.env.CI === "true") throw new Error(missing);
  console.warn(`skipped: sessions of two workers. ${missing}`);
}

/**
 * Just less than a worker waits for what the other knows of a session, in milliseconds; then its own answer counts. On a
 * machine that is busy with other things that happens, and says nothing of Spillway.
 */
const PATIENCE_MS = 200;

/** Connections to each worker, with which sessions come to both. */
const EACH = 4;
const GUESTS = 60;

const SOURCES = {
  "learned cookie": { learned: { cookie: "SID" } },
  header: { header: "X-Session" },
  "client-ip": { "client-ip": true },
} as const;
type Source = keyof typeof SOURCES;

/** Somebody with a session. */
class Guest {
  readonly #source: Source;
  readonly #n: number;
  #given = "";
  /** Who has answered, in order. */
  readonly served: string[] = [];
  /** Some answer took so long that its worker may have given up waiting. */
  late = false;

  constructor(source: Source, n: number) {
    this.#source = source;
    this.#n = n;
  }

  async visit(wire: Wire): Promise<Message> {
    const sentMs = performance.now();
    wire.write(this.#request());
    const response = await wire.response();
    if (performance.now() - sentMs >= PATIENCE_MS) this.late = true;
    this.served.push(response.status === 200 ? response.body : String(response.status));
    this.#given = cookieOf(response) ?? this.#given;
    return response;
  }

  #request(): string {
    const n = this.#n;
    switch (this.#source) {
      case "learned cookie":
        return get("/", this.#given === "" ? [] : [`Cookie: a=1; ${this.#given}`]);
      case "header":
        return get("/", [`X-Session: guest-${n}`]);
      case "client-ip":
        return get("/", [`X-Forwarded-For: 10.1.${n >> 8}.${n & 255}`]);
    }
  }
}

interface Office {
  readonly spillway: SpillwayProcess;
  /** Connections of each of the two workers. */
  readonly wires: readonly [readonly Wire[], readonly Wire[]];
  /** By name. */
  readonly backends: ReadonlyMap<string, { stop(): void }>;
  metric(name: string): Promise<number>;
  /** Requests of nobody by every connection: what the control plane has told the workers before has reached them. */
  settle(): Promise<void>;
}

/** `spillway run` with two workers and three backends that answer with their names. */
async function office(source: Source, upstream: object = {}): Promise<Office> {
  const folder = mkdtempSync(join(tmpdir(), "spillway-workers-"));
  const wires: Wire[] = [];
  onTestFinished(async () => {
    for (const wire of wires) wire.destroy();
    await endAll();
    rmSync(folder, { recursive: true });
  });
  const backends = new Map<string, { url: string; stop(): void }>();
  for (const name of ["a", "b", "c"]) {
    const backend = await httpBackend(({ url, headers }, response) => {
      // Ids count on from a random start of each worker: what stands before the dash tells workers apart.
      response.setHeader("X-Worker", String(headers["x-request-id"]).split("-")[0]!);
      const begins = source === "learned cookie" && url !== "/nobody" && headers.cookie === undefined;
      if (begins) response.setHeader("Set-Cookie", `SID=${randomUUID()}`);
      response.end(name);
    });
    backends.set(name, backend);
  }
  const settings: SettingsInput = {
    workers: 2,
    admin: { listen: "127.0.0.1:0" },
    listeners: [{ listen: "127.0.0.1:0", trustedProxies: ["127.0.0.1"], upstream: "web" }],
    upstreams: {
      web: {
        backends: [...backends.values()].map(({ url }) => url),
        affinity: SOURCES[source],
        healthCheck: { interval: "50ms", timeout: "1s" },
        ...upstream,
      },
    },
  };
  const file = join(folder, "spillway.json");
  writeFileSync(file, JSON.stringify(settings));
  const spillway = new SpillwayProcess(["run", file]);
  const port = await spillway.port();
  const admin = `http://127.0.0.1:${await spillway.adminPort()}`;
  const byWorker = new Map<string, Wire[]>();
  // The kernel spreads connections as it likes.
  for (let tries = 0; tries < 300; tries++) {
    const wire = await dial(port);
    wires.push(wire);
    wire.write(get("/nobody"));
    const worker = (await wire.response()).value("x-worker")!;
    byWorker.set(worker, [...(byWorker.get(worker) ?? []), wire]);
    if (byWorker.size === 2 && [...byWorker.values()].every(({ length }) => length >= EACH)) break;
  }
  const [one, other] = [...byWorker.values()].map((list) => list.slice(0, EACH));
  expect([byWorker.size, one?.length, other?.length]).toEqual([2, EACH, EACH]);
  return {
    spillway,
    wires: [one!, other!],
    backends,
    metric: async (name) => {
      const text = await (await fetch(`${admin}/metrics`)).text();
      const rows = text.split("\n").filter((line) => line.startsWith(`${name}{`));
      return rows.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
    },
    settle: async () => {
      for (let i = 0; i < 3; i++) {
        for (const wire of [...one!, ...other!]) {
          wire.write(get("/nobody"));
          await wire.response();
        }
      }
    },
  };
}

/** Each guest sends so many requests, to one worker and the other in turns; many guests at a time. */
async function rounds({ wires }: Office, guests: readonly Guest[], count: number): Promise<void> {
  await Promise.all(
    Array.from({ length: EACH }, async (_, at) => {
      for (let n = at; n < guests.length; n += EACH) {
        for (let i = 0; i < count; i++) await guests[n]!.visit(wires[(n + i) % 2]![at]!);
      }
    }),
  );
}

const guestsBy = (source: Source) => Array.from({ length: GUESTS }, (_, n) => new Guest(source, n));

/** Those that were served by several since their request `from`, though all was in time. */
function astray(guests: readonly Guest[], from = 0): (readonly string[])[] {
  return guests
    .filter(({ late }) => !late)
    .map(({ served }) => served.slice(from))
    .filter((served) => new Set(served).size !== 1);
}

/** What was counted of sessions is `count`, one more at most for each that may have been decided on twice. */
function expectCounted(counted: number, count: number, guests: readonly Guest[]): void {
  expect(counted).toBeGreaterThanOrEqual(count);
  expect(counted).toBeLessThanOrEqual(count + guests.filter(({ late }) => late).length);
}

describe.skipIf(sharing === undefined)("two workers", () => {
  test.each(Object.keys(SOURCES) as Source[])(
    "%s: a session begun on one goes on at the other, also when its backend dies",
    async (source) => {
      const all = await office(source);
      const { spillway, backends, metric, settle } = all;
      const others = await metric("spillway_affinity_begun_total");
      const guests = guestsBy(source);
      await rounds(all, guests, 6);
      expect(astray(guests)).toEqual([]);
      const homes = guests.map(({ served }) => served[0]!);
      expect(new Set(homes).size).toBe(3);
      expectCounted((await metric("spillway_affinity_begun_total")) - others, GUESTS, guests);
      expectCounted(await metric("spillway_affinity_moved_total"), 0, guests);

      backends.get("b")!.stop();
      await spillway.entry("backend_down");
      await settle();
      const movedBefore = await metric("spillway_affinity_moved_total");
      await rounds(all, guests, 4);
      expect(astray(guests, 6)).toEqual([]);
      for (const [n, { served, late }] of guests.entries()) {
        if (homes[n] === "b") expect(["a", "c"]).toContain(served.at(-1));
        else if (!late) expect(served.at(-1)).toBe(homes[n]);
      }
      const moved = homes.filter((home) => home === "b").length;
      expectCounted((await metric("spillway_affinity_moved_total")) - movedBefore, moved, guests);
      expectCounted((await metric("spillway_affinity_begun_total")) - others, GUESTS, guests);
      expect(await metric("spillway_affinity_lost_total")).toBe(0);
      expect(await metric("spillway_affinity_store_failures_total")).toBe(0);
    },
  );

  test("requests that begin one session at both at the same time soon agree, and lastingly", async () => {
    const all = await office("header");
    const { wires } = all;
    const guests = guestsBy("header");
    for (const guest of guests) await Promise.all([guest.visit(wires[0][0]!), guest.visit(wires[1][0]!)]);
    // By now the store has told the one that was later.
    await rounds(all, guests, 6);
    expect(astray(guests, 2)).toEqual([]);
  });

  test("a backend that dies unnoticed: its sessions end on one backend each, the others do not notice", async () => {
    const all = await office("header", { healthCheck: false, circuitBreaker: false, outlierDetection: false });
    const guests = guestsBy("header");
    await rounds(all, guests, 2);
    const homes = guests.map(({ served }) => served[0]!);
    all.backends.get("b")!.stop();
    await rounds(all, guests, 2);
    await rounds(all, guests, 4);
    expect(guests.flatMap(({ served }) => served).filter((body) => !["a", "b", "c"].includes(body))).toEqual([]);
    expect(astray(guests, 4)).toEqual([]);
    expect(astray(guests.filter((_, n) => homes[n] !== "b"))).toEqual([]);
  });

  test("strict: both refuse a session whose backend is gone, and no other", async () => {
    const source = "header";
    const all = await office(source, { affinity: { ...SOURCES[source], strict: true } });
    const guests = guestsBy(source);
    await rounds(all, guests, 1);
    const homes = guests.map(({ served }) => served[0]!);
    all.backends.get("a")!.stop();
    await all.spillway.entry("backend_down");
    await all.settle();
    await rounds(all, guests, 4);
    for (const [n, { served, late }] of guests.entries()) {
      if (!late) expect(served.slice(1)).toEqual(Array(4).fill(homes[n] === "a" ? "503" : homes[n]));
    }
    expect(await all.metric("spillway_affinity_lost_total")).toBeGreaterThan(0);
  });

  test("cookies made by one worker are understood by the other, without a key in the configuration", async () => {
    const all = await office("header", { affinity: { cookie: "spillway" } });
    const guests = guestsBy("learned cookie");
    await rounds(all, guests, 4);
    expect(astray(guests)).toEqual([]);
    expect(new Set(guests.map(({ served }) => served[0])).size).toBe(3);
  });
});
