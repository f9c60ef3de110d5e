/** A source of random numbers, handed to policies so that a run can be repeated. */
export interface Random {
  /** The next number, uniform in [0, 1). */
  next(): number;
}

/**
 * A seeded generator (splitmix32): the same seed gives the same sequence on every machine.
 * Good enough for balancing and simulation, not for secrets.
 */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 0x1_0000_0000;
  }
}
