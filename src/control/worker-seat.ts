import {
  type BoundAddress,
  type DataPlaneInspection,
  ListenError,
  type RequestDescription,
  type RequestExplanation,
} from "../proxy/data-plane-api.ts";
import type { Clock, Timer } from "../time/clock.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import type { ThreadEnd, ThreadEvents, WorkerThread } from "./worker-thread.ts";

const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 10_000;
/** A worker that ran so long did not fail because of how it was started. */
const STABLE_AFTER_MS = 60_000;
/** How long after the end of a drain a worker may stay silent before it counts as stuck. */
const DRAIN_GRACE_MS = 2_000;
/** How long a worker may take to explain a request. It may be busy, but who asks does not wait for ever. */
const EXPLAIN_MS = 2_000;

/** What a seat asks of, and tells, the pool it belongs to. */
export interface SeatOwner {
  /** Called before each start: clears the way for the listeners. @throws ListenError */
  prepare(worker: number): Promise<void>;
  startThread(worker: number, events: ThreadEvents): WorkerThread;
  /** A message that is not about the life of the worker itself. */
  heard(worker: number, message: FromWorker): void;
  /** A worker that carried traffic has ended; nobody asked it to. */
  died(worker: number, end: ThreadEnd): void;
  /** Another one has taken its place. */
  replaced(worker: number): void;
  /** Another one could not take its place yet; that is tried again. */
  notReplaced(worker: number, reason: string): void;
}

/** The place of one worker: keeps a thread running in it, and puts another there when it dies. */
export class WorkerSeat {
  readonly worker: number;
  readonly #owner: SeatOwner;
  readonly #clock: Clock;
  readonly #retry: Timer;
  #thread: WorkerThread | undefined;
  #listening = false;
  #listeningSinceMs = 0;
  #waitMs = FIRST_WAIT_MS;
  /** No replacement from here on. */
  #ending = false;
  #drained: ((cut: number) => void) | undefined;
  #drain: Promise<number> | undefined;
  #explanations = 0;
  readonly #explained = new Map<number, (explanation: RequestExplanation | undefined) => void>();
  #inspected: ((inspection: DataPlaneInspection | undefined) => void)[] = [];

  constructor(worker: number, clock: Clock, owner: SeatOwner) {
    this.worker = worker;
    this.#clock = clock;
    this.#owner = owner;
    this.#retry = clock.timer(() => this.#replace());
  }

  /** Whether it carries traffic now. */
  get listening(): boolean {
    return this.#listening;
  }

  /** The first start. @throws ListenError, or what ended the thread before it listened. */
  start(): Promise<readonly BoundAddress[]> {
    return this.#launch();
  }

  /** Dropped while no thread is in the seat. */
  post(message: ToWorker): void {
    this.#thread?.post(message);
  }

  /** Resolves with the exchanges that were cut; a worker that is not there, or dies on the way, has none. */
  drain(deadlineMs: number): Promise<number> {
    this.#end();
    if (!this.#listening) return Promise.resolve(0);
    this.#drain ??= new Promise((resolve) => {
      const stuck = this.#clock.timer(() => this.#drained?.(0));
      stuck.set(deadlineMs + DRAIN_GRACE_MS);
      this.#drained = (cut) => {
        stuck.clear();
        this.#drained = undefined;
        this.#listening = false;
        resolve(cut);
      };
      this.post({ type: "drain", deadlineMs });
    });
    return this.#drain;
  }

  /** What it has open; undefined where there is no worker. */
  inspect(): Promise<DataPlaneInspection | undefined> {
    if (!this.#listening) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      this.#inspected.push(resolve);
      this.post({ type: "inspect" });
    });
  }

  /** What would become of a request; undefined where there is no such listener, or no worker that answers. */
  explain(request: RequestDescription): Promise<RequestExplanation | undefined> {
    const id = this.#explanations++;
    return new Promise((resolve) => {
      const late = this.#clock.timer(() => this.#explained.get(id)?.(undefined));
      late.set(EXPLAIN_MS);
      this.#explained.set(id, (explanation) => {
        late.clear();
        this.#explained.delete(id);
        resolve(explanation);
      });
      this.post({ type: "explain", id, request });
    });
  }

  /** Ends the thread at once. */
  async close(): Promise<void> {
    this.#end();
    await this.#thread?.terminate();
  }

  #end(): void {
    this.#ending = true;
    this.#retry.clear();
  }

  async #launch(): Promise<readonly BoundAddress[]> {
    await this.#owner.prepare(this.worker);
    if (this.#ending) throw new Error("Spillway is stopping");
    return new Promise((resolve, reject) => {
      this.#thread = this.#owner.startThread(this.worker, {
        message: (message) => this.#hear(message, resolve, reject),
        ended: (end) => {
          reject(Object.assign(new Error(end.message), end.stack === undefined ? {} : { stack: end.stack }));
          this.#ended(end);
        },
      });
    });
  }

  #hear(
    message: FromWorker,
    resolve: (addresses: readonly BoundAddress[]) => void,
    reject: (error: Error) => void,
  ): void {
    switch (message.type) {
      case "listening":
        this.#listening = true;
        this.#listeningSinceMs = this.#clock.now();
        resolve(message.addresses);
        break;
      case "listenFailed":
        reject(new ListenError(message.code, message.address, message.message));
        void this.#thread?.terminate();
        break;
      case "drained":
        this.#drained?.(message.cut);
        break;
      case "inspected":
        this.#inspected.shift()?.(message.inspection);
        break;
      case "explained":
        this.#explained.get(message.id)?.(message.explanation);
        break;
      default:
        this.#owner.heard(this.worker, message);
    }
  }

  #ended(end: ThreadEnd): void {
    const carriedTraffic = this.#listening;
    this.#thread = undefined;
    this.#listening = false;
    for (const answer of this.#inspected.splice(0)) answer(undefined);
    for (const answer of [...this.#explained.values()]) answer(undefined);
    const dyingInDrain = this.#drained !== undefined;
    this.#drained?.(0);
    if (!carriedTraffic || (this.#ending && !dyingInDrain)) return;
    this.#owner.died(this.worker, end);
    if (this.#ending) return;
    if (this.#clock.now() - this.#listeningSinceMs >= STABLE_AFTER_MS) this.#waitMs = FIRST_WAIT_MS;
    this.#retryLater();
  }

  #replace(): void {
    this.#launch().then(
      () => this.#owner.replaced(this.worker),
      (error: Error) => {
        if (this.#ending) return;
        this.#owner.notReplaced(this.worker, error.message);
        this.#retryLater();
      },
    );
  }

  #retryLater(): void {
    this.#retry.set(this.#waitMs);
    this.#waitMs = Math.min(this.#waitMs * 2, LONGEST_WAIT_MS);
  }
}
