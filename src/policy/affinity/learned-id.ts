import type { LearnsFrom } from "./affinity.ts";

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
 * a value, or whose Max-Age is over at once (RFC 6265bis section 5.6.2). One that is deleted by Expires alone does: no
 * client will come with it.
 */
export function learnedId(fields: string, { from, name }: LearnsFrom): string {
  const field = from === "cookie" ? SET_COOKIE : name;
  let id = "";
  for (let start = 0, end = 0; start < fields.length; start = end + 2) {
    end = fields.indexOf("\r\n", start);
    if (end === -1) end = fields.length;
    // Nearly all lines are done with here.
    const colon = start + field.length;
    if (fields.charCodeAt(colon) !== COLON || fields.slice(start, colon).toLowerCase() !== field) continue;
    const value = trimmed(fields, colon + 1, end);
    id = from === "cookie" ? (idSetBy(value, name) ?? id) : value;
  }
  return id;
}

/** The value that a Set-Cookie field gives the cookie `name`; empty: it deletes it; undefined: it sets another. */
function idSetBy(field: string, name: string): string | undefined {
  const [pair = "", ...attributes] = field.split(";");
  const equals = pair.indexOf("=");
  if (equals === -1 || trimmed(pair, 0, equals) !== name) return undefined;
  return isOver(attributes) ? "" : trimmed(pair, equals + 1, pair.length);
}

function isOver(attributes: readonly string[]): boolean {
  let over = false;
  for (const attribute of attributes) {
    const equals = attribute.indexOf("=");
    if (equals === -1 || trimmed(attribute, 0, equals).toLowerCase() !== "max-age") continue;
    const seconds = trimmed(attribute, equals + 1, attribute.length);
    if (SECONDS.test(seconds)) over = Number(seconds) <= 0;
  }
  return over;
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
