import { SessionTable } from "../../policy/affinity/session-table.ts";
import type { Clock } from "../../time/clock.ts";
import type { SharedStore, StoreAnswer, StoreView } from "./shared-store.ts";

/**
 * The sessions of one upstream in the memory of the control plane, for the workers of this process. Answers at once and
 * never fails. What was not used for longest goes when there is no more room.
 */
export class MemoryStore implements SharedStore {
  readonly view: StoreView = { kind: "memory", url: "", up: true };
  readonly #table: SessionTable;
  readonly #clock: Clock;

  /** `ttlMs` holds for all sessions, whatever `place` says. */
  constructor(maxSessions: number, ttlMs: number, clock: Clock) {
    this.#table = new SessionTable(maxSessions, ttlMs);
    this.#clock = clock;
  }

  /** It forgets nothing before its time but what there is no room for. */
  listen(): void {}

  async start(): Promise<void> {}

  find(key: string, answer: StoreAnswer): void {
    const slot = this.#table.find(key, this.#clock.now());
    answer(slot < 0 ? undefined : this.#table.address(slot), false);
  }

  place(key: string, address: string, instead: readonly string[], _ttlMs: number, answer: StoreAnswer): void {
    const now = this.#clock.now();
    this.#table.sweep(now);
    const slot = this.#table.find(key, now);
    const owner = slot < 0 ? address : this.#table.address(slot);
    if (owner !== address && !instead.includes(owner)) return answer(owner, false);
    this.#table.put(key, address, now);
    answer(address, false);
  }

  close(): void {}
}
