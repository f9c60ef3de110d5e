import { expect, test } from "vitest";
import { BY_HEADER, bench } from "../../test/support/metrics-bench.ts";
import { BUCKETS, bucketOf } from "./histogram.ts";
import { SHED_REASONS } from "./layout.ts";
import { count, duration, latencyClasses, reportText } from "./report.ts";

test("the report shows totals, the distribution and each backend", () => {
  const { stripes, counts, snapshot } = bench(2);
  const [first, second] = stripes;
  for (const [stripe, upstream, slot, status, failed, ms] of [
    [first!, 0, 0, 200, false, 12],
    [second!, 0, 0, 200, false, 60],
    [first!, 0, 1, 200, false, 180],
    [second!, 1, 2, 502, true, 1_500],
  ] as const) {
    stripe.exchangeStarted(upstream);
    stripe.attemptStarted(slot);
    stripe.attemptEnded(slot, failed, ms);
    stripe.exchangeEnded(upstream, status, failed, ms);
  }
  first!.exchangeStarted(0);
  counts.takeActive(0, Number.POSITIVE_INFINITY);
  first!.rejected(400);
  first!.rejected(431);
  first!.timeout("response");
  const view = {
    address: "10.0.0.2:80",
    since: 0,
    reason: "3 checks failed",
    weight: 1,
    circuit: "closed",
    ejected: false,
  } as const;
  expect(reportText(snapshot([{ ...view, slot: 1, state: "down" }]))).toMatchInlineSnapshot(`
    "Requests
      total                 5
      failed                1   25.0 % of those that ended
      active                1
      rejected              2   400: 1, 431: 1
      shed                  0
      timeouts              1   response: 1
      breaker trips         0
      ejections             0
      retries               0
      fallbacks             0

    Latency
      mean             438 ms   p50 ~100 ms   p90 ~1.90 s   p99 ~2.44 s
      < 50 ms               1  25.0 %  ██████████
      50-100 ms             1  25.0 %  ██████████
      100-200 ms            1  25.0 %  ██████████
      200-500 ms            0   0.0 %
      500-1000 ms           0   0.0 %
      > 1000 ms             1  25.0 %  ██████████

    Upstream web
      requests              4   0 failed, 1 active, 0 waiting
      mean            84.0 ms   p50 ~75.0 ms   p90 ~170 ms   p99 ~197 ms
      retries               0
      backend                  state       requests   share  failed     mean active
      10.0.0.1:80              up                 2  66.7 %       0  36.0 ms      1
      10.0.0.2:80              down               1  33.3 %       0   180 ms      0
        3 checks failed

    Upstream api
      requests              1   1 failed, 0 active, 0 waiting
      mean             1.50 s   p50 ~1.75 s   p90 ~2.35 s   p99 ~2.48 s
      retries               0
      backend                  state       requests   share  failed     mean active
      c                        up                 1 100.0 %       1   1.50 s      0
    "
  `);
});

test("the report of an idle Spillway has no figure that is not one", () => {
  const text = reportText(bench().snapshot());
  expect(text).not.toMatch(/NaN|Infinity|undefined/);
  expect(text).toContain("0.0 % of those that ended");
});

test("no line is wider than 80 columns, whatever the figures and names", () => {
  const long = "a-backend-with-quite-a-long-name.internal.example:65535";
  const { stripes, snapshot } = bench(1, { web: "web", a: long }, { affinity: BY_HEADER, regions: [long, "tokyo"] });
  const stripe = stripes[0]!;
  for (let i = 0; i < 2_000_000; i++) {
    stripe.exchangeStarted(0);
    stripe.attemptStarted(0);
    stripe.attemptEnded(0, true, 60_000);
    stripe.exchangeEnded(0, 502, true, 60_000);
  }
  for (const status of [400, 405, 408, 413, 414, 417, 431, 501, 505]) stripe.rejected(status);
  for (const reason of SHED_REASONS) for (let i = 0; i < 100_000; i++) stripe.shed(reason);
  for (let i = 0; i < 999_999; i++) {
    stripe.moved(0);
    stripe.retryDenied(0);
    stripe.fellBack(0);
    stripe.sessionBegun(0);
    stripe.sessionKept(0);
    stripe.sessionMoved(0);
    stripe.distance(0, 20_015);
    stripe.positionFrom("geoip");
    stripe.positionFrom("default");
    stripe.positionFrom("none");
    stripe.storeAsked("find", 60_000);
    stripe.storeAsked("place", 60_000);
    stripe.storeFailed();
  }
  stripe.sessionsHeld(0, 999_999_999);
  stripe.sessionsEvicted(0, 999_999_999);
  stripe.rebalanced(0);
  stripe.waiting(0, 1_000_000);
  const state = { state: "half-open", circuit: "half-open", ejected: false, reason: "x".repeat(200) } as const;
  const view = { slot: 0, address: long, since: 0, weight: 1, ...state };
  for (const line of reportText(snapshot([view])).split("\n")) expect(line.length, line).toBeLessThanOrEqual(80);
});

test("an upstream shows what isolation did, and each backend that does not take its part says why", () => {
  const { stripes, snapshot } = bench(2);
  const [first, second] = stripes;
  for (const stripe of stripes) {
    stripe.exchangeStarted(0);
    stripe.waiting(0, 2);
    stripe.concurrencyLimit(0, 20);
    stripe.retried(0);
    stripe.moved(0);
    stripe.hedged(0);
  }
  first!.hedgeWon(0);
  second!.retryDenied(0);
  second!.fellBack(0);
  first!.breakerTripped(0);
  second!.ejected(1);
  for (const reason of ["queue-full", "rate", "rate"] as const) first!.shed(reason);
  first!.timeout("queue");
  const view = { since: 0, weight: 1 };
  const text = reportText(
    snapshot([
      {
        ...view,
        slot: 0,
        address: "10.0.0.1:80",
        state: "half-open",
        reason: "3 s have passed",
        circuit: "half-open",
        ejected: false,
      },
      {
        ...view,
        slot: 1,
        address: "10.0.0.2:80",
        state: "ejected",
        reason: "ejected in 1 of 2 workers: 5 failures in a row",
        circuit: "closed",
        ejected: true,
      },
    ]),
  );
  expect(text.slice(0, text.indexOf("\nLatency"))).toMatchInlineSnapshot(`
    "Requests
      total                 2
      failed                0   0.0 % of those that ended
      active                2
      rejected              0   before they were routed
      shed                  3   queue-full: 1, rate: 2
      timeouts              1   queue: 1
      breaker trips         1
      ejections             1
      retries               2   moves: 2, denied: 1
      fallbacks             1
    "
  `);
  expect(text.slice(text.indexOf("Upstream web"))).toMatchInlineSnapshot(`
    "Upstream web
      requests              2   0 failed, 2 active, 4 waiting
      mean            0.00 ms
      retries               2   moves: 2, denied: 1, fallbacks: 1
      hedges                2   1 won
      limit                40   at a time
      backend                  state       requests   share  failed     mean active
      10.0.0.1:80              half-open          0   0.0 %       0  0.00 ms      0
        3 s have passed
      10.0.0.2:80              ejected            0   0.0 %       0  0.00 ms      0
        ejected in 1 of 2 workers: 5 failures in a row

    Upstream api
      requests              0   0 failed, 0 active, 0 waiting
      mean            0.00 ms
      retries               0
      backend                  state       requests   share  failed     mean active
      c                        up                 0   0.0 %       0  0.00 ms      0
    "
  `);
});

test("sessions and places have their lines where there are any", () => {
  const { stripes, snapshot } = bench(2, undefined, { affinity: BY_HEADER, regions: ["seoul", ""] });
  const [first, second] = stripes;
  for (const stripe of stripes) {
    stripe.sessionsHeld(0, 617);
    for (let i = 0; i < 5; i++) stripe.sessionBegun(0);
    for (let i = 0; i < 40; i++) stripe.sessionKept(0);
    stripe.attemptStarted(0);
    stripe.positionFrom("geoip");
  }
  for (let i = 0; i < 5; i++) first!.sessionMoved(0);
  second!.sessionsEvicted(0, 3);
  second!.rebalanced(0);
  second!.attemptStarted(1);
  for (const km of [12, 1_000]) first!.distance(0, km);
  first!.positionFrom("none");
  for (const ms of [1, 2]) first!.storeAsked("find", ms);
  first!.storeAsked("place", 0.6);
  first!.storeFailed();
  const text = reportText(snapshot());
  expect(text.slice(text.indexOf("  fallbacks"), text.indexOf("\nLatency"))).toMatchInlineSnapshot(`
    "  fallbacks             0
      positions             3   geoip: 2, none: 1
      session store         3   find: 2, place: 1, failures: 1
      store mean      1.20 ms
    "
  `);
  expect(text.slice(text.indexOf("Upstream web"))).toMatchInlineSnapshot(`
    "Upstream web
      requests              0   0 failed, 0 active, 0 waiting
      mean            0.00 ms
      retries               0
      sessions           1234   held, 10 begun, 5 moved, 3 evicted
      kept                 80   answered by the backend of their session
      rebalanced            1   tunnels closed
      regions               2   seoul: 2, no region: 1
      distance         506 km   mean from client to backend
      backend                  state       requests   share  failed     mean active
      10.0.0.1:80              up                 2  66.7 %       0  0.00 ms      0
      10.0.0.2:80              up                 1  33.3 %       0  0.00 ms      0

    Upstream api
      requests              0   0 failed, 0 active, 0 waiting
      mean            0.00 ms
      retries               0
      backend                  state       requests   share  failed     mean active
      c                        up                 0   0.0 %       0  0.00 ms      0
    "
  `);
});

test("sessions in cookies are not held by anybody: those that began are shown", () => {
  const affinity = { ...BY_HEADER, by: "cookie:s", store: "none", maxSessions: undefined } as const;
  const { stripes, snapshot } = bench(1, undefined, { affinity });
  for (let i = 0; i < 12; i++) stripes[0]!.sessionBegun(0);
  stripes[0]!.sessionLost(0);
  expect(reportText(snapshot())).toContain("\n  sessions             12   begun, 1 lost\n");
});

test("a store of sessions that is down has a line in its upstream, one that is up has none", () => {
  const { snapshot } = bench(1, undefined, { affinity: BY_HEADER });
  const store = { upstream: "web", kind: "redis", url: `redis://${"cache".repeat(20)}.test`, up: false } as const;
  const down = reportText(snapshot([], [store])).split("\n");
  const line = down.findIndex((text) => text.startsWith("  session store      down   redis://cachecache"));
  expect(line).toBeGreaterThan(down.indexOf("Upstream web"));
  expect(line).toBeLessThan(down.indexOf("Upstream api"));
  expect(down[line]!.length).toBeLessThanOrEqual(80);
  expect(reportText(snapshot([], [{ ...store, up: true }]))).not.toContain("session store");
});

test("a region cannot drive the terminal, nor hide another that is shown by the same name", () => {
  const { stripes, snapshot } = bench(1, undefined, { regions: ["a\u001b", "a\u0007"] });
  for (const slot of [0, 1, 1]) stripes[0]!.attemptStarted(slot);
  expect(reportText(snapshot())).toContain("\n  regions               2   a?: 1, a?: 2\n");
});

test("a name cannot drive the terminal", () => {
  const text = reportText(bench(1, { web: "\u001b[2Jweb", a: "a\u009b1m" }).snapshot());
  expect(text).not.toMatch(/[\u001b\u009b]/);
  expect(text).toContain("Upstream ?[2Jweb");
});

test("the six latency classes take every bucket once, on the chapter's bounds", () => {
  const buckets = new Array<number>(BUCKETS).fill(1);
  expect(latencyClasses(buckets).map((entry) => entry.count)).toEqual([6, 1, 1, 1, 1, 4]);
  const at = (ms: number) => {
    const single = new Array<number>(BUCKETS).fill(0);
    single[bucketOf(ms)] = 1;
    return latencyClasses(single).find((entry) => entry.count === 1)?.label;
  };
  expect([49, 51, 99, 101, 199, 201, 499, 501, 999, 1001].map(at)).toEqual([
    "< 50 ms",
    "50-100 ms",
    "50-100 ms",
    "100-200 ms",
    "100-200 ms",
    "200-500 ms",
    "200-500 ms",
    "500-1000 ms",
    "500-1000 ms",
    "> 1000 ms",
  ]);
});

test("figures keep to their columns", () => {
  expect([0, 999_999, 1_000_000, 2_345_678_901].map(count)).toEqual(["0", "999999", "1.00M", "2.35G"]);
  expect([0, 0.424, 12.34, 123.4, 1240].map(duration)).toEqual(["0.00 ms", "0.42 ms", "12.3 ms", "123 ms", "1.24 s"]);
});
