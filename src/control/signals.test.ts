import { EventEmitter } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { runUntilSignalled, type Signalled, type SignalSource } from "./signals.ts";

function running() {
  const source = new EventEmitter();
  const codes: string[] = [];
  const calls: string[] = [];
  let stopped!: (result: { cut: number }) => void;
  const spillway = {
    drainMs: 30_000,
    metrics: () => ({ total: { active: 3 }, tunnelsActive: 1 }),
    reopenLogs: () => calls.push("reopen"),
    stop: () => {
      calls.push("stop");
      return new Promise((resolve) => {
        stopped = resolve;
      });
    },
  } as unknown as Signalled;
  const log = { write: (_level: string, code: string) => void codes.push(code), flush: () => {} };
  const code = runUntilSignalled(spillway, log, source as unknown as SignalSource);
  return { source, codes, calls, code, stopped: (cut: number) => stopped({ cut }) };
}

test.each(["SIGTERM", "SIGINT"])("%s drains, and the end is a success", async (signal) => {
  const { source, codes, calls, code, stopped } = running();
  source.emit(signal, signal);
  expect(calls).toEqual(["stop"]);
  stopped(0);
  expect(await code).toBe(0);
  expect(codes).toEqual(["draining", "stopped"]);
  expect(source.eventNames()).toEqual([]);
});

test("exchanges cut at the deadline are told, and the end is a success all the same", async () => {
  const { source, codes, code, stopped } = running();
  source.emit("SIGTERM", "SIGTERM");
  stopped(2);
  expect(await code).toBe(0);
  expect(codes).toEqual(["draining", "drain_cut", "stopped"]);
});

test("a second signal ends at once, and is a failure", async () => {
  const { source, codes, code } = running();
  source.emit("SIGTERM", "SIGTERM");
  source.emit("SIGINT", "SIGINT");
  expect(await code).toBe(1);
  expect(codes).toEqual(["draining", "ended_at_once"]);
});

test("SIGHUP is answered and changes nothing, SIGUSR1 opens the access log anew", async () => {
  const { source, codes, calls } = running();
  source.emit("SIGHUP", "SIGHUP");
  source.emit("SIGUSR1", "SIGUSR1");
  await turn();
  expect(codes).toEqual(["reload_unsupported"]);
  expect(calls).toEqual(["reopen"]);
});
