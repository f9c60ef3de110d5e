import { CR, FIELD_VALUE, HEX, LF, latin1, SEMICOLON, span } from "./bytes.ts";
import { type FieldSink, KNOWN, namesTable, parseFields, Runs } from "./fields.ts";
import { REFUSALS, type Refusal } from "./refusal.ts";

/** What a chunked body may hold besides its data. */
export interface ChunkedLimits {
  readonly chunkExtensionBytes: number;
  /** Of the trailer section. */
  readonly headBytes: number;
  readonly headFields: number;
}

/** A chunk size of more digits than this would not be counted exactly. */
const MAX_SIZE_DIGITS = 13;

/** Fields that a trailer section must not bring (RFC 9110 section 6.5.1): framing, routing, authentication, connection. */
const NOT_IN_TRAILERS = namesTable(
  [
    "transfer-encoding",
    "content-length",
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "authorization",
    "proxy-authorization",
    "proxy-authenticate",
    "www-authenticate",
    "set-cookie",
    "cookie",
    "content-encoding",
    "content-type",
    "content-range",
    "cache-control",
    "max-forwards",
    "range",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
  ].map((name) => [name, KNOWN.hop] as const),
);

type State =
  | "size"
  | "size-digits"
  | "extension"
  | "size-lf"
  | "data"
  | "data-cr"
  | "data-lf"
  | "trailer"
  | "done"
  | "refused";

/** A bare CR or LF can never become a valid section: no need to wait for more. */
function hasBareLineEnd(text: string): boolean {
  return /[^\r]\n|\r[^\n]/.test(text);
}

/**
 * Checks a chunked body as it passes (RFC 9112 section 7.1), in any cuts.
 *
 * Well-formed chunks go through as they are: `runs` names the ranges of the input to pass on. Chunk extensions are left
 * out (a proxy may drop what it does not understand), and the trailer section is written anew, without fields that have
 * no place there. With `dataOnly` the runs hold the data alone, for a receiver that knows no chunks.
 */
export class ChunkedDecoder implements FieldSink {
  readonly #limits: ChunkedLimits;
  readonly #dataOnly: boolean;
  #state: State = "size";
  #left = 0;
  #digits = 0;
  #extensionBytes = 0;
  #trailer = "";

  readonly runs = new Runs();
  refusal: Refusal | undefined;
  /** Data bytes seen so far. */
  dataBytes = 0;
  /** Once done: the trailer section to write, with its empty line; empty with `dataOnly`. */
  trailer = "";

  constructor(limits: ChunkedLimits, dataOnly = false) {
    this.#limits = limits;
    this.#dataOnly = dataOnly;
  }

  get done(): boolean {
    return this.#state === "done";
  }

  /**
   * Takes `bytes[from, to)` and fills `runs` with what to pass on.
   * @returns the offset behind what belongs to this body; with `refusal` set, nothing of the input may be passed on
   */
  feed(bytes: Buffer, from: number, to: number): number {
    const { runs } = this;
    runs.clear();
    let at = from;
    let runFrom = from;
    while (at < to) {
      switch (this.#state) {
        case "data": {
          const end = Math.min(to, at + this.#left);
          if (this.#dataOnly) runs.add(at, end);
          this.dataBytes += end - at;
          this.#left -= end - at;
          at = end;
          if (this.#left === 0) this.#state = "data-cr";
          break;
        }
        case "data-cr":
          if (bytes[at++] !== CR) return this.#refuse(REFUSALS.chunkEnd, at);
          this.#state = "data-lf";
          break;
        case "data-lf":
          if (bytes[at++] !== LF) return this.#refuse(REFUSALS.chunkEnd, at);
          this.#state = "size";
          break;
        case "size":
        case "size-digits": {
          const byte = bytes[at]!;
          const digit = HEX[byte]!;
          if (digit !== 255) {
            if (++this.#digits > MAX_SIZE_DIGITS) return this.#refuse(REFUSALS.chunkSize, at);
            this.#left = this.#left * 16 + digit;
            this.#state = "size-digits";
            at++;
          } else if (this.#state === "size") {
            return this.#refuse(REFUSALS.chunkSize, at);
          } else if (byte === CR) {
            at++;
            this.#state = "size-lf";
          } else if (byte === SEMICOLON) {
            if (!this.#dataOnly) runs.add(runFrom, at);
            this.#state = "extension";
          } else {
            return this.#refuse(REFUSALS.chunkSize, at);
          }
          break;
        }
        case "extension": {
          const extensionFrom = at;
          at = span(FIELD_VALUE, bytes, at, to);
          this.#extensionBytes += at - extensionFrom;
          if (this.#extensionBytes > this.#limits.chunkExtensionBytes) return this.#refuse(REFUSALS.chunkExtension, at);
          runFrom = at;
          if (at === to) break;
          if (bytes[at] !== CR) return this.#refuse(REFUSALS.chunkExtension, at);
          at++;
          this.#state = "size-lf";
          break;
        }
        case "size-lf":
          if (bytes[at++] !== LF) return this.#refuse(REFUSALS.chunkSize, at);
          this.#digits = 0;
          if (this.#left > 0) {
            this.#state = "data";
          } else {
            if (!this.#dataOnly) runs.add(runFrom, at);
            this.#state = "trailer";
            runFrom = at;
          }
          break;
        case "trailer": {
          if (this.#trailer === "" && at + 1 < to && bytes[at] === CR && bytes[at + 1] === LF) {
            if (!this.#dataOnly) this.trailer = "\r\n";
            this.#state = "done";
            return at + 2;
          }
          const end = this.#feedTrailer(bytes, at, to);
          if (this.refusal !== undefined) return this.#refuse(this.refusal, end);
          return end;
        }
        default:
          return at;
      }
    }
    if (!this.#dataOnly && this.#state !== "trailer" && this.#state !== "extension") runs.add(runFrom, at);
    return at;
  }

  /** Collects the trailer section until its empty line, then checks it as a block. */
  #feedTrailer(bytes: Buffer, from: number, to: number): number {
    const before = this.#trailer.length;
    const room = this.#limits.headBytes - before;
    const end = Math.min(to, from + room + 1);
    this.#trailer += latin1(bytes, from, end);
    const emptyLine = this.#trailer.startsWith("\r\n")
      ? 0
      : this.#trailer.indexOf("\r\n\r\n", Math.max(0, before - 3)) + 2;
    const complete = this.#trailer.startsWith("\r\n") || emptyLine >= 2;
    if (!complete) {
      const bare = this.#trailer.startsWith("\n") || hasBareLineEnd(this.#trailer.slice(Math.max(0, before - 1)));
      if (bare || this.#trailer.length > this.#limits.headBytes) this.refusal = REFUSALS.trailer;
      return end;
    }
    const section = Buffer.from(this.#trailer.slice(0, emptyLine + 2), "latin1");
    const kept = new Runs();
    if (parseFields(section, 0, section.length, this.#limits.headFields, NOT_IN_TRAILERS, kept, this) < 0) {
      this.refusal = REFUSALS.trailer;
      return end;
    }
    if (!this.#dataOnly) this.trailer = `${kept.text(section)}\r\n`;
    this.#trailer = "";
    this.#state = "done";
    return from + section.length - before;
  }

  /** Every name listed for trailers is one to leave out. */
  known(): boolean {
    return false;
  }

  #refuse(refusal: Refusal, at: number): number {
    this.runs.clear();
    this.#state = "refused";
    this.refusal = refusal;
    return at;
  }
}
