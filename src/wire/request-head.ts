import { ASTERISK, COLON, CR, equalsLower, HOST, LF, latin1, SLASH, SP, span, TARGET, TOKEN } from "./bytes.ts";
import {
  type FieldSink,
  findField,
  INCOMPLETE,
  KNOWN,
  type KnownField,
  type KnownNames,
  knownNames,
  listMembers,
  parseFields,
  REFUSED,
  Runs,
  trimmed,
  withoutFields,
} from "./fields.ts";
import { REFUSALS, type Refusal } from "./refusal.ts";

/** What a request head may be at most; sizes in bytes. */
export interface RequestLimits {
  readonly headBytes: number;
  readonly headFields: number;
  readonly targetBytes: number;
}

/** Framing of a message body: a length in bytes, or one of these. */
export const CHUNKED = -1;
/** A response body that ends with the connection (RFC 9112 section 6.3). */
export const UNTIL_CLOSE = -2;

const MAX_METHOD_BYTES = 32;
/** A field block up to this size is remembered, so that a client that repeats it is not parsed again. */
const MAX_MEMO_BYTES = 2048;
/** Nothing that frames or routes a message can be declared hop-by-hop by its sender. */
const NEVER_HOP = new Set(["close", "keep-alive", "upgrade", "host", "content-length", "transfer-encoding"]);
/** One scratch list a thread: a parse never outlives its call. */
const runs = new Runs();

/**
 * The head of one request, parsed in place from bytes.
 *
 * A keep-alive client mostly sends the same fields again, so the head remembers the last checked field block and
 * everything derived from it: when the next request's block is equal, only the request line is parsed.
 */
export class RequestHead implements FieldSink {
  readonly #limits: RequestLimits;
  readonly #names: KnownNames;
  refusal: Refusal | undefined;

  /** Address of the client, set by whoever knows it. */
  client = "";
  /** Where the client is, in degrees; set by whoever knows it, for one request at a time. */
  position: { readonly latitude: number; readonly longitude: number } | undefined = undefined;
  method = "";
  /** Origin form (`/path?query`) or `*`, exactly as sent; of an absolute form, what follows the authority. */
  target = "";
  /** Minor version: 0 or 1. */
  minor = 1;
  /** Host and port the client asked for, lower case; empty in HTTP/1.0 without Host. */
  host = "";
  /** Host as the client wrote it. */
  hostText = "";
  /** Body bytes, or {@link CHUNKED}. */
  framing = 0;
  /** Whether there was a Content-Length. */
  hasLength = false;
  /** Whether the client will send another request on this connection. */
  keepAlive = true;
  expectsContinue = false;
  /** The protocol asked for with Upgrade, or empty. */
  upgrade = "";
  /** Forwarding fields as they came in; whether they are believed is not decided here. */
  forwardedFor = "";
  forwardedHost = "";
  forwardedProto = "";
  forwarded = "";
  requestId = "";
  /** The configured deadline field as sent, or empty. */
  deadline = "";
  /** Fields that are forwarded as they came, in order, each line with its CR LF. */
  kept = "";
  /** Grows with every block that differs from the one before: what was derived from an older one is stale. */
  blockVersion = 0;

  /** The remembered block is `#block[0, #blockLength)`; the memory is used again for the next one that fits. */
  #block: Buffer = EMPTY;
  #blockLength = 0;
  #cookie: string | undefined;
  #cookieVersion = 0;
  #blockMinor = -1;
  #blockHost = "";
  #blockHostText = "";
  #connection = "";
  #upgradeField = "";
  #hostSeen = false;
  #codingSeen = false;

  constructor(limits: RequestLimits, names: KnownNames = knownNames()) {
    this.#limits = limits;
    this.#names = names;
  }

  /**
   * Parses the head that begins at `from`.
   * @returns the offset behind it, INCOMPLETE when `to` cuts it, REFUSED with `refusal` set
   */
  parse(bytes: Buffer, from: number, to: number): number {
    this.refusal = undefined;
    const limits = this.#limits;
    let at = from;
    // One empty line before the request line is forgiven (RFC 9112 section 2.2).
    if (bytes[at] === CR) {
      if (at + 1 >= to) return INCOMPLETE;
      if (bytes[at + 1] !== LF) return this.#refuse(REFUSALS.lineEnd);
      at += 2;
    }
    const end = Math.min(to, at + limits.headBytes);

    const methodFrom = at;
    at = span(TOKEN, bytes, at, end);
    if (at - methodFrom > MAX_METHOD_BYTES) return this.#refuse(REFUSALS.methodLength);
    if (at >= end) return INCOMPLETE;
    if (bytes[at] !== SP || at === methodFrom) return this.#refuse(REFUSALS.method);
    const method = methodText(bytes, methodFrom, at);

    const targetFrom = ++at;
    at = span(TARGET, bytes, at, end);
    if (at - targetFrom > limits.targetBytes) return this.#refuse(REFUSALS.targetLength);
    if (at >= end) return this.#cut(to, end, REFUSALS.targetLength);
    if (bytes[at] !== SP)
      return this.#refuse(bytes[at] === CR || bytes[at] === LF ? REFUSALS.requestLine : REFUSALS.target);
    if (at === targetFrom) return this.#refuse(REFUSALS.requestLine);
    const targetTo = at++;

    if (!startsLikeVersion(bytes, at, end)) return this.#refuse(REFUSALS.requestLine);
    if (at + 10 > end) return this.#cut(to, end, REFUSALS.headBytes);
    if (bytes[at + 8] !== CR || bytes[at + 9] !== LF) {
      return this.#refuse(bytes[at + 8] === CR || bytes[at + 8] === LF ? REFUSALS.lineEnd : REFUSALS.requestLine);
    }
    if (bytes[at + 5] !== 0x31) return this.#refuse(REFUSALS.version);
    // A higher minor version is served as the highest we know (RFC 9110 section 2.5).
    this.minor = bytes[at + 7] === 0x30 ? 0 : 1;
    at += 10;

    this.method = method;
    if (method === "CONNECT" || method === "TRACE") return this.#refuse(REFUSALS.methodRefused);

    const length = this.#blockLength;
    if (
      this.minor === this.#blockMinor &&
      end - at >= length &&
      this.#block.compare(bytes, at, at + length, 0, length) === 0
    ) {
      at += length;
    } else {
      const blockFrom = at;
      at = this.#parseBlock(bytes, at, to, end);
      if (at < 0) return at;
      if (at - blockFrom > this.#block.length) this.#block = Buffer.allocUnsafe(at - blockFrom);
      this.#blockLength = bytes.copy(this.#block, 0, blockFrom, at);
      this.#blockMinor = this.minor;
      this.#blockHost = this.host;
      this.#blockHostText = this.hostText;
      this.blockVersion++;
    }
    this.host = this.#blockHost;
    this.hostText = this.#blockHostText;
    return this.#readTarget(bytes, targetFrom, targetTo) ? at : REFUSED;
  }

  /** The value of a field, name in lower case, repeated ones joined. */
  header(name: string): string | undefined {
    if (name === "cookie") return this.#cookieField();
    return findField(this.#block, 0, this.#blockLength, name, ", ");
  }

  /** What is asked for in each request of a client that repeats itself, and is long. */
  #cookieField(): string | undefined {
    if (this.#cookieVersion !== this.blockVersion) {
      this.#cookieVersion = this.blockVersion;
      this.#cookie = findField(this.#block, 0, this.#blockLength, "cookie", "; ");
    }
    return this.#cookie;
  }

  /** Whether the remembered field block is too large to be kept while the connection is idle. */
  get bulky(): boolean {
    return this.#block.length > MAX_MEMO_BYTES;
  }

  #parseBlock(bytes: Buffer, from: number, to: number, end: number): number {
    this.#blockLength = 0;
    this.#blockMinor = -1;
    this.framing = 0;
    this.expectsContinue = false;
    this.host = this.hostText = this.upgrade = this.#connection = this.#upgradeField = "";
    this.forwardedFor = this.forwardedHost = this.forwardedProto = this.forwarded = this.requestId = "";
    this.deadline = "";
    this.#hostSeen = this.hasLength = this.#codingSeen = false;
    const at = parseFields(bytes, from, end, this.#limits.headFields, this.#names, runs, this);
    if (at === INCOMPLETE) return this.#cut(to, end, REFUSALS.headBytes);
    if (at === REFUSED) return REFUSED;

    if (!this.#hostSeen && this.minor === 1) return this.#refuse(REFUSALS.hostMissing);
    if (this.#codingSeen) {
      if (this.hasLength) return this.#refuse(REFUSALS.twoFramings);
      if (this.minor === 0) return this.#refuse(REFUSALS.codingVersion);
      this.framing = CHUNKED;
    }
    if (this.minor === 0) this.expectsContinue = false;
    this.kept = runs.text(bytes);
    this.#readConnection();
    return at;
  }

  #readConnection(): void {
    this.keepAlive = this.minor === 1;
    if (this.#connection === "" || (this.minor === 1 && saysKeepAlive(this.#connection))) return;
    const options = listMembers(this.#connection);
    if (this.minor === 0) this.keepAlive = options.includes("keep-alive");
    if (options.includes("close")) this.keepAlive = false;
    // An upgrade with a body, or to clear-text HTTP/2, would let bytes past the parser: it is served as a plain request.
    if (options.includes("upgrade") && this.minor === 1 && this.framing === 0 && !offersHttp2(this.#upgradeField)) {
      this.upgrade = this.#upgradeField;
    }
    const named = new Set(options.filter((option) => !NEVER_HOP.has(option)));
    if (named.size > 0) this.kept = withoutFields(this.kept, named);
  }

  known(field: KnownField, bytes: Buffer, from: number, to: number): boolean {
    switch (field) {
      case KNOWN.host:
        if (this.#hostSeen) this.refusal = REFUSALS.hostTwice;
        else if (!isHost(bytes, from, to)) this.refusal = REFUSALS.host;
        this.#hostSeen = true;
        this.hostText = latin1(bytes, from, to);
        this.host = this.hostText.toLowerCase();
        return false;
      case KNOWN.contentLength:
        if (this.hasLength) this.refusal = REFUSALS.lengthTwice;
        this.hasLength = true;
        this.framing = parseLength(bytes, from, to);
        if (this.framing < 0) this.refusal = REFUSALS.length;
        return false;
      case KNOWN.transferEncoding:
        this.refusal = this.#codingSeen ? REFUSALS.codingNotFinal : codingRefusal(bytes, from, to);
        this.#codingSeen = true;
        return false;
      case KNOWN.connection:
        this.#connection = joined(this.#connection, bytes, from, to);
        return false;
      case KNOWN.upgrade:
        this.#upgradeField = joined(this.#upgradeField, bytes, from, to);
        return false;
      case KNOWN.expect:
        if (latin1(bytes, from, to).toLowerCase() === "100-continue") this.expectsContinue = true;
        else if (this.minor === 1) this.refusal = REFUSALS.expectation;
        return false;
      case KNOWN.forwardedFor:
        this.forwardedFor = joined(this.forwardedFor, bytes, from, to);
        return false;
      case KNOWN.forwardedHost:
        this.forwardedHost = joined(this.forwardedHost, bytes, from, to);
        return false;
      case KNOWN.forwardedProto:
        this.forwardedProto = joined(this.forwardedProto, bytes, from, to);
        return false;
      case KNOWN.forwarded:
        this.forwarded = joined(this.forwarded, bytes, from, to);
        return false;
      case KNOWN.requestId:
        this.requestId = latin1(bytes, from, to);
        return false;
      case KNOWN.deadline:
        this.deadline = latin1(bytes, from, to);
        return false;
      case KNOWN.hop:
        return false;
      default:
        return true;
    }
  }

  /** Origin form is kept; an absolute form is split, its authority replaces Host (RFC 9112 section 3.2.2). */
  #readTarget(bytes: Buffer, from: number, to: number): boolean {
    if (bytes[from] === SLASH) {
      this.target = to - from === 1 ? "/" : latin1(bytes, from, to);
      return true;
    }
    if (bytes[from] === ASTERISK && to - from === 1 && this.method === "OPTIONS") {
      this.target = "*";
      return true;
    }
    const absolute = /^https?:\/\/([^/?]*)(.*)$/i.exec(latin1(bytes, from, to));
    const authority = absolute?.[1] ?? "";
    const bytesOfAuthority = Buffer.from(authority, "latin1");
    if (!isHost(bytesOfAuthority, 0, bytesOfAuthority.length)) return this.#refuse(REFUSALS.target) === 0;
    const rest = absolute?.[2] ?? "";
    this.hostText = authority;
    this.host = authority.toLowerCase();
    if (rest === "") this.target = this.method === "OPTIONS" ? "*" : "/";
    else this.target = rest.startsWith("?") ? `/${rest}` : rest;
    return true;
  }

  /** More bytes are needed, unless the head already fills its limit. */
  #cut(to: number, end: number, refusal: Refusal): number {
    return to > end ? this.#refuse(refusal) : INCOMPLETE;
  }

  #refuse(refusal: Refusal): number {
    this.refusal = refusal;
    return REFUSED;
  }
}

const EMPTY = Buffer.alloc(0);

/** The common value of Connection, which asks for nothing in HTTP/1.1, without taking a list apart. */
export function saysKeepAlive(connection: string): boolean {
  return connection.length === 10 && connection.toLowerCase() === "keep-alive";
}

function joined(before: string, bytes: Buffer, from: number, to: number): string {
  const value = latin1(bytes, from, to);
  return before === "" ? value : `${before}, ${value}`;
}

/** The common methods without making a string each time. */
function methodText(bytes: Buffer, from: number, to: number): string {
  if (to - from === 3 && bytes[from] === 0x47 && bytes[from + 1] === 0x45 && bytes[from + 2] === 0x54) return "GET";
  return latin1(bytes, from, to);
}

const VERSION = Buffer.from("HTTP/d.d", "latin1");

/** Whether `bytes[from, to)` is a version or the beginning of one: `HTTP/` digit `.` digit. */
function startsLikeVersion(bytes: Buffer, from: number, to: number): boolean {
  for (let i = 0; i < 8 && from + i < to; i++) {
    const byte = bytes[from + i]!;
    const fits = i === 5 || i === 7 ? byte >= 0x30 && byte <= 0x39 : byte === VERSION[i];
    if (!fits) return false;
  }
  return true;
}

/** `uri-host [ ":" port ]` (RFC 9110 section 7.2): a name, an IPv4 address or a bracketed IPv6 address; not empty. */
export function isHost(bytes: Buffer, from: number, to: number): boolean {
  let at = from;
  if (bytes[at] === 0x5b && at < to) {
    const close = bytes.indexOf(0x5d, at);
    if (close < 0 || close >= to) return false;
    if (!/^[0-9a-f:.]*:[0-9a-f:.]*$/i.test(latin1(bytes, at + 1, close))) return false;
    at = close + 1;
  } else {
    while (at < to && HOST[bytes[at]!] === 1) at++;
    if (at === from) return false;
  }
  if (at === to) return true;
  if (bytes[at] !== COLON || to - at > 6) return false;
  let port = 0;
  for (let i = at + 1; i < to; i++) {
    const digit = bytes[i]! - 0x30;
    if (digit < 0 || digit > 9) return false;
    port = port * 10 + digit;
  }
  return port <= 65535;
}

/** `1*DIGIT` (RFC 9110 section 8.6) as a number; -1 when it is anything else, or beyond what a double counts exactly. */
export function parseLength(bytes: Buffer, from: number, to: number): number {
  if (to === from) return -1;
  let length = 0;
  for (let at = from; at < to; at++) {
    const digit = bytes[at]! - 0x30;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
    if (length > Number.MAX_SAFE_INTEGER) return -1;
  }
  return length;
}

const CHUNKED_CODING = Buffer.from("chunked", "latin1");

/**
 * Whether Transfer-Encoding says `chunked` and nothing else (RFC 9112 section 6.1); undefined when it does.
 * White space behind the value is refused although it is allowed: llhttp does not know `chunked` before a tab, and then
 * frames the message otherwise.
 */
export function codingRefusal(bytes: Buffer, from: number, to: number): Refusal | undefined {
  if (bytes[to] !== CR) return REFUSALS.codingNotFinal;
  if (equalsLower(bytes, from, to, CHUNKED_CODING)) return undefined;
  const codings = latin1(bytes, from, to)
    .split(",")
    .map((coding) => trimmed(coding).toLowerCase());
  const place = codings.indexOf("chunked");
  const notFinal = codings.includes("") || (place >= 0 && place < codings.length - 1);
  return notFinal ? REFUSALS.codingNotFinal : REFUSALS.codingUnknown;
}

function offersHttp2(upgrade: string): boolean {
  return upgrade === "" || listMembers(upgrade).some((protocol) => protocol === "h2c" || protocol === "h2");
}
