import type { Random } from "../policy/model/random.ts";

/** Ids for requests: unique across workers and restarts by a random start, cheap by counting on from it. Not secrets. */
export class RequestIds {
  readonly #prefix: string;
  #count = 0;

  constructor(random: Random) {
    const word = () =>
      Math.floor(random.next() * 0x1_0000_0000)
        .toString(16)
        .padStart(8, "0");
    this.#prefix = `${word()}${word()}-`;
  }

  next(): string {
    return this.#prefix + (this.#count++).toString(36);
  }
}
