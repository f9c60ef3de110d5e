import { expect, onTestFinished, test } from "vitest";
import { settingsSchema } from "../../src/config/schema.ts";
import type { SettingsInput } from "../../src/config/settings.ts";
import { createCounts, createLayout, createMetricsMemory, SharedCounts, Stripe } from "../../src/metrics/index.ts";
import { SeededRandom } from "../../src/policy/model/random.ts";
import { createDataPlane } from "../../src/proxy/data-plane.ts";
import { assignSlots } from "../../src/proxy/slots.ts";
import { SystemClock } from "../../src/time/system-clock.ts";
import { ok, rawBackend } from "../support/raw-backend.ts";
import { get } from "../support/scene.ts";
import { dial, eventually, type Message, pause, type Wire } from "../support/wire.ts";
import { ask, type Cast, cast, Gate } from "./cast.ts";

/** Two data planes that share their counts, as two workers do, each with an address of its own. */
async function twoWorkers(company: Cast, upstream: object) {
  const backends = await Promise.all(company.scripts.map((script) => rawBackend(script)));
  const settings = settingsSchema.parse({
    listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
    upstreams: { web: { backends: backends.map(({ url }) => url), ...upstream } },
  } satisfies SettingsInput);
  const layout = createLayout({ upstreams: ["web"], backends: assignSlots(settings), listeners: ["one"] });
  const memory = createMetricsMemory(layout, 2);
  const counts = new SharedCounts(createCounts(layout.capacity.backends));
  const clients: Wire[] = [];
  const start = async (worker: number) => {
    const plane = await createDataPlane({
      settings,
      worker,
      stripe: new Stripe(layout, memory, worker),
      counts,
      clock: new SystemClock(),
      random: new SeededRandom(worker),
      bind: { mode: "exclusive" },
      events: {
        accessLog: () => {},
        log: () => {},
        connectionWanted: (slot) => queueMicrotask(() => planes[1 - worker]?.plane.surrenderConnection(slot)),
        connectionFreed: (slot) => queueMicrotask(() => planes[1 - worker]?.plane.retryConnections(slot)),
        backendCondition: () => {},
        sessionWanted: () => {},
        sessionPlaced: () => {},
      },
      secret: "a secret of the tests",
      sharedSessions: new Set(),
      geoip: new Map(),
    });
    const [bound] = await plane.start();
    const port = bound?.kind === "tcp" ? bound.port : 0;
    const client = async () => {
      const wire = await dial(port);
      clients.push(wire);
      return wire;
    };
    return { plane, client, ask: (request: string): Promise<Message> => ask({ client }, request) };
  };
  const planes: Awaited<ReturnType<typeof start>>[] = [];
  for (const worker of [0, 1]) planes.push(await start(worker));
  onTestFinished(async () => {
    for (const client of clients) client.destroy();
    for (const { plane } of planes) plane.close();
    await Promise.all(backends.map((backend) => backend.close()));
    expect(backends.flatMap(({ errors }) => errors)).toEqual([]);
  });
  return { planes, counts };
}

test("maxConnections holds over both, and who waits in one goes on when the other makes room", async () => {
  const gate = new Gate();
  const company = cast(1, () => gate.hold(ok()));
  const { planes } = await twoWorkers(company, { pool: { maxConnections: 2, queue: { timeout: "10s" } } });
  const [one, other] = planes;
  const held = [one!.ask(get()), one!.ask(get())];
  await gate.filled(2);
  const waiting = other!.ask(get("/other"));
  await eventually(() => other!.plane.inspect().waiting === 1, "it waits");
  await pause(50);
  expect(gate.size).toBe(2);
  gate.release();
  expect((await Promise.race(held)).status).toBe(200);
  await eventually(() => company.deliveries.length === 3, "the one that waited has its turn");
  expect(company.deliveries[2]!.request.start).toContain("/other");
  gate.release(2);
  for (const response of [...held, waiting]) expect((await response).status).toBe(200);
});

test("never more than there is room for, whichever worker they come by, and all are served", async () => {
  let running = 0;
  let most = 0;
  const company = cast(2, async () => {
    most = Math.max(most, ++running);
    await pause(2);
    running--;
    return ok();
  });
  const { planes, counts } = await twoWorkers(company, { pool: { maxConnections: 3, queue: { timeout: "20s" } } });
  await Promise.all(
    Array.from({ length: 40 }, async (_, n) => {
      const wire = await planes[n % 2]!.client();
      for (let i = 0; i < 3; i++) {
        wire.write(get());
        expect((await wire.response()).status).toBe(200);
      }
    }),
  );
  expect(most).toBeLessThanOrEqual(6);
  await eventually(() => counts.active(0) === 0 && counts.active(1) === 0, "all at rest");
  for (const { plane } of planes) expect(plane.inspect()).toMatchObject({ waiting: 0, exchanges: 0 });
});
