import { randomBytes } from "node:crypto";
import { loadConfig } from "../config/load.ts";
import { formatAddress } from "../config/values.ts";
import { GeoipFiles } from "../control/geoip.ts";
import { StartError } from "../control/start-error.ts";
import type { RequestDescription, RequestExplanation } from "../proxy/data-plane-api.ts";
import { explainOffline } from "../proxy/explain-offline.ts";
import { explanationJson } from "../proxy/explanation.ts";
import { SystemClock } from "../time/system-clock.ts";
import { adminAddress, adminOptions, askInstance, parsedAnswer } from "./admin-address.ts";
import { printMistakes } from "./check.ts";
import { CommandError, defineCommand, jsonOption, textOption } from "./command.ts";
import { describedRequest, requestOptions } from "./described-request.ts";
import { explanationWords, isAnswered } from "./explanation-words.ts";
import type { Terminal } from "./terminal.ts";

export default defineCommand({
  args: "[file]",
  argsAbout: {
    file: "explain from this configuration, as if it had just been started and every backend were up and idle",
  },
  details:
    "Which route takes a request, where its client is, which backend it would go to and why not to the others, as a running instance sees it at this moment: states, sessions, room, distances. Nothing is sent or counted. The exit code is 1 when it would be answered with an error.",
  options: {
    ...requestOptions,
    listener: textOption("number", "the listener it comes to, from 0 on (default: 0)"),
    ...adminOptions,
    json: jsonOption,
  },
  examples: [
    "spillway explain --request 'GET http://shop.test/v1/x'",
    "spillway explain --request /cart --header 'cookie: spillway=...' --client 192.0.2.7",
    "spillway explain spillway.yaml --request / --header 'x-latitude: 37.5' --header 'x-longitude: 127'",
    "spillway explain --request / --json | jq '.upstreams[].pick.choice'",
  ],
  async run({ args: [file], options, terminal }) {
    if (options.request === undefined) {
      throw new CommandError("there is no request to explain. Add --request 'GET http://shop.test/v1/x'.", 2);
    }
    if (file !== undefined && (options.admin !== undefined || options.config !== undefined)) {
      throw new CommandError(
        `${file} is explained without an instance. Leave out --admin and --config, or the file.`,
        2,
      );
    }
    const request = {
      ...describedRequest(options.request, options.header, options.client),
      listener: listenerNumber(options.listener ?? "0"),
    };
    const json =
      file === undefined ? await fromInstance(request, options, terminal) : await fromFile(request, file, terminal);
    // What is not there is null in JSON.
    const explanation = JSON.parse(json, (_, value: unknown) => value ?? undefined) as RequestExplanation;
    terminal.out(options.json ? `${JSON.stringify(JSON.parse(json), null, 2)}\n` : explanationWords(explanation));
    return isAnswered(explanation) ? 0 : 1;
  },
});

function listenerNumber(text: string): number {
  if (/^\d{1,5}$/.test(text)) return Number(text);
  throw new CommandError(`--listener "${text}" is no number. Write 0 for the first one.`, 2);
}

async function fromInstance(
  { headers, listener, ...request }: RequestDescription,
  options: { readonly admin: string | undefined; readonly config: string | undefined },
  terminal: Terminal,
): Promise<string> {
  const address = await adminAddress(options, terminal);
  const query = new URLSearchParams({ ...request, listener: String(listener) });
  for (const [name, value] of headers) query.append("header", `${name}:${value}`);
  const { status, body } = await askInstance(address, `/api/v1/explain?${query}`);
  if (status === 431)
    throw new CommandError("the request is too large to be described to an instance: 16 KiB at most", 2);
  if (status !== 200 && status !== 400 && status !== 503) {
    throw new CommandError(
      `${formatAddress(address)} answers /api/v1/explain with status ${status}: it is no Spillway, or an older one.`,
    );
  }
  const answer = parsedAnswer(body, address) as { readonly error?: unknown };
  if (status !== 200) throw new CommandError(String(answer.error), status === 400 ? 2 : 1);
  return body;
}

async function fromFile(request: RequestDescription, file: string, terminal: Terminal): Promise<string> {
  const loaded = await loadConfig(file, terminal.environment);
  if (!loaded.ok) {
    printMistakes(loaded.mistakes, "red", terminal);
    throw new CommandError(`${file} cannot be used. spillway check says more.`, 2);
  }
  const { settings } = loaded;
  const explanation = explainOffline(settings, request, {
    geoip: await databases(settings.listeners.slice(request.listener, request.listener + 1)),
    // Without a key in the file, no cookie is one of this instance's.
    secret: randomBytes(32).toString("base64url"),
    wallMs: Date.now(),
  });
  if (explanation !== undefined) return explanationJson(explanation);
  const count = settings.listeners.length;
  throw new CommandError(`listener: ${request.listener} is none of the ${count} there are, from 0 on`, 2);
}

async function databases(
  listeners: Parameters<typeof GeoipFiles.read>[0],
): Promise<ReadonlyMap<string, SharedArrayBuffer>> {
  const silent = { write: () => {}, flush: () => {} };
  try {
    return (await GeoipFiles.read(listeners, { clock: new SystemClock(), log: silent })).databases;
  } catch (error) {
    if (error instanceof StartError) throw new CommandError(error.message, 2);
    throw error;
  }
}
