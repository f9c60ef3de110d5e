import { CR, FIELD_VALUE, LF, latin1, SP, span } from "./bytes.ts";
import {
  type FieldSink,
  INCOMPLETE,
  KNOWN,
  type KnownField,
  knownNames,
  listMembers,
  parseFields,
  REFUSED,
  Runs,
  withoutFields,
} from "./fields.ts";
import { REFUSALS, type Refusal } from "./refusal.ts";
import { CHUNKED, codingRefusal, parseLength, saysKeepAlive, UNTIL_CLOSE } from "./request-head.ts";

/** What a response head may be at most. */
export interface ResponseLimits {
  readonly headBytes: number;
  readonly headFields: number;
}

const NAMES = knownNames();
const NEVER_HOP = new Set(["close", "keep-alive", "upgrade", "content-length", "transfer-encoding"]);
const runs = new Runs();
const VERSION = Buffer.from("HTTP/1.", "latin1");

/** The common reason, ` OK`, without making a string each time. */
function isOk(bytes: Buffer, from: number, to: number): boolean {
  return to - from === 3 && bytes[from + 1] === 0x4f && bytes[from + 2] === 0x4b;
}

/** The head of one response of a backend, parsed in place from bytes. What is malformed is refused, never passed on. */
export class ResponseHead implements FieldSink {
  readonly #limits: ResponseLimits;
  refusal: Refusal | undefined;

  status = 0;
  minor = 1;
  /** ` reason`, with the space before it, or empty. */
  reason = "";
  /** Body bytes, CHUNKED or UNTIL_CLOSE. */
  framing = 0;
  /** Content-Length as sent, also where no body follows (HEAD, 304); -1 without. */
  length = -1;
  /** Whether the backend keeps the connection open after this response. */
  keepAlive = true;
  /** The protocol switched to with status 101, or empty. */
  upgrade = "";
  /** Whether the response says when it was made. */
  hasDate = false;
  /** Fields that are forwarded as they came, in order, each line with its CR LF. */
  kept = "";

  #connection = "";
  #upgradeField = "";
  #codingSeen = false;

  constructor(limits: ResponseLimits) {
    this.#limits = limits;
  }

  /**
   * Parses the head that begins at `from`; `method` is the request's, because a response to HEAD has no body.
   * @returns the offset behind it, INCOMPLETE when `to` cuts it, REFUSED with `refusal` set
   */
  parse(bytes: Buffer, from: number, to: number, method: string): number {
    this.refusal = undefined;
    const end = Math.min(to, from + this.#limits.headBytes);
    let at = from;
    for (let i = 0; i < 7; i++, at++) {
      if (at >= end) return INCOMPLETE;
      if (bytes[at] !== VERSION[i]) return this.#refuse(REFUSALS.statusLine);
    }
    if (at + 6 > end) return this.#cut(to, end);
    const minor = bytes[at]! - 0x30;
    if ((minor !== 0 && minor !== 1) || bytes[at + 1] !== SP) return this.#refuse(REFUSALS.statusLine);
    this.minor = minor;
    const status = parseLength(bytes, at + 2, at + 5);
    if (status < 100 || status > 599) return this.#refuse(REFUSALS.statusLine);
    this.status = status;
    at += 5;
    const reasonFrom = at;
    // The space before an empty reason is often left out; nothing else may follow the status.
    if (bytes[at] !== SP && bytes[at] !== CR) return this.#refuse(REFUSALS.statusLine);
    at = span(FIELD_VALUE, bytes, at, end);
    if (at + 1 >= end) return this.#cut(to, end);
    if (bytes[at] !== CR || bytes[at + 1] !== LF) return this.#refuse(REFUSALS.statusLine);
    this.reason = isOk(bytes, reasonFrom, at) ? " OK" : latin1(bytes, reasonFrom, at);
    at += 2;

    this.framing = UNTIL_CLOSE;
    this.length = -1;
    this.hasDate = this.#codingSeen = false;
    this.upgrade = this.#connection = this.#upgradeField = "";
    at = parseFields(bytes, at, end, this.#limits.headFields, NAMES, runs, this);
    if (at === INCOMPLETE) return this.#cut(to, end);
    if (at === REFUSED) return REFUSED;
    if (this.#codingSeen && this.length >= 0) return this.#refuse(REFUSALS.twoFramings);
    if (this.#codingSeen && this.minor === 0) return this.#refuse(REFUSALS.codingVersion);

    this.kept = runs.text(bytes);
    this.#readConnection();
    const declaresBody = this.#codingSeen || this.length > 0;
    if (status < 200 && declaresBody) return this.#refuse(REFUSALS.interimBody);
    // Such a backend may well send the body too: it must not be read as the next response.
    if (status === 204 && declaresBody) this.keepAlive = false;
    if (method === "HEAD" || status < 200 || status === 204 || status === 304) this.framing = 0;
    else if (this.#codingSeen) this.framing = CHUNKED;
    else if (this.length >= 0) this.framing = this.length;
    if (this.framing === UNTIL_CLOSE) this.keepAlive = false;
    return at;
  }

  #readConnection(): void {
    this.keepAlive = this.minor === 1;
    if (this.#connection === "" || (this.minor === 1 && saysKeepAlive(this.#connection))) return;
    const options = listMembers(this.#connection);
    if (this.minor === 0) this.keepAlive = options.includes("keep-alive");
    if (options.includes("close")) this.keepAlive = false;
    if (options.includes("upgrade")) this.upgrade = this.#upgradeField;
    const named = new Set(options.filter((option) => !NEVER_HOP.has(option)));
    if (named.size > 0) this.kept = withoutFields(this.kept, named);
  }

  known(field: KnownField, bytes: Buffer, from: number, to: number): boolean {
    switch (field) {
      case KNOWN.contentLength:
        if (this.length >= 0) this.refusal = REFUSALS.lengthTwice;
        this.length = parseLength(bytes, from, to);
        if (this.length < 0) this.refusal = REFUSALS.length;
        return false;
      case KNOWN.transferEncoding:
        this.refusal = this.#codingSeen ? REFUSALS.codingNotFinal : codingRefusal(bytes, from, to);
        this.#codingSeen = true;
        return false;
      case KNOWN.connection: {
        const value = latin1(bytes, from, to);
        this.#connection = this.#connection === "" ? value : `${this.#connection}, ${value}`;
        return false;
      }
      case KNOWN.upgrade:
        this.#upgradeField = latin1(bytes, from, to);
        return false;
      case KNOWN.hop:
        return false;
      case KNOWN.date:
        this.hasDate = true;
        return true;
      default:
        return true;
    }
  }

  #cut(to: number, end: number): number {
    return to > end ? this.#refuse(REFUSALS.headBytes) : INCOMPLETE;
  }

  #refuse(refusal: Refusal): number {
    this.refusal = refusal;
    return REFUSED;
  }
}
