import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";
import type { PickRequest } from "../model/request.ts";
import type { Balancer } from "./balancer.ts";
import { defineBalancer } from "./definition.ts";
import { credit, type Slot, SmoothRotation } from "./smooth-rotation.ts";

/**
 * Least connections: the backend that would be the least loaded with this exchange on it, by (active + 1) / weight.
 *
 * The + 1 is the exchange to come. Without it all idle backends are equal whatever they can do: with weights 4,2,1
 * and nothing running the loads are 1/4, 1/2, 1/1, and only once the first has two running is it level with the
 * second (3/4 against 1/2: the second is next). Fractions are compared by cross multiplication, so equal is equal.
 * Among equals smooth weighted round robin decides, as in nginx, not the order in the configuration: at low traffic
 * nearly every pick is a tie, and the first would get them all.
 *
 * Counts are those of all workers. A pick is O(n) and allocates nothing.
 */
export class LeastConnections implements Balancer {
  readonly #rotation = new SmoothRotation();

  update(backends: readonly Backend[]): void {
    this.#rotation.update(backends);
  }

  pick(_request: PickRequest, _now: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
    const slots = this.#rotation.slots;
    let least: Slot | undefined;
    let first = 0;
    let tied = false;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i]!;
      if (exclude?.has(slot.backend)) {
        slot.load = Infinity; // keeps it out of the second pass, too
        continue;
      }
      // Read once: other workers change the count between two reads.
      slot.load = slot.backend.active + 1;
      const difference = least === undefined ? -1 : slot.load * least.weight - least.load * slot.weight;
      if (difference < 0) {
        least = slot;
        first = i;
        tied = false;
      } else if (difference === 0) tied = true;
    }
    if (least === undefined) return undefined;
    return (tied ? this.#takeTurns(least, first) : least).backend;
  }

  settled(backend: Backend, outcome: Outcome): void {
    this.#rotation.settled(backend, outcome);
  }

  #takeTurns(least: Slot, first: number): Slot {
    const slots = this.#rotation.slots;
    let best = least;
    let total = 0;
    for (let i = first; i < slots.length; i++) {
      const slot = slots[i]!;
      if (slot.load * least.weight !== least.load * slot.weight) continue;
      total += credit(slot);
      if (slot.credit > best.credit) best = slot;
    }
    best.credit -= total;
    return best;
  }
}

/** For the registry. */
export const leastConnections = defineBalancer({
  about: "The backend with the fewest active exchanges for its weight. For requests of varied length.",
  options: {},
  create: () => new LeastConnections(),
});
