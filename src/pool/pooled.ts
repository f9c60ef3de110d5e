/**
 * Where a connection of the pool is. `idle`: in the idle list. `busy`: with whoever acquired it. `returning`: released,
 * about to go to a waiter. `gone`: closed by the pool.
 */
export type PooledState = "idle" | "busy" | "returning" | "gone";

/** What the pool knows of one connection. */
export class Pooled<T extends object> {
  readonly connection: T;
  /** When it is too old. */
  readonly expiresMs: number;
  state: PooledState = "busy";
  /** How often it was handed out. */
  uses = 0;
  idleSinceMs = 0.5;
  /** It broke while busy: closed when it is released. */
  dead = false;
  /** Neighbours in the idle list: towards the one used last, and away from it. */
  newer: Pooled<T> | undefined = undefined;
  older: Pooled<T> | undefined = undefined;

  constructor(connection: T, expiresMs: number) {
    this.connection = connection;
    this.expiresMs = expiresMs;
  }
}

/**
 * Idle connections, the one used last first: warm ones are reused and the rest ages, so that the pool shrinks to what
 * load needs. A list through the entries themselves: every change is O(1) and allocates nothing.
 */
export class IdleList<T extends object> {
  newest: Pooled<T> | undefined = undefined;
  oldest: Pooled<T> | undefined = undefined;
  size = 0;

  push(entry: Pooled<T>): void {
    entry.older = this.newest;
    if (this.newest === undefined) this.oldest = entry;
    else this.newest.newer = entry;
    this.newest = entry;
    this.size++;
  }

  remove(entry: Pooled<T>): void {
    if (entry.newer === undefined) this.newest = entry.older;
    else entry.newer.older = entry.older;
    if (entry.older === undefined) this.oldest = entry.newer;
    else entry.older.newer = entry.newer;
    entry.newer = undefined;
    entry.older = undefined;
    this.size--;
  }
}
