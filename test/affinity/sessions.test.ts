import { describe, expect, test } from "vitest";
import { ask, cast } from "../isolation/cast.ts";
import { ok } from "../support/raw-backend.ts";
import { get, scene } from "../support/scene.ts";
import { eventually } from "../support/wire.ts";
import { type Crowd, crowd, KINDS, kindOf, stoppedTime, type Visitor } from "./visitors.ts";

const VISITORS = 1_000;

/** Where each visitor was served the first time; by weight 4:2:1. */
function expectBegunByWeight({ visitors }: Crowd): number[] {
  const homes = visitors.map(({ served }) => served[0]!);
  const counts = [0, 1, 2].map((backend) => homes.filter((home) => home === backend).length);
  for (const [backend, share] of [4, 2, 1].entries()) {
    expect(Math.abs(counts[backend]! - (VISITORS * share) / 7)).toBeLessThanOrEqual(1);
  }
  return homes;
}

/** All of them at `homes` from their request `from` to the last. */
function expectAtHome(visitors: readonly Visitor[], homes: readonly number[], from = 0): void {
  const astray = visitors.filter(({ n, served }) => served.slice(from).some((backend) => backend !== homes[n]));
  expect(astray).toEqual([]);
}

/** From request `from` on, the visitors of `lost` are elsewhere, on one backend each, and all others where they were. */
function expectMovedOnce({ visitors }: Crowd, homes: readonly number[], lost: number, from: number): number {
  const newHomes = visitors.map(({ n, served }) => (homes[n] === lost ? served[from]! : homes[n]!));
  expectAtHome(visitors, newHomes, from);
  const moved = newHomes.filter((_, n) => homes[n] === lost);
  expect(new Set(moved)).toEqual(new Set([0, 1, 2].filter((backend) => backend !== lost)));
  return moved.length;
}

/** Those who are given something are given it once, and a cookie that names a backend once more for each move. */
function expectGifts({ visitors }: Crowd, homes: readonly number[], lost: number, stateless: boolean): void {
  for (const { n, gifts } of visitors) expect(gifts).toBe(stateless && homes[n] === lost ? 2 : 1);
}

describe.each(KINDS)("sessions by $name", (kind) => {
  const { stateless = false, gift } = kind;
  const held = stateless ? 0 : VISITORS;

  test("1,000 of 20 requests each begin by weight and stay; those of a backend that goes down move once, and no others", async () => {
    const all = await crowd(kind, { visitors: VISITORS });
    const { stage, visitors, rounds, sessions } = all;
    await rounds(8);
    const homes = expectBegunByWeight(all);
    expectAtHome(visitors, homes);
    expect(sessions()).toMatchObject({ held, begun: VISITORS, kept: 7 * VISITORS, moved: 0 });

    stage.proxy.plane.setHealth(1, false, "killed by a test");
    await rounds(7);
    const moved = expectMovedOnce(all, homes, 1, 8);
    expect(moved).toBe(homes.filter((home) => home === 1).length);
    const kept = 14 * VISITORS - moved;
    expect(sessions()).toMatchObject({ held, begun: VISITORS, kept, moved, lost: 0, evicted: 0 });

    stage.proxy.plane.setHealth(1, true, "back");
    await rounds(5);
    expectMovedOnce(all, homes, 1, 8);
    expect(sessions()).toMatchObject({ held, begun: VISITORS, kept: kept + 5 * VISITORS, moved, lost: 0, evicted: 0 });
    if (gift !== undefined) expectGifts(all, homes, 1, stateless);
    expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({
      requests: 20 * VISITORS,
      failed: 0,
      retries: 0,
      moves: 0,
      statuses: { 200: 20 * VISITORS },
    });
  });

  test("those whose backend refuses connections are answered by another at once, move once, and no others", async () => {
    const all = await crowd(kind, {
      visitors: VISITORS,
      upstream: { circuitBreaker: false, outlierDetection: false },
    });
    const { stage, rounds, sessions } = all;
    const { plane, snapshot } = stage.proxy;
    await rounds(1);
    const homes = expectBegunByWeight(all);
    await stage.backends[0]!.close();
    await eventually(() => plane.inspect().backends[0]!.idle === 0, "its connections are gone");
    await rounds(2);
    const moved = expectMovedOnce(all, homes, 0, 1);
    expect(sessions()).toMatchObject({ held, begun: VISITORS, kept: 2 * VISITORS - moved, moved, lost: 0 });
    if (gift !== undefined) expectGifts(all, homes, 0, stateless);
    const [web] = snapshot().upstreams;
    expect(web).toMatchObject({ failed: 0, moves: moved, statuses: { 200: 3 * VISITORS } });
    expect(web!.backends[0]).toMatchObject({ failures: moved });
  });

  test("one lasts as long as it is used within its time to live, and not a moment longer", async () => {
    const time = stoppedTime();
    const { visitors, visit, sessions } = await crowd(kind, { visitors: 1, affinity: { ttl: "1h" } });
    const [visitor] = visitors as [Visitor];
    const comeAfter = async (ms: number) => {
      time.pass(ms);
      const before = sessions();
      await visit(visitor);
      const { begun, kept } = sessions();
      return { begun: begun - before.begun, kept: kept - before.kept };
    };
    expect(await comeAfter(0)).toEqual({ begun: 1, kept: 0 });
    for (const ms of [3_599_000, 3_599_000, 3_599_999]) expect(await comeAfter(ms)).toEqual({ begun: 0, kept: 1 });
    // A cookie is made anew when a tenth of its time has passed, and its time runs from then.
    expect(await comeAfter(359_999)).toEqual({ begun: 0, kept: 1 });
    expect(await comeAfter(stateless ? 3_240_000 : 3_599_999)).toEqual({ begun: 0, kept: 1 });
    // By then an id of the application's is one that nobody knows, and begins nothing before it is given anew.
    const anew = kind.name.startsWith("learned") ? 0 : 1;
    expect(await comeAfter(3_600_000)).toEqual({ begun: anew, kept: 0 });
    expect(await comeAfter(3_599_000)).toEqual({ begun: 0, kept: anew });
    expect(sessions().moved).toBe(0);
  });
});

describe.each(KINDS.filter(({ stateless }) => !stateless))("the table of sessions by $name", (kind) => {
  test("holds maxSessions: who was not seen for longest begins anew, the others do not notice", async () => {
    const { visitors, visit, sessions } = await crowd(kind, { visitors: 11, affinity: { maxSessions: 10 } });
    for (const visitor of visitors.slice(0, 10)) await visit(visitor);
    // The first is not the one that was not seen for longest any more.
    await visit(visitors[0]!);
    await visit(visitors[10]!);
    expect(sessions()).toMatchObject({ held: 10, begun: 11, kept: 1, evicted: 1 });
    for (const visitor of visitors) if (visitor.n !== 1) await visit(visitor);
    expect(sessions()).toMatchObject({ held: 10, begun: 11, kept: 11, evicted: 1 });
    for (const { served } of visitors) expect(new Set(served).size).toBe(1);
  });
});

test("a table of sessions forgets those that have ended, though nobody asks for them", async () => {
  const { rounds, sessions } = await crowd(kindOf("header"), { visitors: 50, affinity: { ttl: "200ms" } });
  await rounds(1);
  expect(sessions()).toMatchObject({ held: 50, begun: 50 });
  await eventually(() => sessions().held === 0, "none is held");
  expect(sessions().evicted).toBe(0);
});

test("what protects from a backend that is dead, the defaults on, costs no session a second move", async () => {
  const all = await crowd(kindOf("cookie"), { visitors: VISITORS });
  const { stage, rounds, sessions } = all;
  await rounds(2);
  const homes = expectBegunByWeight(all);
  await stage.backends[1]!.close();
  await rounds(3);
  const moved = expectMovedOnce(all, homes, 1, 2);
  expect(sessions()).toMatchObject({ begun: VISITORS, moved, lost: 0 });
  const [web] = stage.proxy.snapshot().upstreams;
  expect(web).toMatchObject({ failed: 0, statuses: { 200: 5 * VISITORS } });
  // Most of them found it taken out already.
  expect(web!.backends[1]!.failures).toBeLessThan(moved / 2);
});

test("requests of one session that come side by side begin it once, and move it once", async () => {
  const { stage, visitors, visit, sessions } = await crowd(kindOf("header"), { visitors: 40 });
  const wires = await Promise.all(Array.from({ length: 200 }, () => stage.client()));
  const flood = () => Promise.all(wires.map((wire, n) => visit(visitors[n % 40]!, wire)));
  await flood();
  for (const { served } of visitors) expect(new Set(served).size).toBe(1);
  expect(sessions()).toMatchObject({ held: 40, begun: 40, kept: 160 });
  const homes = visitors.map(({ served }) => served[0]!);
  stage.proxy.plane.setHealth(0, false, "killed by a test");
  await flood();
  for (const { served } of visitors) expect(new Set(served.slice(5)).size).toBe(1);
  expect(sessions()).toMatchObject({ held: 40, begun: 40, moved: homes.filter((home) => home === 0).length });
});

test("a request that carries no session goes where the balancer says, and begins none", async () => {
  const { stage, sessions, visitors, visit } = await crowd(
    { ...kindOf("header"), request: kindOf("query").request },
    {
      visitors: 70,
    },
  );
  for (const visitor of visitors) await visit(visitor);
  const counts = [0, 1, 2].map((backend) => visitors.filter(({ served }) => served[0] === backend).length);
  expect(counts).toEqual([40, 20, 10]);
  expect(sessions()).toMatchObject({ held: 0, begun: 0, kept: 0 });
  expect(stage.proxy.snapshot().upstreams[0]!.failed).toBe(0);
});

test("an id that a client made up begins no learned session, however often it comes", async () => {
  const kind = kindOf("learned cookie");
  const { visitors, visit, sessions } = await crowd(kind, { visitors: 1 });
  const [visitor] = visitors as [Visitor];
  visitor.given = "SID=made-up";
  for (let i = 0; i < 14; i++) await visit(visitor);
  expect([0, 1, 2].map((backend) => visitor.served.filter((each) => each === backend).length)).toEqual([8, 4, 2]);
  expect(sessions()).toMatchObject({ held: 0, begun: 0, kept: 0 });
});

test.each([
  ["ended yesterday is nobody's session", -86_400_000, { held: 0, begun: 0, kept: 0, moved: 0 }],
  ["ends tomorrow is one", 86_400_000, { held: 1, begun: 1, kept: 1, moved: 2 }],
])("a learned cookie that %s", async (_, ms, expected) => {
  const expires = new Date(Date.now() + ms).toUTCString();
  const field = `Set-Cookie: SID=of-all; Path=/; Expires=${expires}`;
  const { scripts } = cast(2, ({ backend }) => ok(String(backend), [field]));
  const stage = await scene(scripts, {
    upstream: { balance: "round-robin", affinity: { learned: { cookie: "SID" } } },
  });
  // Those that have no id yet are given it by both backends in turns.
  for (const fields of [[], [], [], ["Cookie: SID=of-all"]]) await ask(stage, get("/", fields));
  expect(stage.proxy.snapshot().upstreams[0]!.sessions).toMatchObject(expected);
});

test("what an untrusted peer says of addresses makes no session of anybody else's", async () => {
  const { listener: _, ...untrusting } = kindOf("client-ip");
  const { visitors, rounds, sessions } = await crowd(untrusting, { visitors: 70 });
  await rounds(2);
  expect(new Set(visitors.flatMap(({ served }) => served)).size).toBe(1);
  expect(sessions()).toMatchObject({ held: 1, begun: 1, kept: 139 });
});
