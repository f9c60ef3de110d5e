import { access } from "node:fs/promises";
import { DEFAULT_FILES, loadConfig } from "../config/load.ts";
import { formatMistake, type Mistake } from "../config/mistakes.ts";
import { hideSecrets } from "../config/secrets.ts";
import type { ListenerSettings, Settings } from "../config/settings.ts";
import { formatAddress } from "../config/values.ts";
import type { PickRequest } from "../policy/model/request.ts";
import { compileRoutes, explainRoute } from "../policy/route/index.ts";
import { CommandError, defineCommand, type ExitCode, jsonOption } from "./command.ts";
import { asPickRequest, describedRequest, requestOptions, routeRows } from "./described-request.ts";
import { actionWords, columns, settingsWords } from "./settings-words.ts";
import { paint, type Terminal } from "./terminal.ts";

export default defineCommand({
  args: "[file]",
  argsAbout: { file: `configuration (default: the first there is of ${DEFAULT_FILES.slice(0, 4).join(", ")})` },
  details:
    "Prints every mistake of the file, or what the file means: listeners with their routes, upstreams with their backends, and which keys took their default. With --request it says which route takes a request, and why those before it do not; the exit code is 1 when none does.",
  options: {
    ...requestOptions,
    json: jsonOption,
  },
  examples: [
    "spillway check",
    "spillway check spillway.yaml --json | jq .settings.listeners",
    "spillway check --request 'GET http://shop.test/v1/x'",
    "spillway check --request /ping --header 'x-canary: 1' --client 192.0.2.7",
  ],
  async run({ args: [named], options, terminal }) {
    const request =
      options.request === undefined
        ? undefined
        : asPickRequest(describedRequest(options.request, options.header, options.client));
    if (request === undefined && (options.header.length > 0 || options.client !== undefined)) {
      throw new CommandError("--header and --client belong to a request. Add --request 'GET http://shop.test/'.", 2);
    }
    const file = named ?? (await defaultFile());
    const loaded = await loadConfig(file, terminal.environment);
    printMistakes(loaded.warnings, "yellow", terminal);
    if (!loaded.ok) {
      printMistakes(loaded.mistakes, "red", terminal);
      if (options.json) printJson(terminal, { ok: false, file, mistakes: loaded.mistakes, warnings: loaded.warnings });
      const count = loaded.mistakes.length;
      terminal.err(`${file}: ${count} ${count === 1 ? "mistake" : "mistakes"}.\n`);
      return 2;
    }
    if (request !== undefined) return explain(loaded.settings, request, options.json, terminal);
    if (options.json)
      printJson(terminal, { ok: true, file, warnings: loaded.warnings, settings: hideSecrets(loaded.settings) });
    else terminal.out(settingsWords(loaded.settings, loaded.written));
    terminal.err(paint(terminal, "green", `${file} is fine.`).concat("\n"));
    return 0;
  },
});

/** The file that is meant where none is named. */
export async function defaultFile(): Promise<string> {
  for (const file of DEFAULT_FILES) {
    const there = await access(file).then(
      () => true,
      () => false,
    );
    if (there) return file;
  }
  throw new CommandError("there is no spillway.yaml here. Name a file, or write one with spillway init.", 2);
}

/** Every mistake on a line of its own. */
export function printMistakes(mistakes: readonly Mistake[], color: "red" | "yellow", terminal: Terminal): void {
  const label = color === "yellow" ? paint(terminal, color, "warning ") : "";
  for (const mistake of mistakes) terminal.err(`${label}${formatMistake(mistake)}\n`);
}

/** JSON has no number without limit: `unlimited` is what the file would say. */
function printJson(terminal: Terminal, data: unknown): void {
  terminal.out(
    `${JSON.stringify(data, (_, value: unknown) => (value === Number.POSITIVE_INFINITY ? "unlimited" : value), 2)}\n`,
  );
}

/** What becomes of a request on each listener. */
function explain(settings: Settings, request: PickRequest, json: boolean, terminal: Terminal): ExitCode {
  const answers = settings.listeners.map((listener) => explainOn(listener, request));
  if (json)
    printJson(terminal, {
      ok: true,
      request: { method: request.method, host: request.host, target: request.target, client: request.client },
      listeners: answers.map(({ data }) => data),
    });
  else terminal.out(answers.map(({ words }) => words).join("\n"));
  return answers.some(({ data }) => data.taken !== null) ? 0 : 1;
}

function explainOn(listener: ListenerSettings, request: PickRequest) {
  const table = compileRoutes(listener.routes, (name) => name);
  const { routes, taken, target } = explainRoute(table, request);
  const listen = formatAddress(listener.listen);
  const settings = taken === undefined ? undefined : listener.routes[taken.index]!;
  const forwards = settings?.action.kind === "upstream" || settings?.action.kind === "split";
  const refused = forwards && target === undefined;
  const ending =
    settings === undefined
      ? "no route takes it: 404"
      : refused
        ? "its path leads out of the prefix, or into another route: 400"
        : `${actionWords(settings)}${forwards ? `: ${request.method} ${target}` : ""}`;
  const rows = routeRows(routes.map(({ route, ...step }) => ({ name: route.name, ...step })));
  const words = [
    `${request.method} ${request.target} for ${request.host} on ${listen}`,
    ...columns(rows),
    `  -> ${ending}`,
    "",
  ].join("\n");
  const data = {
    listen,
    taken: taken?.name ?? null,
    refused,
    target: forwards ? (target ?? null) : null,
    action: settings?.action ?? null,
    routes: routes.map(({ route, verdict, because }) => ({ name: route.name, verdict, because: because ?? null })),
  };
  return { words, data };
}
