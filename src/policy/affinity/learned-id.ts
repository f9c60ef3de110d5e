import type { LearnsFrom } from "./affinity.ts";
import { cookieDate } from "./cookie-date.ts";

const SPACE = 32;
const TAB = 9;
const COLON = 58;
const SET_COOKIE = "set-cookie";
const SECONDS = /^-?[0-9]+$/;

/**
 * The id that a response gives its client, empty when it gives none. `fields` is the text of the response's fields, each
 * a line `name: value` with its CR LF. Of several the last counts, as with browsers.
 *
 * A cookie's id is its value, exactly as the client will send it. A cookie that is to be deleted gives none: one without
 * a value, or whose time is over: by its Max-Age, or without one by its Expires (RFC 6265bis section 5.6.3). `wallMs` is
 * the time of day, milliseconds since the Unix epoch.
 */
export function learnedId(fields: string, { from, name }: LearnsFrom, wallMs: number): string {
  const field = from === "cookie" ? SET_COOKIE : name;
  let id = "";
  for (let start = 0, end = 0; start < fields.length; start = end + 2) {
    end = fields.indexOf("\r\n", start);
    if (end === -1) end = fields.length;
    // Nearly all lines are done with here.
    const colon = start + field.length;
    if (fields.charCodeAt(colon) !== COLON || fields.slice(start, colon).toLowerCase() !== field) continue;
    const value = trimmed(fields, colon + 1, end);
    id = from === "cookie" ? (idSetBy(value, name, wallMs) ?? id) : value;
  }
  return id;
}

/** The value that a Set-Cookie field gives the cookie `name`; empty: it deletes it; undefined: it sets another. */
function idSetBy(field: string, name: string, wallMs: number): string | undefined {
  const [pair = "", ...attributes] = field.split(";");
  const equals = pair.indexOf("=");
  if (equals === -1 || trimmed(pair, 0, equals) !== name) return undefined;
  return isOver(attributes, wallMs) ? "" : trimmed(pair, equals + 1, pair.length);
}

function isOver(attributes: readonly string[], wallMs: number): boolean {
  let endsByAge: boolean | undefined;
  let endsByDate = false;
  for (const attribute of attributes) {
    const equals = attribute.indexOf("=");
    if (equals === -1) continue;
    const name = trimmed(attribute, 0, equals).toLowerCase();
    const value = trimmed(attribute, equals + 1, attribute.length);
    if (name === "max-age") {
      if (SECONDS.test(value)) endsByAge = Number(value) <= 0;
    } else if (name === "expires") {
      const time = cookieDate(value);
      if (!Number.isNaN(time)) endsByDate = time <= wallMs;
    }
  }
  return endsByAge ?? endsByDate;
}

/** Without blanks around it. String.trim takes more away, and of an id that is not ASCII a part of a character. */
function trimmed(text: string, from: number, to: number): string {
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (from < to && isBlank(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB;
}
