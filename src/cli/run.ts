import { DEFAULT_FILES, loadConfig } from "../config/load.ts";
import { formatMistake } from "../config/mistakes.ts";
import type { Loaded } from "../config/parse.ts";
import { loadQuick } from "../config/quick.ts";
import type { Settings } from "../config/settings.ts";
import { formatAddress } from "../config/values.ts";
import { explainFileLimit, filesNeeded, openFileLimit } from "../control/file-limit.ts";
import { explainListenError, TOO_MANY_FILES } from "../control/listen-advice.ts";
import { createLog, type Log } from "../control/log.ts";
import { runUntilSignalled } from "../control/signals.ts";
import { Spillway } from "../control/spillway.ts";
import { StartError } from "../control/start-error.ts";
import { version } from "../control/version.ts";
import { NoReusePortError, type WorkerPlanes, workerPlanes } from "../control/worker-planes.ts";
import { ListenError } from "../proxy/data-plane-api.ts";
import { SystemClock } from "../time/system-clock.ts";
import { defaultFile, printMistakes } from "./check.ts";
import { CommandError, defineCommand, type OptionValues, textOption } from "./command.ts";
import type { Terminal } from "./terminal.ts";

const options = {
  listen: textOption("address", "where to accept connections (default: 127.0.0.1:8080)", "l"),
  balance: textOption("policy", "how to pick a backend (default: weighted-round-robin)", "b"),
  workers: textOption("number", "threads that carry traffic, or auto for one per core (default: 1)", "w"),
  admin: textOption("address", "where the admin server listens, or off (default: 127.0.0.1:9900)"),
  accessLog: textOption("format", "combined or json: one line for each exchange on stdout (default: off)"),
  logLevel: textOption("level", "debug, info, warn, error or silent (default: info)"),
};

export default defineCommand({
  args: "[file|address...]",
  argsAbout: {
    "file|address": `a configuration (default: the first there is of ${DEFAULT_FILES.slice(0, 4).join(", ")}), or the addresses of backends`,
  },
  details:
    "Runs until SIGTERM or SIGINT: then running exchanges end (timeouts.drain, 30s by default), and new ones are refused. The same signal again ends at once. SIGUSR1 opens the access log anew after it has been moved away. What happens is written to stderr.",
  options,
  examples: [
    "spillway run                            # spillway.yaml in this directory",
    "spillway run /etc/spillway/spillway.yaml",
    "spillway run --listen :8080 http://10.0.0.1:3000 http://10.0.0.2:3000",
    "spillway run --balance least-connections --workers auto --admin off http://10.0.0.1:3000",
  ],
  async run({ args, options, terminal }) {
    const loaded = await load(args, options, terminal);
    if (!loaded.ok) {
      printMistakes(loaded.warnings, "yellow", terminal);
      printMistakes(loaded.mistakes, "red", terminal);
      return 2;
    }
    const { settings } = loaded;
    const log = createLog({ level: settings.log.level });
    endOnFault(log);
    // A load balancer outlives the reader of its access log.
    process.stdout.removeAllListeners("error").on("error", () => {});

    const planes = await reported(workerPlanes(settings));
    for (const warning of loaded.warnings) log.write("warn", warning.code, formatMistake(warning));
    const spillway = await reported(
      Spillway.start(settings, { version, log, clock: new SystemClock({ ref: true }), ...planes }),
    );
    const signalled = runUntilSignalled(spillway, log);
    await logStart(log, settings, planes, spillway);
    const code = await signalled;
    log.flush();
    process.exit(code);
  },
});

/** A file, or a configuration made of what stands on the command line. */
async function load(args: readonly string[], said: OptionValues<typeof options>, terminal: Terminal): Promise<Loaded> {
  const used = Object.entries(said).filter(([, value]) => value !== undefined);
  const [file, ...more] = args;
  const namesFile = file !== undefined && more.length === 0 && !file.includes("://") && !file.includes("+unix:");
  if (used.length === 0 && (file === undefined || namesFile)) {
    return loadConfig(file ?? (await defaultFile()), terminal.environment);
  }
  if (namesFile && DEFAULT_FILES.some((name) => file.endsWith(name.slice(name.lastIndexOf("."))))) {
    const names = used.map(([name]) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);
    throw new CommandError(`${names.join(", ")} cannot stand beside a file. Write it in ${file}.`, 2);
  }
  const admin = said.admin === "off" ? false : said.admin;
  return loadQuick({ ...said, admin, urls: args }, terminal.environment);
}

/** What lies outside of Spillway is told in one line; all else keeps its stack. */
async function reported<T>(start: Promise<T>): Promise<T> {
  try {
    return await start;
  } catch (error) {
    if (error instanceof NoReusePortError) throw new CommandError(error.message, 2);
    if (error instanceof ListenError) throw new CommandError(explainListenError(error));
    if (error instanceof StartError) throw new CommandError(error.message);
    // A thread that cannot open its own modules ends with this.
    if (String(error).includes("EMFILE")) throw new CommandError(TOO_MANY_FILES);
    throw error;
  }
}

async function logStart(log: Log, settings: Settings, { workers }: WorkerPlanes, spillway: Spillway): Promise<void> {
  const node = process.versions.node;
  const threads = workers === 1 ? "1 worker" : `${workers} workers`;
  log.write("info", "started", `Spillway ${version} on Node.js ${node}, ${threads}`, { version, node, workers });
  for (const bound of spillway.listeners) {
    const address = formatAddress(bound);
    log.write("info", "listening", `listening on ${address}`, { address });
  }
  if (spillway.admin !== undefined) {
    const address = formatAddress(spillway.admin);
    log.write("info", "admin_listening", `metrics and status on ${address}`, { address });
  }
  for (const [upstream, { balance, backends }] of Object.entries(settings.upstreams)) {
    const count = backends.length === 1 ? "1 backend" : `${backends.length} backends`;
    const fields = { upstream, policy: balance.policy, backends: backends.length };
    log.write("info", "upstream", `upstream ${upstream}: ${count}, ${balance.policy}`, fields);
  }
  const tight = explainFileLimit(await openFileLimit(), filesNeeded(settings, workers));
  if (tight !== undefined) log.write("warn", "file_limit", tight);
}

/** A fault of the control plane ends the process: a supervisor starts it again, and nobody runs half a Spillway. */
function endOnFault(log: Log): void {
  process.on("uncaughtException", (error: unknown) => {
    const { message, stack = "" } = error instanceof Error ? error : { message: String(error) };
    log.write("error", "fault", `a fault in the control plane ends Spillway: ${message}`, { stack });
    log.flush();
    process.exit(1);
  });
}
