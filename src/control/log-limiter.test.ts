import { expect, test } from "vitest";
import { VirtualClock } from "../time/virtual-clock.ts";
import { LogLimiter, limitLog, perBackend } from "./log-limiter.ts";

function limited(burst: number, windowMs: number) {
  const clock = new VirtualClock();
  const seen: string[] = [];
  const log = limitLog(
    { write: (_level, _code, message) => seen.push(message), flush: () => {} },
    clock,
    new LogLimiter(burst, windowMs),
  );
  return { clock, seen, log };
}

test("a flood of one code leaves the burst, and the next window says how many are missing", () => {
  const { clock, seen, log } = limited(2, 1_000);
  for (let i = 0; i < 50; i++) log.write("warn", "flood", `entry ${i}`);
  expect(seen).toEqual(["entry 0", "entry 1"]);
  clock.advance(1_000);
  log.write("warn", "flood", "later");
  expect(seen.at(-1)).toBe("later (and 48 more of the kind)");
  log.write("warn", "flood", "and on");
  expect(seen.at(-1)).toBe("and on");
});

test("a flood of one code does not silence another", () => {
  const { seen, log } = limited(1, 1_000);
  for (let i = 0; i < 5; i++) log.write("warn", "flood", "flood");
  log.write("error", "other", "other");
  expect(seen).toEqual(["flood", "other"]);
});

test("where entries are told apart by backend, each of many that change at once has its line, and a flapping one floods nothing", () => {
  const seen: string[] = [];
  const log = limitLog(
    { write: (_level, _code, message) => seen.push(message), flush: () => {} },
    new VirtualClock(),
    new LogLimiter(1, 1_000),
    perBackend,
  );
  const backends = Array.from({ length: 100 }, (_, i) => ({ upstream: i < 50 ? "web" : "api", backend: `b${i % 50}` }));
  for (const fields of backends) log.write("warn", "backend_ejected", `${fields.upstream} ${fields.backend}`, fields);
  for (let i = 0; i < 50; i++) log.write("warn", "backend_ejected", "again", backends[7]);
  log.write("info", "backend_returned", "back", backends[7]);
  log.write("warn", "backend_ejected", "by slot", { slot: 3 });
  log.write("error", "fault", "no fields");
  expect(seen.slice(0, 100)).toEqual(backends.map(({ upstream, backend }) => `${upstream} ${backend}`));
  expect(seen.slice(100)).toEqual(["back", "by slot", "no fields"]);
});
