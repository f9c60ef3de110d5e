import { describe, expect, onTestFinished, test, vi } from "vitest";
import { Upstream } from "../../src/policy/upstream/upstream.ts";
import { SystemClock } from "../../src/time/system-clock.ts";
import { ok } from "../support/raw-backend.ts";
import { get, post, scene } from "../support/scene.ts";
import { eventually, type Message, pause, type Wire } from "../support/wire.ts";
import { ask, type Cast, cast, Gate, queued } from "./cast.ts";

interface Crowded {
  readonly company: Cast;
  readonly gate: Gate;
  readonly stage: Awaited<ReturnType<typeof scene>>;
  /** The exchange that takes all the room there is. */
  readonly holder: Promise<Message>;
  /** Adds one that waits, and resolves when it does. */
  join(request: string): Promise<{ readonly response: Promise<Message> }>;
  /** Paths of those that were delivered behind the holder, in order. */
  order(): string[];
}

/** A backend with room for one, which is taken until the gate is opened. Everything else is answered at once. */
async function crowded(
  queue: object | false,
  more: { routes?: readonly object[]; listener?: object; upstream?: object } = {},
): Promise<Crowded> {
  const gate = new Gate();
  const company = cast(1, ({ request }) => (request.start.includes("/hold") ? gate.hold(ok("held")) : ok("served")));
  const stage = await scene(company.scripts, {
    listener: { ...more.listener, ...(more.routes === undefined ? {} : { routes: more.routes as never }) },
    upstream: { pool: { maxConnections: 1, queue: queue as never }, ...more.upstream },
  });
  const holder = ask(stage, get("/hold"));
  await gate.filled(1);
  return {
    company,
    gate,
    stage,
    holder,
    join: async (request) => {
      const before = stage.proxy.plane.inspect().waiting;
      const response = ask(stage, request);
      await queued(stage, before + 1);
      return { response };
    },
    order: () => company.deliveries.slice(1).map(({ request }) => request.start.split(" ")[1]!),
  };
}

/** Refused by the proxy itself, with its reason and when to come again. */
function expectShed(response: Message, reason: string): void {
  expect(response.status).toBe(503);
  expect(response.value("spillway-reason")).toBe(reason);
  expect(Number(response.value("retry-after"))).toBeGreaterThan(0);
}

test("who came first goes first", async () => {
  const { gate, stage, holder, join, order } = await crowded({ timeout: "10s" });
  const waiting = [await join(get("/a")), await join(post("b", "/b")), await join(get("/c")), await join(get("/d"))];
  expect(stage.proxy.snapshot().upstreams[0]!.waiting).toBe(4);
  gate.release();
  expect((await holder).body).toBe("held");
  for (const { response } of waiting) expect((await response).body).toBe("served");
  expect(order()).toEqual(["/a", "/b", "/c", "/d"]);
  await stage.quiet();
  expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ waiting: 0, requests: 5, failed: 0 });
  expect(stage.backend.connections).toHaveLength(1);
});

test("time stands still while those are dealt with whose time is over: nobody is told an earlier time than before", async () => {
  const { advance } = Upstream.prototype;
  const hold = vi.spyOn(SystemClock.prototype, "hold");
  let advances = 0;
  let moved = 0;
  const spy = vi.spyOn(Upstream.prototype, "advance").mockImplementation(function (this: Upstream, now: number) {
    const clock = hold.mock.contexts.at(-1) as SystemClock;
    const before = clock.now();
    for (const from = performance.now(); performance.now() - from < 1; );
    advances++;
    if (clock.now() !== before) moved++;
    advance.call(this, now);
  });
  onTestFinished(() => {
    spy.mockRestore();
    hold.mockRestore();
  });
  const { gate, stage, holder, join } = await crowded({ timeout: "60ms" });
  const waiting = [await join(get("/1")), await join(get("/2"))];
  for (const { response } of waiting) expectShed(await response, "queue-timeout");
  gate.release();
  expect((await holder).status).toBe(200);
  await stage.quiet();
  expect(advances).toBeGreaterThan(0);
  expect(moved).toBe(0);
});

describe("many clients that have sent their next request already", () => {
  const CLIENTS = 1_000;

  test("are all answered when they are shed in the same moment, twice", async () => {
    const { gate, stage, holder } = await crowded({ max: 2_000, timeout: "1500ms" });
    const clients = await Promise.all(Array.from({ length: CLIENTS }, () => stage.client()));
    for (const wire of clients) wire.write(get("/1") + get("/2"));
    await queued(stage, CLIENTS);
    // Nothing else happens until the time of all of them is over.
    for (const from = performance.now(); performance.now() - from < 1_600; );
    for (const wire of clients) {
      expectShed(await wire.response(), "queue-timeout");
      expectShed(await wire.response(), "queue-timeout");
    }
    expect(stage.proxy.plane.inspect()).toMatchObject({ exchanges: 1, waiting: 0 });
    gate.release();
    expect((await holder).body).toBe("held");
    await stage.quiet();
    expect(stage.proxy.snapshot()).toMatchObject({
      shed: { "queue-timeout": 2 * CLIENTS },
      upstreams: [{ requests: 2 * CLIENTS + 1, active: 0, waiting: 0 }],
    });
  });

  test("are all answered when they are served one after the other in the same moment", async () => {
    const { gate, stage, holder } = await crowded({ max: 2_000, timeout: "30s" });
    const clients = await Promise.all(Array.from({ length: 300 }, () => stage.client()));
    for (const wire of clients) wire.write(get("/1") + get("/2"));
    await queued(stage, 300);
    stage.proxy.plane.setHealth(0, false, "said by the test");
    for (const wire of clients) {
      for (let i = 0; i < 2; i++) expectShed(await wire.response(), "no-backend");
    }
    gate.release();
    expect((await holder).body).toBe("held");
    await stage.quiet();
  });

  test("are all answered when each of them sheds the next, because its second request is the better one", async () => {
    const routes = [
      { match: { path: "/hold" }, upstream: "web" },
      { priority: { header: "x-class", default: "low" }, upstream: "web" },
    ];
    const { gate, stage, holder } = await crowded({ max: 300, timeout: "30s" }, { routes });
    const high = ["X-Class: high"];
    const clients = await Promise.all(Array.from({ length: 300 }, () => stage.client()));
    for (const wire of clients) wire.write(get("/low") + get("/high", high));
    await queued(stage, 300);
    const first = ask(stage, get("/high", high));
    await eventually(
      () => stage.proxy.snapshot().shed["queue-full"] === 301,
      "all that are low, and one more, are shed",
    );
    gate.release();
    await holder;
    expect((await first).status).toBe(200);
    const statuses: number[] = [];
    for (const wire of clients) {
      expectShed(await wire.response(), "queue-full");
      statuses.push((await wire.response()).status);
    }
    expect(statuses.filter((status) => status === 200)).toHaveLength(299);
    await stage.quiet();
  });

  test("lose none of it when they end their side behind it", async () => {
    const { gate, stage, holder, order } = await crowded({ timeout: "30s" });
    const clients = await Promise.all(Array.from({ length: 20 }, () => stage.client()));
    for (const wire of clients) wire.end(get("/1") + get("/2"));
    await queued(stage, 20);
    gate.release();
    await holder;
    for (const wire of clients) {
      for (let i = 0; i < 2; i++) expect((await wire.response()).body).toBe("served");
      await wire.gone();
    }
    expect(order()).toHaveLength(40);
    await stage.quiet();
  });
});

describe("priority", () => {
  const routes = [
    { match: { path: "/checkout/*" }, priority: "high", upstream: "web" },
    { match: { path: "/browse/*" }, priority: "low", upstream: "web" },
    { match: { headers: { "x-class": true } }, priority: { header: "x-class", default: "low" }, upstream: "web" },
    { upstream: "web" },
  ];

  test("of the route: high before normal before low", async () => {
    const { gate, join, order } = await crowded({ timeout: "10s" }, { routes });
    const waiting = [
      await join(get("/browse/1")),
      await join(get("/1")),
      await join(get("/checkout/1")),
      await join(get("/browse/2")),
      await join(get("/2")),
      await join(get("/checkout/2")),
    ];
    gate.release();
    for (const { response } of waiting) expect((await response).status).toBe(200);
    expect(order()).toEqual(["/checkout/1", "/checkout/2", "/1", "/2", "/browse/1", "/browse/2"]);
  });

  test("of a header, where the route says so; other words are its default", async () => {
    const { gate, join, order } = await crowded({ timeout: "10s" }, { routes });
    const waiting = [
      await join(get("/nonsense", ["X-Class: urgent"])),
      await join(get("/low", ["X-Class: low"])),
      await join(get("/normal", ["X-Class: normal"])),
      await join(get("/high", ["X-Class: high"])),
      await join(get("/unnamed")),
    ];
    gate.release();
    for (const { response } of waiting) expect((await response).status).toBe(200);
    expect(order()).toEqual(["/high", "/normal", "/unnamed", "/nonsense", "/low"]);
  });

  test("a full queue gives the place of its worst to a better one", async () => {
    const { gate, join, order, stage } = await crowded({ max: 2, timeout: "10s" }, { routes });
    const browsing = await join(get("/browse/1"));
    const plain = await join(get("/1"));
    const checkout = ask(stage, get("/checkout/1"));
    expectShed(await browsing.response, "queue-full");
    expectShed(await ask(stage, get("/browse/2")), "queue-full");
    gate.release();
    expect((await checkout).status).toBe(200);
    expect((await plain.response).status).toBe(200);
    expect(order()).toEqual(["/checkout/1", "/1"]);
    expect(stage.proxy.snapshot().shed["queue-full"]).toBe(2);
  });
});

test("who finds the queue full is refused at once", async () => {
  const { gate, join, stage, holder } = await crowded({ max: 1, timeout: "8s" });
  const waiting = await join(get("/a"));
  const from = performance.now();
  for (let i = 0; i < 10; i++) expectShed(await ask(stage, i % 2 === 0 ? get() : post("order")), "queue-full");
  expect(performance.now() - from).toBeLessThan(2_000);
  gate.release();
  expect((await holder).status).toBe(200);
  expect((await waiting.response).status).toBe(200);
  expect(stage.proxy.snapshot().shed).toMatchObject({ "queue-full": 10, "queue-timeout": 0 });
});

test("a client that was refused may ask again on the same connection", async () => {
  const { gate, stage, holder } = await crowded(false);
  const wire = await stage.client();
  wire.write(get() + post("order"));
  for (let i = 0; i < 2; i++) expectShed(await wire.response(), "queue-full");
  gate.release();
  await holder;
  wire.write(get());
  expect((await wire.response()).status).toBe(200);
});

test("who waits longer than queue.timeout is refused then", async () => {
  const { gate, join, stage, holder, company } = await crowded({ timeout: "200ms" });
  const from = performance.now();
  const waiting = [await join(get("/a")), await join(post("x".repeat(100_000), "/b"))];
  for (const { response } of waiting) expectShed(await response, "queue-timeout");
  expect(performance.now() - from).toBeGreaterThan(180);
  gate.release();
  await holder;
  await stage.quiet();
  expect(company.deliveries).toHaveLength(1);
  expect(stage.proxy.snapshot()).toMatchObject({
    shed: { "queue-timeout": 2 },
    timeouts: { queue: 2 },
    upstreams: [{ waiting: 0, failed: 2 }],
  });
});

test("target: once the queue has stood for five times as long, the newest goes first and the oldest is refused", async () => {
  const { gate, join, order, stage } = await crowded({ timeout: "10s", target: "200ms" });
  const oldest = await join(get("/oldest"));
  await pause(850);
  const middle = await join(get("/middle"));
  const newest = await join(get("/newest"));
  expectShed(await oldest.response, "queue-timeout");
  gate.release();
  expect((await newest.response).status).toBe(200);
  expect((await middle.response).status).toBe(200);
  expect(order()).toEqual(["/newest", "/middle"]);
  expect(stage.proxy.snapshot().shed["queue-timeout"]).toBe(1);
});

test("maxRequests of a backend bounds its exchanges, whatever maxConnections says", async () => {
  const gate = new Gate();
  const company = cast(2, ({ backend }) => gate.hold(ok(`from ${backend}`)));
  const { client, proxy, quiet } = await scene(company.scripts, {
    settings: ([small, large]) => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: {
        web: {
          balance: "round-robin",
          backends: [
            { url: small!, maxRequests: 1 },
            { url: large!, maxRequests: 3 },
          ],
        },
      },
    }),
  });
  const responses = Array.from({ length: 8 }, () => ask({ client }, get()));
  await gate.filled(4);
  await queued({ proxy }, 4);
  expect(company.counts).toEqual([1, 3]);
  for (let i = 0; i < 4; i++) {
    gate.release();
    await eventually(() => company.deliveries.length === 5 + i, "the next had its turn");
    const { backends } = proxy.snapshot().upstreams[0]!;
    expect(backends.map(({ active }) => active)).toEqual([1, 3]);
  }
  gate.release(4);
  for (const response of responses) expect((await response).status).toBe(200);
  await quiet();
});

describe("the body of a request that waits", () => {
  const body = Array.from({ length: 300_000 }, (_, i) => String.fromCharCode((i * 11) & 255)).join("");

  test.each([
    ["short", post(body.slice(0, 1_000))],
    ["long", post(body)],
    [
      "in chunks",
      `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n${body.slice(0, 100_000)}\r\n5\r\nabcde\r\n0\r\n\r\n`,
    ],
  ])("%s: arrives whole", async (_what, request) => {
    const { gate, join, company, holder } = await crowded({ timeout: "10s" });
    const { response } = await join(request);
    await pause(50);
    gate.release();
    await holder;
    expect((await response).status).toBe(200);
    const got = company.deliveries[1]!.request.body;
    expect(got).toBe(request.includes("chunked") ? `${body.slice(0, 100_000)}abcde` : request.slice(-got.length));
    expect(got.length).toBeGreaterThan(999);
  });

  test("is not read into memory: its client is held back meanwhile", async () => {
    const { gate, stage, holder } = await crowded({ timeout: "10s" });
    const wire = await stage.client();
    const size = 20_000_000;
    wire.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`);
    wire.write(Buffer.alloc(size, 120));
    await queued(stage, 1);
    await pause(200);
    expect(stage.proxy.snapshot().bytesIn).toBeLessThan(2_000_000);
    gate.release();
    await holder;
    expect((await wire.response("POST")).status).toBe(200);
  });
});

test("a client that leaves while it waits gives its place up, and is never delivered", async () => {
  const { gate, join, stage, company, holder } = await crowded({ max: 1, timeout: "10s" });
  const leaver = await stage.client();
  leaver.write(post("order", "/left"));
  await queued(stage, 1);
  leaver.reset();
  await queued(stage, 0);
  const stayer = await join(get("/stayed"));
  gate.release();
  await holder;
  expect((await stayer.response).status).toBe(200);
  await stage.quiet();
  expect(company.deliveries.map(({ request }) => request.start.split(" ")[1])).toEqual(["/hold", "/stayed"]);
});

test("what waits goes to whichever backend has room first", async () => {
  const gates = [new Gate(), new Gate()];
  const company = cast(2, ({ backend }) => gates[backend]!.hold(ok(`from ${backend}`)));
  const stage = await scene(company.scripts, {
    upstream: { balance: "round-robin", pool: { maxConnections: 1, queue: { timeout: "10s" } } },
  });
  const held = [ask(stage, get()), ask(stage, get())];
  await Promise.all(gates.map((gate) => gate.filled(1)));
  const waiting = ask(stage, get("/waiting"));
  await queued(stage, 1);
  gates[1]!.release();
  await gates[1]!.filled(1);
  gates[1]!.release();
  expect((await waiting).body).toBe("from 1");
  gates[0]!.release();
  for (const response of held) expect((await response).status).toBe(200);
});

test("what waits is served when its backend fails the one before it", async () => {
  const { join, company, stage } = await crowded({ timeout: "10s" });
  const waiting = await join(get("/next"));
  company.deliveries[0]!.wire.reset();
  expect((await waiting.response).body).toBe("served");
  await stage.quiet();
});

test("many more than there is room for are all served, one after the other, and the count is right", async () => {
  let running = 0;
  let most = 0;
  const company = cast(2, async () => {
    most = Math.max(most, ++running);
    await pause(1);
    running--;
    return ok();
  });
  const stage = await scene(company.scripts, {
    upstream: { pool: { maxConnections: 3, queue: { max: 500, timeout: "20s" } } },
  });
  const wires: Wire[] = await Promise.all(Array.from({ length: 100 }, () => stage.client()));
  await Promise.all(
    wires.map(async (wire, n) => {
      for (let i = 0; i < 3; i++) {
        wire.write(n % 3 === 0 ? post("order") : get());
        expect((await wire.response()).status).toBe(200);
      }
    }),
  );
  expect(most).toBeLessThanOrEqual(6);
  await stage.quiet();
  expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ requests: 300, failed: 0, waiting: 0, active: 0 });
});
