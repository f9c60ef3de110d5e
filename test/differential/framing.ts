import { createRequire } from "node:module";
import { ChunkedDecoder } from "../../src/wire/chunked-decoder.ts";
import { eachField, INCOMPLETE, knownNames, REFUSED } from "../../src/wire/fields.ts";
import type { Refusal } from "../../src/wire/refusal.ts";
import { CHUNKED, RequestHead, UNTIL_CLOSE } from "../../src/wire/request-head.ts";
import { ResponseHead } from "../../src/wire/response-head.ts";

export const LIMITS = { headBytes: 32_768, headFields: 100, targetBytes: 8_192, chunkExtensionBytes: 64 };

/** One message as `wire/` reads it. */
export interface Message {
  /** Method, target, host and version, or status, reason and version. */
  readonly start: string;
  /** Kept fields as `name: value` lines, name in lower case. */
  readonly fields: string;
  /** The method, or the status of a response. */
  readonly kind: string;
  readonly target: string;
  readonly hostText: string;
  readonly minor: number;
  readonly keepAlive: boolean;
  readonly upgrade: string;
  /** Whether the end of the connection is the end of its body. */
  readonly untilClose: boolean;
  readonly chunked: boolean;
  body: string;
  /** The offset behind it. */
  end: number;
}

/** Everything `wire/` makes of one connection's bytes. */
export interface Reading {
  readonly messages: Message[];
  /**
   * `open`: all bytes belong to whole messages; `head`, `body`: cut there; `refused`; `closed`: the last message ends
   * the connection, or what follows it is another protocol.
   */
  readonly end: "open" | "head" | "body" | "refused" | "closed";
  readonly refusal: Refusal | undefined;
  /** Whether it was refused behind its head. */
  readonly refusedInBody: boolean;
}

const names = knownNames("x-request-id");

function fieldLines(kept: string): string {
  let lines = "";
  eachField(kept, (name, value) => {
    lines += `${name}: ${value}\n`;
  });
  return lines;
}

/** Reads as a session does: everything that has arrived, then more of it; `arrivals` are the ends of the pieces. */
class Reader {
  readonly #bytes: Buffer;
  readonly #request: RequestHead | undefined;
  readonly #response: ResponseHead | undefined;
  readonly #method: string;
  readonly messages: Message[] = [];
  end: Reading["end"] = "open";
  refusal: Refusal | undefined;
  refusedInBody = false;
  #at = 0;
  #current: Message | undefined;
  #left = 0;
  #decoder: ChunkedDecoder | undefined;

  constructor(bytes: Buffer, responseTo: string | undefined) {
    this.#bytes = bytes;
    this.#method = responseTo ?? "";
    if (responseTo === undefined) this.#request = new RequestHead(LIMITS, names);
    else this.#response = new ResponseHead(LIMITS);
  }

  arrived(to: number): void {
    this.end = "open";
    while (this.#at < to || this.#current !== undefined) {
      if (this.#current === undefined && !this.#readHead(to)) return;
      if (!this.#readBody(to)) return;
      const message = this.#current!;
      this.end = "open";
      message.end = this.#at;
      this.messages.push(message);
      this.#current = undefined;
      if (!message.keepAlive || message.upgrade !== "") {
        this.end = "closed";
        return;
      }
    }
  }

  #readHead(to: number): boolean {
    const head = this.#request ?? this.#response!;
    const end =
      this.#request?.parse(this.#bytes, this.#at, to) ?? this.#response!.parse(this.#bytes, this.#at, to, this.#method);
    if (end === INCOMPLETE || end === REFUSED) {
      this.end = end === REFUSED ? "refused" : "head";
      this.refusal = head.refusal;
      return false;
    }
    this.#at = end;
    const request = this.#request;
    this.#current = {
      start:
        request === undefined
          ? `${this.#response!.status}${this.#response!.reason} ${head.minor}`
          : `${request.method} ${request.target} ${request.host} ${head.minor}`,
      fields: fieldLines(head.kept),
      kind: request === undefined ? `${this.#response!.status}` : request.method,
      target: request?.target ?? "",
      hostText: request?.hostText ?? "",
      minor: head.minor,
      // An interim response says nothing about the connection; a body until the end of the connection uses it up.
      keepAlive: head.keepAlive || (request === undefined && this.#response!.status < 200),
      upgrade: request !== undefined || this.#response!.status === 101 ? head.upgrade : "",
      untilClose: head.framing === UNTIL_CLOSE,
      chunked: head.framing === CHUNKED,
      body: "",
      end: -1,
    };
    this.#left = head.framing;
    this.#decoder = head.framing === CHUNKED ? new ChunkedDecoder(LIMITS, true) : undefined;
    return true;
  }

  /** Whether the body is whole. */
  #readBody(to: number): boolean {
    const message = this.#current!;
    const decoder = this.#decoder;
    this.end = "body";
    if (decoder !== undefined) {
      if (this.#at === to) return false;
      this.#at = decoder.feed(this.#bytes, this.#at, to);
      if (decoder.refusal !== undefined) {
        this.end = "refused";
        this.refusal = decoder.refusal;
        this.refusedInBody = true;
        return false;
      }
      message.body += decoder.runs.text(this.#bytes);
      return decoder.done;
    }
    const size = message.untilClose ? to - this.#at : Math.min(this.#left, to - this.#at);
    message.body += this.#bytes.toString("latin1", this.#at, this.#at + size);
    this.#at += size;
    this.#left -= size;
    return !message.untilClose && this.#left === 0;
  }

  get reading(): Reading {
    const { messages, end, refusal, refusedInBody } = this;
    // What an unfinished body has brought so far counts as well.
    const all = this.#current === undefined || end === "refused" ? messages : [...messages, this.#current];
    return { messages: all, end, refusal, refusedInBody };
  }
}

/**
 * Reads one connection's bytes with `wire/`.
 * @param responseTo the method that the bytes answer; undefined when they are requests
 */
export function read(bytes: Buffer, arrivals: readonly number[], responseTo?: string): Reading {
  const reader = new Reader(bytes, responseTo);
  for (const to of arrivals) {
    reader.arrived(to);
    if (reader.end === "refused" || reader.end === "closed") break;
  }
  return reader.reading;
}

// Node's parser (llhttp), as node:http uses it with insecureHTTPParser off.

interface NodeParser {
  [callback: number]: unknown;
  initialize(type: number, resource: object, maxHeaderBytes: number, lenient: number): void;
  execute(bytes: Buffer, from: number, size: number): number | Error;
  finish(): Error | undefined;
  close(): void;
}
interface NodeParserClass {
  new (): NodeParser;
  readonly REQUEST: number;
  readonly RESPONSE: number;
  readonly kOnHeaders: number;
  readonly kOnHeadersComplete: number;
  readonly kOnBody: number;
  readonly kOnMessageComplete: number;
  readonly kLenientNone: number;
}
const http = createRequire(import.meta.url)("_http_common") as { HTTPParser: NodeParserClass; methods: string[] };
const Parser = http.HTTPParser;
const MAX_HEADER_BYTES = 1 << 20;

export interface NodeMessage {
  kind: string;
  url: string;
  minor: number;
  /** Name, value, name, value, as read. */
  fields: string[];
  keepAlive: boolean;
  upgrade: boolean;
  body: string;
  complete: boolean;
}

/** Feeds bytes to Node's parser and keeps what it reports. */
export class NodeReading {
  readonly messages: NodeMessage[] = [];
  /** The code of its error (`HPE_...`), or empty. */
  error = "";
  completed = 0;
  readonly #parser = new Parser();
  #fields: string[] = [];
  #url = "";

  constructor(responseTo?: string) {
    const parser = this.#parser;
    const requests = responseTo === undefined;
    parser.initialize(requests ? Parser.REQUEST : Parser.RESPONSE, {}, MAX_HEADER_BYTES, Parser.kLenientNone);
    parser[Parser.kOnHeaders] = (fields: string[], url: string) => {
      this.#fields.push(...fields);
      this.#url += url;
    };
    parser[Parser.kOnHeadersComplete] = (
      _major: number,
      minor: number,
      fields: string[] | undefined,
      method: number,
      url: string | undefined,
      status: number,
      _reason: string,
      upgrade: boolean,
      keepAlive: boolean,
    ) => {
      this.messages.push({
        kind: requests ? http.methods[method]! : `${status}`,
        url: this.#url + (url ?? ""),
        minor,
        fields: [...this.#fields, ...(fields ?? [])],
        keepAlive,
        upgrade,
        body: "",
        complete: false,
      });
      this.#fields = [];
      this.#url = "";
      return responseTo === "HEAD" ? 1 : 0;
    };
    parser[Parser.kOnBody] = (bytes: Buffer) => {
      this.messages.at(-1)!.body += bytes.toString("latin1");
    };
    parser[Parser.kOnMessageComplete] = () => {
      // Trailer fields have come in as fields without a head.
      this.#fields = [];
      this.#url = "";
      this.messages.at(-1)!.complete = true;
      this.completed++;
    };
  }

  feed(bytes: Buffer, from: number, to: number): void {
    if (to <= from || this.error !== "") return;
    const result = this.#parser.execute(bytes.subarray(from, to), 0, to - from);
    if (typeof result !== "number") this.error = (result as Error & { code: string }).code;
  }

  close(): void {
    this.#parser.close();
  }
}

/** Fields that `wire/` never hands on as they came: it drops them or writes them anew. */
const NOT_KEPT = new Set([
  ...["host", "connection", "content-length", "transfer-encoding", "upgrade", "expect", "x-request-id", "keep-alive"],
  ...["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "proxy-connection", "te"],
  ...["proxy-authenticate", "proxy-authorization", "http2-settings"],
]);
const NOT_KEPT_OF_RESPONSES = new Set([
  ...["connection", "content-length", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection", "te"],
  ...["proxy-authenticate", "proxy-authorization", "http2-settings"],
]);

/** The lines that should be kept of Node's fields: the same rule, worked out from another reading. */
export function expectedFields(message: NodeMessage, ofRequest: boolean): string {
  const dropped = new Set(ofRequest ? NOT_KEPT : NOT_KEPT_OF_RESPONSES);
  const { fields } = message;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i]!.toLowerCase() !== "connection") continue;
    for (const option of fields[i + 1]!.split(",")) dropped.add(option.replace(/^[ \t]+|[ \t]+$/g, "").toLowerCase());
  }
  let lines = "";
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i]!.toLowerCase();
    if (!dropped.has(name)) lines += `${name}: ${fields[i + 1]!.replace(/^[ \t]+|[ \t]+$/g, "")}\n`;
  }
  return lines;
}

/** The values of a field, name in lower case. */
export function valuesOf(message: NodeMessage, name: string): string[] {
  return message.fields.filter((_, i) => i % 2 === 1 && message.fields[i - 1]!.toLowerCase() === name);
}
