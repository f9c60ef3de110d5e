import { SeededRandom } from "../policy/model/random.ts";
import { SystemClock } from "../time/system-clock.ts";
import { ConnectionPool } from "./connection-pool.ts";
import type { PoolOptions } from "./pool-options.ts";

export { ConnectionPool } from "./connection-pool.ts";
export { PoolError, type PoolErrorCode } from "./pool-error.ts";
export type {
  AcquireOptions,
  Bound,
  CloseReason,
  PoolLimits,
  PoolOptions,
  PoolStats,
  RequestOptions,
  Waiter,
} from "./pool-options.ts";

const systemClock = new SystemClock();

/** Options of {@link createPool}: those of {@link ConnectionPool}, with clock and random source optional. */
export type CreatePoolOptions<T extends object> = Omit<PoolOptions<T>, "clock" | "random"> &
  Partial<Pick<PoolOptions<T>, "clock" | "random">>;

/**
 * A connection pool on the time of this process.
 *
 * @example
 * const pool = createPool({
 *   create: async () => { const client = new pg.Client(); await client.connect(); return client; },
 *   destroy: (client) => client.end(),
 *   watch: (client, dead) => { client.on("error", dead).on("end", dead); },
 * });
 * const { rows } = await pool.use((client) => client.query("select 1"));
 */
export function createPool<T extends object>(options: CreatePoolOptions<T>): ConnectionPool<T> {
  const clock = options.clock ?? systemClock;
  const random = options.random ?? new SeededRandom(clock.wallTime() + clock.now() * 1000);
  return new ConnectionPool({ ...options, clock, random });
}
