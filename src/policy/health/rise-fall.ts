/** How many results in a row change the state of a backend. */
export interface RiseFallSettings {
  /** Failed checks in a row that make an up backend down. At least 1. */
  readonly unhealthyAfter: number;
  /** Passed checks in a row that make a down backend up. At least 1. */
  readonly healthyAfter: number;
}

/** The defaults: three failures take a backend out, one success brings it back. */
export const riseFallDefaults: RiseFallSettings = { unhealthyAfter: 3, healthyAfter: 1 };

/**
 * What the checks of one backend add up to. One check that goes wrong proves little, so a state changes only after a
 * row of results that contradict it; a result that agrees with it starts the row again.
 */
export class RiseFall {
  readonly #settings: RiseFallSettings;
  #up: boolean;
  /** Results in a row that contradict the state. */
  #against = 0;

  /** A backend starts up unless told otherwise: see `Upstream`. */
  constructor(settings: RiseFallSettings = riseFallDefaults, up = true) {
    this.#settings = settings;
    this.#up = up;
  }

  get up(): boolean {
    return this.#up;
  }

  /** The result of a check; answers the new state when it changes with it. */
  record(passed: boolean): "up" | "down" | undefined {
    if (passed === this.#up) {
      this.#against = 0;
      return undefined;
    }
    this.#against++;
    const needed = passed ? this.#settings.healthyAfter : this.#settings.unhealthyAfter;
    if (this.#against < needed) return undefined;
    this.#up = passed;
    this.#against = 0;
    return passed ? "up" : "down";
  }
}
