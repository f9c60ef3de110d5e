import { describe, expect, onTestFinished, test } from "vitest";
import { createSpillway } from "../../src/control/embed.ts";
import { deadPort, ok } from "../support/raw-backend.ts";
import { get, post, scene } from "../support/scene.ts";
import { eventually, type Message, pause } from "../support/wire.ts";
import { type Act, ask, cast, Gate, reply, told } from "./cast.ts";

/** An upstream in which nothing but a circuit breaker is on. */
function only(circuitBreaker: object) {
  return { balance: "round-robin", circuitBreaker, outlierDetection: false, retry: false } as const;
}

const OPENED = "circuit_opened";
const HALF_OPEN = "circuit_half_open";
const CLOSED = "circuit_closed";

/** Asks until `count` more are delivered than answered well: failures in a row. */
async function fail(stage: Parameters<typeof ask>[0], count: number, status = 500): Promise<void> {
  for (let i = 0; i < count; i++) expect((await ask(stage, get())).status).toBe(status);
}

test("failures in a row open it: then nothing reaches the backend, and the client is told when to come again", async () => {
  const company = cast(1, () => reply(500, "broken"));
  const stage = await scene(company.scripts, { upstream: only({ consecutiveFailures: 3, openFor: "30s" }) });
  await fail(stage, 3);
  for (let i = 0; i < 4; i++) {
    const response = await ask(stage, get());
    expect(response.status).toBe(503);
    expect(response.value("spillway-reason")).toBe("circuit-open");
    const seconds = Number(response.value("retry-after"));
    expect(seconds).toBeGreaterThan(25);
    expect(seconds).toBeLessThanOrEqual(33);
  }
  expect(company.deliveries).toHaveLength(3);
  expect(told(stage)).toEqual([OPENED]);
  expect(stage.proxy.logs[0]).toMatchObject({ level: "warn" });
  expect(stage.proxy.logs[0]!.message).toContain("3 failures in a row");
  expect(stage.proxy.snapshot()).toMatchObject({
    breakerTrips: 1,
    upstreams: [{ requests: 7, failed: 7, backends: [{ breakerTrips: 1, requests: 3, failures: 3 }] }],
  });
});

test("a success ends the row", async () => {
  const company = cast(1, ({ nth }) => (nth % 3 === 2 ? ok() : reply(500)));
  const stage = await scene(company.scripts, { upstream: only({ consecutiveFailures: 3, errorThreshold: "100%" }) });
  for (let i = 0; i < 12; i++) await ask(stage, get());
  expect(company.deliveries).toHaveLength(12);
  expect(told(stage)).toEqual([]);
});

test.each([
  ["a reset", ({ wire }: { wire: { reset(): void } }) => wire.reset(), 502],
  ["what is no HTTP", () => "no HTTP at all\r\n\r\n", 502],
  ["no answer in time", () => undefined, 504],
] as const)("%s is a failure, too", async (_what, act, status) => {
  const company = cast(1, act);
  const stage = await scene(company.scripts, {
    upstream: { ...only({ consecutiveFailures: 2, openFor: "30s" }), timeouts: { response: "80ms" } },
  });
  await fail(stage, 2, status);
  await fail(stage, 1, 503);
  expect(company.deliveries).toHaveLength(2);
});

test("a backend without a connection has its circuit opened, and is not connected to any more", async () => {
  const dead = await deadPort();
  const stage = await scene([], {
    settings: () => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: {
        web: { backends: [`http://127.0.0.1:${dead}`], ...only({ consecutiveFailures: 2, openFor: "30s" }) },
      },
    }),
  });
  await fail(stage, 2, 502);
  await fail(stage, 2, 503);
  expect(stage.proxy.snapshot().upstreams[0]!.backends[0]).toMatchObject({ requests: 2, breakerTrips: 1 });
});

test("only what `on` lists is a failure", async () => {
  const company = cast(1, ({ nth }) => reply(nth < 6 ? 500 : 404));
  const stage = await scene(company.scripts, { upstream: only({ consecutiveFailures: 2, on: [404] }) });
  await fail(stage, 6, 500);
  await fail(stage, 2, 404);
  await fail(stage, 1, 503);
});

test("429 counts for the share alone", async () => {
  const company = cast(1, () => reply(429));
  const stage = await scene(company.scripts, {
    upstream: only({ consecutiveFailures: 2, minimumRequests: 6, on: [429] }),
  });
  await fail(stage, 6, 429);
  await fail(stage, 1, 503);
});

test("while one circuit is open, the other backends carry everything, and nobody sees a failure", async () => {
  const company = cast(3, ({ backend }) => (backend === 1 ? reply(500) : ok()));
  const stage = await scene(company.scripts, { upstream: only({ consecutiveFailures: 2, openFor: "30s" }) });
  for (let i = 0; i < 6; i++) await ask(stage, get());
  expect(company.counts).toEqual([2, 2, 2]);
  for (let i = 0; i < 10; i++) expect((await ask(stage, get())).status).toBe(200);
  expect(company.counts).toEqual([7, 2, 7]);
});

test("it closes again when its trial succeeds", async () => {
  const company = cast(1, ({ nth }) => (nth < 2 ? reply(500) : ok("well again")));
  const stage = await scene(company.scripts, { upstream: only({ consecutiveFailures: 2, openFor: "200ms" }) });
  await fail(stage, 2);
  await fail(stage, 1, 503);
  await eventually(() => told(stage).includes(HALF_OPEN), "half-open");
  for (let i = 0; i < 5; i++) expect((await ask(stage, get())).body).toBe("well again");
  expect(told(stage)).toEqual([OPENED, HALF_OPEN, CLOSED]);
  expect(company.deliveries).toHaveLength(7);
});

test("half-open, it lets just so many through at a time", async () => {
  const gate = new Gate();
  const company = cast(1, ({ nth }) => (nth < 2 ? reply(500) : gate.hold(ok("well again"))));
  const stage = await scene(company.scripts, {
    upstream: only({ consecutiveFailures: 2, openFor: "150ms", halfOpenRequests: 2 }),
  });
  await fail(stage, 2);
  await eventually(() => told(stage).includes(HALF_OPEN), "half-open");
  const trials = [ask(stage, get()), ask(stage, get())];
  await gate.filled(2);
  for (let i = 0; i < 3; i++) {
    const refused = await ask(stage, get());
    expect(refused.status).toBe(503);
    expect(refused.value("spillway-reason")).toBe("circuit-open");
    expect(Number(refused.value("retry-after"))).toBeGreaterThan(0);
  }
  gate.release();
  await Promise.race(trials);
  // One of two has succeeded: that frees no place, and closes nothing.
  expect((await ask(stage, get())).status).toBe(503);
  expect(told(stage)).toEqual([OPENED, HALF_OPEN]);
  gate.release();
  for (const trial of trials) expect((await trial).status).toBe(200);
  const after = ask(stage, get());
  await gate.filled(1);
  gate.release();
  expect((await after).status).toBe(200);
  expect(told(stage)).toEqual([OPENED, HALF_OPEN, CLOSED]);
});

test("a trial whose client leaves gives its place back", async () => {
  const company = cast(1, ({ nth }) => (nth < 2 ? reply(500) : nth === 2 ? undefined : ok("well again")));
  const stage = await scene(company.scripts, { upstream: only({ consecutiveFailures: 2, openFor: "150ms" }) });
  await fail(stage, 2);
  await eventually(() => told(stage).includes(HALF_OPEN), "half-open");
  const leaver = await stage.client();
  leaver.write(get());
  await eventually(() => company.deliveries.length === 3, "the trial is with the backend");
  expect((await ask(stage, get())).status).toBe(503);
  leaver.reset();
  await stage.quiet();
  expect((await ask(stage, get())).body).toBe("well again");
});

test("a failed trial opens it for twice as long", async () => {
  const company = cast(1, () => reply(500));
  const stage = await scene(company.scripts, { upstream: only({ consecutiveFailures: 2, openFor: "200ms" }) });
  await fail(stage, 2);
  await eventually(() => told(stage).length === 2, "half-open");
  const from = performance.now();
  await fail(stage, 1);
  expect(told(stage)).toEqual([OPENED, HALF_OPEN, OPENED]);
  await eventually(() => told(stage).length === 4, "half-open again");
  expect(performance.now() - from).toBeGreaterThan(390);
  expect(stage.proxy.snapshot().breakerTrips).toBe(2);
  expect(company.deliveries).toHaveLength(3);
});

test("a backend that goes down while its circuit is open does not take requests again", async () => {
  const company = cast(2, ({ backend }) => (backend === 0 ? reply(500) : ok()));
  const stage = await scene(company.scripts, { upstream: only({ consecutiveFailures: 2, openFor: "30s" }) });
  for (let i = 0; i < 6; i++) await ask(stage, get());
  stage.proxy.plane.setHealth(0, false, "connection refused");
  for (let i = 0; i < 4; i++) expect((await ask(stage, get())).status).toBe(200);
  expect(told(stage)).toEqual([OPENED]);
});

test("the share of failures opens it, once there are enough requests", async () => {
  const company = cast(1, ({ nth }) => (nth % 2 === 0 ? ok() : reply(500)));
  const stage = await scene(company.scripts, {
    upstream: only({ consecutiveFailures: "unlimited", errorThreshold: "50%", minimumRequests: 10, openFor: "30s" }),
  });
  const statuses: number[] = [];
  for (let i = 0; i < 12; i++) statuses.push((await ask(stage, get())).status);
  expect(statuses).toEqual([200, 500, 200, 500, 200, 500, 200, 500, 200, 500, 503, 503]);
  expect(stage.proxy.logs[0]!.message).toContain("50 % of 10");
});

test("what is slower than slowerThan is a failure, although its client is answered", async () => {
  const company = cast(1, async () => {
    await pause(80);
    return ok("slow");
  });
  const stage = await scene(company.scripts, {
    upstream: only({ consecutiveFailures: 2, slowerThan: "50ms", openFor: "30s" }),
  });
  for (let i = 0; i < 2; i++) expect((await ask(stage, get())).body).toBe("slow");
  expect((await ask(stage, get())).status).toBe(503);
});

test("a quick response whose client reads slowly is not slow", async () => {
  const company = cast(1, async ({ wire }) => {
    wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    await pause(80);
    return "ok";
  });
  const stage = await scene(company.scripts, { upstream: only({ consecutiveFailures: 2, slowerThan: "50ms" }) });
  for (let i = 0; i < 4; i++) expect((await ask(stage, get())).status).toBe(200);
});

/** A sick upstream with a fallback, and a spare one. */
async function withFallback(fallback: object, spareUrl?: string) {
  const company = cast(2, ({ backend }) => (backend === 0 ? reply(500) : ok("from the spare")));
  const stage = await scene(company.scripts, {
    settings: ([sick, spare]) => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: {
        web: { backends: [sick!], ...only({ consecutiveFailures: 2, openFor: "30s", fallback }) },
        spare: { backends: [spareUrl ?? spare!] },
      },
    }),
  });
  await fail(stage, 2);
  return { company, stage };
}

const RESPOND = {
  status: 200,
  body: "sold out, käsewähler",
  headers: { "content-type": "text/x-shop", "x-shop": "closed" },
};

test("fallback: another upstream takes over", async () => {
  const { company, stage } = await withFallback({ upstream: "spare" });
  for (let i = 0; i < 3; i++) expect((await ask(stage, get())).body).toBe("from the spare");
  expect(company.counts).toEqual([2, 3]);
  expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ requests: 5, failed: 2, fallbacks: 3 });
  await stage.quiet();
});

test("fallback: a fixed response", async () => {
  const { company, stage } = await withFallback({ respond: RESPOND });
  const response = await ask(stage, get());
  expect(response.status).toBe(200);
  expect(Buffer.from(response.body, "latin1").toString("utf8")).toBe(RESPOND.body);
  expect(response.value("content-type")).toBe("text/x-shop");
  expect(response.value("x-shop")).toBe("closed");
  expect(response.value("spillway-reason")).toBe("circuit-open");
  expect(company.counts).toEqual([2, 0]);
  expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ requests: 3, failed: 2, fallbacks: 1 });
});

test("fallback: the other upstream first, then the fixed response", async () => {
  const well = await withFallback({ upstream: "spare", respond: RESPOND });
  expect((await ask(well.stage, get())).body).toBe("from the spare");
  const lost = await withFallback({ upstream: "spare", respond: RESPOND }, `http://127.0.0.1:${await deadPort()}`);
  const response = await ask(lost.stage, get());
  expect(response.status).toBe(200);
  expect(response.value("x-shop")).toBe("closed");
});

test("fallback: a request that a backend failed has one, too, when no other backend is left", async () => {
  const company = cast(2, ({ backend, wire }) => (backend === 0 ? wire.reset() : ok("from the spare")));
  const stage = await scene(company.scripts, {
    settings: ([sick, spare]) => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: {
        web: { backends: [sick!], circuitBreaker: { fallback: { upstream: "spare" } } },
        spare: { backends: [spare!] },
      },
    }),
  });
  expect((await ask(stage, get())).body).toBe("from the spare");
});

describe("fallback: a fixed response stands for", () => {
  /** A backend behind a fixed response, and a spare one where `both`; nothing is ever tried again. */
  async function apologetic(act: Act, both = false, more: object = {}) {
    const company = cast(2, act);
    const stage = await scene(company.scripts, {
      settings: ([only, spare]) => ({
        listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
        upstreams: {
          web: {
            backends: [only!],
            retry: false,
            circuitBreaker: { fallback: { respond: RESPOND, ...(both ? { upstream: "spare" } : {}) } },
            ...more,
          },
          spare: { backends: [spare!], retry: false },
        },
      }),
    });
    return { company, stage };
  }

  function expectFixed(response: Message, reason: string): void {
    expect(response.status).toBe(200);
    expect(response.value("x-shop")).toBe("closed");
    expect(response.value("spillway-reason")).toBe(reason);
  }

  test.each([
    ["a reset", ({ wire }) => wire.reset(), "reset"],
    ["no HTTP", () => "no HTTP at all\r\n\r\n", "malformed"],
    ["no answer in time", () => undefined, "response-timeout"],
  ] satisfies [string, Act, string][])("%s, in place of the 502 or 504", async (_what, act, reason) => {
    const { stage } = await apologetic(act, false, { timeouts: { response: "100ms" } });
    const response = await ask(stage, get());
    expect(response.status).toBe(200);
    expect(response.value("x-shop")).toBe("closed");
    if (reason !== "malformed") expect(response.value("spillway-reason")).toBe(reason);
    expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ requests: 1, fallbacks: 1 });
  });

  test("no POST that broke: it may have been carried out", async () => {
    const { stage, company } = await apologetic(({ wire }) => wire.reset());
    const response = await ask(stage, post("order"));
    expect(response.status).toBe(502);
    expect(response.value("spillway-reason")).toBe("reset");
    expect(company.deliveries).toHaveLength(1);
    expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ failed: 1, fallbacks: 0 });
  });

  test("the failure of the upstream that took over", async () => {
    const { stage, company } = await apologetic(({ wire }) => wire.reset(), true);
    stage.proxy.plane.setHealth(0, false, "said by the test");
    expectFixed(await ask(stage, get()), "reset");
    expect(company.counts).toEqual([0, 1]);
    expect((await ask(stage, post("order"))).status).toBe(502);
    expect(company.counts).toEqual([0, 2]);
  });

  test("nothing that is shed: 503", async () => {
    const gate = new Gate();
    const { stage } = await apologetic(() => gate.hold(ok()), false, {
      pool: { maxConnections: 1, queue: { max: 1, timeout: "200ms" } },
    });
    const holder = ask(stage, get());
    await gate.filled(1);
    const late = ask(stage, get());
    await eventually(() => stage.proxy.plane.inspect().waiting === 1, "one waits");
    const refused = await ask(stage, get());
    expect([refused.status, refused.value("spillway-reason")]).toEqual([503, "queue-full"]);
    expect((await late).status).toBe(503);
    gate.release();
    expect((await holder).status).toBe(200);
    expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ fallbacks: 0 });
  });

  test("nothing that the backend answered itself", async () => {
    const { stage } = await apologetic(() => reply(503, "busy"));
    expect(await ask(stage, get())).toMatchObject({ status: 503, body: "busy" });
  });
});

test("what opens a circuit does not eject its backend as well: it is back after the circuit's pause", async () => {
  let well = false;
  const company = cast(2, ({ backend }) => (backend === 0 && !well ? reply(500) : ok(`${backend}`)));
  const stage = await scene(company.scripts, {
    upstream: {
      balance: "round-robin",
      circuitBreaker: { consecutiveFailures: 5, openFor: "200ms" },
      outlierDetection: { consecutiveFailures: 5, ejectFor: "1m" },
      retry: false,
    },
  });
  for (let i = 0; i < 10; i++) await ask(stage, get());
  expect(told(stage)).toEqual([OPENED]);
  well = true;
  await eventually(() => told(stage).includes(HALF_OPEN), "half-open");
  const bodies: string[] = [];
  for (let i = 0; i < 8; i++) bodies.push((await ask(stage, get())).body);
  expect(bodies.filter((body) => body === "0").length).toBeGreaterThanOrEqual(3);
  expect(told(stage)).toEqual([OPENED, HALF_OPEN, CLOSED]);
  expect(stage.proxy.snapshot()).toMatchObject({ breakerTrips: 1, ejections: 0 });
});

test("fallback: what waits there is counted there", async () => {
  const gate = new Gate();
  const company = cast(2, ({ backend }) => (backend === 0 ? reply(500) : gate.hold(ok())));
  const stage = await scene(company.scripts, {
    settings: ([sick, spare]) => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: {
        web: {
          backends: [sick!],
          ...only({ consecutiveFailures: 2, openFor: "30s", fallback: { upstream: "spare" } }),
        },
        spare: { backends: [spare!], pool: { maxConnections: 1 } },
      },
    }),
  });
  await fail(stage, 2);
  const first = ask(stage, get());
  await gate.filled(1);
  const second = ask(stage, get());
  await eventually(() => stage.proxy.plane.inspect().waiting === 1, "one waits");
  expect(stage.proxy.snapshot().upstreams.map(({ waiting }) => waiting)).toEqual([0, 1]);
  gate.release();
  expect((await first).status).toBe(200);
  await gate.filled(1);
  gate.release();
  expect((await second).status).toBe(200);
  expect(stage.proxy.snapshot().upstreams.map(({ waiting }) => waiting)).toEqual([0, 0]);
});

test("its state is in the status", async () => {
  let well = false;
  const company = cast(1, () => (well ? ok() : reply(500)));
  const { backend } = await scene(company.scripts);
  const spillway = await createSpillway(
    {
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: {
        web: { backends: [backend.url], healthCheck: false, ...only({ consecutiveFailures: 2, openFor: "250ms" }) },
      },
    },
    { log: { write: () => {} } as never },
  );
  onTestFinished(() => spillway.close());
  const [bound] = spillway.listeners;
  const url = `http://127.0.0.1:${bound!.kind === "tcp" ? bound!.port : 0}/`;
  const status = async () => {
    const response = await fetch(url);
    await response.text();
    return response.status;
  };
  const state = () => spillway.metrics().upstreams[0]!.backends[0]!;
  expect(state()).toMatchObject({ state: "up", circuit: "closed" });
  expect([await status(), await status(), await status()]).toEqual([500, 500, 503]);
  expect(state()).toMatchObject({ state: "open", circuit: "open", reason: "2 failures in a row", breakerTrips: 1 });
  await eventually(() => state().circuit === "half-open", "half-open");
  expect(state().state).toBe("half-open");
  well = true;
  expect(await status()).toBe(200);
  expect(state()).toMatchObject({ state: "up", circuit: "closed", breakerTrips: 1 });
});
