import { describe, expect, onTestFinished, test } from "vitest";
import { deafPort } from "../support/chaos-deaf.ts";
import { ok, type Script } from "../support/raw-backend.ts";
import { get, post, scene } from "../support/scene.ts";
import { eventually, type Message, pause } from "../support/wire.ts";
import { type Act, ask, cast, Gate, queued, reply, told } from "./cast.ts";

const LIMIT_MS = 150;

/** A scene whose only route takes at most so long. */
function within(count: number, act: Act, upstream: object = {}, limit = `${LIMIT_MS}ms`) {
  const company = cast(count, act);
  return scene(company.scripts, { listener: { routes: [{ timeout: limit, upstream: "web" }] }, upstream }).then(
    (stage) => ({ company, stage }),
  );
}

function expectLate(response: Message, from: number, limitMs = LIMIT_MS): void {
  expect(response.status).toBe(504);
  expect(response.value("spillway-reason")).toBe("route-timeout");
  const took = performance.now() - from;
  expect(took).toBeGreaterThan(limitMs - 30);
  expect(took).toBeLessThan(limitMs + 2_000);
}

describe("the time limit of a route ends an exchange", () => {
  test("that waits in the queue", async () => {
    const gate = new Gate();
    const company = cast(1, () => gate.hold(ok()));
    const stage = await scene(company.scripts, {
      listener: {
        routes: [
          { match: { path: "/hold" }, upstream: "web" },
          { timeout: `${LIMIT_MS}ms`, upstream: "web" },
        ],
      },
      upstream: { pool: { maxConnections: 1, queue: { timeout: "10s" } } },
    });
    const holder = ask(stage, get("/hold"));
    await gate.filled(1);
    const from = performance.now();
    for (const response of [ask(stage, get()), ask(stage, post("order"))]) expectLate(await response, from);
    await queued(stage, 0);
    gate.release();
    expect((await holder).status).toBe(200);
    await stage.quiet();
    expect(company.deliveries).toHaveLength(1);
    expect(stage.proxy.snapshot()).toMatchObject({ timeouts: { route: 2, queue: 0 }, upstreams: [{ failed: 2 }] });
  });

  test("that waits before it is sent again", async () => {
    const { company, stage } = await within(2, ({ wire }) => wire.reset(), {
      retry: { backoff: { base: "1m", max: "10m" } },
    });
    const from = performance.now();
    expectLate(await ask(stage, get()), from);
    await stage.quiet();
    expect(company.deliveries).toHaveLength(1);
    expect(stage.proxy.snapshot().timeouts.route).toBe(1);
  });

  test.skipIf(process.platform !== "linux")("that waits for a connection", async () => {
    const deaf = await deafPort();
    onTestFinished(() => deaf.close());
    const stage = await scene([], {
      settings: () => ({
        listeners: [{ listen: "127.0.0.1:0", routes: [{ timeout: `${LIMIT_MS}ms`, upstream: "web" }] }],
        upstreams: { web: { backends: [`http://127.0.0.1:${deaf.port}`] } },
      }),
    });
    for (const request of [get(), post("x".repeat(100_000))]) {
      const from = performance.now();
      expectLate(await ask(stage, request), from);
    }
    await stage.quiet();
    expect(stage.proxy.snapshot().timeouts).toMatchObject({ route: 2, connect: 0 });
  });

  test("that waits for its response; its backend's connection is closed", async () => {
    const { company, stage } = await within(2, () => undefined);
    const from = performance.now();
    expectLate(await ask(stage, get()), from);
    await company.deliveries[0]!.wire.gone();
    await stage.quiet();
    expect(company.deliveries).toHaveLength(1);
    expect(stage.proxy.snapshot()).toMatchObject({ timeouts: { route: 1, response: 0 } });
  });

  test("that is sent again and again: all attempts together", async () => {
    const { company, stage } = await within(
      3,
      async () => {
        await pause(250);
        return reply(503);
      },
      { retry: { attempts: 10, backoff: { base: "0", max: "0" } } },
      "400ms",
    );
    const from = performance.now();
    expectLate(await ask(stage, get()), from, 400);
    expect(company.deliveries).toHaveLength(2);
    await stage.quiet();
  });

  test("whose response has begun: it is cut, and cannot be taken for whole", async () => {
    const { company, stage } = await within(1, ({ wire }) => {
      wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    });
    const wire = await stage.client();
    const from = performance.now();
    wire.write(get());
    const text = await wire.rest();
    expect(performance.now() - from).toBeGreaterThan(LIMIT_MS - 30);
    expect(text).toContain("half");
    expect(text).not.toContain("\r\n0\r\n");
    expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
    await company.deliveries[0]!.wire.gone();
    await stage.quiet();
    expect(stage.proxy.snapshot()).toMatchObject({ timeouts: { route: 1 }, upstreams: [{ failed: 1 }] });
  });

  test("whose request body is still coming: the answer comes, the connection closes", async () => {
    const { stage } = await within(1, () => ok());
    const wire = await stage.client();
    const from = performance.now();
    wire.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome");
    const response = await wire.response("POST");
    expectLate(response, from);
    expect(response.value("connection")).toBe("close");
    await stage.quiet();
  });

  test("and leaves the next one on the same connection its own time", async () => {
    const { stage } = await within(1, async ({ nth }) => {
      if (nth === 0) return;
      await pause(LIMIT_MS * 0.5);
      return ok();
    });
    const wire = await stage.client();
    wire.write(get());
    expect((await wire.response()).status).toBe(504);
    for (let i = 0; i < 3; i++) {
      wire.write(get());
      expect((await wire.response()).status).toBe(200);
    }
  });
});

describe.each([
  ["ejections", { outlierDetection: { consecutiveFailures: 3, ejectFor: "1m" }, retry: false }],
  ["circuits", { outlierDetection: false, circuitBreaker: { consecutiveFailures: 3, openFor: "1m" }, retry: false }],
] as const)("who was waited for when time is over, and %s", (_what, upstream) => {
  /** Two backends under this judgement, asked in turns. */
  function judged(act: Act, limit?: string) {
    return within(2, act, { balance: "round-robin", ...upstream }, limit);
  }

  /** Both backends still serve, and nothing was told of them. */
  async function expectNoBlame({ company, stage }: Awaited<ReturnType<typeof judged>>): Promise<void> {
    await stage.quiet();
    expect(told(stage)).toEqual([]);
    company.act = () => ok("well");
    const before = [...company.counts];
    for (let i = 0; i < 4; i++) expect((await ask(stage, get("/well"))).body).toBe("well");
    expect(company.counts.map((count, i) => count - before[i]!)).toEqual([2, 2]);
  }

  test("clients that send their body slowly blame no backend", async () => {
    const both = await judged(() => ok());
    await Promise.all(
      Array.from({ length: 10 }, async () => {
        const wire = await both.stage.client();
        wire.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nslow");
        expect((await wire.response("POST")).status).toBe(504);
      }),
    );
    await expectNoBlame(both);
    expect(both.stage.proxy.snapshot().timeouts).toMatchObject({ route: 10, response: 0, body: 0 });
  });

  test("clients that do not read their response blame no backend", async () => {
    const both = await judged(({ wire, request }) => {
      if (request.start.includes("/well")) return ok("well");
      wire.write("HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n");
      wire.write(Buffer.alloc(15_000_000, "x"));
    }, "2s");
    const clients = await Promise.all(Array.from({ length: 6 }, () => both.stage.client()));
    for (const wire of clients) {
      wire.socket.pause();
      wire.write(get());
    }
    await eventually(() => both.stage.proxy.snapshot().timeouts.route === 6, "all are cut off");
    for (const wire of clients) wire.destroy();
    await expectNoBlame(both);
  });

  test("backends that still send when time is over are not to blame", async () => {
    const both = await judged(async ({ wire, request }) => {
      if (request.start.includes("/well")) return ok("well");
      wire.write("HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n");
      while (!wire.socket.destroyed) {
        wire.write("more");
        await pause(10);
      }
    });
    for (let i = 0; i < 6; i++) {
      const wire = await both.stage.client();
      wire.write(get("/", ["Connection: close"]));
      await wire.rest();
    }
    await expectNoBlame(both);
  });

  test("a peer that gave too little time blames no backend", async () => {
    const company = cast(2, async ({ request }) => {
      if (!request.start.includes("/well")) await pause(120);
      return ok();
    });
    const stage = await scene(company.scripts, {
      listener: { trustedProxies: ["127.0.0.1"] },
      upstream: { balance: "round-robin", ...upstream },
    });
    const hurried = Array.from({ length: 10 }, () => ask(stage, get("/", ["X-Deadline-Ms: 40"])));
    for (const response of hurried) expect((await response).status).toBe(504);
    await expectNoBlame({ company, stage });
  });

  test("a backend that does not answer in the long time that a peer gave is to blame", async () => {
    const company = cast(2, ({ backend }) => (backend === 0 ? undefined : ok("well")));
    const stage = await scene(company.scripts, {
      listener: { trustedProxies: ["127.0.0.1"] },
      upstream: { balance: "round-robin", ...upstream },
    });
    const asked = Array.from({ length: 6 }, () => ask(stage, get("/", ["X-Deadline-Ms: 1200"])));
    const statuses = (await Promise.all(asked)).map(({ status }) => status);
    expect(statuses.toSorted()).toEqual([200, 200, 200, 504, 504, 504]);
    expect(told(stage)).toHaveLength(1);
  });

  test("a backend that does not answer within the route's own time is to blame", async () => {
    const { company, stage } = await judged(({ backend }) => (backend === 0 ? undefined : ok("well")));
    const asked = Array.from({ length: 6 }, () => ask(stage, get()));
    const statuses = (await Promise.all(asked)).map(({ status }) => status);
    expect(statuses.toSorted()).toEqual([200, 200, 200, 504, 504, 504]);
    expect(told(stage)).toHaveLength(1);
    expect(stage.proxy.logs[0]!.message).toContain("3 failures in a row");
    for (let i = 0; i < 4; i++) expect((await ask(stage, get())).body).toBe("well");
    expect(company.counts).toEqual([3, 7]);
  });

  test("so is one that does not take the body, however much of that its client still has", async () => {
    const script: Script = async (wire) => {
      await wire.until("\r\n\r\n");
      wire.socket.pause();
      await new Promise((resolve) => wire.socket.once("close", resolve));
    };
    const stage = await scene([script, script], {
      listener: { routes: [{ timeout: "1500ms", upstream: "web" }] },
      upstream: { balance: "round-robin", ...upstream },
    });
    const uploads = await Promise.all(Array.from({ length: 6 }, () => stage.client()));
    for (const wire of uploads) {
      wire.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n");
      wire.write(Buffer.alloc(20_000_000, "x"));
    }
    for (const wire of uploads) expect((await wire.response("POST")).status).toBe(504);
    await stage.quiet();
    expect(told(stage).length).toBeGreaterThan(0);
  });

  test("so is one that stands still in the middle of its response", async () => {
    const { stage } = await judged(({ wire, backend }) => {
      if (backend === 1) return ok("well");
      wire.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    });
    for (let i = 0; i < 6; i++) {
      const wire = await stage.client();
      wire.write(get("/", ["Connection: close"]));
      await wire.rest();
    }
    expect(told(stage)).toHaveLength(1);
  });
});

/** What a backend read of the deadline in each delivery. */
function deadlines(company: ReturnType<typeof cast>, name = "x-deadline-ms"): (string | undefined)[] {
  return company.deliveries.map(({ request }) => request.value(name));
}

function expectLeft(value: string | undefined, most: number, least = 0): void {
  expect(value).toMatch(/^\d+$/);
  expect(Number(value)).toBeLessThanOrEqual(most);
  expect(Number(value)).toBeGreaterThanOrEqual(least);
}

describe("the deadline field", () => {
  const trusting = { trustedProxies: ["127.0.0.1"] };

  test("of a trusted peer limits the exchange", async () => {
    const company = cast(1, () => undefined);
    const stage = await scene(company.scripts, { listener: trusting });
    const from = performance.now();
    expectLate(await ask(stage, get("/", [`X-Deadline-Ms: ${LIMIT_MS}`])), from);
    await stage.quiet();
    expect(stage.proxy.snapshot().timeouts.route).toBe(1);
  });

  test("of a trusted peer is passed on with what is left, less for each attempt", async () => {
    const company = cast(2, async ({ nth }) => {
      await pause(60);
      return nth === 0 ? reply(503) : ok();
    });
    const stage = await scene(company.scripts, { listener: trusting });
    expect((await ask(stage, get("/", ["x-deadline-ms: 5000"]))).status).toBe(200);
    const [first, second] = deadlines(company);
    expectLeft(first, 5_000, 3_000);
    expectLeft(second, Number(first) - 50, 3_000);
  });

  test("time spent in the queue is not left any more", async () => {
    const gate = new Gate();
    const company = cast(1, ({ nth }) => (nth === 0 ? gate.hold(ok()) : ok()));
    const stage = await scene(company.scripts, { listener: trusting, upstream: { pool: { maxConnections: 1 } } });
    const holder = ask(stage, get());
    await gate.filled(1);
    const waiting = ask(stage, get("/", ["x-deadline-ms: 5000"]));
    await queued(stage, 1);
    await pause(150);
    gate.release();
    await holder;
    expect((await waiting).status).toBe(200);
    expectLeft(deadlines(company)[1], 4_860, 3_000);
  });

  test("the sooner of route and peer counts", async () => {
    const company = cast(1, () => ok());
    const stage = await scene(company.scripts, {
      listener: { ...trusting, routes: [{ timeout: "3s", upstream: "web" }] },
    });
    for (const value of ["1000", "60000"]) await ask(stage, get("/", [`x-deadline-ms: ${value}`]));
    const [peer, route] = deadlines(company);
    expectLeft(peer, 1_000, 500);
    expectLeft(route, 3_000, 2_000);
  });

  test("the limit of the route is passed on where no peer says anything", async () => {
    const { company, stage } = await within(1, () => ok(), {}, "4s");
    expect((await ask(stage, get())).status).toBe(200);
    expectLeft(deadlines(company)[0], 4_000, 2_000);
  });

  test("an exchange without a deadline passes none on", async () => {
    const company = cast(1, () => ok());
    await ask(await scene(company.scripts), get());
    expect(deadlines(company)).toEqual([undefined]);
  });

  test("of anybody else neither limits the exchange nor reaches the backend", async () => {
    const company = cast(1, async () => {
      await pause(150);
      return ok("in its own time");
    });
    const stage = await scene(company.scripts);
    expect((await ask(stage, get("/", ["X-Deadline-Ms: 20"]))).body).toBe("in its own time");
    expect((await ask(stage, get("/", ["X-DEADLINE-MS: 0"]))).body).toBe("in its own time");
    expect(deadlines(company)).toEqual([undefined, undefined]);
  });

  test("of anybody else does not replace what the route says", async () => {
    const { company, stage } = await within(1, () => ok(), {}, "4s");
    expect((await ask(stage, get("/", ["X-Deadline-Ms: 999999"]))).status).toBe(200);
    expectLeft(deadlines(company)[0], 4_000, 2_000);
  });

  test.each(["abc", "-1", "1.5", "12345678901", ""])("that nobody understands (%j) is none", async (value) => {
    const company = cast(1, () => ok());
    const stage = await scene(company.scripts, { listener: trusting });
    expect((await ask(stage, get("/", [`X-Deadline-Ms: ${value}`]))).status).toBe(200);
    expect(deadlines(company)).toEqual([undefined]);
  });

  test("of 0: nobody waits for the response any more, so nobody is asked for it", async () => {
    const company = cast(1, () => ok());
    const stage = await scene(company.scripts, { listener: trusting });
    const deadline = ["X-Deadline-Ms: 0"];
    for (const request of [get("/", deadline), post("order", "/", deadline)]) {
      const response = await ask(stage, request);
      expect([503, 504]).toContain(response.status);
      expect(response.value("spillway-reason")).toMatch(/^(deadline|route-timeout)$/);
    }
    await pause(50);
    expect(company.deliveries).toHaveLength(0);
    await stage.quiet();
  });

  test("may have another name", async () => {
    const company = cast(1, () => ok());
    const stage = await scene(company.scripts, { listener: { ...trusting, forwarded: { deadline: "X-Time-Left" } } });
    await ask(stage, get("/", ["x-time-left: 2000"]));
    expectLeft(deadlines(company, "x-time-left")[0], 2_000, 1_000);
  });

  test("false: there is none, and what carries its name is a field like any other", async () => {
    const company = cast(1, async () => {
      await pause(100);
      return ok();
    });
    const stage = await scene(company.scripts, { listener: { ...trusting, forwarded: { deadline: false } } });
    expect((await ask(stage, get("/", ["x-deadline-ms: 20"]))).status).toBe(200);
    expect(deadlines(company)).toEqual(["20"]);
  });
});

test("who cannot be served in time is refused at once, once it is known how fast the queue moves", async () => {
  const company = cast(1, async () => {
    await pause(15);
    return ok();
  });
  const stage = await scene(company.scripts, {
    listener: { trustedProxies: ["127.0.0.1"] },
    upstream: { pool: { maxConnections: 1, queue: { max: 1000, timeout: "30s" } } },
  });
  const crowd = Array.from({ length: 45 }, () => ask(stage, get()));
  await eventually(() => company.deliveries.length > 12, "some of the queue has been served");
  const hopeless = await ask(stage, get("/", ["x-deadline-ms: 100"]));
  expect(hopeless.status).toBe(503);
  expect(hopeless.value("spillway-reason")).toBe("deadline");
  expect(Number(hopeless.value("retry-after"))).toBeGreaterThan(0);
  expect(stage.proxy.snapshot().shed.deadline).toBe(1);
  for (const response of crowd) expect((await response).status).toBe(200);
});
