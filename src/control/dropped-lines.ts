import type { Stripe } from "../metrics/stripe.ts";
import type { Clock } from "../time/clock.ts";
import type { Log } from "./log.ts";
import { LogLimiter, limitLog } from "./log-limiter.ts";

/** Counts access log lines that are thrown away, and says so at most once a minute. */
export function countDroppedLines(stripe: Stripe, log: Log, clock: Clock): (lines: number) => void {
  const limited = limitLog(log, clock, new LogLimiter(1, 60_000));
  return (lines) => {
    stripe.accessLogDropped(lines);
    limited.write(
      "warn",
      "access_log_dropped",
      "access log lines are dropped: they are not taken as fast as they come",
    );
  };
}
