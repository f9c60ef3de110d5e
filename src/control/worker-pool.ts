import type { Settings } from "../config/settings.ts";
import { formatAddress } from "../config/values.ts";
import { SharedCounts } from "../metrics/shared-counts.ts";
import { Stripe } from "../metrics/stripe.ts";
import type {
  BoundAddress,
  DataPlaneInspection,
  RequestDescription,
  RequestExplanation,
} from "../proxy/data-plane-api.ts";
import { removeStaleSocket } from "../proxy/transport/stale-socket.ts";
import type { DataPlaneParts, DataPlanes } from "./data-planes.ts";
import { type HeldAddress, holdAddress } from "./hold-address.ts";
import type { FromWorker, ToWorker, WorkerBind } from "./messages.ts";
import { type SeatOwner, WorkerSeat } from "./worker-seat.ts";
import type { StartThread, ThreadEnd, ThreadEvents, WorkerThread } from "./worker-thread.ts";

/** What a pool of workers is made of. */
export interface WorkerPoolInit extends DataPlaneParts {
  readonly workers: number;
  readonly bind: WorkerBind;
  readonly startThread: StartThread;
}

/**
 * The worker threads. One that dies takes its own connections with it, is reported with its reason and replaced, after
 * 100 ms at first, after up to 10 s when it goes on dying; the others go on meanwhile.
 */
export class WorkerPool implements DataPlanes, SeatOwner {
  readonly #init: WorkerPoolInit;
  readonly #seats: readonly WorkerSeat[];
  readonly #down = new Map<number, string>();
  /** The configuration with names resolved and ports chosen, so that a replacement binds the same addresses. */
  #settings: Settings;

  constructor(init: WorkerPoolInit) {
    this.#init = init;
    this.#settings = init.settings;
    this.#seats = Array.from({ length: init.workers }, (_, worker) => new WorkerSeat(worker, init.clock, this));
  }

  async start(): Promise<readonly BoundAddress[]> {
    if (this.#init.bind !== "exclusive") this.#settings = await withHeldAddresses(this.#settings);
    const starts = await Promise.allSettled(this.#seats.map((seat) => seat.start()));
    const failed = starts.find((start) => start.status === "rejected");
    if (failed !== undefined) {
      await this.close();
      throw failed.reason;
    }
    const addresses = (starts[0] as PromiseFulfilledResult<readonly BoundAddress[]>).value;
    this.#settings = withAddresses(this.#settings, addresses);
    return addresses;
  }

  setHealth(slot: number, up: boolean, reason: string): void {
    if (up) this.#down.delete(slot);
    else this.#down.set(slot, reason);
    for (const seat of this.#seats) seat.post({ type: "health", slot, up, reason });
  }

  checkPassed(slot: number, http: boolean): void {
    for (const seat of this.#seats) seat.post({ type: "checkPassed", slot, http });
  }

  sessionFound(worker: number, id: number, address: string | undefined, failed: boolean): void {
    this.#seats[worker]?.post({ type: "sessionFound", id, address, failed });
  }

  sessionCorrected(worker: number, upstream: string, key: string, address: string, instead: readonly string[]): void {
    this.#seats[worker]?.post({ type: "sessionCorrected", upstream, key, address, instead });
  }

  sessionsForgotten(upstream: string): void {
    for (const seat of this.#seats) seat.post({ type: "sessionsForgotten", upstream });
  }

  setGeoip(path: string, database: SharedArrayBuffer): void {
    for (const seat of this.#seats) seat.post({ type: "geoip", path, database });
  }

  get running(): number {
    return this.#seats.filter((seat) => seat.listening).length;
  }

  missing(): string | undefined {
    if (this.running === 0) return "no worker is running";
    const unix = this.#settings.listeners.find(({ listen }) => listen.kind === "unix");
    if (unix === undefined || this.#seats[0]!.listening) return undefined;
    return `${formatAddress(unix.listen)} is not open: its worker is starting again`;
  }

  async drain(deadlineMs: number): Promise<{ readonly cut: number }> {
    const cuts = await Promise.all(this.#seats.map((seat) => seat.drain(deadlineMs)));
    return { cut: cuts.reduce((sum, cut) => sum + cut, 0) };
  }

  async inspect(): Promise<readonly DataPlaneInspection[]> {
    const inspections = await Promise.all(this.#seats.map((seat) => seat.inspect()));
    return inspections.filter((inspection) => inspection !== undefined);
  }

  async explain(request: RequestDescription): Promise<RequestExplanation | undefined> {
    return this.#seats.find((seat) => seat.listening)?.explain(request);
  }

  async close(): Promise<void> {
    await Promise.all(this.#seats.map((seat) => seat.close()));
  }

  async prepare(worker: number): Promise<void> {
    if (worker !== 0) return;
    for (const { listen } of this.#settings.listeners) {
      if (listen.kind === "unix") await removeStaleSocket(listen.path);
    }
  }

  startThread(worker: number, events: ThreadEvents): WorkerThread {
    const { bind, memory, startThread, secret, sharedSessions, geoip } = this.#init;
    const down = [...this.#down].map(([slot, reason]) => ({ slot, reason }));
    const settings = this.#settings;
    return startThread({ settings, worker, bind, memory, down, secret, sharedSessions, geoip }, events);
  }

  heard(worker: number, message: FromWorker): void {
    switch (message.type) {
      case "accessLog": {
        const chars = message.text.length;
        const written = (): void => this.#seats[worker]!.post({ type: "accessLogWritten", chars });
        this.#init.accessLog?.write(message.text, message.lines, written);
        break;
      }
      case "log":
        this.#init.log.write(message.level, message.code, message.message, { ...message.fields, worker });
        break;
      case "connectionWanted":
        this.#tellOthers(worker, { type: "surrenderConnection", slot: message.slot });
        break;
      case "connectionFreed":
        this.#tellOthers(worker, { type: "retryConnections", slot: message.slot });
        break;
      case "backendCondition": {
        const { slot, circuit, ejected, reason } = message;
        this.#init.conditions.conditionChanged(worker, slot, { circuit, ejected, reason });
        break;
      }
      case "sessionWanted":
        this.#init.sessions.sessionWanted(worker, message.id, message.upstream, message.key);
        break;
      case "sessionPlaced": {
        const { upstream, key, address, instead, ttlMs } = message;
        this.#init.sessions.sessionPlaced(worker, upstream, key, address, instead, ttlMs);
        break;
      }
    }
  }

  died(worker: number, { message, stack }: ThreadEnd): void {
    const { layout, counts, metrics } = this.#init.memory;
    new SharedCounts(counts).reclaim(worker);
    new Stripe(layout, metrics, worker).endAbandoned(layout);
    this.#init.conditions.workerDied(worker);
    for (const { slot } of layout.backends) this.#tellOthers(worker, { type: "retryConnections", slot });
    const fields = { worker, reason: message, ...(stack === undefined ? {} : { stack }) };
    this.#init.log.write("error", "worker_died", `worker ${worker} died: ${message}`, fields);
  }

  replaced(worker: number): void {
    this.#init.log.write("info", "worker_replaced", `worker ${worker} runs again`, { worker });
  }

  notReplaced(worker: number, reason: string): void {
    const message = `worker ${worker} could not start again: ${reason}`;
    this.#init.log.write("error", "worker_not_replaced", message, { worker, reason });
  }

  #tellOthers(worker: number, message: ToWorker): void {
    for (const seat of this.#seats) if (seat.worker !== worker) seat.post(message);
  }
}

/** Held all together for a moment, so that two listeners that want one address are found out too. */
async function withHeldAddresses(settings: Settings): Promise<Settings> {
  const held: HeldAddress[] = [];
  const addresses: BoundAddress[] = [];
  try {
    for (const { listen } of settings.listeners) {
      if (listen.kind === "unix") {
        addresses.push(listen);
        continue;
      }
      const address = await holdAddress(listen);
      held.push(address);
      addresses.push({ kind: "tcp", host: address.host, port: address.port });
    }
  } finally {
    await Promise.all(held.map((address) => address.release()));
  }
  return withAddresses(settings, addresses);
}

function withAddresses(settings: Settings, addresses: readonly BoundAddress[]): Settings {
  const listeners = settings.listeners.map((listener, i) => ({ ...listener, listen: addresses[i] ?? listener.listen }));
  return { ...settings, listeners };
}
