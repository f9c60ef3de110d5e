import type { Endpoint } from "../../config/settings.ts";
import { CheckSchedule } from "../../policy/health/check-schedule.ts";
import { RiseFall } from "../../policy/health/rise-fall.ts";
import type { Random } from "../../policy/model/random.ts";
import type { Clock, Timer } from "../../time/clock.ts";
import type { Log } from "../log.ts";
import { LogLimiter, limitLog } from "../log-limiter.ts";
import type { Check, CheckResult, CheckSettings } from "./check.ts";

/** One backend to watch. */
export interface Watched {
  readonly slot: number;
  readonly upstream: string;
  readonly id: string;
  readonly endpoint: Endpoint;
  readonly settings: CheckSettings;
}

/** What a monitor works with. */
export interface MonitorInit {
  readonly backends: readonly Watched[];
  readonly check: Check;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** A backend went down or came up; called once for each change. */
  changed(slot: number, up: boolean, reason: string): void;
  /** A check found a backend well that was up already. `http`: it answered a request, not only a connection. */
  passed(slot: number, http: boolean): void;
}

/** Checks every backend on its own schedule, all side by side, and says so when one goes down or comes up. */
export class HealthMonitor {
  readonly #probes: readonly Probe[];

  constructor(init: MonitorInit) {
    // Without a file descriptor left, no check can be made: one entry a minute tells that as well as hundreds.
    const impossible = limitLog(init.log, init.clock, new LogLimiter(1, 60_000));
    this.#probes = init.backends.map((backend) => new Probe(backend, init, impossible));
  }

  start(): void {
    for (const probe of this.#probes) probe.start();
  }

  /** No check begins any more, and those that run are given up. */
  stop(): void {
    for (const probe of this.#probes) probe.stop();
  }
}

/** The checks of one backend, one at a time. */
class Probe {
  readonly #backend: Watched;
  readonly #init: MonitorInit;
  readonly #impossible: Log;
  readonly #schedule: CheckSchedule;
  readonly #state: RiseFall;
  readonly #due: Timer;
  readonly #deadline: Timer;
  #running: AbortController | undefined;
  /** When the check after the one that runs is due. */
  #nextMs = 0;

  constructor(backend: Watched, init: MonitorInit, impossible: Log) {
    this.#backend = backend;
    this.#impossible = impossible;
    this.#init = init;
    this.#schedule = new CheckSchedule(backend.settings.interval, init.random);
    this.#state = new RiseFall(backend.settings);
    this.#due = init.clock.timer(() => this.#begin());
    this.#deadline = init.clock.timer(() => this.#giveUp());
  }

  start(): void {
    this.#due.set(this.#schedule.first());
  }

  stop(): void {
    this.#due.clear();
    this.#deadline.clear();
    const running = this.#running;
    this.#running = undefined;
    running?.abort();
  }

  #begin(): void {
    const { endpoint, settings } = this.#backend;
    const running = new AbortController();
    this.#running = running;
    this.#nextMs = this.#init.clock.now() + this.#schedule.next();
    this.#deadline.set(settings.timeout);
    void this.#init.check(endpoint, settings, running.signal).then((result) => this.#end(running, result));
  }

  #giveUp(): void {
    const running = this.#running;
    if (running === undefined) return;
    this.#end(running, { kind: "failed", reason: `no answer within ${this.#backend.settings.timeout} ms` });
    running.abort();
  }

  /** The first end of a check counts: what it answers after its deadline, or after `stop`, does not. */
  #end(check: AbortController, result: CheckResult): void {
    if (check !== this.#running) return;
    this.#running = undefined;
    this.#deadline.clear();
    this.#due.set(Math.max(0, this.#nextMs - this.#init.clock.now()));
    this.#judge(result);
  }

  #judge(result: CheckResult): void {
    const { slot, upstream, id, settings } = this.#backend;
    const { log } = this.#init;
    const fields = { upstream, backend: id };
    if (result.kind === "impossible") {
      const message = `could not check backend ${id} of ${upstream}: ${result.reason}`;
      this.#impossible.write("warn", "health_check_impossible", message, { ...fields, reason: result.reason });
      return;
    }
    const passed = result.kind === "passed";
    const reason = result.kind === "failed" ? result.reason : "check passed";
    if (!passed) {
      log.write("debug", "health_check_failed", `check of backend ${id} of ${upstream} failed: ${reason}`, {
        ...fields,
        reason,
      });
    }
    const change = this.#state.record(passed);
    if (change === undefined) {
      if (passed && this.#state.up) this.#init.passed(slot, settings.type === "http");
      return;
    }
    this.#init.changed(slot, passed, reason);
    if (change === "down") {
      const failures = settings.unhealthyAfter;
      const checks = failures === 1 ? "a failed check" : `${failures} failed checks`;
      const message = `backend down: ${id} of ${upstream}, after ${checks}: ${reason}`;
      log.write("warn", "backend_down", message, { ...fields, reason, failures });
    } else {
      log.write("info", "backend_up", `backend up: ${id} of ${upstream}`, fields);
    }
  }
}
