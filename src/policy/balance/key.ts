import { cookieValue } from "../model/cookie.ts";
import type { PickRequest } from "../model/request.ts";
import { pathOf, queryValue } from "../model/target.ts";

/** What a hash goes by, as written in the configuration. */
export type KeyName =
  | "client-ip"
  | "uri"
  | "path"
  | "host"
  | `header:${string}`
  | `cookie:${string}`
  | `query:${string}`;

/**
 * The key of a request; undefined when the request has none, or an empty one. A hash then takes turns instead: to hash
 * "nothing" would send every such request to one and the same backend.
 */
export type KeySource = (request: PickRequest) => string | undefined;

/** What a key may be, for messages and the reference page. */
export const keyForms = "client-ip, uri, path, host, header:NAME, cookie:NAME or query:NAME";

// RFC 9110 section 5.6.2: the names of fields and, by RFC 6265 section 4.1.1, of cookies.
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** What is wrong with `text` as a key, as a sentence; undefined when it is one. */
export function keyMistake(text: string): string | undefined {
  const { kind, name } = split(text);
  switch (kind) {
    case "client-ip":
    case "uri":
    case "path":
    case "host":
      return name === undefined ? undefined : `"${kind}" takes no name: write ${kind}`;
    case "header":
    case "cookie":
      if (name === undefined || name === "") return `"${text}" lacks a name: write ${kind}:NAME`;
      return TOKEN.test(name) ? undefined : `"${name}" is not the name of a ${kind}`;
    case "query":
      if (name === undefined || name === "") return `"${text}" lacks a name: write query:NAME`;
      return /[&=#\s]/.test(name) ? `"${name}" is not the name of a query parameter` : undefined;
    default:
      return `"${text}" is not a key: write ${keyForms}`;
  }
}

/** Whether `text` is a key. */
export function isKeyName(text: string): text is KeyName {
  return keyMistake(text) === undefined;
}

/** Reads a key once, into a function that is cheap per request. Throws a TypeError that says what is wrong with it. */
export function keySource(key: KeyName): KeySource {
  const mistake = keyMistake(key);
  if (mistake !== undefined) throw new TypeError(mistake);
  const { kind, name = "" } = split(key);
  switch (kind) {
    case "client-ip":
      return (request) => request.client || undefined;
    case "uri":
      return (request) => request.target || undefined;
    case "path":
      return (request) => pathOf(request.target) || undefined;
    case "host":
      return (request) => request.host || undefined;
    case "header": {
      const lowerCase = name.toLowerCase();
      return (request) => request.header(lowerCase) || undefined;
    }
    case "cookie":
      return (request) => {
        const field = request.header("cookie");
        return field === undefined ? undefined : cookieValue(field, name) || undefined;
      };
    default:
      return (request) => queryValue(request.target, name) || undefined;
  }
}

function split(text: string): { kind: string; name: string | undefined } {
  const colon = text.indexOf(":");
  return colon === -1 ? { kind: text, name: undefined } : { kind: text.slice(0, colon), name: text.slice(colon + 1) };
}
