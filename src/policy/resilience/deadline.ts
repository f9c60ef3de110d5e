const MOST_DIGITS = 9;
/** Eleven days and a half: the greatest value that {@link parseDeadline} reads. */
const MOST_MS = 10 ** MOST_DIGITS - 1;
const ZERO = 48;
const NINE = 57;

/**
 * What a deadline field says: how many milliseconds are left, as 1 to 9 digits and nothing else. Undefined for anything
 * else: a deadline that nobody understands is none. What is left travels, not the time of day: clocks differ.
 */
export function parseDeadline(value: string): number | undefined {
  if (value.length === 0 || value.length > MOST_DIGITS) return undefined;
  let ms = 0;
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code < ZERO || code > NINE) return undefined;
    ms = ms * 10 + (code - ZERO);
  }
  return ms;
}

/** The value of a deadline field: whole milliseconds, rounded down, from 0 to 999999999. */
export function formatDeadline(ms: number): string {
  return String(Math.floor(Math.min(MOST_MS, Math.max(0, ms))));
}
