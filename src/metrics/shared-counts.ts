import type { BackendCounts } from "../policy/model/backend.ts";

/*
 * Memory, in int32: a header line, then one 64-byte line per slot with the sums over all workers, then per worker a
 * ledger of what it holds of each slot. The ledger is written by its worker alone and read when the worker is dead.
 */
const LINE = 16;
const SLOTS = 0;
const WORKERS = 1;
const ACTIVE = 0;
const CONNECTIONS = 1;

const ledgerLength = (slots: number): number => Math.ceil((slots * 2) / LINE) * LINE;

/** Zeroed memory for {@link SharedCounts} over `slots` backends and `workers` workers. */
export function createCounts(slots: number, workers = 1): SharedArrayBuffer {
  const memory = new SharedArrayBuffer((LINE * (1 + slots) + workers * ledgerLength(slots)) * 4);
  const cells = new Int32Array(memory);
  cells[SLOTS] = slots;
  cells[WORKERS] = workers;
  return memory;
}

/**
 * Active exchanges and open connections per backend over all workers, so that least connections and `maxConnections`
 * hold across them. Every worker makes its own over the same memory; another thread may do so to read.
 */
export class SharedCounts implements BackendCounts {
  readonly #cells: Int32Array;
  readonly #slots: number;
  readonly #ledger: number;

  /** @param worker index of the worker that counts, from 0. @throws RangeError for a worker the memory has no ledger for. */
  constructor(memory: SharedArrayBuffer, worker = 0) {
    this.#cells = new Int32Array(memory);
    this.#slots = this.#cells[SLOTS]!;
    if (worker < 0 || worker >= this.#cells[WORKERS]!) throw new RangeError(`no ledger for worker ${worker}`);
    this.#ledger = this.#ledgerOf(worker);
  }

  /** Backends there is room for. */
  get slots(): number {
    return this.#slots;
  }

  active(slot: number): number {
    return Atomics.load(this.#cells, LINE * (1 + slot) + ACTIVE);
  }

  takeActive(slot: number, limit: number): boolean {
    return this.#take(slot, ACTIVE, limit);
  }

  giveActive(slot: number): void {
    this.#give(slot, ACTIVE);
  }

  connections(slot: number): number {
    return Atomics.load(this.#cells, LINE * (1 + slot) + CONNECTIONS);
  }

  takeConnection(slot: number, limit: number): boolean {
    return this.#take(slot, CONNECTIONS, limit);
  }

  giveConnection(slot: number): void {
    this.#give(slot, CONNECTIONS);
  }

  /** Takes back what a dead worker still held. Only when its thread has ended, and before it is replaced. */
  reclaim(worker: number): void {
    const ledger = this.#ledgerOf(worker);
    for (let slot = 0; slot < this.#slots; slot++) {
      for (const kind of [ACTIVE, CONNECTIONS]) {
        Atomics.sub(this.#cells, LINE * (1 + slot) + kind, this.#cells[ledger + slot * 2 + kind]!);
        this.#cells[ledger + slot * 2 + kind] = 0;
      }
    }
  }

  #take(slot: number, kind: typeof ACTIVE | typeof CONNECTIONS, limit: number): boolean {
    const cell = LINE * (1 + slot) + kind;
    if (limit === Number.POSITIVE_INFINITY) Atomics.add(this.#cells, cell, 1);
    else {
      // Compare and exchange, not add and undo: an undone add would make others see a full backend that is not.
      let taken = Atomics.load(this.#cells, cell);
      for (;;) {
        if (taken >= limit) return false;
        const seen = Atomics.compareExchange(this.#cells, cell, taken, taken + 1);
        if (seen === taken) break;
        taken = seen;
      }
    }
    this.#cells[this.#ledger + slot * 2 + kind]! += 1;
    return true;
  }

  #give(slot: number, kind: typeof ACTIVE | typeof CONNECTIONS): void {
    Atomics.sub(this.#cells, LINE * (1 + slot) + kind, 1);
    this.#cells[this.#ledger + slot * 2 + kind]! -= 1;
  }

  #ledgerOf(worker: number): number {
    return LINE * (1 + this.#slots) + worker * ledgerLength(this.#slots);
  }
}
