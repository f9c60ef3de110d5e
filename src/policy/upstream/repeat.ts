/** RFC 9110 section 9.2.2, without TRACE, which is not served: sent twice, these do what they do sent once. */
const IDEMPOTENT: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);
/** A connection used less than this ago is taken to be alive for what must not be sent twice. */
const PROVEN_MS = 1000;

/** Whether a request may reach a backend twice: only where its method allows it. */
export function mayRepeat(method: string): boolean {
  return IDEMPOTENT.has(method);
}

/** Whether a connection that became idle at `idleSinceMs` may have been closed by its backend meanwhile. */
export function mayBeStale(idleSinceMs: number, now: number): boolean {
  return now - idleSinceMs > PROVEN_MS;
}
