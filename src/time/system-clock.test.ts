import { spawnSync } from "node:child_process";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SystemClock } from "./system-clock.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date", "queueMicrotask"] });
});
afterEach(() => {
  vi.useRealTimers();
});

test("timers fire once, not early, and at most a tick late", () => {
  const clock = new SystemClock();
  const fired: number[] = [];
  const start = clock.now();
  clock.timer(() => fired.push(clock.now() - start)).set(1_000);
  vi.advanceTimersByTime(999);
  expect(fired).toEqual([]);
  vi.advanceTimersByTime(21);
  expect(fired).toHaveLength(1);
  vi.advanceTimersByTime(10_000);
  expect(fired).toHaveLength(1);
});

test("one timer of Node.js serves all, and none exists while nothing is armed", () => {
  const clock = new SystemClock();
  expect(vi.getTimerCount()).toBe(0);
  for (const ms of [3_000, 50, 700]) clock.timer(() => {}).set(ms);
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(3_020);
  expect(vi.getTimerCount()).toBe(0);
});

test("a timer pushed back again and again costs a wake-up per time it would have fired, not per set", () => {
  const clock = new SystemClock();
  const timer = clock.timer(() => {});
  const timeouts = vi.spyOn(globalThis, "setTimeout");
  for (let i = 0; i < 10_000; i++) {
    timer.set(1_000);
    vi.advanceTimersByTime(1);
  }
  expect(timeouts.mock.calls.length).toBeLessThanOrEqual(12);
  timeouts.mockRestore();
});

test("a callback that throws is reported, and the next timer still fires", () => {
  const errors: unknown[] = [];
  const clock = new SystemClock({ onError: (error) => errors.push(error) });
  const mistake = new Error("mistake");
  const fired: string[] = [];
  clock
    .timer(() => {
      throw mistake;
    })
    .set(10);
  clock.timer(() => fired.push("next")).set(100);
  vi.advanceTimersByTime(200);
  expect(errors).toEqual([mistake]);
  expect(fired).toEqual(["next"]);
});

test("wall time is the system's", () => {
  vi.setSystemTime(Date.UTC(2026, 0, 1));
  expect(new SystemClock().wallTime()).toBe(Date.UTC(2026, 0, 1));
});

test.each([
  ["does not keep the process alive by itself", "{}", "clock.timer(() => console.log('fired')).set(60_000)", ""],
  [
    "keeps it alive until it fired when asked to",
    "{ ref: true }",
    "clock.timer(() => console.log('fired')).set(30)",
    "fired\n",
  ],
  [
    "keeps it alive no longer than it is armed",
    "{ ref: true }",
    "const t = clock.timer(() => console.log('fired')); t.set(60_000); t.clear()",
    "",
  ],
])("a timer %s", (_, options, code, printed) => {
  const source = new URL("./system-clock.ts", import.meta.url);
  // jiti loads the source as it is: Node.js 20 does not strip types.
  const script = `import { createJiti } from "jiti";
    const { SystemClock } = await createJiti(import.meta.url).import(${JSON.stringify(source.pathname)});
    const clock = new SystemClock(${options}); ${code};`;
  const child = spawnSync(process.execPath, ["--input-type=module", "--eval", script], {
    cwd: new URL("../..", import.meta.url),
    timeout: 20_000,
    encoding: "utf8",
  });
  expect([child.status, child.stdout, child.stderr]).toEqual([0, printed, ""]);
});
