import { createHash } from "node:crypto";
import type { Random } from "../../policy/model/random.ts";
import { CircuitBreaker, type Permit } from "../../policy/resilience/circuit-breaker.ts";
import type { CircuitBreakerOptions } from "../../policy/resilience/options.ts";
import type { Clock, Timer } from "../../time/clock.ts";
import type { Log } from "../log.ts";
import { LogLimiter, limitLog } from "../log-limiter.ts";
import type { RedisConnection } from "./redis-connection.ts";
import type { SharedStore, StoreAnswer, StoreView } from "./shared-store.ts";

/** A Redis that does not answer is asked once a second, and no more. */
const BREAKER: CircuitBreakerOptions = {
  on: [],
  consecutiveFailures: 5,
  errorThreshold: 1,
  minimumRequests: Number.POSITIVE_INFINITY,
  window: 10_000,
  slowerThan: Number.POSITIVE_INFINITY,
  openFor: 1_000,
  maxOpenFor: 1_000,
  halfOpenRequests: 1,
};

/** 132 bits: enough that no two sessions are ever taken for one. */
const DIGEST_CHARACTERS = 22;

/** What a store in Redis is made of. */
export interface RedisStoreInit {
  readonly connection: RedisConnection;
  readonly upstream: string;
  /** What all keys begin with. */
  readonly prefix: string;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Something asked of Redis that is not answered yet. */
interface Asked {
  readonly answer: StoreAnswer;
  readonly permit: Permit;
  readonly askedAtMs: number;
}

/**
 * The sessions of one upstream in Redis, for all Spillways that have the same one: `<prefix><upstream>:<digest>` is the
 * address of the backend, for as long as the session lives. Ids of sessions are secrets, so only their digest (SHA-256)
 * leaves the process.
 *
 * An answer that comes after the time limit is ignored. Behind a connection that is down, or a circuit that five failures
 * in a row have opened, everything has failed at once and costs nothing.
 */
export class RedisStore implements SharedStore {
  readonly #init: RedisStoreInit;
  readonly #breaker: CircuitBreaker;
  /** Oldest first, as all have the same time limit. */
  readonly #asked = new Set<Asked>();
  readonly #timeout: Timer;
  readonly #limited: Log;
  #recovered: () => void = () => {};
  #up = false;
  /** The log has it that the store is down. */
  #downLogged = false;
  #closed = false;

  constructor(init: RedisStoreInit) {
    this.#init = init;
    this.#breaker = new CircuitBreaker(BREAKER, init.random);
    this.#timeout = init.clock.timer(() => this.#expire());
    this.#limited = limitLog(init.log, init.clock, new LogLimiter(1, 60_000));
    init.connection.listen((ready, reason) => {
      // What the circuit knows is of the connection before.
      if (ready) this.#breaker.reset();
      this.#judge(reason);
    });
  }

  get view(): StoreView {
    return { kind: "redis", url: this.#init.connection.shown, up: this.#up };
  }

  listen(recovered: () => void): void {
    this.#recovered = recovered;
  }

  start(): Promise<void> {
    return this.#init.connection.start();
  }

  find(key: string, answer: StoreAnswer): void {
    const asked = this.#admit(answer);
    if (asked === undefined) return;
    this.#init.connection.get(this.#keyOf(key)).then(
      (address) => this.#answered(asked, address ?? undefined),
      (error) => this.#failed(asked, error),
    );
  }

  place(key: string, address: string, instead: readonly string[], ttlMs: number, answer: StoreAnswer): void {
    const asked = this.#admit(answer);
    if (asked === undefined) return;
    this.#init.connection.place(this.#keyOf(key), address, instead, ttlMs).then(
      (owner) => this.#answered(asked, owner),
      (error) => this.#failed(asked, error),
    );
  }

  close(): void {
    this.#closed = true;
    this.#up = false;
    this.#timeout.clear();
    this.#init.connection.close();
    for (const { answer } of this.#asked) answer(undefined, true);
    this.#asked.clear();
  }

  /** Undefined: it cannot be asked now, and `answer` has heard so. */
  #admit(answer: StoreAnswer): Asked | undefined {
    const { connection, clock, timeoutMs } = this.#init;
    const askedAtMs = clock.now();
    const permit = !this.#closed && connection.ready ? this.#breaker.admit(askedAtMs) : undefined;
    if (permit === undefined) {
      answer(undefined, true);
      return undefined;
    }
    const asked = { answer, permit, askedAtMs };
    if (this.#asked.size === 0) this.#timeout.set(timeoutMs);
    this.#asked.add(asked);
    return asked;
  }

  #answered(asked: Asked, address: string | undefined): void {
    if (this.#settle(asked, "success", "")) asked.answer(address, false);
  }

  #failed(asked: Asked, error: unknown): void {
    const { connection, upstream } = this.#init;
    const reason = connection.reasonOf(error);
    if (!this.#settle(asked, "failure", reason)) return;
    // A connection that was lost is told of as a whole.
    if (connection.ready) {
      const message = `upstream ${upstream}: the session store refuses: ${reason}`;
      this.#limited.write("warn", "session_store_refuses", message, { upstream, reason });
    }
    asked.answer(undefined, true);
  }

  #expire(): void {
    const { clock, timeoutMs } = this.#init;
    for (const asked of this.#asked) {
      const leftMs = asked.askedAtMs + timeoutMs - clock.now();
      if (leftMs > 0) {
        this.#timeout.set(leftMs);
        return;
      }
      this.#settle(asked, "failure", `no answer within ${timeoutMs} ms`);
      asked.answer(undefined, true);
    }
  }

  /** False: it has been settled before. */
  #settle(asked: Asked, verdict: "success" | "failure", reason: string): boolean {
    if (!this.#asked.delete(asked)) return false;
    const { clock } = this.#init;
    const now = clock.now();
    if (this.#breaker.settle(asked.permit, verdict, now - asked.askedAtMs, now)) this.#judge(reason);
    return true;
  }

  /** It is up while the connection is ready and the circuit closed; each change is logged once. */
  #judge(reason: string): void {
    const { connection, upstream, log } = this.#init;
    const wasUp = this.#up;
    this.#up = connection.ready && this.#breaker.state === "closed";
    if (this.#up && !wasUp) this.#recovered();
    if (this.#up === !this.#downLogged && (this.#up || this.#downLogged)) return;
    this.#downLogged = !this.#up;
    const url = connection.shown;
    if (this.#up) {
      log.write("info", "session_store_up", `upstream ${upstream}: ${url} answers again`, { upstream, url });
      return;
    }
    const message = `upstream ${upstream}: sessions are not shared, ${url} cannot be asked: ${reason}`;
    log.write("warn", "session_store_down", message, { upstream, url, reason });
  }

  #keyOf(key: string): string {
    const digest = createHash("sha256").update(key).digest("base64url").slice(0, DIGEST_CHARACTERS);
    return `${this.#init.prefix}${this.#init.upstream}:${digest}`;
  }
}
