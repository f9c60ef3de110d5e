import { expect, test } from "vitest";
import { VirtualClock } from "../time/virtual-clock.ts";
import { LogLimiter, limitLog } from "./log-limiter.ts";

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
