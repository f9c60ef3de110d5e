import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BY_HEADER, bench } from "../../test/support/metrics-bench.ts";
import { BUCKETS } from "./histogram.ts";
import {
  BACKEND,
  changeLayout,
  createLayout,
  createMetricsMemory,
  DISTANCE_BUCKETS,
  GENERAL,
  LISTENER,
  POSITION_SOURCES,
  SHED_REASONS,
  STATUS_CELLS,
  STORE_OPERATIONS,
  TIMEOUT_PHASES,
  UPSTREAM,
} from "./layout.ts";
import { readSnapshot } from "./snapshot.ts";
import { Stripe } from "./stripe.ts";

describe("counting", () => {
  test("an exchange is active from its start to its end and keeps status, failure and time", () => {
    const { stripes, snapshot } = bench();
    const stripe = stripes[0]!;
    stripe.exchangeStarted(0);
    stripe.exchangeStarted(0);
    stripe.exchangeStarted(1);
    stripe.exchangeEnded(0, 200, false, 40);
    stripe.exchangeEnded(1, 502, true, 3000);

    const { total, own, upstreams } = snapshot();
    expect(total).toMatchObject({ requests: 3, failed: 1, active: 1, durationMs: 3040, statuses: { 200: 1, 502: 1 } });
    expect(upstreams[0]).toMatchObject({ name: "web", requests: 2, failed: 0, active: 1, durationMs: 40 });
    expect(upstreams[1]).toMatchObject({ name: "api", requests: 1, failed: 1, active: 0, statuses: { 502: 1 } });
    expect(own.requests).toBe(0);
  });

  test("what Spillway answers itself counts in the total and in no upstream", () => {
    const { stripes, snapshot } = bench();
    stripes[0]!.exchangeStarted(-1);
    stripes[0]!.exchangeEnded(-1, 308, false, 0.2);
    const { total, own, upstreams } = snapshot();
    expect([total.requests, own.requests, upstreams[0]!.requests, upstreams[1]!.requests]).toEqual([1, 1, 0, 0]);
    expect(own.statuses).toEqual({ 308: 1 });
  });

  test("an exchange without a response has no status", () => {
    const { stripes, snapshot } = bench();
    stripes[0]!.exchangeStarted(0);
    stripes[0]!.exchangeEnded(0, 0, true, 5);
    expect(snapshot().total).toMatchObject({ statuses: {}, unanswered: 1, failed: 1 });
  });

  test("attempts give requests, failures and the mean response time of a backend", () => {
    const { stripes, counts, snapshot } = bench();
    const stripe = stripes[0]!;
    for (const ms of [10, 30]) {
      stripe.attemptStarted(1);
      stripe.attemptEnded(1, false, ms);
    }
    stripe.attemptStarted(1);
    stripe.attemptEnded(1, true, 5);
    stripe.attemptStarted(1);
    counts.takeActive(1, Number.POSITIVE_INFINITY);
    expect(snapshot().upstreams[0]!.backends[1]).toMatchObject({
      requests: 4,
      failures: 1,
      active: 1,
      meanMs: 15,
      ended: 3,
    });
    expect(snapshot().upstreams[0]!.backends[0]).toMatchObject({ requests: 0, meanMs: 0 });
  });

  test("connections, reuse, replays and trips are kept per backend", () => {
    const { stripes, counts, snapshot } = bench();
    const stripe = stripes[0]!;
    stripe.backendConnectionOpened(2);
    stripe.backendConnectionOpened(2);
    stripe.backendConnectionClosed(2);
    stripe.connectionReused(2);
    stripe.connectionReused(2);
    stripe.connectionReused(2);
    stripe.replayed(2);
    stripe.breakerTripped(2);
    stripe.fellBack(1);
    counts.takeConnection(2, 10);
    const { upstreams, breakerTrips, total } = snapshot();
    expect(upstreams[1]!.backends[0]).toMatchObject({
      connections: 1,
      connectionsOpened: 2,
      connectionsClosed: 1,
      reused: 3,
      replayed: 1,
      breakerTrips: 1,
    });
    expect([breakerTrips, total.fallbacks]).toEqual([1, 1]);
  });

  test("what follows a failure, and hedges, are kept per upstream", () => {
    const { stripes, snapshot } = bench();
    const stripe = stripes[0]!;
    const times = (n: number, count: () => void): void => {
      for (let i = 0; i < n; i++) count();
    };
    times(1, () => stripe.fellBack(1));
    times(2, () => stripe.retried(1));
    times(3, () => stripe.moved(1));
    times(4, () => stripe.retryDenied(1));
    times(5, () => stripe.hedged(1));
    times(6, () => stripe.hedgeWon(1));
    stripe.retried(0);
    const counted = { fallbacks: 1, retries: 2, moves: 3, retriesDenied: 4, hedges: 5, hedgesWon: 6 };
    const { total, own, upstreams } = snapshot();
    expect(upstreams[1]).toMatchObject(counted);
    expect(upstreams[0]).toMatchObject({ fallbacks: 0, retries: 1, moves: 0, hedges: 0 });
    expect(total).toMatchObject({ ...counted, retries: 3 });
    expect(own).toMatchObject({ fallbacks: 0, retries: 0, moves: 0 });
  });

  test("ejections are kept per backend and in total", () => {
    const { stripes, snapshot } = bench();
    for (const slot of [0, 2, 2]) stripes[0]!.ejected(slot);
    const { upstreams, ejections, breakerTrips } = snapshot();
    expect(upstreams.map(({ backends }) => backends.map((backend) => backend.ejections))).toEqual([[1, 0], [2]]);
    expect([ejections, breakerTrips]).toEqual([3, 0]);
  });

  test("what waits and the concurrency limit show what each worker said last, added up", () => {
    const { stripes, snapshot } = bench(2);
    for (const waiting of [7, 3]) stripes[0]!.waiting(0, waiting);
    stripes[1]!.waiting(0, 4);
    stripes[1]!.waiting(1, 1);
    stripes[0]!.concurrencyLimit(1, 20);
    stripes[1]!.concurrencyLimit(1, 30);
    stripes[1]!.concurrencyLimit(1, 25);
    const { total, upstreams } = snapshot();
    expect(upstreams.map(({ waiting, concurrencyLimit }) => [waiting, concurrencyLimit])).toEqual([
      [7, 0],
      [1, 45],
    ]);
    expect(total.waiting).toBe(8);
  });

  test("clients are counted per listener, bytes, tunnels and lost log lines in total", () => {
    const { stripes, snapshot } = bench();
    const stripe = stripes[0]!;
    stripe.clientConnectionOpened();
    stripe.clientConnectionOpened(1);
    stripe.clientConnectionOpened(1);
    stripe.clientConnectionClosed(1);
    stripe.bytesIn(10);
    stripe.bytesOut(2 ** 40);
    stripe.bytesOut(5);
    stripe.tunnelOpened();
    stripe.tunnelOpened();
    stripe.tunnelClosed();
    stripe.accessLogDropped(7);
    expect(snapshot()).toMatchObject({
      listeners: [
        { name: "127.0.0.1:8080", connectionsOpened: 1, connectionsActive: 1 },
        { name: "[::1]:8081", connectionsOpened: 2, connectionsActive: 1 },
      ],
      bytesIn: 10,
      bytesOut: 2 ** 40 + 5,
      tunnelsOpened: 2,
      tunnelsActive: 1,
      accessLogDropped: 7,
    });
  });

  test("every timeout phase and shed reason has its own counter", () => {
    const { stripes, snapshot } = bench();
    for (const [times, phase] of TIMEOUT_PHASES.entries()) for (let i = 0; i <= times; i++) stripes[0]!.timeout(phase);
    for (const [times, reason] of SHED_REASONS.entries()) for (let i = 0; i <= times; i++) stripes[0]!.shed(reason);
    expect(snapshot().timeouts).toEqual({ queue: 1, connect: 2, response: 3, body: 4, route: 5 });
    expect(snapshot().shed).toEqual({
      "queue-full": 1,
      "queue-timeout": 2,
      deadline: 3,
      rate: 4,
      concurrency: 5,
      throttled: 6,
      connections: 7,
    });
  });

  test("what becomes of sessions is kept per upstream, and in the figures of no other", () => {
    const { stripes, snapshot } = bench(1, undefined, { affinity: BY_HEADER });
    const stripe = stripes[0]!;
    for (let i = 0; i < 2; i++) stripe.sessionBegun(0);
    for (let i = 0; i < 3; i++) stripe.sessionKept(0);
    for (let i = 0; i < 4; i++) stripe.sessionMoved(0);
    for (let i = 0; i < 5; i++) stripe.sessionLost(0);
    for (const more of [6, 7]) stripe.sessionsEvicted(0, more);
    for (const held of [9, 8]) stripe.sessionsHeld(0, held);
    stripe.rebalanced(0);
    const [web, api] = snapshot().upstreams;
    expect(web!.affinity).toEqual(BY_HEADER);
    expect(web!.sessions).toEqual({ held: 8, begun: 2, kept: 3, moved: 4, lost: 5, evicted: 13, rebalanced: 1 });
    expect(api!.affinity).toBeUndefined();
    expect(Object.values(api!.sessions)).toEqual([0, 0, 0, 0, 0, 0, 0]);
    expect(web).toMatchObject({ requests: 0, waiting: 0, moves: 0, statuses: {} });
  });

  test("distances give a sum and the bucket each closes or lies in, and what is none spoils neither", () => {
    const { stripes, snapshot } = bench();
    for (const km of [0, 100, 100.5, 5000, 10_000, 20_000, Number.NaN, -1]) stripes[0]!.distance(0, km);
    expect(snapshot().upstreams[0]!.distances).toEqual({ buckets: [4, 1, 0, 0, 1, 1, 1], km: 35_200.5 });
  });

  test("attempts are summed up by region, where any backend names one", () => {
    const { stripes, snapshot } = bench(1, undefined, { regions: ["seoul", ""] });
    for (const slot of [0, 0, 1, 2]) stripes[0]!.attemptStarted(slot);
    const [web, api] = snapshot().upstreams;
    expect(web!.regions).toEqual([
      { region: "seoul", requests: 2 },
      { region: "", requests: 1 },
    ]);
    expect(web!.backends[0]).toMatchObject({ region: "seoul", position: { latitude: 37.5, longitude: 127 } });
    expect(api).toMatchObject({ regions: [], backends: [{ region: "", position: undefined }] });
  });

  test("two backends of one region are one line", () => {
    const { stripes, snapshot } = bench(1, undefined, { regions: ["asia", "asia"] });
    for (const slot of [0, 1, 1]) stripes[0]!.attemptStarted(slot);
    expect(snapshot().upstreams[0]!.regions).toEqual([{ region: "asia", requests: 3 }]);
  });

  test("every source of a position and every question to the session store has its own counter", () => {
    const { stripes, snapshot } = bench();
    const stripe = stripes[0]!;
    for (const [times, source] of POSITION_SOURCES.entries()) {
      for (let i = 0; i <= times; i++) stripe.positionFrom(source);
    }
    stripe.storeAsked("find", 2);
    stripe.storeAsked("find", 3);
    stripe.storeAsked("place", 0.5);
    stripe.storeAsked("place", Number.NaN);
    stripe.storeFailed();
    expect(snapshot().positions).toEqual({ header: 1, geoip: 2, default: 3, none: 4 });
    expect(snapshot().sessionStore).toEqual({
      asked: { find: 2, place: 2 },
      durationMs: { find: 5, place: 0.5 },
      failures: 1,
    });
  });

  test("requests refused before routing count by status and are no exchanges", () => {
    const { stripes, snapshot } = bench();
    for (const status of [400, 400, 431]) stripes[0]!.rejected(status);
    expect(snapshot().rejected).toEqual({ 400: 2, 431: 1 });
    expect(snapshot().total.requests).toBe(0);
  });

  test("a duration that is negative or no number spoils neither sum nor histogram", () => {
    const { stripes, snapshot } = bench();
    for (const ms of [Number.NaN, -5, 2]) {
      stripes[0]!.exchangeStarted(0);
      stripes[0]!.exchangeEnded(0, 200, false, ms);
    }
    expect(snapshot().total.durationMs).toBe(2);
    expect(snapshot().total.buckets.slice(0, 3)).toEqual([2, 1, 0]);
  });

  test("a status outside 100 to 599 is counted as no response", () => {
    const { stripes, snapshot } = bench();
    for (const status of [99, 600, 100, 599]) stripes[0]!.exchangeEnded(0, status, false, 1);
    expect(snapshot().total).toMatchObject({ unanswered: 2, statuses: { 100: 1, 599: 1 } });
  });
});

describe("several workers", () => {
  test("whatever they count, and in whatever order, the stripes add up to the whole", () => {
    const event = fc.record({
      worker: fc.nat(2),
      upstream: fc.integer({ min: -1, max: 1 }),
      slot: fc.nat(2),
      status: fc.constantFrom(0, 200, 404, 503),
      failed: fc.boolean(),
      ms: fc.nat(20_000),
    });
    fc.assert(
      fc.property(fc.array(event), (events) => {
        const split = bench(3);
        const single = bench(1);
        for (const { worker, upstream, slot, status, failed, ms } of events) {
          for (const stripe of [split.stripes[worker]!, single.stripes[0]!]) {
            stripe.exchangeStarted(upstream);
            stripe.attemptStarted(slot);
            stripe.attemptEnded(slot, failed, ms);
            stripe.exchangeEnded(upstream, status, failed, ms);
            stripe.bytesOut(ms);
            stripe.clientConnectionOpened(slot % 2);
          }
        }
        expect(split.snapshot()).toEqual(single.snapshot());
        expect(split.snapshot().total.requests).toBe(events.length);
      }),
    );
  });

  test("a worker without a stripe in the memory is refused", () => {
    const { layout } = bench();
    expect(() => new Stripe(layout, createMetricsMemory(layout, 2), 2)).toThrow(RangeError);
  });

  test("a replaced worker's unfinished work ends as failed and what others run goes on", () => {
    const { layout, stripes, snapshot } = bench(2);
    for (const stripe of stripes) {
      stripe.clientConnectionOpened(1);
      stripe.exchangeStarted(1);
      stripe.attemptStarted(2);
      stripe.backendConnectionOpened(2);
      stripe.tunnelOpened();
      stripe.waiting(1, 5);
      stripe.concurrencyLimit(1, 20);
    }
    stripes[0]!.endAbandoned(layout);
    const after = snapshot();
    expect(after.total).toMatchObject({ requests: 2, active: 1, failed: 1, unanswered: 1 });
    expect(after.upstreams[1]!.backends[0]).toMatchObject({ requests: 2, ended: 1, failures: 1, connectionsClosed: 1 });
    expect([after.listeners[1]!.connectionsActive, after.tunnelsActive]).toEqual([1, 1]);
    expect(after.upstreams[1]).toMatchObject({ waiting: 5, concurrencyLimit: 20 });
  });
});

describe("sessions of several workers", () => {
  test("those of a worker that died are held no more, and no count of what happened goes back", () => {
    const { layout, stripes, snapshot } = bench(2, undefined, { affinity: BY_HEADER });
    for (const stripe of stripes) {
      stripe.sessionsHeld(0, 10);
      stripe.sessionBegun(0);
      stripe.sessionKept(0);
      stripe.sessionMoved(0);
      stripe.sessionLost(0);
      stripe.sessionsEvicted(0, 4);
      stripe.rebalanced(0);
      stripe.distance(0, 50);
      stripe.positionFrom("geoip");
    }
    stripes[0]!.endAbandoned(layout);
    const replacement = stripes[0]!;
    replacement.sessionsHeld(0, 1);
    replacement.sessionsEvicted(0, 1);
    const after = snapshot();
    expect(after.upstreams[0]!.sessions).toEqual({
      held: 11,
      begun: 2,
      kept: 2,
      moved: 2,
      lost: 2,
      evicted: 9,
      rebalanced: 2,
    });
    expect(after.upstreams[0]!.distances.km).toBe(100);
    expect(after.positions.geoip).toBe(2);
  });

  test("a dead worker that is not replaced holds none", () => {
    const { layout, stripes, snapshot } = bench(1, undefined, { affinity: BY_HEADER });
    stripes[0]!.sessionsHeld(0, 10);
    stripes[0]!.endAbandoned(layout);
    expect(snapshot().upstreams[0]!.sessions.held).toBe(0);
  });
});

describe("layouts", () => {
  test.each([
    [
      "general",
      GENERAL,
      {
        shed: SHED_REASONS.length,
        timeouts: TIMEOUT_PHASES.length,
        positions: POSITION_SOURCES.length,
        storeAsked: STORE_OPERATIONS.length,
        storeMs: STORE_OPERATIONS.length,
        rejected: STATUS_CELLS,
      },
    ],
    ["of a listener", LISTENER, {}],
    ["of an upstream", UPSTREAM, { buckets: BUCKETS, distances: DISTANCE_BUCKETS, statuses: STATUS_CELLS }],
    ["of a backend", BACKEND, {}],
  ] as [string, Record<string, number>, Record<string, number>][])(
    "no two counters of the row %s share a cell, and it is whole cache lines",
    (_row, { cells, ...starts }, lengths) => {
      const used = Object.entries(starts).flatMap(([name, start]) =>
        Array.from({ length: lengths[name] ?? 1 }, (_, i) => start + i),
      );
      expect(new Set(used).size).toBe(used.length);
      expect(Math.max(...used)).toBeLessThan(cells!);
      expect(cells! % 8).toBe(0);
    },
  );

  test("a backend and an upstream added to the spare rows count without new memory", () => {
    const { layout } = bench();
    const memory = createMetricsMemory(layout, 1);
    new Stripe(layout, memory).attemptStarted(0);
    const grown = changeLayout(layout, {
      upstreams: [...layout.upstreams, "new"],
      backends: [...layout.backends, { slot: 3, upstream: 2, id: "d" }],
    });
    const stripe = new Stripe(grown, memory);
    stripe.exchangeStarted(2);
    stripe.attemptStarted(3);
    const { upstreams } = readSnapshot(grown, memory, {
      counts: { active: () => 0, connections: () => 0 },
      backends: [],
    });
    expect(upstreams.map(({ requests }) => requests)).toEqual([0, 0, 1]);
    expect(upstreams[0]!.backends[0]!.requests).toBe(1);
    expect(upstreams[2]!.backends[0]).toMatchObject({ id: "d", requests: 1 });
  });

  test("sessions, regions and positions change with the names", () => {
    const { layout } = bench(1, undefined, { affinity: BY_HEADER, regions: ["seoul", "tokyo"] });
    const changed = changeLayout(layout, {
      upstreams: ["api", "web"],
      backends: [{ slot: 0, upstream: 1, id: "a", region: "busan" }],
      affinities: [undefined, BY_HEADER],
    });
    expect(changed.affinities).toEqual([undefined, BY_HEADER]);
    expect(changed.backends).toEqual([{ slot: 0, upstream: 1, id: "a", region: "busan" }]);
  });

  test("more upstreams or backends than spare rows are refused", () => {
    const { layout } = bench();
    expect(() => changeLayout(layout, { upstreams: ["a", "b", "c", "d"], backends: [] })).toThrow("no spare row");
    expect(() => changeLayout(layout, { upstreams: ["a"], backends: [{ slot: 5, upstream: 0, id: "x" }] })).toThrow(
      "no spare row",
    );
  });

  test.each([
    ["a slot used twice", [0, 0], [0, 0], "slot 0 is taken"],
    ["an upstream that is not there", [0], [1], "no upstream 1"],
    ["a negative slot", [-1], [0], "slot -1 is not a row number"],
  ])("%s is refused", (_case, slots, upstreams, message) => {
    const backends = slots.map((slot, i) => ({ slot, upstream: upstreams[i]!, id: `b${i}` }));
    expect(() => createLayout({ upstreams: ["web"], backends })).toThrow(message);
  });

  test("a layout survives being sent to another thread", () => {
    const { layout } = bench();
    expect(structuredClone(layout)).toEqual(layout);
  });
});
