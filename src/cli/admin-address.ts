import { loadConfig } from "../config/load.ts";
import { formatAddress, type ListenAddress } from "../config/values.ts";
import { type AdminAnswer, askAdmin, NoAnswer, parseAdmin } from "./admin-client.ts";
import { printMistakes } from "./check.ts";
import { CommandError, textOption } from "./command.ts";
import type { Terminal } from "./terminal.ts";

/** Where the admin API listens unless the configuration says otherwise. */
const DEFAULT_ADMIN: ListenAddress = { kind: "tcp", host: "127.0.0.1", port: 9900 };

/** The options that say which instance is meant, the same for every command that asks one. */
export const adminOptions = {
  admin: textOption("url", "the instance's admin API (default: http://127.0.0.1:9900), or unix:/path"),
  config: textOption("file", "take the admin API's address from this configuration", "c"),
};

/** Asks an instance. @throws CommandError that says what to do, when none answers. */
export async function askInstance(address: ListenAddress, path: string): Promise<AdminAnswer> {
  return askAdmin(address, path).catch((error: unknown) => {
    if (!(error instanceof NoAnswer)) throw error;
    throw new CommandError(`${error.message}. Start one with spillway run, or name its admin API with --admin.`);
  });
}

/** An answer that should be JSON. @throws CommandError when it is not. */
export function parsedAnswer(body: string, address: ListenAddress): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new CommandError(`${formatAddress(address)} does not answer with JSON: it is no Spillway.`);
  }
}

/** The address that the options name. @throws CommandError when they name none that can be used. */
export async function adminAddress(
  { admin, config }: { readonly admin: string | undefined; readonly config: string | undefined },
  terminal: Terminal,
): Promise<ListenAddress> {
  if (admin !== undefined) {
    if (config !== undefined) throw new CommandError("--admin and --config both name an address. Give one of them.", 2);
    const address = parseAdmin(admin);
    if (address !== undefined) return address;
    throw new CommandError(
      `--admin "${admin}" is no address. Write http://127.0.0.1:9900 or unix:/run/spillway.sock.`,
      2,
    );
  }
  if (config === undefined) return DEFAULT_ADMIN;
  const loaded = await loadConfig(config, terminal.environment);
  if (!loaded.ok) {
    printMistakes(loaded.mistakes, "red", terminal);
    throw new CommandError(`${config} does not say where the admin API is. Correct it, or use --admin.`, 2);
  }
  if (loaded.settings.admin === false) throw new CommandError(`the admin API is switched off in ${config}.`, 2);
  return loaded.settings.admin.listen;
}
