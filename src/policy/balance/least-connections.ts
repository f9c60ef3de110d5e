import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";
import type { PickRequest } from "../model/request.ts";
import type { Balancer } from "./balancer.ts";
import { defineBalancer } from "./definition.ts";
import { LeastLoaded } from "./least-loaded.ts";

/**
 * Least connections: the backend that would be the least loaded with this exchange on it, by (active + 1) / weight.
 *
 * The + 1 is the exchange to come. Without it all idle backends are equal whatever they can do: with weights 4,2,1
 * and nothing running the loads are 1/4, 1/2, 1/1, and only once the first has two running is it level with the
 * second (3/4 against 1/2: the second is next). Among equals smooth weighted round robin decides, as in nginx, not the order in the configuration: at low traffic
 * nearly every pick is a tie, and the first would get them all.
 *
 * Counts are those of all workers. A pick is O(n) and allocates nothing.
 */
export class LeastConnections implements Balancer {
  readonly #rotation = new LeastLoaded();

  update(backends: readonly Backend[]): void {
    this.#rotation.update(backends);
  }

  pick(_request: PickRequest, _now: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
    this.#weigh(exclude);
    return this.#rotation.take();
  }

  peek(_request: PickRequest, _now: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
    this.#weigh(exclude);
    return this.#rotation.peek();
  }

  settled(backend: Backend, outcome: Outcome): void {
    this.#rotation.settled(backend, outcome);
  }

  #weigh(exclude: ReadonlySet<Backend> | undefined): void {
    const { slots } = this.#rotation;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i]!;
      // Read once: other workers change the count between two reads.
      slot.load = exclude?.has(slot.backend) ? Infinity : slot.backend.active + 1;
    }
  }
}

/** For the registry. */
export const leastConnections = defineBalancer({
  about: "The backend with the fewest active exchanges for its weight. For requests of varied length.",
  options: {},
  create: () => new LeastConnections(),
});
