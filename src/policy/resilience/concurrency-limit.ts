import type { ConcurrencyLimitOptions } from "./options.ts";

// A window: the average of fewer samples says little, and what a change of the limit did shows after one response time.
const MIN_SAMPLES = 10;
const MIN_WINDOW_MS = 100;
const MAX_WINDOW_MS = 1000;
// Shorter ones did not reach a backend's work.
const MIN_DURATION_MS = 0.1;

// Gradient2 of Netflix' concurrency-limits.
const TOLERANCE = 1.5;
const MIN_GRADIENT = 0.5;
const SMOOTHING = 0.2;

// Additive increase, multiplicative decrease: at most a tenth a window.
const MAX_CUT = 0.1;

const MIN_PROBE_SAMPLES = 30;
const MAX_PROBE_WINDOWS = 8;
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
 * Durations are averaged over windows (twice as long as an exchange takes, 0.1 to 1 s, at least 10 samples). After each:
 *
 *     gradient = usual / average, times 1.5 for what is bearable, from 0.5 to 1
 *     limit   += 0.2 * sqrt(limit)                if the gradient is 1 and at least half of the limit was used
 *     limit   -= 0.2 * (1 - gradient) * limit     if the gradient is below 1
 *     limit   -= limit * min(0.1, dropped share)  if any were dropped
 *
 * That is Gradient2 of Netflix' concurrency-limits with AIMD, but for what `usual` is. There, it is a slow average of
 * all: under constant overload what is unusual becomes usual, and the limit creeps up until nothing is limited (their
 * issues 134, 137 and 176). Here, it is learnt only from windows that ran at no more than half of the concurrency there
 * was since it was last learnt, where nobody waits because of the limit being too high; and never from drops. Should
 * such a window not come by itself, the limit is halved for a moment from time to time: after 8 windows at first, after
 * 128 when it teaches nothing new. When the average falls by half as well, all that was lost is a queue, and the lower
 * limit stays. When durations have doubled for good, the limit falls to half, learns that this does not help, and
 * grows again.
 *
 * Of a server that can do `c` at a time, the limit comes to 1.5 times `c`, and stays between `c` and 2 `c`.
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
  #probeAfter = FIRST_PROBE_AFTER;
  #untilProbe = FIRST_PROBE_AFTER;
  #probeWindows = 0;
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
    if (this.#succeeded + this.#dropped === 0) this.#startedMs = now;
    if (inflight > this.#mostInflight) this.#mostInflight = inflight;
    if (dropped) {
      this.#dropped++;
    } else {
      this.#succeeded++;
      this.#sumMs += durationMs;
    }
    const enough = this.#probing ? MIN_PROBE_SAMPLES : MIN_SAMPLES;
    if (this.#succeeded + this.#dropped >= enough && now - this.#startedMs >= this.#windowMs) this.#endWindow();
  }

  #endWindow(): void {
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
    this.#adapt(averageMs, succeeded, inflight);
  }

  #adapt(averageMs: number, samples: number, inflight: number): void {
    if (Number.isNaN(this.#usualMs)) {
      this.#usualMs = averageMs;
      return;
    }
    const calm = inflight <= Math.max(this.#min, this.#highest / 2);
    if (calm) this.#learn(averageMs, samples);
    if (this.#probing) {
      this.#probeWindows++;
      if (calm) this.#endProbe(averageMs);
      else if (this.#probeWindows === MAX_PROBE_WINDOWS) this.#giveUpProbe();
    } else if (inflight >= this.#limit / 2) {
      const gradient = this.#gradient(averageMs);
      const aim = gradient === 1 ? this.#limit + Math.sqrt(this.#limit) : this.#limit * gradient;
      this.#set(this.#limit + SMOOTHING * (aim - this.#limit));
      if (calm) this.#untilProbe = this.#probeAfter;
      else if (--this.#untilProbe <= 0) this.#probe(averageMs);
    }
  }

  #gradient(averageMs: number): number {
    return Math.min(1, Math.max(MIN_GRADIENT, (TOLERANCE * this.#usualMs) / averageMs));
  }

  #learn(averageMs: number, samples: number): void {
    this.#usualMs += ((averageMs - this.#usualMs) * samples) / (samples + INERTIA);
    this.#highest = this.#limit;
  }

  #probe(averageMs: number): void {
    this.#probing = true;
    this.#probeWindows = 0;
    this.#limitBefore = this.#limit;
    this.#averageBeforeMs = averageMs;
    this.#set(this.#limit / 2);
  }

  #endProbe(averageMs: number): void {
    this.#probing = false;
    if (this.#averageBeforeMs >= ALL_QUEUE * averageMs) {
      this.#probeAfter = FIRST_PROBE_AFTER;
      this.#untilProbe = FIRST_PROBE_AFTER;
      if (this.#limit > this.#min) this.#probe(averageMs);
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
