/**
 * A balancer of your own: of two backends drawn by lot, the one with fewer active exchanges for its weight.
 *
 * It reads no clock and draws no random number but from the source it is given, so a run can be repeated.
 * Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 12(10), 2001.
 */
export class TwoChoices {
  #random;
  #backends = [];

  constructor(random) {
    this.#random = random;
  }

  update(backends) {
    this.#backends = backends;
  }

  pick(_request, _now, exclude) {
    const left = exclude === undefined ? this.#backends : this.#backends.filter((backend) => !exclude.has(backend));
    const one = left[Math.floor(this.#random.next() * left.length)];
    const other = left[Math.floor(this.#random.next() * left.length)];
    if (one === undefined) return undefined;
    return (other.active + 1) / other.weight < (one.active + 1) / one.weight ? other : one;
  }
}
