import pino from "pino";
import type { LogFields, LogLevel } from "../proxy/data-plane-api.ts";

/** Writes what an operator should read. */
export interface Log {
  /** `code` is a stable word for machines, `message` a sentence for people, `fields` its parts again, for machines. */
  write(level: LogLevel, code: string, message: string, fields?: LogFields): void;
  /** Hands everything written so far to the kernel; for the moment before an exit. */
  flush(): void;
}

/** How a log is written. */
export interface LogOptions {
  readonly level: LogLevel | "silent";
  /** One readable line an entry; otherwise one JSON object an entry. Default: whether standard error is a terminal. */
  readonly pretty?: boolean;
  /** Where bytes go; default: standard error. */
  readonly destination?: { write(text: string): void };
}

const MAX_WAITING_BYTES = 1024 * 1024;
/** How long a flush before an exit waits for a reader that does not read. */
const FLUSH_MS = 1_000;

/**
 * The log on standard error. It never blocks: of a reader that stopped, up to 1 MiB is kept, the rest is dropped.
 * JSON entries carry `level`, `time` (ISO 8601), `code`, the fields, and `msg`.
 */
export function createLog(options: LogOptions): Log {
  const pretty = options.pretty ?? (options.destination === undefined && process.stderr.isTTY === true);
  let giveUpAtMs = Number.POSITIVE_INFINITY;
  const stderr =
    options.destination === undefined
      ? pino.destination({
          dest: 2,
          sync: false,
          maxLength: MAX_WAITING_BYTES,
          retryEAGAIN: () => performance.now() < giveUpAtMs,
        })
      : undefined;
  stderr?.on("error", () => {}); // Nobody reads any more, and there is nobody else to tell.
  const out = options.destination ?? stderr!;
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pretty ? { write: (json: string) => out.write(readable(json)) } : out,
  );
  return {
    write: (level, code, message, fields) => logger[level]({ code, ...fields }, message),
    flush: () => {
      if (stderr === undefined) return;
      giveUpAtMs = performance.now() + FLUSH_MS;
      try {
        stderr.flushSync();
      } catch {
        stderr.destroy();
      }
    },
  };
}

/** `12:00:00.123 WARN  backend down: ... (stack below)`. */
function readable(json: string): string {
  const { level, time, msg, stack } = JSON.parse(json) as Record<string, string>;
  const line = `${time?.slice(11, 23)} ${level?.toUpperCase().padEnd(5)} ${msg}\n`;
  return stack === undefined ? line : `${line}${stack}\n`;
}
