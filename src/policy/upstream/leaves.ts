/** A client that was told to come again has done so by then, or will not. */
const COMES_BACK_MS = 60_000;

/** Sessions that may leave a backend when they come back to it: those whose tunnels were closed for that. */
export class Leaves {
  /** Until when, for each tunnel, the oldest first. */
  readonly #untilMs = new Map<string, number[]>();

  /** Whether anybody might. */
  get any(): boolean {
    return this.#untilMs.size > 0;
  }

  /** One more tunnel of `who` was closed. */
  note(who: string, now: number): void {
    for (const [other, untilMs] of this.#untilMs) if (untilMs.at(-1)! <= now) this.#untilMs.delete(other);
    const untilMs = this.#untilMs.get(who) ?? [];
    untilMs.push(now + COMES_BACK_MS);
    this.#untilMs.set(who, untilMs);
  }

  /** Whether `who` may leave; it may not a second time for the same tunnel. */
  take(who: string, now: number): boolean {
    const untilMs = this.#untilMs.get(who)?.filter((until) => until > now);
    if (untilMs?.pop() === undefined) return false;
    if (untilMs.length === 0) this.#untilMs.delete(who);
    else this.#untilMs.set(who, untilMs);
    return true;
  }
}
