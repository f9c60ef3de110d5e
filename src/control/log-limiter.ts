import type { LogFields } from "../proxy/data-plane-api.ts";
import type { Clock } from "../time/clock.ts";
import type { Log } from "./log.ts";

/**
 * Keeps a flood of equal entries from filling a log: per kind, at most `burst` entries in `windowMs`. The first entry
 * of a later window carries how many were left out, so nothing vanishes without a trace. Kinds are remembered for good:
 * there must be few of them, however many entries.
 */
export class LogLimiter {
  readonly #burst: number;
  readonly #windowMs: number;
  readonly #kinds = new Map<string, { startMs: number; taken: number; left: number }>();

  constructor(burst = 10, windowMs = 10_000) {
    this.#burst = burst;
    this.#windowMs = windowMs;
  }

  /** How many entries of `kind` were left out since the last one admitted; undefined: leave this one out too. */
  admit(kind: string, now: number): number | undefined {
    const known = this.#kinds.get(kind);
    if (known === undefined) {
      this.#kinds.set(kind, { startMs: now, taken: 1, left: 0 });
      return 0;
    }
    if (now - known.startMs >= this.#windowMs) {
      known.startMs = now;
      known.taken = 0;
    }
    if (known.taken === this.#burst) {
      known.left++;
      return undefined;
    }
    known.taken++;
    const left = known.left;
    known.left = 0;
    return left;
  }
}

/** Which entries are of one kind. */
export type LogKind = (code: string, fields: LogFields | undefined) => string;

const perCode: LogKind = (code) => code;

/** Entries about one backend do not silence those about another. */
export const perBackend: LogKind = (code, fields) =>
  fields === undefined ? code : `${code} ${fields.upstream ?? ""} ${fields.backend ?? ""} ${fields.slot ?? ""}`;

/** `log`, with floods held back as {@link LogLimiter} does; an entry after a gap says how many are missing. */
export function limitLog(log: Log, clock: Clock, limiter = new LogLimiter(), kindOf = perCode): Log {
  return {
    write(level, code, message, fields) {
      const left = limiter.admit(kindOf(code, fields), clock.now());
      if (left === undefined) return;
      if (left === 0) log.write(level, code, message, fields);
      else log.write(level, code, `${message} (and ${left} more of the kind)`, { ...fields, leftOut: left });
    },
    flush: () => log.flush(),
  };
}
