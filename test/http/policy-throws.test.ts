import { describe, expect, test, vi } from "vitest";
import { type Act, ask, cast, Gate, queued, reply } from "../isolation/cast.ts";
import { answering, ok } from "../support/raw-backend.ts";
import { get, post, scene } from "../support/scene.ts";
import { eventually, pause } from "../support/wire.ts";

vi.mock(import("../../src/policy/balance/index.ts"), async (original) => {
  const room = await original();
  return {
    ...room,
    createBalancer: ((...args: Parameters<typeof room.createBalancer>) => {
      const balancer = room.createBalancer(...args);
      return {
        update: (...members: Parameters<typeof balancer.update>) => balancer.update(...members),
        pick: (...asked: Parameters<typeof balancer.pick>) => {
          if (asked[0].target.startsWith("/throw")) throw new Error("broken policy");
          // Of the fallback alone, which is the one that picks at random.
          const spare = JSON.stringify(args[0]).includes("random");
          if (spare && asked[0].target.startsWith("/spare")) throw new Error("broken policy");
          return balancer.pick(...asked);
        },
        settled: () => {
          throw new Error("broken feedback");
        },
      };
    }) as typeof room.createBalancer,
  };
});

test("a balancer that throws fails its exchange with 500, and nothing else", async () => {
  const { client, proxy, quiet } = await scene(answering(ok("fine")));
  const wire = await client();
  for (const request of [get("/throw"), post("body", "/throw"), get("/throw")]) {
    wire.write(request);
    const response = await wire.response();
    expect(response.status).toBe(500);
    expect(response.body).not.toContain("broken");
    expect(response.value("connection")).toBeUndefined();
  }
  // Feedback that throws comes too late to harm the exchange it is about.
  wire.write(get("/good"));
  expect((await wire.response()).body).toBe("fine");
  wire.write(get("/good"));
  expect((await wire.response()).body).toBe("fine");
  await quiet();
  expect(proxy.logs.filter(({ code }) => code === "policy-threw").length).toBe(5);
  expect(proxy.snapshot().upstreams[0]).toMatchObject({ requests: 5, failed: 3, active: 0 });
  expect(proxy.snapshot().upstreams[0]!.backends[0]!.active).toBe(0);
});

test("a large upload whose policy throws is answered and closed", async () => {
  const { client, quiet } = await scene(answering(ok()));
  const wire = await client();
  wire.write(`POST /throw HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n${"x".repeat(100_000)}`);
  const response = await wire.response();
  expect([response.status, response.value("connection")]).toEqual([500, "close"]);
  await wire.gone();
  await quiet();
});

/** Two backends that have been quick so far, so that what takes long is hedged; from now on they do what `act` says. */
async function hedging(act: Act) {
  const company = cast(2, () => ok("quick"));
  const stage = await scene(company.scripts, {
    upstream: { balance: "round-robin", hedge: { quantile: "90%", minimumDelay: "40ms", budget: "100%" } },
  });
  const wire = await stage.client();
  for (let i = 0; i < 25; i++) {
    wire.write(get("/warm"));
    expect((await wire.response()).status).toBe(200);
  }
  const before = company.deliveries.length;
  company.act = (delivery) => act({ ...delivery, nth: delivery.nth - before });
  return { wire, stage, since: () => company.deliveries.slice(before) };
}

/** The connection carries the next request, and its response alone. */
async function expectInStep({ wire, stage }: Awaited<ReturnType<typeof hedging>>): Promise<void> {
  await stage.quiet();
  await pause(50);
  expect(wire.pending).toBe("");
  wire.write(get("/next"));
  expect((await wire.response()).body).toBe("next");
  await stage.quiet();
  expect(wire.pending).toBe("");
  expect(stage.proxy.snapshot().upstreams[0]!.backends.map(({ active }) => active)).toEqual([0, 0]);
}

describe("with hedging, feedback that throws costs no answer, and brings no second one:", () => {
  const next = (request: { start: string }, otherwise: string) =>
    request.start.includes("/next") ? ok("next") : otherwise;

  test("the hedge answers, the first is let go", async () => {
    const both = await hedging(({ nth, request }) => (nth === 0 ? undefined : next(request, ok("the hedge"))));
    both.wire.write(get("/slow"));
    expect((await both.wire.response()).body).toBe("the hedge");
    await both.since()[0]!.wire.gone();
    await expectInStep(both);
  });

  test("the first answers, the hedge is let go", async () => {
    const both = await hedging(async ({ nth, request }) => {
      if (nth === 1) return;
      if (nth === 0) await eventually(() => both.since().length === 2, "the hedge is sent");
      return next(request, ok("the first"));
    });
    both.wire.write(get("/slow"));
    expect((await both.wire.response()).body).toBe("the first");
    await both.since()[1]!.wire.gone();
    await expectInStep(both);
  });

  test("the first is refused, the hedge answers later", async () => {
    const both = await hedging(async ({ nth, request }) => {
      if (nth === 0) {
        await eventually(() => both.since().length === 2, "the hedge is sent");
        return reply(503, "busy");
      }
      if (nth === 1) await pause(120);
      return next(request, ok("the hedge"));
    });
    both.wire.write(get("/slow"));
    expect((await both.wire.response()).body).toBe("the hedge");
    await expectInStep(both);
  });

  test("both break: one 502", async () => {
    const both = await hedging(async ({ request, wire }) => {
      if (request.start.includes("/next")) return ok("next");
      await eventually(() => new Set(both.since().map(({ backend }) => backend)).size === 2, "both are asked");
      wire.reset();
    });
    both.wire.write(get("/slow"));
    expect((await both.wire.response()).status).toBe(502);
    await expectInStep(both);
  });

  test("the client leaves: nothing runs on", async () => {
    const { wire, stage, since } = await hedging(() => undefined);
    wire.write(get("/slow"));
    await eventually(() => since().length === 2, "the hedge is sent");
    wire.reset();
    for (const each of since()) await each.wire.gone();
    await stage.quiet();
  });
});

test("a fallback's balancer that throws fails those that come from the queue, and not the one who sent them there", async () => {
  const gate = new Gate();
  const company = cast(2, ({ request }) => (request.start.includes("/hold") ? gate.hold(ok("held")) : ok("fine")));
  const stage = await scene(company.scripts, {
    settings: ([only, spare]) => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: {
        web: {
          balance: "round-robin",
          backends: [only!],
          pool: { maxConnections: 1, queue: { timeout: "10s" } },
          circuitBreaker: { fallback: { upstream: "spare" } },
        },
        spare: { balance: "random", backends: [spare!] },
      },
    }),
  });
  const holder = ask(stage, get("/hold"));
  await gate.filled(1);
  const clients = await Promise.all([1, 2, 3].map(() => stage.client()));
  for (const wire of clients) wire.write(get("/spare") + get("/well"));
  await queued(stage, 3);
  stage.proxy.plane.setHealth(0, false, "said by the test");
  for (const wire of clients) {
    expect((await wire.response()).status).toBe(500);
    expect((await wire.response()).body).toBe("fine");
  }
  gate.release();
  expect((await holder).body).toBe("held");
  await stage.quiet();
  expect(stage.proxy.snapshot().upstreams.map(({ active, waiting }) => [active, waiting])).toEqual([
    [0, 0],
    [0, 0],
  ]);
});

test("feedback that throws at a dropped response keeps no place in the retry budget", async () => {
  const company = cast(2, ({ nth }) => (nth % 2 === 0 ? reply(503) : ok("fine")));
  const stage = await scene(company.scripts, {
    upstream: { balance: "round-robin", retry: { budget: "0%", minimumBudget: 1 }, outlierDetection: false },
  });
  for (let i = 0; i < 6; i++) expect((await ask(stage, get())).body).toBe("fine");
  await stage.quiet();
  expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ retries: 6, retriesDenied: 0, active: 0 });
});
