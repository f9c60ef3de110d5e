import { latin1 } from "../wire/bytes.ts";
import { ChunkedDecoder, type ChunkedLimits } from "../wire/chunked-decoder.ts";
import { REFUSALS, type Refusal } from "../wire/refusal.ts";
import { CHUNKED, UNTIL_CLOSE } from "../wire/request-head.ts";
import type { Connection } from "./transport/connection.ts";
import type { ReadBuffers } from "./transport/read-buffers.ts";

/**
 * How a body is written. `as-is`: framed as it came; `data-only`: without its chunks, for HTTP/1.0;
 * `chunked`: put into chunks, because it came without an end of its own.
 */
export type Encoding = "as-is" | "data-only" | "chunked";

/** Text is kept in pieces as they came, and each costs more than its bytes. */
const MOST_KEPT_PIECES = 512;
/** A piece of at least this size is written from a bulk buffer; smaller ones are cheaper as strings. */
const BULK_FROM_BYTES = 32 * 1024;
/** A transfer whose pieces fall below this gives its bulk buffer back. */
const BULK_UNTIL_BYTES = 4 * 1024;

export interface BodyRelayInit {
  readonly buffers: ReadBuffers;
  readonly source: Connection;
  /** Bytes, CHUNKED or UNTIL_CLOSE. */
  readonly framing: number;
  readonly encoding: Encoding;
  readonly limits: ChunkedLimits;
  /** Most data bytes; more are refused with 413. */
  readonly maxBytes?: number;
  /** A body of up to so many bytes is kept, framing included, so that it can be written again. Default: none is. */
  readonly keepBytes?: number;
}

/**
 * Moves one body from a connection to another: checks its framing and keeps the pace of the slower side.
 *
 * It holds at most one read: when the sink does not take everything, the source is paused until it has. A head put into
 * `head` goes out with the first piece, in one write.
 */
export class BodyRelay {
  readonly #buffers: ReadBuffers;
  readonly #source: Connection;
  readonly #encoding: Encoding;
  readonly #maxBytes: number;
  readonly #decoder: ChunkedDecoder | undefined;
  readonly #keepBytes: number;
  #sink: Connection | undefined;
  /** All of the body so far, while it is short enough to be kept. */
  #keptText: string | undefined;
  #keptPieces = 0;
  #left: number;
  /** Own buffer the source reads into, while pieces are large. */
  #bulk: Buffer | undefined;
  /** A bulk buffer that is done with but for a write that the kernel has not taken yet. */
  #lent: Buffer | undefined;

  /** Text to write before the body. */
  head = "";
  /** Data bytes taken so far. */
  bytes = 0;
  /** Bytes written so far, with head and framing. */
  written = 0;
  /** The whole body has been taken. */
  done = false;
  /** The sink has not taken everything: the source is paused. */
  blocked = false;
  refusal: Refusal | undefined;

  constructor({
    buffers,
    source,
    framing,
    encoding,
    limits,
    maxBytes = Number.POSITIVE_INFINITY,
    keepBytes = 0,
  }: BodyRelayInit) {
    this.#buffers = buffers;
    this.#source = source;
    this.#encoding = encoding;
    this.#maxBytes = maxBytes;
    this.#keepBytes = keepBytes;
    if (keepBytes > 0 && framing <= keepBytes) this.#keptText = "";
    this.untilClose = framing === UNTIL_CLOSE;
    this.#left = framing === UNTIL_CLOSE ? Number.POSITIVE_INFINITY : framing;
    if (framing === CHUNKED) this.#decoder = new ChunkedDecoder(limits, encoding === "data-only");
  }

  /** Whether the body ends with its connection. */
  readonly untilClose: boolean;

  /** Whether it knows where to write to. */
  get opened(): boolean {
    return this.#sink !== undefined;
  }

  /** Whether all of the body so far is still there, so that {@link rewind} is possible. */
  get rewindable(): boolean {
    return this.#keptText !== undefined;
  }

  /** It will not be written again. */
  forget(): void {
    this.#keptText = undefined;
  }

  /** The sink is gone: the body begins anew with the next one that is opened. */
  rewind(): void {
    this.#sink = undefined;
    this.head = this.#keptText!;
    this.blocked = false;
  }

  /** Where the body goes. What was taken before is written with the next piece, or by `flush`. */
  open(sink: Connection): void {
    this.#sink = sink;
  }

  /**
   * Takes what belongs to the body out of `bytes[from, to)`; without a sink it is held.
   * @returns the offset behind it; with `refusal` set nothing of it was written
   */
  feed(bytes: Buffer, from: number, to: number): number {
    const decoder = this.#decoder;
    if (decoder === undefined) {
      const end = to - from > this.#left ? from + this.#left : to;
      this.#left -= end - from;
      this.bytes += end - from;
      this.done = this.#left === 0;
      if (end > from) this.#pass(bytes, from, end);
      this.flush();
      if (this.done) this.#leaveBulk();
      return end;
    }
    const end = decoder.feed(bytes, from, to);
    this.bytes = decoder.dataBytes;
    this.refusal = decoder.refusal ?? (this.bytes > this.#maxBytes ? REFUSALS.bodyBytes : undefined);
    if (this.refusal !== undefined) return end;
    this.done = decoder.done;
    const { runs } = decoder;
    if (runs.count === 2 && decoder.trailer === "") this.#pass(bytes, runs.ranges[0]!, runs.ranges[1]!);
    else this.#writeText(runs.text(bytes) + decoder.trailer);
    this.flush();
    if (this.done) this.#leaveBulk();
    return end;
  }

  /** Writes the head where no piece of the body has taken it along. */
  flush(): void {
    if (this.head !== "" && this.#sink !== undefined) this.#writeText("");
  }

  /** The source has ended where its body may end: what was put into chunks gets its last one. */
  finish(): void {
    this.done = true;
    if (this.#encoding === "chunked") this.#writeText("0\r\n\r\n");
    this.#leaveBulk();
  }

  /** The sink has taken everything. */
  drained(): void {
    this.blocked = false;
    if (this.#lent !== undefined) {
      this.#buffers.giveBulk(this.#lent);
      this.#lent = undefined;
    }
    if (!this.done) this.#source.resume();
  }

  /** Nothing more will be moved. Buffers that may still be read into or written from are left to the collector. */
  abandon(): void {
    if (this.#bulk !== undefined) {
      this.#source.readInto(undefined);
      this.#buffers.dropBulk();
    }
    if (this.#lent !== undefined) this.#buffers.dropBulk();
    this.#bulk = this.#lent = undefined;
    this.head = "";
    this.#keptText = undefined;
    this.done = true;
  }

  #pass(bytes: Buffer, from: number, to: number): void {
    const size = to - from;
    const sink = this.#sink;
    if (this.#keptText !== undefined && this.#keptText.length + size > this.#keepBytes) this.#keptText = undefined;
    if (this.#encoding === "chunked") {
      this.#writeText(`${size.toString(16)}\r\n${latin1(bytes, from, to)}\r\n`);
    } else if (sink !== undefined && bytes === this.#bulk && this.head === "") {
      this.written += size;
      if (!sink.writeLent(bytes.subarray(from, to))) this.#block();
      else if (size < BULK_UNTIL_BYTES && !this.done) this.#leaveBulk();
    } else if (
      sink !== undefined &&
      size >= BULK_FROM_BYTES &&
      !this.blocked &&
      this.#keptText === undefined &&
      this.#enterBulk(size)
    ) {
      const bulk = this.#bulk!;
      const at = this.head === "" ? 0 : bulk.write(this.head, "latin1");
      this.head = "";
      bytes.copy(bulk, at, from, to);
      this.written += at + size;
      if (!sink.writeLent(bulk.subarray(0, at + size))) this.#block();
    } else {
      this.#writeText(latin1(bytes, from, to));
    }
  }

  #enterBulk(size: number): boolean {
    this.#bulk ??= this.#buffers.takeBulk();
    if (this.#bulk === undefined || this.head.length + size > this.#bulk.length) return false;
    this.#source.readInto(this.#bulk);
    return true;
  }

  /** Called from within the source's read, after which it reads into the shared buffer again. */
  #leaveBulk(): void {
    if (this.#bulk === undefined) return;
    this.#source.readInto(undefined);
    if (this.blocked) this.#lent = this.#bulk;
    else this.#buffers.giveBulk(this.#bulk);
    this.#bulk = undefined;
  }

  #writeText(text: string): void {
    if (this.#keptText !== undefined) {
      const fits = this.#keptText.length + text.length <= this.#keepBytes && ++this.#keptPieces <= MOST_KEPT_PIECES;
      this.#keptText = fits ? this.#keptText + text : undefined;
    }
    const whole = this.head + text;
    if (this.#sink === undefined) {
      this.head = whole;
      return;
    }
    this.head = "";
    if (whole === "") return;
    this.written += whole.length;
    if (!this.#sink.write(whole)) this.#block();
  }

  /** What comes behind the last piece is not this relay's: the source goes on. */
  #block(): void {
    this.blocked = true;
    if (!this.done) this.#source.pause();
  }
}
