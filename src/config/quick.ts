import { formatKey, type KeyPath } from "./mistakes.ts";
import { checkConfig, type Loaded } from "./parse.ts";
import type { Environment } from "./variables.ts";

/** What can be said on the command line in place of a file. What is left out takes the default of the schema. */
export interface QuickOptions {
  /** Addresses of the backends. */
  readonly urls: readonly string[];
  readonly listen?: string | undefined;
  readonly balance?: string | undefined;
  readonly workers?: string | undefined;
  /** Address of the admin API; `false` switches it off. */
  readonly admin?: string | false | undefined;
  readonly accessLog?: string | undefined;
  readonly logLevel?: string | undefined;
}

/** Name of the one upstream of a quick configuration. */
export const QUICK_UPSTREAM = "web";

/** The configuration that such a command line stands for, as it would be written in a file. */
export function quickConfig({
  urls,
  listen = "127.0.0.1:8080",
  balance,
  workers,
  admin,
  accessLog,
  logLevel,
}: QuickOptions) {
  return {
    workers,
    admin: admin === undefined || admin === false ? admin : { listen: admin },
    log: { level: logLevel, access: accessLog === undefined ? undefined : { format: accessLog } },
    listeners: [{ listen, upstream: QUICK_UPSTREAM }],
    upstreams: { [QUICK_UPSTREAM]: { balance, backends: urls } },
  };
}

/** Checks it by the same schema as a file; mistakes name the option they come from. */
export function loadQuick(options: QuickOptions, environment: Environment = process.env): Loaded {
  return checkConfig(quickConfig(options), { file: "command line", environment, nameKey: optionOf });
}

const OPTIONS: Readonly<Record<string, string>> = {
  workers: "--workers",
  "admin.listen": "--admin",
  "log.level": "--log-level",
  "log.access.format": "--access-log",
  "listeners[0].listen": "--listen",
  [`upstreams.${QUICK_UPSTREAM}.balance`]: "--balance",
  [`upstreams.${QUICK_UPSTREAM}.backends`]: "addresses",
};

function optionOf(path: KeyPath): string {
  const key = formatKey(path);
  return OPTIONS[key] ?? key.replace(`upstreams.${QUICK_UPSTREAM}.backends[`, "addresses[");
}
