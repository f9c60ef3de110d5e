import type { Backend } from "../model/backend.ts";
import type { Random } from "../model/random.ts";
import type { PickRequest } from "../model/request.ts";
import { AliasTable } from "./alias-table.ts";
import type { Balancer } from "./balancer.ts";
import { defineBalancer } from "./definition.ts";

/**
 * Random, in proportion to the weights. Needs no memory, so any number of proxies in front of the same backends do
 * not fall into step, which balancers that take turns do after a common start.
 *
 * A pick is O(1), with excluded backends O(n).
 */
export class RandomChoice implements Balancer {
  readonly #random: Random;
  #backends: readonly Backend[] = [];
  #table = new AliasTable([]);

  constructor(random: Random) {
    this.#random = random;
  }

  update(backends: readonly Backend[]): void {
    this.#backends = backends.slice();
    this.#table = new AliasTable(
      this.#backends,
      this.#backends.map(({ share }) => share),
    );
  }

  pick(_request: PickRequest, _now: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
    return exclude === undefined ? this.#table.at(this.#random.next()) : this.#pickWithout(exclude);
  }

  #pickWithout(exclude: ReadonlySet<Backend>): Backend | undefined {
    let total = 0;
    for (const backend of this.#backends) if (!exclude.has(backend)) total += backend.share;
    let left = this.#random.next() * total;
    let last: Backend | undefined;
    for (const backend of this.#backends) {
      if (exclude.has(backend)) continue;
      last = backend; // rounding may leave a crumb behind the last one
      left -= backend.share;
      if (left < 0) break;
    }
    return last;
  }
}

/** For the registry. */
export const random = defineBalancer({
  about: "A backend at random, in proportion to the weights. For many proxies in front of the same servers.",
  options: {},
  create: (_options, source) => new RandomChoice(source),
});
