import { isIP } from "node:net";
import { headerName, isToken, OWN_FIELDS } from "./text-checks.ts";
import { describe, isHostName, isWrong, quote, type Wrong } from "./values.ts";

// What the texts of an `affinity` may be. Those that are secret, or may hold a secret, are never repeated.

/** Name of a cookie that Spillway sets or looks for (RFC 6265 section 4.1.1). */
export function cookieName(value: unknown): string | Wrong {
  const fix = "Use letters, digits, dashes and underscores, as in spillway";
  const code = "CONFIG_COOKIE";
  if (typeof value !== "string") return { code, wrong: `${describe(value)} is no name of a cookie`, fix };
  if (isToken(value) && value.length <= 256) return value;
  return { code, wrong: `${quote(value)} is no name of a cookie`, fix };
}

/** Fields that Spillway writes or takes away, besides those of the framing and of single connections. */
const NO_IDS = new Set([
  "date",
  "forwarded",
  "host",
  "via",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
]);

/** Field that carries an id of the application's, in responses and in requests. */
export function idHeader(text: string): string | Wrong {
  const name = headerName(text);
  if (isWrong(name)) return name;
  const lower = name.toLowerCase();
  const code = "CONFIG_HEADER_RESERVED";
  if (lower === "set-cookie" || lower === "cookie") {
    return {
      code,
      wrong: `clients do not send back what ${name} holds as it is`,
      fix: "Write learned: { cookie: NAME }",
    };
  }
  if (!NO_IDS.has(lower) && !OWN_FIELDS.has(lower) && !lower.startsWith("proxy-")) return name;
  const wrong = `${name} is written or taken away by Spillway itself, so it carries no id`;
  return { code, wrong, fix: "Write a field of the application's own, such as x-session-id" };
}

/** Path of a cookie (RFC 6265 section 4.1.1): what may stand between `Path=` and the next semicolon. */
export function cookiePath(text: string): string | Wrong {
  const code = "CONFIG_COOKIE";
  if (!text.startsWith("/")) {
    return { code, wrong: `${quote(text)} does not begin with a slash`, fix: "Write / or a path such as /shop" };
  }
  if (/^[\x20-\x3a\x3c-\x7e]+$/.test(text) && text === text.trimEnd() && text.length <= 1024) return text;
  return { code, wrong: `${quote(text)} is no path that a cookie can carry`, fix: "Write / or a path such as /shop" };
}

/** Domain of a cookie, in lower case, without a dot at either end; empty for none. */
export function cookieDomain(text: string): string | Wrong {
  const code = "CONFIG_COOKIE";
  // Browsers pass over a dot in front (RFC 6265 section 5.2.3).
  const bare = text.replace(/^\./, "").replace(/\.$/, "");
  if (isIP(bare) !== 0) {
    return { code, wrong: `${quote(text)} is an address, and browsers take names alone`, fix: "Leave domain out" };
  }
  if (text === "" || isHostName(bare)) return bare.toLowerCase();
  return { code, wrong: `${quote(text)} is no name of a host`, fix: "Write shop.test, or leave domain out" };
}

const SHORTEST_SECRET = 16;

/** A secret. A number is refused like any other value that is no text, because it would lose its spelling. */
export function secret(value: unknown): string | Wrong {
  const code = "CONFIG_SECRET";
  const fix = `Write at least ${SHORTEST_SECRET} characters that nobody can guess, such as what openssl rand -base64 32 prints`;
  if (typeof value !== "string") return { code, wrong: "a secret has to be text", fix: "Put it in quotes" };
  if (value.length >= SHORTEST_SECRET) return value;
  return { code, wrong: `this secret has ${value.length} ${value.length === 1 ? "character" : "characters"}`, fix };
}

const REDIS_FORM = "redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER], or rediss:// for TLS";

/** Address of a Redis. */
export function redisUrl(value: unknown): string | Wrong {
  const wrong = redisMistake(value);
  return wrong === undefined
    ? (value as string)
    : { code: "CONFIG_STORE", wrong, fix: `Write memory, or ${REDIS_FORM}` };
}

function redisMistake(value: unknown): string | undefined {
  if (typeof value !== "string") return "this is no address of a store";
  if (!/^rediss?:\/\//.test(value)) return "this does not begin with redis:// or rediss://";
  if (!URL.canParse(value) || /[^\x21-\x7e]/.test(value)) return "this is no valid URL";
  const { hostname, port, pathname, search, hash, username, password } = new URL(value);
  if (hostname === "") return "this URL has no host";
  if (port === "0") return "nothing can listen on port 0";
  if (!/^(\/(\d{1,5})?)?$/.test(pathname)) return "what stands after the host is no number of a database";
  if (search !== "" || hash !== "") return "a query or fragment of the URL is not used";
  return isPercentEncoded(username) && isPercentEncoded(password)
    ? undefined
    : "a percent sign in the user name or password has to be written %25";
}

function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/** What the keys in a store begin with. */
export function keyPrefix(text: string): string | Wrong {
  if (/^[\x21-\x7e]{1,128}$/.test(text)) return text;
  return {
    code: "CONFIG_TEXT",
    wrong: `${quote(text)} is nothing that keys can begin with`,
    fix: "Write 1 to 128 characters of printable ASCII without spaces, such as spillway:",
  };
}
