import { loadConfig } from "../config/load.ts";
import { formatMistake, type Mistake } from "../config/mistakes.ts";
import { checkConfig } from "../config/parse.ts";
import type { SettingsInput } from "../config/settings.ts";
import type { Snapshot } from "../metrics/snapshot.ts";
import { createDataPlane } from "../proxy/data-plane.ts";
import type { BoundAddress } from "../proxy/data-plane-api.ts";
import { SystemClock } from "../time/system-clock.ts";
import { EmbeddedPlane } from "./embedded-plane.ts";
import { createLog, type Log } from "./log.ts";
import { Spillway } from "./spillway.ts";
import { version } from "./version.ts";

/** A configuration that cannot be run; the message holds every mistake, one a line. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly mistakes: readonly Mistake[];

  constructor(mistakes: readonly Mistake[]) {
    super(mistakes.map(formatMistake).join("\n"));
    this.mistakes = mistakes;
  }
}

/** How an embedded Spillway behaves beyond its configuration. */
export interface EmbedOptions {
  /** Where events go. Default: standard error, by the `log` of the configuration. */
  readonly log?: Log;
}

/** A load balancer inside another program. */
export interface EmbeddedSpillway extends AsyncDisposable {
  /** Where it listens, in the order of the configuration; port 0 has become a real one. */
  readonly listeners: readonly BoundAddress[];
  /** Where the admin server listens; undefined unless the configuration asks for one. */
  readonly admin: BoundAddress | undefined;
  /** Everything counted up to now. */
  metrics(): Snapshot;
  /** The same as text for people. */
  report(): string;
  /** Accepts nothing more, lets running exchanges end (at most the `timeouts.drain` of the listeners), and ends. */
  close(): Promise<void>;
}

/**
 * Runs a load balancer in this process, in the caller's thread: one data plane, whatever `workers` says, health checks
 * included. The admin server runs only where the configuration has an `admin` of its own. Signals are left alone.
 *
 * @param config a configuration, or the file it is in.
 * @throws ConfigError with all mistakes, or ListenError naming the address that cannot be bound.
 * @example
 * await using spillway = await createSpillway({
 *   listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
 *   upstreams: { web: { backends: ["http://127.0.0.1:3000"] } },
 * });
 */
export async function createSpillway(
  config: SettingsInput | string,
  options: EmbedOptions = {},
): Promise<EmbeddedSpillway> {
  const loaded =
    typeof config === "string"
      ? await loadConfig(config)
      : checkConfig(config, { file: "configuration", environment: process.env });
  if (!loaded.ok) throw new ConfigError(loaded.mistakes);
  const asksForAdmin = "admin" in (loaded.written as object);
  const settings = asksForAdmin ? loaded.settings : { ...loaded.settings, admin: false as const };
  const log = options.log ?? createLog({ level: settings.log.level });
  for (const warning of loaded.warnings) log.write("warn", warning.code, formatMistake(warning));
  return Spillway.start(settings, {
    version,
    log,
    clock: new SystemClock(),
    workers: 1,
    makeDataPlanes: (parts) => new EmbeddedPlane({ ...parts, createDataPlane }),
  });
}
