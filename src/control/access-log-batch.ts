import type { Clock, Timer } from "../time/clock.ts";

const POST_AFTER_MS = 50;
const POST_AT_CHARS = 64 * 1024;
const MAX_UNWRITTEN_CHARS = 1024 * 1024;

/** What a worker hands to the control plane at once. */
export interface AccessLogLines {
  /** Whole lines, each with its newline. */
  readonly text: string;
  readonly lines: number;
}

/**
 * Collects access log lines of one worker and posts them together, at most every 50 ms or 64 KiB, because a message a
 * line would cost more than the request. What is posted and not yet written is bounded by 1 MiB: when the control plane
 * does not keep up, lines are dropped and counted, and requests go on.
 */
export class AccessLogBatch {
  readonly #post: (batch: AccessLogLines) => void;
  readonly #dropped: (lines: number) => void;
  #lines: string[] = [];
  #chars = 0;
  #unwritten = 0;
  readonly #due: Timer;

  constructor(clock: Clock, post: (batch: AccessLogLines) => void, dropped: (lines: number) => void) {
    this.#post = post;
    this.#dropped = dropped;
    this.#due = clock.timer(() => this.flush());
  }

  /** One line, without its newline. */
  add(line: string): void {
    if (this.#unwritten + this.#chars + line.length >= MAX_UNWRITTEN_CHARS) {
      this.#dropped(1);
      return;
    }
    if (this.#lines.push(line) === 1) this.#due.set(POST_AFTER_MS);
    this.#chars += line.length + 1;
    if (this.#chars >= POST_AT_CHARS) this.flush();
  }

  /** Posts what is there. */
  flush(): void {
    this.#due.clear();
    if (this.#lines.length === 0) return;
    const batch = { text: `${this.#lines.join("\n")}\n`, lines: this.#lines.length };
    this.#lines = [];
    this.#chars = 0;
    this.#unwritten += batch.text.length;
    this.#post(batch);
  }

  /** The control plane is done with a batch of this many characters. */
  written(chars: number): void {
    // Never below zero: the answer to a batch of a worker that died comes to the one in its place.
    this.#unwritten = Math.max(0, this.#unwritten - chars);
  }
}
