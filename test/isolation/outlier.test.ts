import { expect, onTestFinished, test } from "vitest";
import { createSpillway } from "../../src/control/embed.ts";
import { ok } from "../support/raw-backend.ts";
import { get, scene } from "../support/scene.ts";
import { eventually, pause } from "../support/wire.ts";
import { ask, cast, reply, told } from "./cast.ts";

const EJECTED = "backend_ejected";
const RETURNED = "backend_returned";

test("five times 500 in a row eject a backend of two; the other carries on alone", async () => {
  const company = cast(2, ({ backend }) => (backend === 0 ? reply(500) : ok()));
  const stage = await scene(company.scripts, { upstream: { balance: "round-robin" } });
  const statuses: number[] = [];
  for (let i = 0; i < 20; i++) statuses.push((await ask(stage, get())).status);
  expect(statuses.filter((status) => status === 500)).toHaveLength(5);
  expect(company.counts).toEqual([5, 15]);
  expect(told(stage)).toEqual([EJECTED]);
  expect(stage.proxy.logs[0]!.message).toContain("5 failures in a row");
  expect(stage.proxy.snapshot()).toMatchObject({ ejections: 1, upstreams: [{ backends: [{ ejections: 1 }, {}] }] });
});

test("when both fail alike only one may be out", async () => {
  const company = cast(2, () => reply(500));
  const stage = await scene(company.scripts, { upstream: { balance: "round-robin" } });
  for (let i = 0; i < 24; i++) expect((await ask(stage, get())).status).toBe(500);
  expect(told(stage)).toEqual([EJECTED]);
  expect([...company.counts].sort((a, b) => a - b)).toEqual([5, 19]);
});

test("a single backend is never ejected", async () => {
  const company = cast(1, () => reply(500));
  const stage = await scene(company.scripts);
  for (let i = 0; i < 12; i++) expect((await ask(stage, get())).status).toBe(500);
  expect(told(stage)).toEqual([]);
});

test("the last one that serves is not ejected, whatever it answers, while the other is down", async () => {
  const company = cast(2, () => reply(500));
  const stage = await scene(company.scripts, { upstream: { balance: "round-robin" } });
  stage.proxy.plane.setHealth(1, false, "connection refused");
  for (let i = 0; i < 12; i++) expect((await ask(stage, get())).status).toBe(500);
  expect(company.counts).toEqual([12, 0]);
  expect(told(stage)).toEqual([]);
});

test("one that is ejected is back when the other goes down", async () => {
  const company = cast(2, ({ backend, nth }) => (backend === 0 && nth < 10 ? reply(500) : ok(`${backend}`)));
  const stage = await scene(company.scripts, { upstream: { balance: "round-robin" } });
  for (let i = 0; i < 12; i++) await ask(stage, get());
  expect(told(stage)).toEqual([EJECTED]);
  stage.proxy.plane.setHealth(1, false, "connection refused");
  for (let i = 0; i < 4; i++) expect((await ask(stage, get())).body).toBe("0");
  expect(told(stage)).toEqual([EJECTED, RETURNED]);
});

test("the same backend without outlierDetection stays", async () => {
  const company = cast(2, ({ backend }) => (backend === 0 ? reply(500) : ok()));
  const stage = await scene(company.scripts, { upstream: { balance: "round-robin", outlierDetection: false } });
  for (let i = 0; i < 20; i++) await ask(stage, get());
  expect(company.counts).toEqual([10, 10]);
});

test("it returns after ejectFor; the second time it stays away for longer", async () => {
  let well = false;
  const company = cast(2, ({ backend }) => (backend === 0 && !well ? reply(500) : ok()));
  const stage = await scene(company.scripts, {
    upstream: { balance: "round-robin", outlierDetection: { consecutiveFailures: 3, ejectFor: "200ms" } },
  });
  const until = async (count: number) => {
    const late = performance.now() + 5_000;
    while (told(stage).length < count && performance.now() < late) await ask(stage, get());
    expect(told(stage)).toHaveLength(count);
  };
  await until(1);
  expect(company.counts[0]).toBe(3);
  let from = performance.now();
  await eventually(() => told(stage).length === 2, "returned");
  expect(performance.now() - from).toBeGreaterThan(150);
  await until(3);
  expect(company.counts[0]).toBe(6);
  from = performance.now();
  well = true;
  await eventually(() => told(stage).length === 4, "returned again");
  expect(performance.now() - from).toBeGreaterThan(350);
  for (let i = 0; i < 10; i++) expect((await ask(stage, get())).status).toBe(200);
  expect(company.counts[0]).toBe(11);
  expect(told(stage)).toEqual([EJECTED, RETURNED, EJECTED, RETURNED]);
  expect(stage.proxy.snapshot().ejections).toBe(2);
});

test("resets count although a retry hides them from the client", async () => {
  const company = cast(2, ({ backend, wire }) => (backend === 0 ? wire.reset() : ok()));
  const stage = await scene(company.scripts, { upstream: { balance: "round-robin" } });
  for (let i = 0; i < 20; i++) expect((await ask(stage, get())).status).toBe(200);
  expect(company.counts).toEqual([5, 20]);
  expect(told(stage)).toEqual([EJECTED]);
});

test("consecutiveGatewayFailures: 503 ejects sooner than 500", async () => {
  const company = cast(3, ({ backend }) => (backend === 0 ? reply(503) : backend === 1 ? reply(500) : ok()));
  const stage = await scene(company.scripts, {
    upstream: {
      balance: "round-robin",
      retry: false,
      outlierDetection: { consecutiveFailures: "unlimited", consecutiveGatewayFailures: 2 },
    },
  });
  for (let i = 0; i < 18; i++) await ask(stage, get());
  expect(company.counts[0]).toBe(2);
  expect(company.counts[1]).toBeGreaterThan(6);
});

test("a backend that is much slower than the others is ejected", async () => {
  const company = cast(3, async ({ backend }) => {
    await pause(backend === 2 ? 200 : 1);
    return ok();
  });
  const stage = await scene(company.scripts, {
    upstream: {
      balance: "round-robin",
      outlierDetection: { interval: "500ms", latency: { factor: 3, minimumBackends: 3, minimumRequests: 5 } },
    },
  });
  await Promise.all(Array.from({ length: 30 }, () => ask(stage, get())));
  await eventually(() => told(stage).includes(EJECTED), "ejected");
  expect(stage.proxy.logs[0]!.message).toContain("p90");
  for (let i = 0; i < 10; i++) await ask(stage, get());
  expect(company.counts).toEqual([15, 15, 10]);
});

test("failureShare: a backend that fails most of its requests is ejected at the end of the interval", async () => {
  const company = cast(3, ({ backend, nth }) => (backend === 1 && nth % 9 !== 1 ? reply(500) : ok()));
  const stage = await scene(company.scripts, {
    upstream: {
      balance: "round-robin",
      outlierDetection: {
        interval: "400ms",
        consecutiveFailures: "unlimited",
        failureShare: { threshold: "50%", minimumBackends: 3, minimumRequests: 5 },
      },
    },
  });
  for (let i = 0; i < 27; i++) await ask(stage, get());
  await eventually(() => told(stage).includes(EJECTED), "ejected");
  const before = company.counts[1];
  for (let i = 0; i < 9; i++) expect((await ask(stage, get())).status).toBe(200);
  expect(company.counts[1]).toBe(before);
});

test("one that is ejected and then goes down has not returned", async () => {
  const company = cast(2, ({ backend }) => (backend === 0 ? reply(500) : ok()));
  const stage = await scene(company.scripts, { upstream: { balance: "round-robin" } });
  for (let i = 0; i < 12; i++) await ask(stage, get());
  expect(told(stage)).toEqual([EJECTED]);
  stage.proxy.plane.setHealth(0, false, "connection refused");
  for (let i = 0; i < 4; i++) expect((await ask(stage, get())).status).toBe(200);
  expect(told(stage)).toEqual([EJECTED]);
});

test("the status says when an ejection ends of a backend that is down meanwhile", async () => {
  const company = cast(2, ({ backend }) => (backend === 0 ? reply(500) : ok()));
  const { backends } = await scene(company.scripts);
  const spillway = await createSpillway(
    {
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: {
        web: {
          balance: "round-robin",
          backends: backends.map(({ url }) => url),
          healthCheck: { type: "tcp", interval: "20ms" },
          outlierDetection: { ejectFor: "600ms" },
        },
      },
    },
    { log: { write: () => {} } as never },
  );
  onTestFinished(() => spillway.close());
  const [bound] = spillway.listeners;
  for (let i = 0; i < 10; i++) {
    await (await fetch(`http://127.0.0.1:${bound!.kind === "tcp" ? bound!.port : 0}/`)).text();
  }
  const view = () => spillway.metrics().upstreams[0]!.backends[0]!;
  expect(view()).toMatchObject({ state: "ejected", ejected: true });
  await backends[0]!.close();
  await eventually(() => view().state === "down", "down");
  expect(view().ejected).toBe(true);
  await eventually(() => !view().ejected, "not ejected any more");
  expect(view().state).toBe("down");
});
