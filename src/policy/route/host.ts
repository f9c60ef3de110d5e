/** The name alone, as routes are compared with it: no port, no dot at the end. `[::1]:80` is `[::1]`. */
export function hostName(host: string): string {
  const from = host.charCodeAt(0) === 0x5b ? host.indexOf("]") : 0;
  const colon = host.indexOf(":", from);
  let end = colon === -1 ? host.length : colon;
  if (end > 1 && host.charCodeAt(end - 1) === 0x2e) end--;
  return end === host.length ? host : host.slice(0, end);
}

/** Whether `pattern`, a name or `*.` and a name, is `name` or stands above it. */
export function hostMatches(pattern: string, name: string): boolean {
  if (!pattern.startsWith("*.")) return pattern === name;
  return name.length >= pattern.length && name.endsWith(pattern.slice(1));
}
