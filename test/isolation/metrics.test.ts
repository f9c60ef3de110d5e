import { expect, test } from "vitest";
import { ok } from "../support/raw-backend.ts";
import { get, scene } from "../support/scene.ts";
import { ask, cast, Gate, queued } from "./cast.ts";

// What each feature counts is checked beside what it does. Here is what spans them.

/** A backend with room for one, which is taken; routes with and without a time limit. */
async function full() {
  const gate = new Gate();
  const company = cast(1, () => gate.hold(ok()));
  const stage = await scene(company.scripts, {
    listener: { routes: [{ match: { path: "/short" }, timeout: "100ms", upstream: "web" }, { upstream: "web" }] },
    upstream: { pool: { maxConnections: 1, queue: { timeout: "10s" } } },
  });
  const holder = ask(stage, get());
  await gate.filled(1);
  return { gate, stage, holder, waiting: () => stage.proxy.snapshot().upstreams[0]!.waiting };
}

test("the gauge of those that wait goes down when a client leaves", async () => {
  const { stage, waiting } = await full();
  const leaver = await stage.client();
  leaver.write(get());
  await queued(stage, 1);
  expect(waiting()).toBe(1);
  leaver.reset();
  await queued(stage, 0);
  expect(waiting()).toBe(0);
});

test("the gauge of those that wait goes down when their time is over", async () => {
  const { stage, waiting } = await full();
  const late = ask(stage, get("/short"));
  await queued(stage, 1);
  expect(waiting()).toBe(1);
  expect((await late).status).toBe(504);
  expect(waiting()).toBe(0);
});

test("the gauge of those that wait goes down when they are served", async () => {
  const { gate, stage, holder, waiting } = await full();
  const next = ask(stage, get());
  await queued(stage, 1);
  gate.release();
  await holder;
  await gate.filled(1);
  expect(waiting()).toBe(0);
  gate.release();
  expect((await next).status).toBe(200);
});

test("with nothing to isolate, nothing is counted", async () => {
  const company = cast(2, () => ok());
  const stage = await scene(company.scripts, {
    upstream: {
      circuitBreaker: {},
      concurrencyLimit: {},
      throttle: {},
      hedge: {},
      slowStart: {},
      panicThreshold: "50%",
    },
  });
  for (let i = 0; i < 20; i++) expect((await ask(stage, get())).status).toBe(200);
  await stage.quiet();
  const { shed, timeouts, breakerTrips, ejections, upstreams } = stage.proxy.snapshot();
  expect(
    Object.values(shed)
      .concat(Object.values(timeouts), breakerTrips, ejections)
      .filter((count) => count > 0),
  ).toEqual([]);
  expect(upstreams[0]).toMatchObject({
    requests: 20,
    failed: 0,
    retries: 0,
    moves: 0,
    retriesDenied: 0,
    fallbacks: 0,
    hedges: 0,
    waiting: 0,
    concurrencyLimit: 20,
  });
});
