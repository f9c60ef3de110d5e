import type { BackendCounts } from "./backend.ts";

/** Counts within one thread: for the client, the simulator and tests, where no worker shares them. */
export class LocalCounts implements BackendCounts {
  readonly #active: number[] = [];
  readonly #connections: number[] = [];

  active(slot: number): number {
    return this.#active[slot] ?? 0;
  }

  addActive(slot: number, by: 1 | -1): void {
    this.#active[slot] = this.active(slot) + by;
  }

  connections(slot: number): number {
    return this.#connections[slot] ?? 0;
  }

  takeConnection(slot: number, limit: number): boolean {
    const taken = this.connections(slot);
    if (taken >= limit) return false;
    this.#connections[slot] = taken + 1;
    return true;
  }

  giveConnection(slot: number): void {
    this.#connections[slot] = this.connections(slot) - 1;
  }
}
