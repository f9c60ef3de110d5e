import type { CookieOptions } from "./options.ts";

const TOKEN_LENGTH = 22;
const DOT = 46;
/** Enough until the year 5188. */
const LONGEST_TIME = 9;
const ZERO = 48;
const NINE = 57;
const A = 97;
const Z = 122;

/** A cookie of ours: who the session belongs to, as nobody else can read it, and when it was made. */
export function cookieText(token: string, wallMs: number): string {
  return `${token}.${Math.floor(wallMs).toString(36)}`;
}

/** What stands for the backend in the value of a cookie; undefined: none of ours looks so. It may still be made up. */
export function tokenIn(value: string): string | undefined {
  const time = value.length - TOKEN_LENGTH - 1;
  if (time < 1 || time > LONGEST_TIME || value.charCodeAt(TOKEN_LENGTH) !== DOT) return undefined;
  return value.slice(0, TOKEN_LENGTH);
}

/** When a cookie that has a token was made, milliseconds since the Unix epoch; NaN: it does not say so as we would. */
export function issuedAt(value: string): number {
  const first = TOKEN_LENGTH + 1;
  // As Number.toString writes it: digits and small letters, no zero in front.
  if (value.charCodeAt(first) === ZERO) return value.length === first + 1 ? 0 : Number.NaN;
  let time = 0;
  for (let at = first; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if (code >= ZERO && code <= NINE) time = time * 36 + code - ZERO;
    else if (code >= A && code <= Z) time = time * 36 + code - A + 10;
    else return Number.NaN;
  }
  return time;
}

/** What follows name and value in a Set-Cookie field (RFC 6265bis section 4.1), for a session of `ttl` milliseconds. */
export function cookieAttributes(options: CookieOptions, ttl: number, secure: boolean): string {
  const { path, domain, maxAge, httpOnly, sameSite } = options;
  return [
    `; Path=${path}`,
    domain === "" ? "" : `; Domain=${domain}`,
    maxAge ? `; Max-Age=${Math.max(1, Math.ceil(ttl / 1000))}` : "",
    httpOnly ? "; HttpOnly" : "",
    sameSite === false ? "" : `; SameSite=${sameSite}`,
    secure ? "; Secure" : "",
  ].join("");
}
