const SPACE = 32;
const TAB = 9;
const EQUALS = 61;

/**
 * Value of the first cookie called `name` in a Cookie field (RFC 6265 section 4.2.1), exactly as sent: quotes are kept,
 * nothing is decoded. Names are case-sensitive. Blanks around a pair are not part of it.
 */
export function cookieValue(field: string, name: string): string | undefined {
  let start = 0;
  while (start < field.length) {
    const semicolon = field.indexOf(";", start);
    let end = semicolon === -1 ? field.length : semicolon;
    const next = end + 1;
    while (isBlank(field.charCodeAt(start))) start++;
    if (field.startsWith(name, start) && field.charCodeAt(start + name.length) === EQUALS) {
      while (end > start && isBlank(field.charCodeAt(end - 1))) end--;
      return field.slice(start + name.length + 1, end);
    }
    start = next;
  }
  return undefined;
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB;
}
