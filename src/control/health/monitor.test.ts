import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { SeededRandom } from "../../policy/model/random.ts";
import { VirtualClock } from "../../time/virtual-clock.ts";
import type { CheckResult, CheckSettings } from "./check.ts";
import { HealthMonitor } from "./monitor.ts";

const settings: CheckSettings = { type: "tcp", interval: 5_000, timeout: 1_000, unhealthyAfter: 3, healthyAfter: 1 };
const passed: CheckResult = { kind: "passed" };
const refused: CheckResult = { kind: "failed", reason: "connection refused" };

/** Backends whose answers are decided by `answer`; undefined: it never answers. */
function watched(count: number, answer: (slot: number) => CheckResult | undefined) {
  const clock = new VirtualClock();
  const changes: string[] = [];
  const entries: { code: string; message: string; fields: unknown }[] = [];
  const checks: { slot: number; atMs: number; signal: AbortSignal }[] = [];
  const passes: string[] = [];
  const monitor = new HealthMonitor({
    backends: Array.from({ length: count }, (_, slot) => ({
      slot,
      upstream: "web",
      id: `b${slot}`,
      endpoint: { kind: "tcp", host: "127.0.0.1", port: slot },
      settings,
    })),
    check: (endpoint, _settings, signal) => {
      const slot = (endpoint as { port: number }).port;
      checks.push({ slot, atMs: clock.now(), signal });
      const result = answer(slot);
      return result === undefined ? new Promise(() => {}) : Promise.resolve(result);
    },
    clock,
    random: new SeededRandom(1),
    log: {
      write: (_level, code, message, fields) => {
        if (code !== "health_check_failed") entries.push({ code, message, fields });
      },
      flush: () => {},
    },
    changed: (slot, up, reason) => changes.push(`${slot} ${up ? "up" : "down"}: ${reason}`),
    passed: (slot, http) => passes.push(`${slot} ${http ? "http" : "tcp"}`),
  });
  /** Lets `ms` pass, with every answer heard before the next timer fires. */
  const pass = async (ms: number): Promise<void> => {
    const end = clock.now() + ms;
    while (clock.next() <= end) {
      clock.advanceTo(clock.next());
      await turn();
    }
    clock.advanceTo(end);
  };
  return { clock, changes, entries, checks, passes, monitor, pass };
}

test("all backends are checked within the first second, spread over it", async () => {
  const { checks, monitor, pass } = watched(20, () => passed);
  monitor.start();
  await pass(1_000);
  expect(checks.map(({ slot }) => slot).sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i));
  expect(new Set(checks.map(({ atMs }) => atMs)).size).toBeGreaterThan(10);
});

test("a backend is down after the third failed check in a row, and logged once", async () => {
  const { changes, entries, checks, monitor, pass } = watched(1, () => refused);
  monitor.start();
  while (checks.length < 2) await pass(100);
  expect(changes).toEqual([]);
  await pass(60_000);
  expect(changes).toEqual(["0 down: connection refused"]);
  expect(entries).toEqual([
    {
      code: "backend_down",
      message: "backend down: b0 of web, after 3 failed checks: connection refused",
      fields: { upstream: "web", backend: "b0", reason: "connection refused", failures: 3 },
    },
  ]);
});

test("a good check of one that is up is told, of one that is down only that it came up", async () => {
  let answer: CheckResult = passed;
  const { checks, passes, changes, monitor, pass } = watched(1, () => answer);
  monitor.start();
  while (checks.length < 2) await pass(100);
  expect(passes).toEqual(["0 tcp", "0 tcp"]);
  answer = refused;
  await pass(30_000);
  answer = passed;
  while (changes.length < 2) await pass(100);
  expect(passes).toEqual(["0 tcp", "0 tcp"]);
  await pass(7_000);
  expect(passes.length).toBeGreaterThan(2);
});

test("one good check brings it up again, and is logged once", async () => {
  let answer: CheckResult = refused;
  const { changes, entries, monitor, pass } = watched(1, () => answer);
  monitor.start();
  await pass(20_000);
  answer = passed;
  await pass(20_000);
  expect(changes).toEqual(["0 down: connection refused", "0 up: check passed"]);
  expect(entries.map(({ code }) => code)).toEqual(["backend_down", "backend_up"]);
});

test("ten silent backends do not delay the eleventh", async () => {
  const { checks, changes, monitor, pass } = watched(11, (slot) => (slot === 10 ? refused : undefined));
  monitor.start();
  while (checks.filter(({ slot }) => slot === 10).length < 3) await pass(10);
  await turn();
  expect(changes).toContain("10 down: connection refused");
  expect(checks.at(-1)!.atMs).toBeLessThan(1_000 + 2 * 5_500);
});

test("no answer within the timeout is a failure, and the check is given up", async () => {
  const { changes, checks, monitor, pass } = watched(1, () => undefined);
  monitor.start();
  await pass(20_000);
  expect(changes).toEqual(["0 down: no answer within 1000 ms"]);
  expect(checks.slice(0, 3).every(({ signal }) => signal.aborted)).toBe(true);
});

test("checks that cannot be made say nothing about a backend, and are told once a minute", async () => {
  const { changes, entries, monitor, pass } = watched(5, () => ({ kind: "impossible", reason: "EMFILE" }));
  monitor.start();
  await pass(59_000);
  expect(changes).toEqual([]);
  expect(entries.map(({ code }) => code)).toEqual(["health_check_impossible"]);
});

test("after stop no check begins, and what a running one answers is not heard", async () => {
  let answer!: (result: CheckResult) => void;
  const clock = new VirtualClock();
  const changes: number[] = [];
  let checks = 0;
  const monitor = new HealthMonitor({
    backends: [
      {
        slot: 0,
        upstream: "web",
        id: "b",
        endpoint: { kind: "tcp", host: "127.0.0.1", port: 1 },
        settings: { ...settings, unhealthyAfter: 1 },
      },
    ],
    check: () => {
      checks++;
      return new Promise((resolve) => {
        answer = resolve;
      });
    },
    clock,
    random: new SeededRandom(1),
    log: { write: () => {}, flush: () => {} },
    changed: (slot) => changes.push(slot),
    passed: () => {},
  });
  monitor.start();
  clock.advance(1_000);
  monitor.stop();
  answer(refused);
  await turn();
  clock.advance(60_000);
  expect(checks).toBe(1);
  expect(changes).toEqual([]);
  expect(clock.armed).toBe(0);
});
