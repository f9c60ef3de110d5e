import type { Clock } from "../time/clock.ts";
import type { Exchange } from "./exchange.ts";

/** How a line is written. */
export type AccessFormat = "combined" | "json";

/** Formats one line for each exchange. Whatever a client sent is escaped: a line stays a line. */
export class AccessLog {
  readonly #format: AccessFormat;
  readonly #clock: Clock;
  readonly #sink: (line: string) => void;

  constructor(format: AccessFormat, clock: Clock, sink: (line: string) => void) {
    this.#format = format;
    this.#clock = clock;
    this.#sink = sink;
  }

  /** An exchange has ended. */
  write(exchange: Exchange, now: number): void {
    const { head } = exchange;
    const agent = head.header("user-agent");
    const referer = head.header("referer");
    if (this.#format === "combined") {
      const request = `${exchange.method} ${head.target} HTTP/1.${head.minor}`;
      const bytes = exchange.responseBytesSent === 0 ? "-" : exchange.responseBytesSent;
      this.#sink(
        `${head.client || "-"} - - [${this.#combinedTime()}] "${escaped(request)}" ${exchange.status || "-"} ${bytes} "${escaped(referer ?? "-")}" "${escaped(agent ?? "-")}"`,
      );
      return;
    }
    this.#sink(
      JSON.stringify({
        time: new Date(this.#clock.wallTime()).toISOString(),
        client: head.client,
        method: exchange.method,
        host: head.host,
        target: head.target,
        status: exchange.status,
        bytes: exchange.responseBytesSent,
        durationMs: Math.round((now - exchange.startedMs) * 1000) / 1000,
        route: exchange.route?.name,
        upstream: exchange.upstreamName || undefined,
        backend: exchange.backendId || undefined,
        attempts: exchange.attempts,
        reason: exchange.reason || undefined,
        requestId: exchange.requestId,
        referer,
        userAgent: agent,
      }),
    );
  }

  /** A request was refused before it became an exchange. */
  refused(client: string, status: number, code: string): void {
    if (this.#format === "combined") {
      this.#sink(`${client || "-"} - - [${this.#combinedTime()}] "-" ${status} - "-" "-"`);
    } else {
      const time = new Date(this.#clock.wallTime()).toISOString();
      this.#sink(JSON.stringify({ time, client, status, reason: code }));
    }
  }

  /** `10/Oct/2000:13:55:36 +0000` */
  #combinedTime(): string {
    const [, day, month, year, time] = /\w+, (\d+) (\w+) (\d+) ([\d:]+)/.exec(
      new Date(this.#clock.wallTime()).toUTCString(),
    )!;
    return `${day}/${month}/${year}:${time} +0000`;
  }
}

/** Quotes, backslashes and everything that is not printable ASCII as `\xHH`, as Apache and nginx do. */
function escaped(text: string): string {
  return text.replace(
    /["\\]|[^ -~]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0").toUpperCase()}`,
  );
}
