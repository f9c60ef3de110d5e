import type { Log } from "./log.ts";
import type { Spillway } from "./spillway.ts";

/** What of a Spillway signals act on. */
export type Signalled = Pick<Spillway, "stop" | "reopenLogs" | "metrics" | "drainMs">;

/** The process, as far as signals go; tests put in their own. */
export type SignalSource = Pick<NodeJS.Process, "on" | "off">;

/**
 * Runs until SIGTERM or SIGINT ends it; resolves with the exit code. The first one drains: 0, however many exchanges
 * had to be cut at the deadline. The second ends at once: 1. SIGUSR1 opens the access log anew. SIGHUP changes nothing
 * yet, and says so rather than ending a process that others expect to reload.
 */
export function runUntilSignalled(spillway: Signalled, log: Log, source: SignalSource = process): Promise<number> {
  return new Promise((resolve) => {
    let draining = false;
    const end = (code: number): void => {
      for (const [signal, handler] of handlers) source.off(signal, handler);
      resolve(code);
    };
    const drain = (signal: NodeJS.Signals): void => {
      if (draining) {
        const { total, tunnelsActive } = spillway.metrics();
        const cut = { exchanges: total.active, tunnels: tunnelsActive };
        const message = `${signal} again: ended at once, ${cut.exchanges} exchanges and ${cut.tunnels} tunnels were cut`;
        log.write("warn", "ended_at_once", message, { signal, ...cut });
        end(1);
        return;
      }
      draining = true;
      const seconds = spillway.drainMs / 1000;
      const message = `${signal}: draining, for at most ${seconds} s; the same signal again ends at once`;
      log.write("info", "draining", message, { signal, drainMs: spillway.drainMs });
      void spillway.stop().then(({ cut }) => {
        if (cut > 0) log.write("warn", "drain_cut", `the drain is over: ${cut} exchanges did not end in time`, { cut });
        log.write("info", "stopped", "stopped");
        end(0);
      });
    };
    const handlers: readonly (readonly [NodeJS.Signals, (signal: NodeJS.Signals) => void])[] = [
      ["SIGTERM", drain],
      ["SIGINT", drain],
      ["SIGUSR1", () => spillway.reopenLogs()],
      [
        "SIGHUP",
        () =>
          log.write(
            "warn",
            "reload_unsupported",
            "SIGHUP is ignored: a running Spillway cannot read its configuration again yet; restart it",
          ),
      ],
    ];
    for (const [signal, handler] of handlers) source.on(signal, handler);
  });
}
