import type { BackendCounts } from "./backend.ts";

/** Counts within one thread: for the client, the simulator and tests, where no worker shares them. */
export class LocalCounts implements BackendCounts {
  readonly #active: number[] = [];
  readonly #connections: number[] = [];

  active(slot: number): number {
    return this.#active[slot] ?? 0;
  }

  takeActive(slot: number, limit: number): boolean {
    const taken = this.active(slot);
    if (taken >= limit) return false;
    this.#active[slot] = taken + 1;
    return true;
  }

  giveActive(slot: number): void {
    this.#active[slot] = this.active(slot) - 1;
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
