import type { CookieOptions } from "./options.ts";

const TOKEN_LENGTH = 22;
const DOT = 46;
/** Enough until the year 5188. */
const LONGEST_TIME = 9;
// 0-9 and a-z, no zero in front: what Number.toString makes.
const TIME = /^(?:0|[1-9a-z][0-9a-z]*)$/;

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
  const time = value.slice(TOKEN_LENGTH + 1);
  return TIME.test(time) ? Number.parseInt(time, 36) : Number.NaN;
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
