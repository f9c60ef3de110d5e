import { SeededRandom } from "../../src/policy/model/random.ts";
import { ConnectionPool } from "../../src/pool/connection-pool.ts";
import type { PoolError } from "../../src/pool/pool-error.ts";
import type { PoolOptions, RequestOptions, Waiter } from "../../src/pool/pool-options.ts";
import { VirtualClock } from "../../src/time/virtual-clock.ts";

/** What a test's pool opens. */
export interface FakeConnection {
  readonly id: number;
  alive: boolean;
  /** Tells the pool that it broke. */
  die(): void;
}

/** A connection that a test's pool is opening: the test says how that ends. */
export interface FakeOpening {
  readonly signal: AbortSignal;
  /** Resolves what `create` returned, and waits until the pool has seen it. */
  open(): Promise<FakeConnection>;
  /** Rejects it, and waits until the pool has seen it. */
  fail(error: unknown): Promise<void>;
}

/** A waiter that writes down its answers. */
export class FakeWaiter implements Waiter<FakeConnection> {
  readonly connections: FakeConnection[] = [];
  readonly errors: PoolError[] = [];
  reused: boolean | undefined;

  acquired(connection: FakeConnection, reused: boolean): void {
    this.connections.push(connection);
    this.reused = reused;
  }

  failed(error: PoolError): void {
    this.errors.push(error);
  }

  /** The one connection it got. */
  get connection(): FakeConnection {
    if (this.connections.length !== 1) throw new Error(`this waiter has ${this.connections.length} connections`);
    return this.connections[0]!;
  }

  /** What it was told: nothing yet, a connection, or the code of an error. */
  get answer(): string {
    const answers = [...this.connections.map(({ id }) => `#${id}`), ...this.errors.map(({ code }) => code)];
    return answers.join(" ") || "waits";
  }
}

/** A pool on virtual time whose connections open when the test says so. */
export class PoolBench {
  readonly clock = new VirtualClock();
  readonly openings: FakeOpening[] = [];
  /** What was closed, and why: `#1 idle-timeout`. */
  readonly closed: string[] = [];
  readonly errors: unknown[] = [];
  readonly pool: ConnectionPool<FakeConnection>;
  #ids = 0;

  constructor(options: Partial<PoolOptions<FakeConnection>> = {}) {
    this.pool = new ConnectionPool<FakeConnection>({
      create: (signal) => this.#create(signal),
      destroy: ({ id }, reason) => {
        this.closed.push(`#${id} ${reason}`);
      },
      isAlive: (connection) => connection.alive,
      watch: (connection, dead) => {
        connection.die = () => {
          connection.alive = false;
          dead();
        };
      },
      onError: (error) => this.errors.push(error),
      clock: this.clock,
      random: new SeededRandom(1),
      ...options,
    });
  }

  request(options?: RequestOptions): FakeWaiter {
    const waiter = new FakeWaiter();
    this.pool.request(waiter, options);
    return waiter;
  }

  /** Opens `count` connections; they are busy. */
  async busy(count: number): Promise<FakeConnection[]> {
    const waiters = Array.from({ length: count }, () => this.request());
    for (let opening = this.openings.shift(); opening !== undefined; opening = this.openings.shift()) {
      await opening.open();
    }
    return waiters.map((waiter) => waiter.connection);
  }

  /** Opens `count` connections; they are idle, the last one used last. */
  async idle(count: number): Promise<FakeConnection[]> {
    const connections = await this.busy(count);
    for (const connection of connections) this.pool.release(connection);
    return connections;
  }

  /** Idle, busy, opening, waiting. */
  get counts(): [number, number, number, number] {
    const { idle, busy, opening, waiting } = this.pool.stats;
    return [idle, busy, opening, waiting];
  }

  #create(signal: AbortSignal): Promise<FakeConnection> {
    return new Promise((resolve, reject) => {
      this.openings.push({
        signal,
        open: async () => {
          const connection: FakeConnection = { id: ++this.#ids, alive: true, die: () => {} };
          resolve(connection);
          await settled();
          return connection;
        },
        fail: async (error) => {
          reject(error);
          await settled();
        },
      });
    });
  }
}

/** Resolves when the promises that are ready now have told everybody. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}
