import type { ReadStream, WriteStream } from "node:tty";
import type { UpstreamDocument } from "../../admin/status.ts";
import type { BackendState } from "../../metrics/snapshot.ts";
import { SeededRandom } from "../../policy/model/random.ts";
import { CAPACITIES, CLIENTS, POLICIES, type PolicyName, SPEED } from "./chapter.ts";
import { Load } from "./load.ts";
import { ProxyProcess } from "./proxy-process.ts";
import { SampleBackend } from "./sample-backend.ts";
import { GOES_AT, type Moment, RETURNS_AT, Schedule } from "./schedule.ts";
import { Screen } from "./screen.ts";
import { Tally } from "./tally.ts";
import { type Column, type EventLine, frame, plainEvent, plainLine, spoken, summary, type View } from "./view.ts";

export interface DemoOptions {
  /** Only this policy; undefined: one after the other. */
  readonly policy?: PolicyName;
  /** Ends by itself after this long; undefined: when the user ends it. */
  readonly seconds?: number;
  /** Whether a backend is stopped from time to time. */
  readonly outage: boolean;
  readonly color: boolean;
}

/** Frames a second, and samples of what is shown. */
const TICK_MS = 250;
/** Ticks that make a column of the chart. */
const TICKS_PER_COLUMN = 2;
const COLUMNS = 400;
const EVENTS = 50;
/** Over how many ticks shares and rate are shown. */
const RECENT_TICKS = 8;
/** The start of a phase is left out of the table: queues of the last policy are still being worked off. */
const SETTLE_MS = 1000;
/** States in which the proxy sends a backend nothing. */
const TAKEN_OUT: ReadonlySet<BackendState> = new Set<BackendState>(["ejected", "open", "down"]);

interface Tick {
  readonly perBackend: number[];
  sumMs: number;
  answered: number;
  troubled: boolean;
}

/**
 * Sample backends, a load and the view in this process; Spillway in one of its own. Everything is stopped when
 * {@link Demo.run} settles.
 */
export class Demo {
  readonly #options: DemoOptions;
  readonly #backends = CAPACITIES.map(
    ({ id, meanServiceMs }, index) => new SampleBackend(id, meanServiceMs, new SeededRandom(index + 1)),
  );
  readonly #tallies = Object.fromEntries(POLICIES.map((policy) => [policy, new Tally(CAPACITIES.length)])) as Record<
    PolicyName,
    Tally
  >;
  readonly #lost = new Tally(CAPACITIES.length);
  readonly #schedule: Schedule;
  readonly #states: BackendState[] = CAPACITIES.map(() => "up");
  readonly #stoppedAt: (number | undefined)[] = CAPACITIES.map(() => undefined);
  readonly #events: EventLine[] = [];
  /** Events so far, those no longer kept included. */
  #noted = 0;
  readonly #ticks: Tick[] = [newTick()];
  readonly #columns: Column[] = [];
  #startedMs = 0;
  #tickNumber = 0;
  #moment: Moment;
  #phaseStartedMs = 0;
  /** Backend that the running outage has stopped. */
  #lostByPlan: number | undefined;
  /** The last moment at which some backend was lost. */
  #troubleMs = Number.NEGATIVE_INFINITY;
  #failedInTrouble = 0;
  #asking = false;

  constructor(options: DemoOptions) {
    this.#options = options;
    this.#schedule = new Schedule({
      policies: options.policy === undefined ? POLICIES : [options.policy],
      backends: CAPACITIES.length,
      outage: options.outage,
      ...(options.seconds === undefined ? {} : { totalMs: options.seconds * 1000 }),
    });
    this.#moment = this.#schedule.at(0);
  }

  /**
   * Runs until the time is over, the user quits or `signal` is aborted. Resolves with 0, or with 1 when the proxy
   * ended by itself. @throws Error when the proxy does not start.
   */
  async run(input: ReadStream, output: WriteStream, signal: AbortSignal): Promise<0 | 1> {
    const quit = new AbortController();
    const stop = (): void => quit.abort();
    signal.addEventListener("abort", stop, { once: true });
    // A reader that left, as `| head` does, ends the demo like a quit.
    output.on("error", stop);

    let proxy: ProxyProcess | undefined;
    let load: Load | undefined;
    const drawsFrames = output.isTTY === true && process.env.TERM !== "dumb";
    const screen = drawsFrames ? new Screen(input, output, (key) => this.#key(key, stop)) : undefined;
    try {
      for (const backend of this.#backends) await backend.start();
      proxy = await ProxyProcess.start(this.#backends.map((backend) => backend.port));
      const running = proxy;
      load = new Load(running.ports.proxy, CLIENTS, {
        answered: (tag, backend, startedMs, ms) => this.#answered(tag as PolicyName, backend, startedMs, ms),
        failed: (tag, startedMs) => this.#failed(tag as PolicyName, startedMs),
      });
      if (!screen) output.write(`${this.#introduction(running).join("\n")}\n`);
      screen?.open();
      this.#begin(load);
      let written = 0;
      while (!quit.signal.aborted && running.running && !this.#isOver()) {
        this.#tick(running, load);
        if (screen) screen.draw(frame(this.#view(running), screen.size, this.#options.color));
        else written = this.#writePlain(running, output, written);
        await pause(TICK_MS, quit.signal);
      }
      screen?.close();
      if (!running.running) {
        output.write("the proxy ended by itself\n");
        return 1;
      }
      output.write(`${this.#conclusion(output).join("\n")}\n`);
      return 0;
    } finally {
      screen?.close();
      load?.stop();
      for (const backend of this.#backends) backend.stop();
      await proxy?.stop();
      signal.removeEventListener("abort", stop);
    }
  }

  #begin(load: Load): void {
    this.#startedMs = performance.now();
    this.#phaseStartedMs = this.#startedMs;
    load.aim(this.#moment.phase.policy);
    load.start();
  }

  #elapsedMs(): number {
    return performance.now() - this.#startedMs;
  }

  #isOver(): boolean {
    const { seconds } = this.#options;
    return seconds !== undefined && this.#elapsedMs() >= seconds * 1000;
  }

  #tick(proxy: ProxyProcess, load: Load): void {
    const moment = this.#schedule.at(this.#elapsedMs());
    if (moment.number !== this.#moment.number) {
      this.#endOutage();
      this.#phaseStartedMs = performance.now();
      if (moment.phase.policy !== this.#moment.phase.policy) this.#note(`now ${spoken(moment.phase.policy)}`);
      load.aim(moment.phase.policy);
    }
    this.#moment = moment;
    this.#followOutage();
    if (this.#isTroubled()) this.#troubleMs = performance.now();
    void this.#askProxy(proxy);

    this.#ticks.at(-1)!.troubled = this.#isTroubled();
    if (++this.#tickNumber % TICKS_PER_COLUMN === 0) this.#addColumn();
    this.#ticks.push(newTick());
    if (this.#ticks.length > RECENT_TICKS + 1) this.#ticks.shift();
  }

  #addColumn(): void {
    const ticks = this.#ticks.slice(-TICKS_PER_COLUMN);
    const answered = ticks.reduce((sum, tick) => sum + tick.answered, 0);
    const sumMs = ticks.reduce((sum, tick) => sum + tick.sumMs, 0);
    this.#columns.push({
      policy: this.#moment.phase.policy,
      meanMs: answered === 0 ? 0 : sumMs / answered,
      troubled: ticks.some((tick) => tick.troubled),
    });
    if (this.#columns.length > COLUMNS) this.#columns.shift();
  }

  /** Stops and restarts the backend that the plan of the phase names. */
  #followOutage(): void {
    const { phase, elapsedMs } = this.#moment;
    if (phase.lost === undefined) return;
    const part = elapsedMs / phase.lengthMs;
    if (part >= RETURNS_AT) this.#endOutage();
    else if (part >= GOES_AT && this.#lostByPlan === undefined && this.#backends[phase.lost]!.running) {
      this.#lostByPlan = phase.lost;
      this.#stop(phase.lost);
    }
  }

  #endOutage(): void {
    if (this.#lostByPlan === undefined) return;
    void this.#start(this.#lostByPlan);
    this.#lostByPlan = undefined;
  }

  #stop(index: number): void {
    this.#backends[index]!.stop();
    this.#stoppedAt[index] = performance.now();
    this.#troubleMs = performance.now();
    this.#failedInTrouble = 0;
    this.#note(`${CAPACITIES[index]!.id} is stopped, as if killed`);
  }

  async #start(index: number): Promise<void> {
    const { id } = CAPACITIES[index]!;
    try {
      await this.#backends[index]!.start();
      this.#note(`${id} runs again`);
    } catch (error) {
      this.#note(`${id} cannot come back: ${(error as Error).message}`);
    }
  }

  #key(keys: string, quit: () => void): void {
    for (const key of keys) {
      if (key === "q" || key === "\u0003" || key === "\u0004") quit();
      if (key === "n") this.#schedule.skip(this.#elapsedMs());
      const index = Number(key) - 1;
      const backend = this.#backends[index];
      if (backend === undefined) continue;
      if (this.#lostByPlan === index) this.#lostByPlan = undefined;
      if (backend.running) this.#stop(index);
      else void this.#start(index);
    }
  }

  /** Learns from the proxy what it thinks of its backends. One question at a time. */
  async #askProxy(proxy: ProxyProcess): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    const status = await proxy.status();
    this.#asking = false;
    const upstream = status?.upstreams.find(({ name }) => name === this.#moment.phase.policy);
    if (upstream !== undefined) this.#learn(upstream);
  }

  #learn({ backends }: UpstreamDocument): void {
    for (const [index, { id }] of CAPACITIES.entries()) {
      const found = backends.find((backend) => backend.id === id);
      if (found === undefined || found.state === this.#states[index]) continue;
      this.#states[index] = found.state;
      const since = this.#stoppedAt[index];
      if (since !== undefined && TAKEN_OUT.has(found.state)) {
        this.#stoppedAt[index] = undefined;
        const late = ((performance.now() - since) / 1000).toFixed(1);
        const count = this.#failedInTrouble;
        const failed = count === 0 ? "no request" : count === 1 ? "1 request" : `${count} requests`;
        this.#note(`Spillway has taken ${id} out after ${late} s; ${failed} failed`);
      } else if (found.state === "up") {
        this.#stoppedAt[index] = undefined;
        this.#note(`Spillway sends requests to ${id} again`);
      } else this.#note(`${id} is ${found.state}: ${found.reason}`);
    }
  }

  #isTroubled(): boolean {
    return this.#backends.some((backend, index) => !backend.running || this.#states[index] !== "up");
  }

  #answered(policy: PolicyName, id: string, startedMs: number, ms: number): void {
    const backend = CAPACITIES.findIndex((capacity) => capacity.id === id);
    const tick = this.#ticks.at(-1)!;
    tick.perBackend[backend]! += 1;
    tick.answered++;
    tick.sumMs += ms;
    this.#tallyOf(policy, startedMs)?.answered(backend, ms);
  }

  #failed(policy: PolicyName, startedMs: number): void {
    if (this.#isTroubled()) this.#failedInTrouble++;
    this.#tallyOf(policy, startedMs)?.fail();
  }

  /** Where a request that began at `startedMs` counts: nowhere while the last policy's queues are worked off. */
  #tallyOf(policy: PolicyName, startedMs: number): Tally | undefined {
    if (this.#isTroubled() || startedMs <= this.#troubleMs) return this.#lost;
    const settledMs = this.#phaseStartedMs + Math.min(SETTLE_MS, this.#moment.phase.lengthMs / 10);
    return policy === this.#moment.phase.policy && startedMs >= settledMs ? this.#tallies[policy] : undefined;
  }

  #note(text: string): void {
    this.#events.push({ atMs: this.#elapsedMs(), text });
    this.#noted++;
    if (this.#events.length > EVENTS) this.#events.shift();
  }

  #view(proxy: ProxyProcess): View {
    const recent = this.#ticks.slice(0, -1);
    const answered = recent.reduce((sum, tick) => sum + tick.answered, 0);
    return {
      proxy: `http://127.0.0.1:${proxy.ports.proxy}`,
      admin: `http://127.0.0.1:${proxy.ports.admin}`,
      policy: this.#moment.phase.policy,
      next: this.#next(),
      perSecond: recent.length === 0 ? 0 : (answered * 1000) / (recent.length * TICK_MS),
      backends: this.#backends.map((backend, index) => ({
        running: backend.running,
        state: this.#states[index]!,
        share: answered === 0 ? 0 : (100 * recent.reduce((sum, tick) => sum + tick.perBackend[index]!, 0)) / answered,
      })),
      tallies: this.#tallies,
      lost: this.#lost,
      columns: this.#columns,
      events: this.#events,
    };
  }

  #next(): string {
    const { phase, number, elapsedMs } = this.#moment;
    const following = this.#schedule.phase(number + 1);
    const left = Math.max(1, Math.ceil((phase.lengthMs - elapsedMs) / 1000));
    if (following.lost !== undefined) return `${CAPACITIES[following.lost]!.id} will be lost in ${left} s`;
    return following.policy === phase.policy ? "" : `${spoken(following.policy)} in ${left} s`;
  }

  /** A line each second, and every event. Answers how many events have been written. */
  #writePlain(proxy: ProxyProcess, output: WriteStream, written: number): number {
    const fresh = Math.min(this.#noted - written, this.#events.length);
    for (const event of this.#events.slice(this.#events.length - fresh)) output.write(`${plainEvent(event)}\n`);
    const ticksPerSecond = 1000 / TICK_MS;
    if (this.#tickNumber % ticksPerSecond === 0) output.write(`${plainLine(this.#view(proxy), this.#elapsedMs())}\n`);
    return this.#noted;
  }

  #introduction(proxy: ProxyProcess): string[] {
    return [
      `Spillway demo: ${CLIENTS} clients, servers of ${CAPACITIES.map(({ percent }) => `${percent} %`).join(", ")} capacity`,
      `proxy http://127.0.0.1:${proxy.ports.proxy}   admin http://127.0.0.1:${proxy.ports.admin}`,
      `Everything runs ${SPEED} times faster than in the textbook; times are shown at its speed.`,
    ];
  }

  #conclusion(output: WriteStream): string[] {
    const width = output.isTTY ? output.columns || 80 : 80;
    const view = { tallies: this.#tallies, lost: this.#lost, policy: this.#moment.phase.policy };
    return [
      "",
      ...summary(view, width, false),
      "",
      ` Times at the textbook's speed; the demo ran ${SPEED} times faster.`,
    ];
  }
}

function newTick(): Tick {
  return { perBackend: CAPACITIES.map(() => 0), sumMs: 0, answered: 0, troubled: false };
}

/** Resolves after `ms`, or at once when `signal` is aborted. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
