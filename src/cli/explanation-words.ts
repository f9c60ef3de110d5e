import { kmWords } from "../policy/upstream/explain-balance.ts";
import type {
  PickChoice,
  PickExplanation,
  RequestExplanation,
  SessionExplanation,
  ShareExplanation,
} from "../proxy/explanation.ts";
import { routeRows } from "./described-request.ts";
import { columns, timeWords } from "./settings-words.ts";

/** What would become of a request, for people. */
export function explanationWords(explanation: RequestExplanation): string {
  const { method, target, host, listener, routes, answer, upstreams, forwardedTarget } = explanation;
  const facts = [
    ["client", clientWords(explanation)],
    ...(explanation.rateLimit === undefined ? [] : [["limit", limitWords(explanation)]]),
    ...(forwardedTarget === undefined ? [] : [["asks for", forwardedTarget]]),
  ];
  const sections = [
    [`${method} ${target} for ${host} on ${listener}`, ...columns(routeRows(routes)), ...columns(facts)].join("\n"),
    ...(answer === undefined ? [] : [`-> ${answer.status} ${answer.reason}`]),
    ...upstreams.flatMap(shareSections),
  ];
  return `${sections.join("\n\n")}\n`;
}

/** Whether somebody answers with more than an error: a backend, now or when it has room, or a response of the settings. */
export function isAnswered({ answer, upstreams }: RequestExplanation): boolean {
  if (answer !== undefined) return answer.reason === "redirect" || answer.reason === "respond";
  return upstreams.some(
    ({ pick, fallback }) =>
      pick.choice.kind !== "answer" ||
      fallback?.status !== undefined ||
      (fallback?.pick !== undefined && fallback.pick.choice.kind !== "answer"),
  );
}

function clientWords({ client, trusted, position, positionFrom }: RequestExplanation): string {
  const who = client === "" ? "unknown" : client;
  const where = position === undefined ? "" : ` at ${position.latitude}, ${position.longitude} (${FROM[positionFrom]})`;
  return `${who}${where}${trusted ? ", through a trusted proxy" : ""}`;
}

const FROM = { header: "by its fields", geoip: "by GeoIP", default: "by default", none: "" } as const;

function limitWords({ rateLimit }: RequestExplanation): string {
  const { key, value, rate, perMs, burst } = rateLimit!;
  if (value === undefined) return `none: it has no ${key}`;
  const atOnce = burst === rate ? "" : `, ${burst} at once`;
  return `at most ${rate} in ${timeWords(perMs)}${atOnce} for ${key} ${value}, of which this is none`;
}

function shareSections({ share, pick, fallback }: ShareExplanation): string[] {
  const part = share === 1 ? "" : `, ${Math.round(share * 1000) / 10} % of such requests`;
  const sections = [pickWords(`Upstream ${titleOf(pick)}${part}`, pick)];
  if (fallback?.pick !== undefined)
    sections.push(pickWords(`Fallback upstream ${titleOf(fallback.pick)}`, fallback.pick));
  if (fallback?.status !== undefined) sections.push(`Fallback response\n  -> ${fallback.status}`);
  return sections;
}

function titleOf({ upstream, balance }: PickExplanation): string {
  return balance === "" ? upstream : `${upstream} (${balance})`;
}

function pickWords(title: string, pick: PickExplanation): string {
  const { session, backends, choice, refused } = pick;
  const regions = backends.some(({ region }) => region !== "");
  const distances = backends.some(({ distanceKm }) => distanceKm !== undefined);
  const rows = backends.map((backend) => [
    `  ${backend.id}`,
    ...(backend.address === backend.id && backends.every(({ id, address }) => id === address) ? [] : [backend.address]),
    ...(regions ? [backend.region] : []),
    ...(distances ? [backend.distanceKm === undefined ? "" : kmWords(backend.distanceKm)] : []),
    backend.state,
    backend.verdict,
    backend.because,
  ]);
  return [
    title,
    ...(session === undefined ? [] : [`  session: ${sessionWords(session, pick)}`]),
    ...columns(rows),
    ...(refused === 0
      ? []
      : [`  ${Math.round(refused * 1000) / 10} % are refused at the moment, as most fail (throttle)`]),
    `  -> ${choiceWords(choice)}${session?.asksStore === true ? ", unless the shared store knows better" : ""}`,
  ].join("\n");
}

function sessionWords({ by, state, backend, strict }: SessionExplanation, { backends }: PickExplanation): string {
  switch (state) {
    case "none":
      return `by ${by}, which the request has not`;
    case "unknown":
      return `by ${by}, and what the request has of it belongs nowhere yet`;
    case "kept":
      return `by ${by}, on ${backend}`;
    case "lost": {
      const its = backends.find(({ id }) => id === backend);
      const why = its === undefined || its.state === "up" ? "" : `, which is ${its.state}`;
      return `by ${by}, was on ${backend}${why}${strict ? ", and stays there (strict)" : ": it moves"}`;
    }
  }
}

function choiceWords(choice: PickChoice): string {
  switch (choice.kind) {
    case "backend":
      return choice.backend;
    case "any":
      return "one of the candidates, by chance";
    case "wait":
      return `waits up to ${timeWords(choice.upToMs)} for room${choice.backend === undefined ? "" : ` on ${choice.backend}`}`;
    case "answer":
      return `${choice.status} ${choice.reason}`;
  }
}
