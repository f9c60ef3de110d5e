import type { ConcurrencyLimitOptions } from "./options.ts";

// A window: fewer samples say little, and what a change of the limit did shows only after a response.
const MIN_SAMPLES = 10;
const MIN_WINDOW_MS = 100;
const MAX_WINDOW_MS = 10_000;
// Shorter ones did not reach a backend's work.
const MIN_DURATION_MS = 0.1;

// Gradient2 of Netflix' concurrency-limits.
const TOLERANCE = 1.5;
const MIN_GRADIENT = 0.5;
const SMOOTHING = 0.2;

// Additive increase, multiplicative decrease: at most a tenth a window.
const MAX_CUT = 0.1;

const MIN_PROBE_SAMPLES = 30;
const MAX_PROBE_WINDOWS = 10;
const FIRST_PROBE_AFTER = 8;
const MAX_PROBE_AFTER = 128;
// Twice would be: nothing but the queue at the backends has become shorter.
const ALL_QUEUE = 1.8;
const SOME_QUEUE = 0.9;
// Samples that count as much as all that was learnt before.
const INERTIA = 20;

/**
 * How many exchanges may run on an upstream, learnt from how long they take: `concurrencyLimit`. It lets the limit grow
 * while more of them take no longer, and lowers it when they begin to wait for each other at the backends.
 *
 * Durations are averaged over windows (at least 10 samples, and twice as long as they take, 0.1 to 10 s). After each:
 *
 *     gradient = 1.5 * usual / average, from 0.5 to 1 (1.5 is what is bearable)
 *     limit   += 0.2 * sqrt(limit)                if the gradient is 1 and at least half of the limit was used
 *     limit   -= 0.2 * (1 - gradient) * limit     if it is below 1, likewise
 *     limit   -= limit * min(0.1, dropped share)  if any were dropped; from a tenth on, nothing else counts
 *
 * That is Gradient2 of Netflix' concurrency-limits with AIMD, but for what `usual` is. There, it is a slow average of
 * everything: under lasting overload what is unusual becomes usual, and the limit creeps up until nothing is limited
 * (their issues 134, 137 and 176). Here it is learnt only from windows with at most half of the concurrency that was
 * allowed since it was last learnt, where nobody waits because the limit is too high, and never among drops. Such a
 * window comes by itself when traffic is low or the limit falls. Else the limit is halved for a moment, a probe: after
 * 8 windows at first, after 128 when the last ones taught nothing new. When durations halve as well, all that was lost
 * is a queue, and the limit stays there. When they have grown for good, the limit falls to half, learns that this does
 * not help, and grows again.
 *
 * Of a server that can do `c` at a time, the limit comes to about 1.5 times `c`, from above as well as from below.
 */
export class ConcurrencyLimit {
  readonly #min: number;
  readonly #max: number;
  #limit: number;
  #usualMs = Number.NaN;
  /** The highest limit since `usualMs` was learnt. */
  #highest: number;

  #windowMs = MIN_WINDOW_MS;
  #startedMs = 0;
  #succeeded = 0;
  #sumMs = 0;
  #dropped = 0;
  #mostInflight = 0;

  #probing = false;
  #probeStartedMs = 0;
  /**
   * When those that began at a higher concurrency have ended, but for a few. To look at when each began would be
   * exact, and wrong: of those that began a moment ago, only the short ones have ended.
   */
  #settledAtMs = 0;
  #probeAfter = FIRST_PROBE_AFTER;
  #untilProbe = FIRST_PROBE_AFTER;
  /** Until the first probe all there is to learn from is what comes, and the first to end were the short ones. */
  #everProbed = false;
  #limitBefore = 0;
  #averageBeforeMs = 0;

  constructor(options: ConcurrencyLimitOptions) {
    this.#min = options.min;
    this.#max = options.max;
    this.#limit = Math.min(options.max, Math.max(options.min, options.initial));
    this.#highest = this.#limit;
  }

  /** A whole number from `min` to `max`. */
  get limit(): number {
    return Math.floor(this.#limit);
  }

  /** Whether one more may run beside `inflight` that do. */
  admits(inflight: number): boolean {
    return inflight < this.limit;
  }

  /**
   * One has ended after `durationMs` (best to the head of its response: how long a body takes is up to the client);
   * `inflight` ran, with it. `dropped`: it timed out, or the backend refused it for overload; how long that took does
   * not matter then. Not to be called for one that the client has cancelled: it says nothing.
   */
  settled(durationMs: number, inflight: number, dropped: boolean, now: number): void {
    if (!dropped && durationMs < MIN_DURATION_MS) return;
    if (this.#probing && this.#isEarly(inflight, now)) return;
    if (this.#succeeded + this.#dropped === 0) this.#startedMs = now;
    if (inflight > this.#mostInflight) this.#mostInflight = inflight;
    if (dropped) {
      this.#dropped++;
    } else {
      this.#succeeded++;
      this.#sumMs += durationMs;
    }
    const enough = this.#probing ? MIN_PROBE_SAMPLES : MIN_SAMPLES;
    if (this.#succeeded + this.#dropped >= enough && now - this.#startedMs >= this.#windowMs) this.#endWindow(now);
  }

  /** Whether one that ends now, in a probe, shows how it was before. */
  #isEarly(inflight: number, now: number): boolean {
    if (this.#settledAtMs !== Number.POSITIVE_INFINITY) return now < this.#settledAtMs;
    if (inflight <= this.#calm()) this.#settledAtMs = now + 2 * this.#averageBeforeMs;
    else if (now - this.#probeStartedMs > MAX_PROBE_WINDOWS * this.#windowMs) this.#giveUpProbe();
    return true;
  }

  #endWindow(now: number): void {
    const succeeded = this.#succeeded;
    const averageMs = this.#sumMs / succeeded;
    const share = this.#dropped / (succeeded + this.#dropped);
    const inflight = this.#mostInflight;
    this.#succeeded = 0;
    this.#sumMs = 0;
    this.#dropped = 0;
    this.#mostInflight = 0;
    this.#set(this.#limit * (1 - Math.min(MAX_CUT, share)));
    if (share >= MAX_CUT) {
      // What ends well among drops is no measure of anything.
      this.#probing = false;
      return;
    }
    this.#windowMs = Math.min(MAX_WINDOW_MS, Math.max(MIN_WINDOW_MS, 2 * averageMs));
    this.#adapt(averageMs, succeeded, inflight, now);
  }

  #adapt(averageMs: number, samples: number, inflight: number, now: number): void {
    if (Number.isNaN(this.#usualMs)) {
      this.#usualMs = averageMs;
      return;
    }
    const calm = inflight <= this.#calm();
    if (calm || !this.#everProbed) this.#learn(averageMs, samples);
    if (this.#probing) {
      this.#endProbe(averageMs, now);
    } else if (inflight >= this.#limit / 2) {
      const gradient = this.#gradient(averageMs);
      const aim = gradient === 1 ? this.#limit + Math.sqrt(this.#limit) : this.#limit * gradient;
      this.#set(this.#limit + SMOOTHING * (aim - this.#limit));
      if (calm) this.#untilProbe = this.#probeAfter;
      else if (--this.#untilProbe <= 0) this.#probe(averageMs, now);
    }
  }

  #gradient(averageMs: number): number {
    return Math.min(1, Math.max(MIN_GRADIENT, (TOLERANCE * this.#usualMs) / averageMs));
  }

  /** Concurrency at which nobody waits because the limit is too high. Below `min` it cannot be. */
  #calm(): number {
    return Math.max(this.#min, this.#highest / 2);
  }

  #learn(averageMs: number, samples: number): void {
    this.#usualMs += ((averageMs - this.#usualMs) * samples) / (samples + INERTIA);
    this.#highest = this.#limit;
  }

  #probe(averageMs: number, now: number): void {
    this.#probing = true;
    this.#everProbed = true;
    this.#probeStartedMs = now;
    this.#settledAtMs = Number.POSITIVE_INFINITY;
    this.#limitBefore = this.#limit;
    this.#averageBeforeMs = averageMs;
    this.#set(this.#limit / 2);
  }

  #endProbe(averageMs: number, now: number): void {
    this.#probing = false;
    if (this.#averageBeforeMs >= ALL_QUEUE * averageMs) {
      this.#probeAfter = FIRST_PROBE_AFTER;
      this.#untilProbe = FIRST_PROBE_AFTER;
      if (this.#limit > this.#min) this.#probe(averageMs, now);
      return;
    }
    const share = this.#gradient(this.#averageBeforeMs);
    this.#set(this.#limitBefore * share);
    this.#probeAfter = share < SOME_QUEUE ? FIRST_PROBE_AFTER : Math.min(MAX_PROBE_AFTER, 2 * this.#probeAfter);
    this.#untilProbe = this.#probeAfter;
  }

  /** Long exchanges keep the concurrency up. */
  #giveUpProbe(): void {
    this.#probing = false;
    this.#set(this.#limitBefore);
    this.#probeAfter = MAX_PROBE_AFTER;
    this.#untilProbe = MAX_PROBE_AFTER;
  }

  #set(limit: number): void {
    this.#limit = Math.min(this.#max, Math.max(this.#min, limit));
    if (this.#limit > this.#highest) this.#highest = this.#limit;
  }
}
