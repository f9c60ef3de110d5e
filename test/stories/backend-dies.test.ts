import { expect, test } from "vitest";
import { eventually, pause } from "../support/wire.ts";
import { BackendProcess, startBackends } from "./backend-process.ts";
import { Press, tally } from "./clients.ts";
import { runWhole } from "./whole.ts";

const INTERVAL_MS = 300;
/** Checks come up to 10 % early or late. */
const JITTER = 0.1;

test("kill -9 of one of three backends under 200 clients: what was in flight on it may fail, nothing after that", async () => {
  const backends = await startBackends(["a", "b", "c"]);
  const { spillway, port, states, metric } = await runWhole({
    upstream: {
      backends: backends.map(({ url }) => url),
      healthCheck: { type: "tcp", interval: `${INTERVAL_MS}ms`, timeout: "250ms", unhealthyAfter: 3, healthyAfter: 1 },
    },
  });
  const stateOfB = async () => (await states())[1]!;
  const untilB = async (state: string) => {
    for (const lateMs = performance.now() + 10_000; performance.now() < lateMs; await pause(10)) {
      const b = await stateOfB();
      if (b.state === state) return b;
    }
    throw new Error(`b never was ${state}`);
  };

  const press = new Press(port, 200, (index) => `/wait/${50 + ((index * 37) % 100)}`, 40_000);
  await eventually(() => press.answers.length >= 1_000, "1,000 answers", 20_000);
  expect(tally(press.answers, ({ status }) => status)).toEqual({ 200: press.answers.length });

  const inFlight = press.outstanding;
  const signalledMs = performance.now();
  const killedAt = Date.now();
  backends[1]!.kill();
  const killedMs = performance.now();
  // Attempts notice before checks do: it may be ejected by now.
  expect((await stateOfB()).state).not.toBe("down");
  const down = await untilB("down");
  const downMs = Date.parse(down.since) - killedAt;
  const entry = await spillway.entry("backend_down");
  expect(entry).toMatchObject({ upstream: "web", reason: "connection refused", failures: 3 });
  // Between the first failed check and the third lie two intervals.
  expect(downMs).toBeGreaterThanOrEqual(2 * INTERVAL_MS * (1 - JITTER) - 5);
  expect(downMs).toBeLessThan(3 * INTERVAL_MS * (1 + JITTER) + 1_000);
  await pause(500);

  const again = await BackendProcess.start("b", backends[1]!.port);
  const restartedAt = Date.now();
  const up = await untilB("up");
  const seenUpMs = performance.now();
  const upMs = Date.parse(up.since) - restartedAt;
  expect(up.reason).toBe("check passed");
  expect(upMs).toBeLessThan(INTERVAL_MS * (1 + JITTER) + 1_000);
  const sinceUp = () => press.answers.filter(({ sentMs }) => sentMs > seenUpMs);
  await eventually(() => sinceUp().length >= 1_500, "1,500 answers since it is up", 20_000);
  const answers = await press.stop();

  const failed = answers.filter(({ status }) => status !== 200);
  const shares = tally(sinceUp(), ({ backend }) => backend);
  const figures = {
    requests: answers.length,
    "in flight at the kill": inFlight,
    "failed of these": failed.length,
    "failed that were sent after it": failed.filter(({ sentMs }) => sentMs >= killedMs).length,
    "ms from signal to gone": Math.round(killedMs - signalledMs),
    "ms from kill to DOWN": downMs,
    "ms from restart to UP": upMs,
    "attempts that failed on b": await metric("spillway_backend_failures_total", `:${again.port}"`),
    "sent again on a new connection": await metric("spillway_backend_replayed_total"),
    "shares since UP": shares,
  };
  console.log(figures);

  expect(failed.filter(({ sentMs }) => sentMs >= killedMs)).toEqual([]);
  // Each a whole answer of Spillway's, and only of requests that were on their way: a third of them was on b.
  expect(failed.every(({ status, endedMs }) => status === 502 && endedMs >= signalledMs)).toBe(true);
  expect(failed.length).toBeLessThanOrEqual(inFlight / 2);
  const total = shares.a! + shares.b! + shares.c!;
  for (const share of [shares.a!, shares.b!, shares.c!]) expect(Math.abs(share / total - 1 / 3)).toBeLessThan(0.03);
  expect((await again.figures()).requests).toBeGreaterThanOrEqual(shares.b!);
  expect(spillway.entries.filter(({ code }) => code === "backend_down" || code === "backend_up").length).toBe(2);
  expect(await metric("spillway_requests_total")).toBe(answers.length);
}, 60_000);
