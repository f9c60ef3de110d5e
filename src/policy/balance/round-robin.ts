import type { Backend } from "../model/backend.ts";
import type { PickRequest } from "../model/request.ts";
import type { Balancer } from "./balancer.ts";
import { defineBalancer } from "./definition.ts";

/**
 * Round robin: the backends take turns in the order of the configuration, whatever their weight (a weight of 0 still
 * means none). For equal servers without state.
 *
 * A backend that is passed over because it was already tried does not get its turn later: it gets the next round's.
 * A pick is O(1), with excluded backends O(n).
 */
export class RoundRobin implements Balancer {
  #backends: readonly Backend[] = [];
  #next = 0;

  update(backends: readonly Backend[]): void {
    this.#next = this.#placeIn(backends);
    this.#backends = backends.slice();
  }

  pick(_request: PickRequest, _now: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
    const place = this.#due(exclude);
    if (place === -1) return undefined;
    this.#next = place + 1 === this.#backends.length ? 0 : place + 1;
    return this.#backends[place];
  }

  peek(_request: PickRequest, _now: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
    return this.#backends[this.#due(exclude)];
  }

  /** Place of the one whose turn it is; -1: all are excluded. */
  #due(exclude: ReadonlySet<Backend> | undefined): number {
    const count = this.#backends.length;
    let place = this.#next;
    for (let seen = 0; seen < count; seen++) {
      if (!exclude?.has(this.#backends[place]!)) return place;
      place = place + 1 === count ? 0 : place + 1;
    }
    return -1;
  }

  /** Where the turn is in `backends`: at the first of those due that stays. */
  #placeIn(backends: readonly Backend[]): number {
    const count = this.#backends.length;
    for (let i = 0; i < count; i++) {
      const place = backends.indexOf(this.#backends[(this.#next + i) % count]!);
      if (place !== -1) return place;
    }
    return 0;
  }
}

/** For the registry. */
export const roundRobin = defineBalancer({
  about: "The backends take turns, whatever their weight. For equal servers without state.",
  options: {},
  create: () => new RoundRobin(),
});
