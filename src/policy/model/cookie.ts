const SPACE = 32;
const TAB = 9;
const EQUALS = 61;

/**
 * Value of the first cookie called `name` in a Cookie field (RFC 6265 section 4.2.1), exactly as sent: quotes are kept,
 * nothing is decoded. Names are case-sensitive. Blanks around a pair are not part of it.
 */
export function cookieValue(field: string, name: string): string | undefined {
  const at = findCookie(field, name, 0);
  return at === -1 ? undefined : field.slice(at, cookieEnd(field, at));
}

/**
 * Where the value of the next cookie called `name` begins that stands behind `from`; -1: there is none. There may be
 * several: for different paths or domains, the more specific first.
 */
export function findCookie(field: string, name: string, from: number): number {
  let start = from === 0 ? 0 : behind(field, from);
  while (start < field.length) {
    while (isBlank(field.charCodeAt(start))) start++;
    if (field.startsWith(name, start) && field.charCodeAt(start + name.length) === EQUALS) {
      return start + name.length + 1;
    }
    start = behind(field, start);
  }
  return -1;
}

/** Where the value that begins at `at` ends. */
export function cookieEnd(field: string, at: number): number {
  const semicolon = field.indexOf(";", at);
  let end = semicolon === -1 ? field.length : semicolon;
  while (end > at && isBlank(field.charCodeAt(end - 1))) end--;
  return end;
}

/** Behind the pair that `at` is in. */
function behind(field: string, at: number): number {
  const semicolon = field.indexOf(";", at);
  return semicolon === -1 ? field.length : semicolon + 1;
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB;
}
