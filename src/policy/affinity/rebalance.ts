import type { Random } from "../model/random.ts";
import type { RebalanceOptions } from "./options.ts";

/** A backend that takes new tunnels, and what it carries of them. */
export interface TunnelLoad<B> {
  readonly backend: B;
  /** Tunnels open on it, in this worker. */
  readonly tunnels: number;
  /** What its fair share goes by in the end; 0: it should have none. */
  readonly weight: number;
  /** What new tunnels go by now: the weight, less while it starts slowly. */
  readonly share: number;
}

/** What holds a tunnel back mostly passes: whether one can be closed is looked at again this often. */
const LOOK_AGAIN_MS = 1_000;
/** When no tunnel could be closed for so long, the rest stays where it is. */
const PATIENCE_MS = 10_000;

/**
 * Which backend should give up a tunnel next, and when, after membership has grown.
 *
 * Long-lived tunnels stay where they are, so a backend that is added or comes back would serve none until clients leave
 * by themselves. Closing some lets the balancer place them anew. Of 40 tunnels on `a`, when `b` comes back with twice
 * the weight of `a`, the fair share of `a` is 13.3; it gives up 26, until it has no more than one too many.
 *
 * 1. At the growth each backend is told how many it has too many: that is the most it gives up, wherever the clients
 *    go. Some come back late, some to where they were, since their session is there or the balancer goes by weight
 *    alone: nobody is closed in circles, and no more are than would have to move.
 * 2. Of the backends that still have more than their fair share by more than one, that with the most too many is next.
 *    It never gets below its share: others may have left on their own meanwhile.
 * 3. Closings are planned at `rate` and each is put off by up to `jitter`; and however they come to fall, no second sees
 *    more than `rate`. For a rate below 1: no more than one in the time that one takes.
 * 4. A backend none of whose tunnels can be closed is asked again after a second. It is over when shares are fair, or
 *    when nothing could be closed for ten.
 * 5. A backend that starts slowly gets new tunnels by its share of the moment: what others have too many by their weight
 *    alone they keep until it can take them.
 *
 * A further growth while it runs sets the numbers of 1 anew. Clients that were closed may still be on their way back
 * then: the total is taken to be no less than before.
 */
export class Rebalance<B> {
  readonly #random: Random;
  readonly #jitterMs: number;
  /** Closings in a window, at most. */
  readonly #most: number;
  readonly #windowMs: number;
  /** When the last so many closings were, the oldest at `#oldest`. */
  readonly #closedMs: Float64Array;
  #oldest = 0;
  /** How many each has to give up still. */
  readonly #excess = new Map<B, number>();
  /** Backends none of whose tunnels could be closed, and until when they are left alone. */
  readonly #restsUntilMs = new Map<B, number>();
  /** Tunnels in all, at the growth. */
  #total = 0;
  /** Times of closings that are planned, the soonest first. */
  #planned: number[] = [];
  /** The place in time of the next one to plan, before its jitter. */
  #placeMs = 0;
  /** Since when no tunnel could be closed; Infinity: the last one could. */
  #fruitlessSinceMs = Number.POSITIVE_INFINITY;
  #wakeAtMs = Number.POSITIVE_INFINITY;

  constructor({ rate, jitter }: RebalanceOptions, random: Random) {
    this.#random = random;
    this.#jitterMs = jitter;
    this.#most = Math.max(1, Math.floor(rate));
    this.#windowMs = Math.max(1_000, 1_000 / rate);
    this.#closedMs = new Float64Array(this.#most).fill(Number.NEGATIVE_INFINITY);
  }

  /** When to ask for the {@link next}; Infinity: nothing has to be closed. */
  get wakeAtMs(): number {
    return this.#wakeAtMs;
  }

  /** A backend was added, or is up again. `loads`: all that take new tunnels, with that one. */
  grown(loads: readonly TunnelLoad<B>[], now: number): void {
    const running = this.#wakeAtMs !== Number.POSITIVE_INFINITY;
    const tunnels = sum(loads, "tunnels");
    this.#total = running ? Math.max(this.#total, tunnels) : tunnels;
    const weights = sum(loads, "weight");
    this.#excess.clear();
    this.#restsUntilMs.clear();
    for (const { backend, tunnels, weight } of loads) {
      const tooMany = Math.ceil(tunnels - fairShare(this.#total, weight, weights) - 1);
      if (tooMany > 0) this.#excess.set(backend, tooMany);
    }
    if (this.#excess.size === 0) return this.#end();
    this.#fruitlessSinceMs = Number.POSITIVE_INFINITY;
    if (!running) this.#planFrom(now);
  }

  /**
   * Who should give up a tunnel now; undefined: nobody, and `wakeAtMs` says when to ask again. Each answer is followed by
   * {@link gave} or {@link hasNoneToGive}, then this may be asked once more.
   */
  next(loads: readonly TunnelLoad<B>[], now: number): B | undefined {
    if (now < this.#wakeAtMs) return undefined;
    const total = sum(loads, "tunnels");
    const weights = sum(loads, "weight");
    const shares = sum(loads, "share");
    let most: TunnelLoad<B> | undefined;
    let mostTooMany = 1;
    let againMs = Number.POSITIVE_INFINITY;
    for (const load of loads) {
      if (!this.#excess.has(load.backend)) continue;
      if (load.tunnels <= fairShare(total, load.weight, weights) + 1) continue;
      const rests = this.#restsUntilMs.get(load.backend) ?? now;
      const tooMany = load.tunnels - fairShare(total, load.share, shares);
      if (rests > now) {
        this.#fruitlessSinceMs = Math.min(this.#fruitlessSinceMs, now);
        againMs = Math.min(againMs, rests);
      } else if (tooMany <= 1) {
        // Others start slowly. That ends, so nobody has to lose patience.
        this.#fruitlessSinceMs = Number.POSITIVE_INFINITY;
        againMs = Math.min(againMs, now + LOOK_AGAIN_MS);
      } else if (tooMany > mostTooMany) {
        most = load;
        mostTooMany = tooMany;
      }
    }
    if (most !== undefined) return most.backend;
    if (againMs === Number.POSITIVE_INFINITY || now - this.#fruitlessSinceMs >= PATIENCE_MS) this.#end();
    else this.#planFrom(againMs);
    return undefined;
  }

  /** It has given up a tunnel. */
  gave(backend: B, now: number): void {
    const left = this.#excess.get(backend)! - 1;
    if (left > 0) this.#excess.set(backend, left);
    else this.#excess.delete(backend);
    this.#closedMs[this.#oldest] = now;
    this.#oldest = (this.#oldest + 1) % this.#most;
    this.#fruitlessSinceMs = Number.POSITIVE_INFINITY;
    this.#planned.shift();
    if (this.#excess.size === 0) this.#end();
    else this.#plan();
  }

  /** None of its tunnels can be closed now. */
  hasNoneToGive(backend: B, now: number): void {
    this.#restsUntilMs.set(backend, now + LOOK_AGAIN_MS);
  }

  /** Nothing is closed before then; what was planned until then would come all at once, so it is planned anew. */
  #planFrom(fromMs: number): void {
    this.#planned = [];
    this.#placeMs = fromMs;
    this.#plan();
  }

  /** Plans ahead until no later place can become the soonest. */
  #plan(): void {
    const planned = this.#planned;
    while (planned.length === 0 || this.#placeMs < planned[0]!) {
      const atMs = this.#placeMs + this.#random.next() * this.#jitterMs;
      let index = planned.length;
      while (index > 0 && planned[index - 1]! > atMs) index--;
      planned.splice(index, 0, atMs);
      this.#placeMs += this.#windowMs / this.#most;
    }
    const allowedMs = this.#closedMs[this.#oldest]! + this.#windowMs;
    this.#wakeAtMs = Math.max(planned[0]!, allowedMs);
  }

  #end(): void {
    this.#excess.clear();
    this.#restsUntilMs.clear();
    this.#planned = [];
    this.#wakeAtMs = Number.POSITIVE_INFINITY;
  }
}

function sum<B>(loads: readonly TunnelLoad<B>[], what: "tunnels" | "weight" | "share"): number {
  let all = 0;
  for (const load of loads) all += load[what];
  return all;
}

/** Where nobody has a share, nobody has too many. */
function fairShare(total: number, share: number, shares: number): number {
  return shares === 0 ? Number.POSITIVE_INFINITY : (total * share) / shares;
}
