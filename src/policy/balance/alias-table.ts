import type { Backend } from "../model/backend.ts";

/**
 * Weighted choice in O(1) (Walker's alias method, in Vose's form of 1991).
 *
 * Every backend owns a column of the same height. What a light one leaves free of its column is filled by one heavy
 * backend, its alias: a number in [0, 1) finds the column by its place and then, by its height in it, owner or alias.
 * Equal weights need no alias, so the number simply counts backends.
 */
export class AliasTable {
  readonly #backends: readonly Backend[];
  /** Up to which height a column belongs to its owner. */
  readonly #own: Float64Array;
  readonly #alias: Uint32Array;

  /** `weights` are above 0, one for each of `backends`; left out, they are those of the configuration. */
  constructor(backends: readonly Backend[], weights: readonly number[] = backends.map(({ weight }) => weight)) {
    const count = backends.length;
    this.#backends = backends;
    this.#own = new Float64Array(count).fill(1);
    this.#alias = Uint32Array.from({ length: count }, (_, index) => index);
    let total = 0;
    for (const weight of weights) total += weight;
    const share = weights.map((weight) => (weight / total) * count);
    const light: number[] = [];
    const heavy: number[] = [];
    for (let i = 0; i < count; i++) (share[i]! < 1 ? light : heavy).push(i);
    while (light.length > 0 && heavy.length > 0) {
      const poor = light.pop()!;
      const rich = heavy.pop()!;
      this.#own[poor] = share[poor]!;
      this.#alias[poor] = rich;
      share[rich]! -= 1 - share[poor]!;
      (share[rich]! < 1 ? light : heavy).push(rich);
    }
  }

  /** The backend at `place`, a number in [0, 1); undefined when the table is empty. */
  at(place: number): Backend | undefined {
    const scaled = place * this.#backends.length;
    const column = Math.floor(scaled);
    return this.#backends[scaled - column < this.#own[column]! ? column : this.#alias[column]!];
  }
}
