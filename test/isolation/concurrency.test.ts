import { expect, test } from "vitest";
import { ok } from "../support/raw-backend.ts";
import { get, post, scene } from "../support/scene.ts";
import { eventually, pause } from "../support/wire.ts";
import { ask, cast, Gate, queued, reply } from "./cast.ts";

const FIXED = { initial: 4, min: 4, max: 4 };

test("no more run at a time than concurrencyLimit; without a queue the others are refused at once", async () => {
  const gate = new Gate();
  const company = cast(2, () => gate.hold(ok()));
  const stage = await scene(company.scripts, { upstream: { concurrencyLimit: FIXED, pool: { queue: false } } });
  const running = Array.from({ length: 4 }, () => ask(stage, get()));
  await gate.filled(4);
  for (const request of [get(), post("order"), get()]) {
    const refused = await ask(stage, request);
    expect(refused.status).toBe(503);
    expect(refused.value("spillway-reason")).toBe("concurrency");
    expect(Number(refused.value("retry-after"))).toBeGreaterThan(0);
  }
  gate.release(4);
  for (const response of running) expect((await response).status).toBe(200);
  await stage.quiet();
  const again = ask(stage, get());
  await gate.filled(1);
  gate.release();
  expect((await again).status).toBe(200);
  expect(company.deliveries).toHaveLength(5);
  expect(stage.proxy.snapshot()).toMatchObject({
    shed: { concurrency: 3, "queue-full": 0 },
    upstreams: [{ concurrencyLimit: 4, failed: 3 }],
  });
});

test("with a queue the others wait, and all are served", async () => {
  let running = 0;
  let most = 0;
  const company = cast(3, async () => {
    most = Math.max(most, ++running);
    await pause(5);
    running--;
    return ok();
  });
  const stage = await scene(company.scripts, {
    upstream: { concurrencyLimit: FIXED, pool: { queue: { timeout: "20s" } } },
  });
  await Promise.all(
    Array.from({ length: 60 }, async (_, i) => {
      expect((await ask(stage, i % 2 === 0 ? get() : post("order"))).status).toBe(200);
    }),
  );
  expect(most).toBe(4);
  await stage.quiet();
  expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ requests: 60, failed: 0, waiting: 0 });
});

test("a full queue is refused for the limit that fills it", async () => {
  const gate = new Gate();
  const company = cast(1, () => gate.hold(ok()));
  const stage = await scene(company.scripts, {
    upstream: { concurrencyLimit: FIXED, pool: { queue: { max: 2, timeout: "10s" } } },
  });
  const served = Array.from({ length: 6 }, () => ask(stage, get()));
  await gate.filled(4);
  await queued(stage, 2);
  expect((await ask(stage, get())).value("spillway-reason")).toBe("concurrency");
  gate.release(4);
  await gate.filled(2);
  gate.release(2);
  for (const response of served) expect((await response).status).toBe(200);
});

test("WebSockets and downloads that go on hold no place of it: others are served", async () => {
  const company = cast(2, ({ request, wire }) => {
    if (request.start.includes("/ws")) {
      return "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    }
    if (!request.start.includes("/long")) return ok("served");
    wire.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  });
  const stage = await scene(company.scripts, { upstream: { concurrencyLimit: FIXED } });
  const open = await Promise.all(Array.from({ length: 12 }, () => stage.client()));
  for (const [i, wire] of open.entries()) {
    const upgrade = i % 2 === 0;
    wire.write(upgrade ? get("/ws", ["Connection: Upgrade", "Upgrade: echo"]) : get("/long"));
    expect(await wire.until("\r\n\r\n")).toMatch(upgrade ? "101" : "200");
  }
  expect(stage.proxy.plane.inspect()).toMatchObject({ tunnels: 6, exchanges: 6 });
  const others = Array.from({ length: 20 }, () => ask(stage, get()));
  for (const response of others) expect((await response).body).toBe("served");
  for (const wire of open) wire.reset();
  await stage.quiet();
  for (let i = 0; i < 6; i++) expect((await ask(stage, get())).status).toBe(200);
  expect(stage.proxy.snapshot().upstreams[0]).toMatchObject({ active: 0, waiting: 0 });
});

test("the limit grows while more at a time take no longer", async () => {
  const company = cast(1, async () => {
    await pause(10);
    return ok();
  });
  const stage = await scene(company.scripts, {
    upstream: { concurrencyLimit: { initial: 4, min: 4, max: 100 }, pool: { queue: { timeout: "20s" } } },
  });
  const limit = () => stage.proxy.snapshot().upstreams[0]!.concurrencyLimit;
  await ask(stage, get());
  expect(limit()).toBe(4);
  let over = false;
  const crowd = Array.from({ length: 24 }, async () => {
    const wire = await stage.client();
    while (!over) {
      wire.write(get());
      await wire.response();
    }
  });
  await eventually(
    () => limit() > 5,
    () => `the limit is ${limit()}`,
    6_000,
  );
  over = true;
  await Promise.all(crowd);
});

test("throttle: when a backend refuses everything, it is spared most requests, but not all", async () => {
  const company = cast(1, () => reply(503));
  const stage = await scene(company.scripts, {
    upstream: { throttle: { maxRefused: "80%" }, retry: false, outlierDetection: false },
  });
  const reasons: (string | undefined)[] = [];
  for (let i = 0; i < 150; i++) {
    const response = await ask(stage, get());
    expect(response.status).toBe(503);
    reasons.push(response.value("spillway-reason"));
  }
  const refused = reasons.filter((reason) => reason === "throttled").length;
  expect(refused).toBe(150 - company.deliveries.length);
  expect(refused).toBeGreaterThan(75);
  expect(company.deliveries.length).toBeGreaterThan(15);
  expect(stage.proxy.snapshot().shed.throttled).toBe(refused);
});

test("throttle: while most succeed, nothing is refused", async () => {
  const company = cast(1, ({ nth }) => (nth % 3 === 0 ? reply(503) : ok()));
  const stage = await scene(company.scripts, {
    upstream: { throttle: {}, retry: false, outlierDetection: false },
  });
  for (let i = 0; i < 60; i++) await ask(stage, get());
  expect(company.deliveries).toHaveLength(60);
});

test("throttle: answers of 404 and 500 are answers, and refuse nothing", async () => {
  const company = cast(1, ({ nth }) => reply(nth % 2 === 0 ? 404 : 500));
  const stage = await scene(company.scripts, { upstream: { throttle: {} } });
  for (let i = 0; i < 40; i++) await ask(stage, get());
  expect(company.deliveries).toHaveLength(40);
});
