/**
 * How many retries may run at a time: a share of the exchanges that run or wait, and at least `minimum`. When
 * everything fails, retries then add no more than that share to the load that made it fail; where there is little
 * traffic, `minimum` lets a few through that the share would round away.
 *
 * It bounds how many run, not how many begin: retries that take long leave room for fewer.
 * Source: Envoy, `retry_budget` (20 %, 3).
 */
export class RetryBudget {
  readonly #share: number;
  readonly #minimum: number;
  #running = 0;

  constructor(share: number, minimum: number) {
    this.#share = share;
    this.#minimum = minimum;
  }

  /** Retries that run now. */
  get running(): number {
    return this.#running;
  }

  /**
   * Takes one, if fewer run than max(`minimum`, floor(`share` * `active`)). `active`: exchanges that run or wait in the
   * upstream now. Each one that was taken is given back once, by {@link give}, when its attempt has ended.
   */
  take(active: number): boolean {
    if (this.#running >= Math.max(this.#minimum, Math.floor(this.#share * active))) return false;
    this.#running++;
    return true;
  }

  /** A retry that {@link take} let through has ended, however it went. */
  give(): void {
    this.#running--;
  }
}
