import { isCidr } from "../policy/route/cidr.ts";
import { parseInteger } from "./leaf.ts";
import { describe, isHostName, quote, type Wrong } from "./values.ts";

// What a text may be, one function a kind: the text itself, or what is wrong with it.

/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Whether `text` can be the name of a field, a method or a cookie. */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** Name of an upstream, a route or a region. */
export function name(text: string): string | Wrong {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(text)) return text;
  return {
    code: "CONFIG_NAME",
    wrong: `${quote(text)} is no name`,
    fix: "Use letters, digits, dots, dashes and underscores, at most 64, a letter or digit first",
  };
}

/** Name of a backend: an address will do. */
export function backendId(text: string): string | Wrong {
  if (/^[A-Za-z0-9[][A-Za-z0-9_.:/[\]-]{0,127}$/.test(text)) return text;
  return {
    code: "CONFIG_NAME",
    wrong: `${quote(text)} is no id`,
    fix: "Use letters, digits, dots, colons, dashes and underscores, at most 128, a letter or digit first",
  };
}

/** An address or a block of addresses. */
export function cidr(text: string): string | Wrong {
  if (isCidr(text)) return text;
  return {
    code: "CONFIG_ADDRESS",
    wrong: `${quote(text)} is neither an address nor a block of addresses`,
    fix: "Write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32",
  };
}

/** Name of a field. */
export function headerName(text: string): string | Wrong {
  if (isToken(text) && text.length <= 256) return text;
  return {
    code: "CONFIG_HEADER_NAME",
    wrong: `${quote(text)} is no name of a field`,
    fix: "Use letters, digits and dashes, as in x-request-id",
  };
}

/**
 * Fields that say how a message is framed and what holds for one connection only: Spillway writes these itself, and a
 * wrong one would let a request be smuggled past it.
 */
export const OWN_FIELDS: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Name of a field that a route may change. */
export function changeableHeader(text: string): string | Wrong {
  const token = headerName(text);
  if (typeof token !== "string") return token;
  const code = "CONFIG_HEADER_RESERVED";
  const lower = token.toLowerCase();
  if (lower === "host") {
    return { code, wrong: "the Host field cannot be changed by a route", fix: "Use hostHeader of the upstream" };
  }
  if (!OWN_FIELDS.has(lower)) return token;
  return { code, wrong: `${token} is written by Spillway itself`, fix: "Leave it out" };
}

/** Value of a field (RFC 9110 section 5.5, without the obsolete bytes). */
export function headerValue(text: string): string | Wrong {
  const code = "CONFIG_HEADER_VALUE";
  if (/[^\t\x20-\x7e]/.test(text)) {
    return { code, wrong: `${quote(text)} holds a character that no field may carry`, fix: "Use printable ASCII" };
  }
  if (text !== text.trim()) return { code, wrong: `${quote(text)} begins or ends with a space`, fix: "Leave it out" };
  if (text.length > 4096) return { code, wrong: "the value is longer than 4096 characters", fix: "Shorten it" };
  return text;
}

/** A request method. */
export function method(text: string): string | Wrong {
  const code = "CONFIG_METHOD";
  const fix = "Write a method such as GET or POST";
  if (!isToken(text)) return { code, wrong: `${quote(text)} is no method`, fix };
  if (text === "CONNECT" || text === "TRACE") {
    return { code, wrong: `${text} is never passed on, so no route sees it`, fix: "Leave it out" };
  }
  if (text !== text.toUpperCase()) {
    return {
      code,
      wrong: `methods are case-sensitive, and ${quote(text)} is not one in use`,
      fix: `Write ${text.toUpperCase()}`,
    };
  }
  return text;
}

/** Name of a parameter of the query. */
export function queryName(text: string): string | Wrong {
  if (text !== "" && /^[\x21-\x7e]+$/.test(text) && !/[&=#]/.test(text)) return text;
  return {
    code: "CONFIG_QUERY",
    wrong: `"${text}" is no name of a parameter as it is sent`,
    fix: "Write it percent-encoded",
  };
}

/** A host to match: a name, an address, or `*.` and a name. Answers in lower case. */
export function hostPattern(text: string): string | Wrong {
  const code = "CONFIG_HOST";
  const bare = text.startsWith("*.") ? text.slice(2) : text;
  if (/^[^:[\]]+:\d+$/.test(text) || /^\[.*\]:\d+$/.test(text)) {
    return { code, wrong: `${quote(text)} has a port`, fix: "Leave the port out: hosts are compared without it" };
  }
  if (text === "*") return { code, wrong: "a star alone matches every host", fix: "Leave host out" };
  if (bare.includes("*")) {
    return { code, wrong: `${quote(text)} has a star within a name`, fix: "Write *.shop.test, or the whole name" };
  }
  if (/^\[.*\]$/.test(text)) {
    if (isCidr(text.slice(1, -1)) && !text.includes("/")) return text.toLowerCase();
  } else if (isHostName(bare)) return text.toLowerCase().replace(/\.$/, "");
  return { code, wrong: `${quote(text)} is no host`, fix: "Write shop.test, *.shop.test or an address" };
}

/** `host` or `host:port`, as a Host field carries it. */
export function authority(text: string): string | Wrong {
  const match = /^(.*?)(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? "";
  const isHost = host.startsWith("[") ? isCidr(host.slice(1, -1)) && host.endsWith("]") : isHostName(host);
  if (isHost && Number(match?.[2] ?? 0) <= 65535) return text;
  return { code: "CONFIG_HOST", wrong: `${quote(text)} is no host`, fix: "Write shop.test or shop.test:8080" };
}

/** `keep`, `backend`, or a host as it stands. */
export function hostHeader(text: string): string | Wrong {
  if (text === "keep" || text === "backend") return text;
  const host = authority(text);
  return typeof host === "string" ? host : { ...host, fix: "Write keep, backend, or a host such as shop.test" };
}

/** A request target in origin form. */
export function requestTarget(text: string): string | Wrong {
  if (/^\/[\x21-\x22\x24-\x7e]*$/.test(text)) return text;
  return { code: "CONFIG_PATH", wrong: `${quote(text)} is no path`, fix: "Write /healthz" };
}

/** A path prefix to strip or add, without a slash at the end. */
export function pathPrefix(text: string): string | Wrong {
  const wrong = pathMistake(text);
  if (wrong !== undefined) return wrong;
  if (text.endsWith("/*"))
    return { code: "CONFIG_PATH", wrong: `${quote(text)} has a star`, fix: `Write ${text.slice(0, -2)}` };
  if (text === "/") return { code: "CONFIG_PATH", wrong: "a slash alone changes nothing", fix: "Leave it out" };
  return text.endsWith("/") ? text.slice(0, -1) : text;
}

/** What is wrong with `text` as a literal path, as it comes in a request. */
export function pathMistake(text: string): Wrong | undefined {
  const code = "CONFIG_PATH";
  if (!text.startsWith("/"))
    return { code, wrong: `${quote(text)} does not begin with a slash`, fix: `Write /${text}` };
  if (/[?#]/.test(text)) {
    return {
      code,
      wrong: `${quote(text)} holds a ${text.includes("?") ? "query" : "fragment"}`,
      fix: "Write the path alone; match.query compares parameters",
    };
  }
  if (/[^\x21-\x7e]/.test(text)) {
    return {
      code,
      wrong: `${quote(text)} holds a character that no path is sent with`,
      fix: "Write it percent-encoded, as in /caf%C3%A9",
    };
  }
  if (/(^|[/\\])(\.|%2e){1,2}([/\\]|$)/i.test(text)) {
    return { code, wrong: `${quote(text)} holds a dot segment`, fix: "Write the path it resolves to" };
  }
  return undefined;
}

/** Where a redirect leads: an absolute URL, or a path on the same host. */
export function redirectTarget(text: string): string | Wrong {
  const code = "CONFIG_REDIRECT";
  const fix = "Write https://shop.test/new or /new";
  if (/[^\x21-\x7e]/.test(text)) return { code, wrong: `${quote(text)} holds a character that no URL may carry`, fix };
  if (/[{}]/.test(text)) return { code, wrong: "a redirect takes no variables", fix };
  if (/^\/(?![/\\])/.test(text)) return text;
  if (/^https?:\/\/[^/?#@\\]+([/?#]|$)/i.test(text) && URL.canParse(text)) return text;
  return { code, wrong: `${quote(text)} is neither a URL nor a path`, fix };
}

/** A file, or `stdout`. */
export function filePath(text: string): string | Wrong {
  if (text !== "" && !/[\x00-\x1f\x7f]/.test(text)) return text;
  return { code: "CONFIG_TEXT", wrong: `${quote(text)} is no path of a file`, fix: "Write stdout, or a path" };
}

/** A file of positions. */
export function databasePath(text: string): string | Wrong {
  const path = filePath(text);
  return typeof path === "string" ? path : { ...path, fix: "Write a path, such as city.mmdb" };
}

/** `workers`: a number, or `auto`. */
export function workers(value: unknown): number | "auto" | Wrong {
  if (value === "auto") return "auto";
  const number = parseInteger(value, { min: 1, max: 256 });
  return typeof number === "number" ? number : { ...number, fix: "Write a whole number from 1 to 256, or auto" };
}

/** `backup` of a backend: its tier, 0 for one that is no backup. */
export function backupTier(value: unknown): number | Wrong {
  if (value === true || value === "true") return 1;
  if (value === false || value === "false") return 0;
  const tier = parseInteger(value, { min: 0, max: 9 });
  return typeof tier === "number" ? tier : { ...tier, fix: "Write true, or the number of its tier from 1 to 9" };
}

/** Statuses: one, `200-399`, or a list of both. */
export function statusRanges(value: unknown): [number, number][] | Wrong {
  const entries = Array.isArray(value) ? value : [value];
  const fix = "Write 200, 200-399 or a list of both";
  if (entries.length === 0) return { code: "CONFIG_STATUS", wrong: "an empty list expects no status at all", fix };
  const ranges: [number, number][] = [];
  for (const entry of entries) {
    const match = /^(\d{3})(?: ?- ?(\d{3}))?$/.exec(String(entry));
    const from = Number(match?.[1]);
    const to = Number(match?.[2] ?? match?.[1]);
    if (typeof entry === "object" || !(from >= 100 && to <= 599)) {
      return { code: "CONFIG_STATUS", wrong: `${describe(entry)} is no status from 100 to 599`, fix };
    }
    if (from > to) return { code: "CONFIG_STATUS", wrong: `${quote(String(entry))} ends before it begins`, fix };
    ranges.push([from, to]);
  }
  return ranges;
}
