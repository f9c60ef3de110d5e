import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { SeededRandom } from "../../src/policy/model/random.ts";
import { findRedis } from "../support/redis.ts";
import { pause } from "../support/wire.ts";
import { agreed, each, Guest, type Instance, Pair, type PairOptions, shuffled } from "./instances.ts";
import { type Load, loadOn, report } from "./load.ts";

const installation = findRedis();
if (typeof installation === "string") {
  if (process.env.CI === "true") throw new Error(installation);
  console.warn(`skipped: two instances with one Redis. ${installation}`);
}

const random = new SeededRandom(5);
const anyOf = <T>(list: readonly T[]): T => list[Math.floor(random.next() * list.length)]!;

let invited = 0;
/** New ones, of every kind in turn. */
const guests = (count: number) => Array.from({ length: count }, () => new Guest(invited++));

let both: Pair;

/** One pair for all tests of a block. */
function pairWith(options: PairOptions): void {
  beforeAll(async () => {
    if (typeof installation !== "string") both = await Pair.start(installation.program, options);
  });
  beforeEach(() => both.begin());
  afterAll(() => both?.close());
}

/** Resolves when Redis has all of them; who is not there after half a second comes once more, where it came before. */
async function untilShared(all: readonly Guest[]): Promise<void> {
  let missing: readonly Guest[] = all;
  for (let tries = 1; tries <= 100; tries++) {
    missing = await both.unshared(missing);
    if (missing.length === 0) return;
    if (tries % 10 === 0) await each(missing, (guest) => guest.visit(guest.host!));
    await pause(50);
  }
  throw new Error(`Redis never learns of ${missing.map(({ kind, id }) => `${kind} ${id}`).join(", ")}`);
}

/** All come for the first time, each to any instance, and Redis knows of it. */
async function arrive(all: readonly Guest[], instances: readonly Instance[] = both.instances): Promise<void> {
  await each(shuffled(all, random), (guest) => guest.visit(anyOf(instances)));
  await untilShared(all);
}

/** All come once, in random order, each to any of the instances, and are served by the backend of their session. */
async function expectAtHome(all: readonly Guest[], instances: readonly Instance[]): Promise<void> {
  const astray: string[] = [];
  await each(shuffled(all, random), async (guest) => {
    const { status, backend } = await guest.visit(anyOf(instances));
    if (status !== 200 || backend !== guest.home) astray.push(`${guest.kind} of ${guest.home}: ${status} ${backend}`);
  });
  expect(astray).toEqual([]);
}

describe.skipIf(typeof installation === "string")("two instances with one Redis", () => {
  // Busy machines take their time: no session ends, and no question remains without answer, because of that.
  pairWith({ ttl: "10m", timeout: "2s" });

  test("200 sessions by every kind of id, in random order: what begins at one goes on at the other", async () => {
    const all = guests(200);
    await arrive(all);
    const [one, other] = both.instances;
    for (const instances of [both.instances, [one], [other]]) await expectAtHome(all, instances);
    expect(
      await both.changes(
        "affinity_begun_total",
        "affinity_kept_total",
        "affinity_moved_total",
        "affinity_lost_total",
        "affinity_evicted_total",
        "affinity_store_failures_total",
        "requests_failed_total",
      ),
    ).toEqual({
      affinity_begun_total: 200,
      affinity_kept_total: 600,
      affinity_moved_total: 0,
      affinity_lost_total: 0,
      affinity_evicted_total: 0,
      affinity_store_failures_total: 0,
      requests_failed_total: 0,
    });
  });

  test("each instance counts the sessions that it holds, also those that began at the other", async () => {
    const [one, other] = both.instances;
    const all = guests(30);
    await arrive(all, [one]);
    await expectAtHome(all, [other]);
    expect(await both.changes("affinity_sessions")).toEqual({ affinity_sessions: 60 });
  });

  test("sessions whose first two requests come to both at the same moment end on one backend", async () => {
    const [one, other] = both.instances;
    const all = guests(150).filter(({ kind }) => kind !== "learned");
    const first = await Promise.all(all.map((guest) => Promise.all([guest.visit(one), guest.visit(other)])));
    expect(new Set(first.flat().map(({ status }) => status))).toEqual(new Set([200]));
    await agreed(all, both.instances);
    for (const [n, guest] of all.entries()) {
      guest.home = (await guest.visit(one)).backend;
      expect(first[n]!.map(({ backend }) => backend)).toContain(guest.home);
    }
    for (const instance of both.instances) await expectAtHome(all, [instance]);
    const apart = first.filter(([here, there]) => here.backend !== there.backend).length;
    console.log(
      `of ${all.length} sessions begun at both at once ${apart} were served by two backends, then all by one`,
    );
  });

  test("clients that go to the other instance at once, as quickly as they can, are there for good soon", async () => {
    const all = guests(150);
    let apart = 0;
    await each(all, async (guest) => {
      const [here, there] = shuffled(both.instances, random);
      await guest.visit(here!);
      if ((await guest.visit(there!)).backend !== guest.home) apart++;
    });
    await agreed(all, both.instances);
    expect((await both.changes("requests_failed_total")).requests_failed_total).toBe(0);
    console.log(`of ${all.length} clients that went on at the other at once ${apart} were ahead of their session`);
  });

  test("the sessions of a backend that is down move once, to one new backend at both, and no others do", async () => {
    const all = guests(150);
    await arrive(all);
    for (const instance of both.instances) await expectAtHome(all, [instance]);
    await both.begin();
    await both.afterwards("backend_down", () => both.backends.get("b")!.stop());
    const lost = all.filter(({ home }) => home === "b");
    for (const guest of lost) guest.leave();
    await each(shuffled(lost, random), (guest) => guest.visit(anyOf(both.instances)));
    await untilShared(lost);
    for (const instance of both.instances) await expectAtHome(all, [instance]);
    expect(new Set(lost.map(({ home }) => home))).toEqual(new Set(["a", "c"]));

    await both.afterwards("backend_up", () => both.backends.get("b")!.start());
    for (const instance of both.instances) await expectAtHome(all, [instance]);
    expect(await both.changes("affinity_moved_total", "requests_failed_total")).toEqual({
      affinity_moved_total: lost.length,
      requests_failed_total: 0,
    });
  });

  test("in the very moment in which a backend dies no request fails, and both agree soon on where its sessions are", async () => {
    const [one, other] = both.instances;
    const all = guests(150);
    await arrive(all);
    for (const instance of both.instances) await expectAtHome(all, [instance]);
    both.backends.get("c")!.stop();
    const visits = await Promise.all(all.map((guest) => Promise.all([guest.visit(one), guest.visit(other)])));
    for (const [n, guest] of all.entries()) {
      const backends = visits[n]!.map(({ status, backend }) => `${status} ${backend}`);
      if (guest.home === "c") for (const backend of backends) expect(["200 a", "200 b"]).toContain(backend);
      else expect(backends).toEqual([`200 ${guest.home}`, `200 ${guest.home}`]);
    }
    await agreed(all, both.instances);
    await expectAtHome(
      all.filter(({ home }) => home !== "c"),
      both.instances,
    );
    await both.afterwards("backend_up", () => both.backends.get("c")!.start());
  });

  test("what began while Redis was gone is shared as soon as it is used again, long before a tenth of its time", async () => {
    const [one, other] = both.instances;
    const all = guests(60);
    await both.afterwards("session_store_down", () => both.redis.stop());
    await each(all, (guest) => guest.visit(one));
    await both.afterwards("session_store_up", () => both.redis.start());
    await expectAtHome(all, [one]);
    await untilShared(all);
    await expectAtHome(all, [other]);
  });
});

describe.skipIf(typeof installation === "string")("two instances whose Redis goes away", () => {
  // The store hears of a session that goes on when a tenth of its time to live has passed.
  pairWith({ ttl: "15s", timeout: "250ms" });
  const RENEWED_MS = 1_600;

  test("under load: no request fails, no session moves, and Redis learns them anew when it is back", async () => {
    const [one, other] = both.instances;
    const [known, ofOne] = [guests(150), guests(60)];
    await arrive(known);
    await arrive(ofOne, [one]);
    for (const instance of both.instances) await expectAtHome(known, [instance]);
    await both.begin();

    const load = loadOn(both.instances, { known, ofOne, random, newGuest: () => guests(1)[0]! });
    onTestFinished(async () => void (await load.stop()));
    const phases: (readonly [name: string, load: Load])[] = [];
    const during = async (name: string, work: () => unknown): Promise<void> => {
      await work();
      phases.push([name, load.take()]);
    };
    await during("calm", () => pause(800));
    await during("Redis gone", async () => {
      await both.redis.stop();
      await pause(1_200);
      // In each of three upstreams of both.
      expect(await both.changes("affinity_store_up")).toEqual({ affinity_store_up: -6 });
    });
    await during("Redis back, empty", async () => {
      await both.afterwards("session_store_up", () => both.redis.start());
      expect(await both.changes("affinity_store_up")).toEqual({ affinity_store_up: 0 });
      await pause(RENEWED_MS);
    });
    // Those of one come there once more, and the other has them from Redis.
    await load.without(ofOne, async () => {
      await expectAtHome(ofOne, [one]);
      await untilShared(ofOne);
      await expectAtHome(ofOne, [other]);
    });
    await during("Redis frozen", async () => {
      both.redis.freeze();
      await pause(2_000);
    });
    await during("Redis goes on", async () => {
      await both.afterwards("session_store_up", () => both.redis.thaw());
      await pause(300);
    });
    phases.push(["end", await load.stop()]);
    console.log(report(phases));

    const sums = phases.map(([, phase]) => phase);
    expect(sums.flatMap(({ failed }) => failed)).toEqual([]);
    expect(sums.flatMap(({ astray }) => astray)).toEqual([]);
    expect(sums.reduce((sum, { visits }) => sum + visits.length, 0)).toBeGreaterThan(1_000);
    // Nobody has waited for the one that said nothing for 2 s.
    const frozen = phases.find(([name]) => name === "Redis frozen")![1];
    expect(Math.max(...frozen.visits.map(({ ms }) => ms))).toBeLessThan(1_500);
    expect(await both.changes("affinity_moved_total", "requests_failed_total")).toEqual({
      affinity_moved_total: 0,
      requests_failed_total: 0,
    });
    const { affinity_store_failures_total: failures } = await both.changes("affinity_store_failures_total");
    expect(failures).toBeGreaterThan(0);
    await expectAtHome([...known, ...ofOne], both.instances);
  });
});
