import type { Clock, Timer } from "../../time/clock.ts";
import type { RedisClient, RedisConstructor } from "./ioredis.ts";
import { parseRedisUrl } from "./redis-url.ts";

/** A server that says nothing for so long, although it owes an answer, has its connection cut. */
const SILENCE_MS = 5_000;
/** How long a start waits for the first connection. */
const START_MS = 1_000;
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 1_000;

/**
 * Compare and set. KEYS: the session. ARGV: address, time to live in ms, then the addresses that it may be taken from.
 * Without GETEX, GET options of SET or functions: it runs on Redis 5.
 */
const PLACE = `
local owner = redis.call('GET', KEYS[1])
local free = not owner or owner == ARGV[1]
for i = 3, #ARGV do free = free or owner == ARGV[i] end
if free then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return owner
`;

/** Hears when a connection is ready, and why it is not. */
export type ConnectionListener = (ready: boolean, reason: string) => void;

/**
 * The connection to one Redis, for all stores that are there. It is opened at the start, and again whenever it is lost,
 * after 50 ms at first and up to 1 s later. Nothing is queued while it is not ready, and nothing is sent twice: what was
 * under way when it broke has failed.
 */
export class RedisConnection {
  readonly #client: RedisClient;
  readonly #clock: Clock;
  readonly #password: string | undefined;
  readonly #listeners: ConnectionListener[] = [];
  readonly #silence: Timer;
  readonly #shown: string;
  #unanswered = 0;
  #lastError = "";
  #starting: Promise<void> | undefined;
  #closed = false;

  /** @param url as in the configuration */
  constructor(url: string, Redis: RedisConstructor, clock: Clock) {
    const { host, port, username, password, db, tls, shown } = parseRedisUrl(url);
    this.#clock = clock;
    this.#password = password;
    this.#shown = shown;
    this.#silence = clock.timer(() => this.#client.stream?.destroy());
    this.#client = new Redis({
      host,
      port,
      username,
      password,
      db,
      ...(tls ? { tls: {} } : {}),
      lazyConnect: true,
      // RESP 3 has nothing that we use, and its greeting is unknown to Redis 5.
      protocol: 2,
      connectionName: "spillway",
      disableClientInfo: true,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      connectTimeout: SILENCE_MS,
      disconnectTimeout: 100,
      retryStrategy: (times: number) => Math.min(FIRST_RETRY_MS * 2 ** Math.min(times - 1, 10), LONGEST_RETRY_MS),
      // The master has become a replica: behind the name there is another one now.
      reconnectOnError: ({ message }: Error) => message.startsWith("READONLY"),
    });
    this.#client.defineCommand("spillwayPlace", { numberOfKeys: 1, lua: PLACE });
    this.#client.on("error", (error) => {
      this.#lastError = this.reasonOf(error);
    });
    this.#client.on("connect", () => this.#silence.set(SILENCE_MS));
    this.#client.on("ready", () => {
      this.#silence.clear();
      this.#lastError = "";
      this.#tell(true, "");
    });
    this.#client.on("close", () => {
      this.#silence.clear();
      const reason = this.#lastError || "the connection was closed";
      this.#lastError = "";
      this.#tell(false, reason);
    });
  }

  /** The URL without its password. */
  get shown(): string {
    return this.#shown;
  }

  get ready(): boolean {
    return this.#client.status === "ready";
  }

  /** `listener` hears of every change, and of every attempt that failed. */
  listen(listener: ConnectionListener): void {
    this.#listeners.push(listener);
  }

  /** Connects. Resolves when that went well, or went wrong, or after a second; it goes on trying in any case. */
  start(): Promise<void> {
    this.#starting ??= new Promise((resolve) => {
      const patience = this.#clock.timer(resolve);
      patience.set(START_MS);
      const settled = (): void => {
        patience.clear();
        resolve();
      };
      this.#client.connect().then(settled, settled);
    });
    return this.#starting;
  }

  /** Only while it is `ready`. @throws what `reasonOf` explains */
  get(key: string): Promise<string | null> {
    return this.#watched(this.#client.get(key));
  }

  /** Who has the session afterwards. As `get`. */
  place(key: string, address: string, instead: readonly string[], ttlMs: number): Promise<string> {
    return this.#watched(this.#client.spillwayPlace(key, address, ttlMs, ...instead));
  }

  /** An error in words for people, without the password, whatever the server repeats. */
  reasonOf(error: unknown): string {
    const { message, code } = error as { message?: string; code?: string };
    const reason = message || code || String(error);
    return this.#password === undefined ? reason : reason.replaceAll(this.#password, "***");
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listeners.length = 0;
    this.#silence.clear();
    this.#client.disconnect();
    this.#client.stream?.destroy();
  }

  #tell(ready: boolean, reason: string): void {
    for (const listener of this.#listeners) listener(ready, reason);
  }

  async #watched<T>(reply: Promise<T>): Promise<T> {
    if (this.#unanswered++ === 0) this.#silence.set(SILENCE_MS);
    try {
      return await reply;
    } finally {
      this.#unanswered--;
      if (this.#unanswered === 0) this.#silence.clear();
      else this.#silence.set(SILENCE_MS);
    }
  }
}
