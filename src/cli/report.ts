import { loadConfig } from "../config/load.ts";
import { formatAddress, type ListenAddress } from "../config/values.ts";
import { askAdmin, NoAnswer, parseAdmin } from "./admin-client.ts";
import { printMistakes } from "./check.ts";
import { CommandError, defineCommand, jsonOption, textOption } from "./command.ts";
import type { Terminal } from "./terminal.ts";

/** Where the admin API listens unless the configuration says otherwise. */
const DEFAULT_ADMIN: ListenAddress = { kind: "tcp", host: "127.0.0.1", port: 9900 };

export default defineCommand({
  args: "",
  argsAbout: {},
  details:
    "Requests, failures, what was shed and what was tried again, the latency distribution, and what each backend did and in which state it is, since the instance started. With --json it prints the instance's status as data, state and reason of every backend included.",
  options: {
    admin: textOption("url", "the instance's admin API (default: http://127.0.0.1:9900), or unix:/path"),
    config: textOption("file", "take the admin API's address from this configuration", "c"),
    json: jsonOption,
  },
  examples: [
    "spillway report",
    "spillway report --config spillway.yaml",
    "spillway report --json | jq '.upstreams[].backends[] | {id, state, requests}'",
    "watch spillway report --admin http://127.0.0.1:9901",
  ],
  async run({ options, terminal }) {
    const address = await adminAddress(options, terminal);
    const path = options.json ? "/api/v1/status" : "/api/v1/report";
    const { status, body } = await askAdmin(address, path).catch((error: unknown) => {
      if (!(error instanceof NoAnswer)) throw error;
      throw new CommandError(`${error.message}. Start one with spillway run, or name its admin API with --admin.`);
    });
    if (status !== 200) {
      throw new CommandError(
        `${formatAddress(address)} answers ${path} with status ${status}: it is no Spillway, or an older one.`,
      );
    }
    terminal.out(options.json ? `${JSON.stringify(parsed(body, address), null, 2)}\n` : body);
    return 0;
  },
});

function parsed(body: string, address: ListenAddress): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new CommandError(`${formatAddress(address)} does not answer with JSON: it is no Spillway.`);
  }
}

async function adminAddress(
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
