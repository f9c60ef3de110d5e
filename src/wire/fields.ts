import { COLON, CR, equalsLower, FIELD_VALUE, HTAB, LF, LOWER, latin1, SP, span, TOKEN } from "./bytes.ts";
import { REFUSALS, type Refusal } from "./refusal.ts";

/** What a parser returns in place of an end offset: more bytes are needed. */
export const INCOMPLETE = -1;
/** What a parser returns in place of an end offset: the message is refused, see the head's `refusal`. */
export const REFUSED = -2;

/** Fields that mean something to a proxy; every other field is copied untouched. */
export const KNOWN = {
  host: 1,
  connection: 2,
  contentLength: 3,
  transferEncoding: 4,
  upgrade: 5,
  expect: 6,
  forwardedFor: 7,
  forwardedHost: 8,
  forwardedProto: 9,
  forwarded: 10,
  /** Hop-by-hop by definition, RFC 9110 section 7.6.1: never forwarded. */
  hop: 11,
  /** The configured request id field. */
  requestId: 12,
  date: 13,
  /** The configured deadline field. */
  deadline: 14,
} as const;

export type KnownField = (typeof KNOWN)[keyof typeof KNOWN];

interface KnownName {
  readonly lower: Uint8Array;
  readonly field: KnownField;
}

const NAMES: readonly (readonly [string, KnownField])[] = [
  ["host", KNOWN.host],
  ["connection", KNOWN.connection],
  ["content-length", KNOWN.contentLength],
  ["transfer-encoding", KNOWN.transferEncoding],
  ["upgrade", KNOWN.upgrade],
  ["expect", KNOWN.expect],
  ["x-forwarded-for", KNOWN.forwardedFor],
  ["x-forwarded-host", KNOWN.forwardedHost],
  ["x-forwarded-proto", KNOWN.forwardedProto],
  ["forwarded", KNOWN.forwarded],
  ["keep-alive", KNOWN.hop],
  ["proxy-connection", KNOWN.hop],
  ["proxy-authenticate", KNOWN.hop],
  ["proxy-authorization", KNOWN.hop],
  ["te", KNOWN.hop],
  ["http2-settings", KNOWN.hop],
  ["date", KNOWN.date],
];

/** Known names by length: most fields of a request miss on length or first byte alone. */
export type KnownNames = readonly (readonly KnownName[] | undefined)[];

/** The table of known names, with the configured names of request id and deadline where there are such fields. */
export function knownNames(requestId?: string, deadline?: string): KnownNames {
  const names = [...NAMES];
  if (requestId !== undefined) names.push([requestId.toLowerCase(), KNOWN.requestId]);
  if (deadline !== undefined) names.push([deadline.toLowerCase(), KNOWN.deadline]);
  return namesTable(names);
}

/** A table of the given lower-case names. */
export function namesTable(names: readonly (readonly [string, KnownField])[]): KnownNames {
  const byLength: KnownName[][] = [];
  for (const [name, field] of names) {
    byLength[name.length] ??= [];
    byLength[name.length]!.push({ lower: Buffer.from(name, "latin1"), field });
  }
  return byLength;
}

/** Takes the known fields of a block as they are parsed. */
export interface FieldSink {
  refusal: Refusal | undefined;
  /** A known field with value `bytes[from, to)`: true keeps the line, false drops it. May set `refusal`. */
  known(field: KnownField, bytes: Buffer, from: number, to: number): boolean;
}

/** Ranges `[from, to)` of a block's lines that are kept, in order; `count` numbers are in use. */
export class Runs {
  readonly ranges: number[] = [];
  count = 0;

  clear(): void {
    this.count = 0;
  }

  add(from: number, to: number): void {
    if (to === from) return;
    this.ranges[this.count++] = from;
    this.ranges[this.count++] = to;
  }

  /** The kept bytes as one latin1 string. */
  text(bytes: Buffer): string {
    if (this.count === 2) return latin1(bytes, this.ranges[0]!, this.ranges[1]!);
    let text = "";
    for (let i = 0; i < this.count; i += 2) text += latin1(bytes, this.ranges[i]!, this.ranges[i + 1]!);
    return text;
  }
}

/**
 * Parses field lines up to and including the empty line, every byte checked (RFC 9112 section 5). Obs-fold, white space
 * before the colon, bare CR or LF and control bytes are refused.
 * @returns the offset behind the empty line, {@link INCOMPLETE} or {@link REFUSED}
 */
export function parseFields(
  bytes: Buffer,
  from: number,
  to: number,
  maxFields: number,
  names: KnownNames,
  runs: Runs,
  sink: FieldSink,
): number {
  // An import is looked up at every use, a local once.
  const token = TOKEN;
  const fieldValue = FIELD_VALUE;
  let at = from;
  let runFrom = from;
  let fields = 0;
  runs.clear();
  for (;;) {
    if (at >= to) return INCOMPLETE;
    if (bytes[at] === CR) {
      if (at + 1 >= to) return INCOMPLETE;
      if (bytes[at + 1] !== LF) return refuse(sink, REFUSALS.lineEnd);
      runs.add(runFrom, at);
      return at + 2;
    }
    const nameFrom = at;
    while (at < to && token[bytes[at]!] === 1) at++;
    if (at >= to) return INCOMPLETE;
    if (bytes[at] !== COLON || at === nameFrom) {
      return refuse(sink, bytes[at] === LF && at === nameFrom ? REFUSALS.lineEnd : REFUSALS.fieldName);
    }
    const nameTo = at++;
    while (at < to && (bytes[at] === SP || bytes[at] === HTAB)) at++;
    const valueFrom = at;
    at = span(fieldValue, bytes, at, to);
    if (at >= to) return INCOMPLETE;
    if (bytes[at] !== CR) return refuse(sink, bytes[at] === LF ? REFUSALS.lineEnd : REFUSALS.fieldValue);
    if (at + 1 >= to) return INCOMPLETE;
    if (bytes[at + 1] !== LF) return refuse(sink, REFUSALS.lineEnd);
    if (++fields > maxFields) return refuse(sink, REFUSALS.headFields);
    at += 2;
    const candidates = names[nameTo - nameFrom];
    if (candidates === undefined) continue;
    const first = LOWER[bytes[nameFrom]!];
    for (let i = 0; i < candidates.length; i++) {
      const candidate = candidates[i]!;
      if (candidate.lower[0] !== first || !equalsLower(bytes, nameFrom, nameTo, candidate.lower)) continue;
      let valueTo = at - 2;
      while (valueTo > valueFrom && (bytes[valueTo - 1] === SP || bytes[valueTo - 1] === HTAB)) valueTo--;
      if (!sink.known(candidate.field, bytes, valueFrom, valueTo)) {
        runs.add(runFrom, nameFrom);
        runFrom = at;
      }
      if (sink.refusal !== undefined) return REFUSED;
      break;
    }
  }
}

function refuse(sink: FieldSink, refusal: Refusal): number {
  sink.refusal = refusal;
  return REFUSED;
}

/** Without the white space around it: SP and HTAB alone, where `trim` would take 0xa0 as well (RFC 9110 section 5.6.3). */
export function trimmed(text: string): string {
  return text.replace(/^[ \t]+|[ \t]+$/g, "");
}

/** Calls `visit` with each line of checked field lines `text`: name in lower case, value trimmed, the line with its end. */
export function eachField(text: string, visit: (name: string, value: string, line: string) => void): void {
  for (let from = 0; from < text.length; ) {
    const to = text.indexOf("\n", from) + 1;
    const line = text.slice(from, to);
    const colon = line.indexOf(":");
    visit(line.slice(0, colon).toLowerCase(), trimmed(line.slice(colon + 1, -2)), line);
    from = to;
  }
}

/** Checked field lines without those whose lower-case name `drop` holds. */
export function withoutFields(text: string, drop: { has(name: string): boolean }): string {
  let kept = "";
  eachField(text, (name, _value, line) => {
    if (!drop.has(name)) kept += line;
  });
  return kept;
}

/** The members of a comma-separated list, lower case, empty ones left out (RFC 9110 section 5.6.1). */
export function listMembers(value: string): string[] {
  return value
    .toLowerCase()
    .split(",")
    .map(trimmed)
    .filter((member) => member !== "");
}

/**
 * Looks a field up in a checked block.
 * @param lower its name in lower case
 * @param separator what joins repeated fields
 * @returns the value, or undefined when the block has no such field
 */
export function findField(
  block: Buffer,
  from: number,
  to: number,
  lower: string,
  separator: string,
): string | undefined {
  let found: string | undefined;
  const first = lower.charCodeAt(0);
  for (let at = from; at < to; ) {
    const lineEnd = block.indexOf(LF, at);
    if (lineEnd < 0 || lineEnd >= to) break;
    if (LOWER[block[at]!] === first && block[at + lower.length] === COLON && nameIs(block, at, lower)) {
      const value = trimmedText(block, at + lower.length + 1, lineEnd - 1);
      found = found === undefined ? value : found + separator + value;
    }
    at = lineEnd + 1;
  }
  return found;
}

/** `bytes[from, to)` as text, without the white space around it. */
function trimmedText(bytes: Buffer, from: number, to: number): string {
  let first = from;
  let end = to;
  while (first < end && (bytes[first] === SP || bytes[first] === HTAB)) first++;
  while (end > first && (bytes[end - 1] === SP || bytes[end - 1] === HTAB)) end--;
  return latin1(bytes, first, end);
}

function nameIs(block: Buffer, at: number, lower: string): boolean {
  for (let i = 0; i < lower.length; i++) if (LOWER[block[at + i]!] !== lower.charCodeAt(i)) return false;
  return true;
}
