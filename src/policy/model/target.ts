const EQUALS = 61;

/** The part before the first `?`. */
export function pathOf(target: string): string {
  const end = target.indexOf("?");
  return end === -1 ? target : target.slice(0, end);
}

/**
 * Value of the first query parameter called `name`, as sent; the empty string when it has no `=` or nothing behind it.
 * Names are compared as sent, too: `a%62=1` is not `ab`.
 */
export function queryValue(target: string, name: string): string | undefined {
  let at = target.indexOf("?");
  if (at === -1) return undefined;
  while (at !== -1) {
    const start = at + 1;
    const next = target.indexOf("&", start);
    const end = next === -1 ? target.length : next;
    if (target.startsWith(name, start)) {
      const after = start + name.length;
      if (after === end) return "";
      if (target.charCodeAt(after) === EQUALS) return target.slice(after + 1, end);
    }
    at = next;
  }
  return undefined;
}
