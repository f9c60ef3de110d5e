/** What a code stands for: a row of docs/reference/mistakes.md. */
interface CodeEntry {
  readonly means: string;
  readonly cure: string;
}

/**
 * Every mistake a configuration can have, by its stable code; the page docs/reference/mistakes.md is made from this.
 * Mistakes stop Spillway from starting, warnings do not.
 */
export const mistakeCodes = {
  CONFIG_FILE: {
    means: "The file cannot be read: it does not exist, is a directory, may not be read, is too large, or is not text.",
    cure: "Check the path and its permissions.",
  },
  CONFIG_FORMAT: {
    means: "The file has an ending that stands for no format of configuration.",
    cure: "Name it .yaml, .yml, .json, .ts, .mts, .js or .mjs.",
  },
  CONFIG_EMPTY: { means: "The file holds nothing.", cure: "Start with what `spillway init` writes." },
  CONFIG_SYNTAX: { means: "The file is not valid YAML or JSON.", cure: "Correct the line the message points to." },
  CONFIG_MODULE: {
    means:
      "A configuration in TypeScript or JavaScript failed while it ran, or exports nothing that is a configuration.",
    cure: "Export the configuration as default: `export default defineConfig({ ... })`.",
  },
  CONFIG_ALIASES: {
    means: "Aliases unfold the file into more than it may hold, or it is nested too deeply.",
    cure: "Write fewer aliases, and none that contains itself.",
  },
  CONFIG_DUPLICATE_KEY: { means: "A key stands twice in one block.", cure: "Keep one of them." },
  CONFIG_UNKNOWN_KEY: {
    means: "A key is not known where it stands. Keys of later versions are not accepted before they work.",
    cure: "Use the suggested key, or look it up in the reference.",
  },
  CONFIG_REQUIRED: { means: "A key is missing that has no default.", cure: "Add it." },
  CONFIG_TYPE: {
    means: "A value is of the wrong kind: a list for a block, a number for text.",
    cure: "Write the kind the message names.",
  },
  CONFIG_CHOICE: {
    means: "A value is none of the words that have a meaning here.",
    cure: "Write one of the words the message lists.",
  },
  CONFIG_NUMBER: {
    means: "A number is none, not whole where it has to be, too small or too large.",
    cure: "Write a number within the range the message names.",
  },
  CONFIG_DURATION: {
    means: "A time has no unit, an unknown one, or is out of range.",
    cure: "Write 250ms, 5s, 1m, 1h or 1d.",
  },
  CONFIG_SIZE: {
    means: "A number of bytes has an unknown unit, is not whole, or is out of range.",
    cure: "Write 512B, 64KiB or 10MiB.",
  },
  CONFIG_SHARE: {
    means: "A share has no percent sign, or is out of range.",
    cure: "Write 50% or 12.5%.",
  },
  CONFIG_BOUNDS: {
    means: "Two values contradict each other: what should be the smaller is the larger.",
    cure: "Change one of them. One that is left out has the default the message names.",
  },
  CONFIG_TEXT: {
    means: "A text holds something it may not, such as a control character, or is too long.",
    cure: "Leave it out.",
  },
  CONFIG_NAME: {
    means: "A name has characters that names may not have, or names two things.",
    cure: "Use letters, digits, dots, dashes and underscores; give each thing its own name.",
  },
  CONFIG_VARIABLE: {
    means: "An environment variable is not set and has no default, or is not written as one.",
    cure: `Set it, or write \`\${NAME:-default}\`. Write \`$\${\` for the characters themselves.`,
  },
  CONFIG_NOT_YET: { means: "This is planned and does not work yet.", cure: "Leave it out for now." },
  CONFIG_LISTENERS: { means: "There is no listener, so nothing would happen.", cure: "Write at least one." },
  CONFIG_LISTEN: {
    means: "An address to listen on is not one.",
    cure: "Write 127.0.0.1:8080, [::1]:8080, :8080 or unix:/run/spillway.sock.",
  },
  CONFIG_LISTEN_TWICE: { means: "Two listeners want the same address.", cure: "Give each its own port." },
  CONFIG_ADDRESS: {
    means: "A client or proxy address is neither an address nor a block of addresses.",
    cure: "Write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32.",
  },
  CONFIG_ACTION: {
    means:
      "A route says nothing of what to do, or several things; or a listener has neither routes nor an upstream, or both.",
    cure: "Write exactly one of upstream, split, redirect and respond in a route; exactly one of routes and upstream in a listener.",
  },
  CONFIG_UPSTREAM_UNKNOWN: {
    means: "A route or a fallback names an upstream that is not defined.",
    cure: "Define it under upstreams, or correct the name.",
  },
  CONFIG_FALLBACK: {
    means: "A fallback says nothing of what to do, or leads back to the upstream it should stand in for.",
    cure: "Write upstream, respond or both; let the chain of fallbacks end.",
  },
  CONFIG_NO_BACKENDS: { means: "An upstream has no backends.", cure: "List at least one." },
  CONFIG_BACKEND_URL: {
    means: "The address of a backend is not one.",
    cure: "Write http://10.0.0.1:3000 or http+unix:/run/app.sock.",
  },
  CONFIG_BACKEND_TWICE: {
    means: "Two backends of an upstream have the same address or id.",
    cure: "Keep one, and give it a greater weight if that was the aim.",
  },
  CONFIG_WEIGHT: {
    means: "All weights are 0, so nothing would get any traffic.",
    cure: "Give at least one a weight above 0.",
  },
  CONFIG_HASH_KEY: {
    means: "What a balancer hashes, or what a rate limit counts by, is nothing a request has.",
    cure: "Write client-ip, uri, path, host, header:NAME, cookie:NAME or query:NAME.",
  },
  CONFIG_HEALTH_CHECK: { means: "A key of HTTP checks stands in a TCP check.", cure: "Write `type: http` beside it." },
  CONFIG_HOST: {
    means: "A host is not one, or has a port where hosts are compared without.",
    cure: "Write shop.test or *.shop.test.",
  },
  CONFIG_PATH: {
    means: "A path is not as it is sent in a request, or a prefix could never apply.",
    cure: "Write /x for one path, /x/* for everything below it.",
  },
  CONFIG_REGEX: {
    means: "An expression does not compile, is too large, or cannot be matched in linear time.",
    cure: "Do without look-around and back-references.",
  },
  CONFIG_METHOD: {
    means: "A request method is not one, or one that no route ever sees.",
    cure: "Write GET, POST and so on.",
  },
  CONFIG_QUERY: { means: "A query parameter is not written as it is sent.", cure: "Write it percent-encoded." },
  CONFIG_HEADER_NAME: { means: "The name of a field is not one.", cure: "Use letters, digits and dashes." },
  CONFIG_HEADER_VALUE: {
    means: "The value of a field holds what no field may carry, such as a line break.",
    cure: "Use printable ASCII, without spaces at the ends.",
  },
  CONFIG_HEADER_RESERVED: {
    means:
      "A route changes, or `learned` reads, a field that Spillway writes itself, because it says how the message is framed or holds for one connection only.",
    cure: "Leave it out; use hostHeader of the upstream for Host, and `learned: { cookie: NAME }` for an id in a cookie.",
  },
  CONFIG_TEMPLATE: {
    means: "A field value mentions a variable that does not exist.",
    cure: "Write {backend}, {client}, {request-id} or {route}.",
  },
  CONFIG_REDIRECT: {
    means: "A redirect leads to something that is neither a URL nor a path.",
    cure: "Write https://shop.test/new or /new.",
  },
  CONFIG_STATUS: {
    means: "A status is out of range or does not fit what it stands beside.",
    cure: "Write a status the message allows.",
  },
  CONFIG_AFFINITY: {
    means:
      "An affinity says nothing of what tells a session, or several things, or has a key that does not go with it.",
    cure: "Write exactly one of cookie, learned, header, query and client-ip; `key` only beside `cookie`.",
  },
  CONFIG_COOKIE: {
    means: "A cookie is one that browsers would not take: its name, path or domain, or how they go together.",
    cure: "Change what the message names.",
  },
  CONFIG_SECRET: {
    means: "A secret is no text, or too short to be one.",
    cure: `Write at least 16 characters that nobody can guess, best in a variable of the environment: \`"\${NAME}"\`.`,
  },
  CONFIG_STORE: {
    means: "The address of a store for sessions is not one.",
    cure: "Write memory, redis://host:6379 or rediss://host:6379.",
  },
  CONFIG_LOCATION: {
    means: "A backend has only half of a position, or a location that says nothing.",
    cure: "Write latitude and longitude, a region, or all three.",
  },
  CONFIG_CLIENT_POSITION: {
    means: "A listener is to find out where clients are, but nothing, or too much, says how.",
    cure: "Write headers, geoip or default; in headers either latitude and longitude, or geo.",
  },
  CONFIG_ROUTE_UNREACHED: {
    means: "Warning: a route is never reached, because one before it takes every request.",
    cure: "Move it up, or remove it.",
  },
  CONFIG_UPSTREAM_UNUSED: {
    means: "Warning: no route leads to an upstream.",
    cure: "Send a route to it, or remove it.",
  },
  CONFIG_BACKUP_ONLY: {
    means: "Warning: every backend of an upstream is a backup, so there is nothing they stand in for.",
    cure: "Leave `backup` out where it is meant to take traffic at all times.",
  },
  CONFIG_LIMIT_UNREACHED: {
    means: "Warning: a time limit has no effect, because a shorter one ends the same wait first.",
    cure: "Shorten it, or leave it out.",
  },
  CONFIG_AFFINITY_KEY: {
    means:
      "Warning: cookies are made with a key that is new at each start, so those from before a restart or of another instance are not known.",
    cure: `Write \`key: "\${SPILLWAY_AFFINITY_KEY}"\`, the same in all instances.`,
  },
  CONFIG_AFFINITY_UNUSED: {
    means:
      "Warning: a key of `affinity` has no effect beside another: with `cookie` nothing has to be remembered, and with `strict` no session can be sent elsewhere by `rebalance`.",
    cure: "Leave one of them out.",
  },
  CONFIG_COOKIE_INSECURE: {
    means:
      "Warning: browsers would drop a cookie in silence. `SameSite=None` needs `Secure`, and `secure: auto` sets that only where a proxy in `trustedProxies` says that the client came by TLS.",
    cure: "Write `secure: true`, or list the proxies in front under trustedProxies.",
  },
  CONFIG_AFFINITY_COOKIE: {
    means:
      "Warning: two upstreams set the same cookie for the same clients, so each overwrites the other's. Listeners on other ports count, too: cookies know no ports.",
    cure: "Give each cookie its own name, or a path of its own.",
  },
  CONFIG_NO_LOCATION: {
    means: "Warning: the nearest backend is asked for, but some or all backends have no latitude and longitude.",
    cure: "Give each backend both, or write an order of regions.",
  },
  CONFIG_NO_POSITION: {
    means: "Warning: the nearest backend is asked for, but a listener does not find out where its clients are.",
    cure: "Write clientPosition for the listener.",
  },
  CONFIG_POSITION_UNTRUSTED: {
    means: "Warning: positions are read from fields of the request, but nobody's are believed.",
    cure: "List the proxies in front under trustedProxies.",
  },
  CONFIG_REGION_UNKNOWN: {
    means: "Warning: an order of regions names one that no backend stands in.",
    cure: "Correct the name, or leave it out.",
  },
  CONFIG_ADMIN_OPEN: {
    means: "Warning: metrics and states can be read from other machines.",
    cure: "Listen on 127.0.0.1.",
  },
} as const satisfies Record<`CONFIG_${string}`, CodeEntry>;

/** Stable name of a kind of mistake. */
export type MistakeCode = keyof typeof mistakeCodes;

/** A place in a file, from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Keys and places in lists that lead to a value. */
export type KeyPath = readonly (string | number)[];

/** Something wrong, as the checks say it. `at` key: the key itself is wrong, not its value. */
export interface Finding {
  readonly code: MistakeCode;
  readonly path: KeyPath;
  readonly at?: "key" | "value";
  readonly wrong: string;
  readonly fix: string;
}

/** Something wrong in a configuration, and where. */
export interface Mistake {
  readonly code: MistakeCode;
  /** The file as it was named, or what stands for one. */
  readonly file: string;
  /** Undefined where there is no text: a configuration in TypeScript or on the command line. */
  readonly position: Position | undefined;
  /** `upstreams.web.backends[0].url`; empty for the file as a whole. */
  readonly key: string;
  readonly wrong: string;
  readonly fix: string;
}

/** `file:line:column key: what is wrong. What would be right.   [CODE]` */
export function formatMistake({ file, position, key, wrong, fix, code }: Mistake): string {
  const place = position === undefined ? file : `${file}:${position.line}:${position.column}`;
  return `${place}${key === "" ? "" : ` ${key}`}: ${wrong}. ${/[.?]$/.test(fix) ? fix : `${fix}.`}   [${code}]`;
}

/** The path as people write it: `listeners[0].routes[1].match`. */
export function formatKey(path: KeyPath): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else if (!/^[\w-]+$/.test(step)) text += `[${JSON.stringify(step)}]`;
    else text += text === "" ? step : `.${step}`;
  }
  return text;
}
