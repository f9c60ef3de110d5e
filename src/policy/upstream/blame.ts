/** What an exchange was doing when its time was over. */
export interface Lateness {
  /** How long its attempt had been running; undefined: none was. */
  readonly ranMs: number | undefined;
  /** Since when nothing of the response had come; undefined: it had not begun. */
  readonly silentMs: number | undefined;
  /** It was the client that was waited for: to send, or to take what it had been sent. */
  readonly clientWaitedFor: boolean;
  /** The limit was the route's, not one that a client or a proxy before us had set. */
  readonly ownLimit: boolean;
}

/** A backend that had so long has had its chance, however little time its client had given. */
const FAIR_MS = 1_000;

/**
 * Whether that the time of an exchange was over is its backend's fault. A client that sends or reads slowly, or gave too
 * little time, says nothing of the backend; nor does a long response that was still coming.
 */
export function blamesBackend({ ranMs, silentMs, clientWaitedFor, ownLimit }: Lateness): boolean {
  if (ranMs === undefined || clientWaitedFor) return false;
  if (silentMs !== undefined && silentMs < Math.min(FAIR_MS, ranMs / 2)) return false;
  return ownLimit || ranMs >= FAIR_MS;
}
