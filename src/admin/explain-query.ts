import { parseIp } from "../policy/route/cidr.ts";
import type { RequestDescription } from "../proxy/data-plane-api.ts";

/** What is wrong with a query, as a sentence. */
export interface WrongQuery {
  readonly wrong: string;
}

const MOST_FIELDS = 100;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const KNOWN = ["method", "host", "target", "client", "listener", "header"];

/**
 * The request that the query of `/api/v1/explain` describes. What is left out is `GET http://localhost/` from 127.0.0.1
 * at the first of `listeners` listeners. Only what could not be a request at all is wrong here; what a listener would
 * refuse is for the explanation to say.
 */
export function describedRequest(query: URLSearchParams, listeners: number): RequestDescription | WrongQuery {
  const names = [...query.keys()];
  const unknown = names.find((name) => !KNOWN.includes(name));
  if (unknown !== undefined) return wrong(`there is no parameter ${quote(unknown)}; there are ${KNOWN.join(", ")}`);
  const twice = names.find((name, at) => name !== "header" && names.indexOf(name) !== at);
  if (twice !== undefined) return wrong(`the parameter ${twice} is there twice`);

  const method = query.get("method") ?? "GET";
  if (!TOKEN.test(method)) return wrong(`method: ${quote(method)} is no method, such as GET`);
  const target = query.get("target") ?? "/";
  if (!/^[^\s\p{Cc}]+$/u.test(target)) return wrong(`target: ${quote(target)} is no target, such as /v1/x?y=1`);
  const client = query.get("client") ?? "127.0.0.1";
  // On a Unix socket nobody has one.
  if (client !== "" && parseIp(client) === undefined) {
    return wrong(`client: ${quote(client)} is no address, such as 192.0.2.7`);
  }
  const listenerText = query.get("listener") ?? "0";
  const listener = /^\d{1,5}$/.test(listenerText) ? Number(listenerText) : Number.NaN;
  if (!(listener < listeners)) {
    return wrong(`listener: ${quote(listenerText)} is none of the ${listeners} there are, from 0 on`);
  }
  const texts = query.getAll("header");
  if (texts.length > MOST_FIELDS) return wrong(`header: ${texts.length} fields are more than ${MOST_FIELDS}`);
  const headers = texts.map(parseField);
  const bad = headers.indexOf(undefined);
  if (bad !== -1) return wrong(`header: ${quote(texts[bad]!)} is no field, such as x-canary:1`);
  const fields = headers.filter((field) => field !== undefined);

  const hostField = query.has("host") ? undefined : fields.find(([name]) => name === "host");
  const host = query.get("host") ?? hostField?.[1] ?? "localhost";
  if (!/^[^\s\p{Cc}]+$/u.test(host)) return wrong(`host: ${quote(host)} is no host, such as shop.test`);
  return { listener, method, host, target, client, headers: fields.filter((field) => field !== hostField) };
}

/** `name: value` with the name in lower case; undefined: it is no field. */
function parseField(text: string): readonly [name: string, value: string] | undefined {
  const match = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\p{Cc}]*?)[ \t]*$/u.exec(text);
  return match === null ? undefined : [match[1]!.toLowerCase(), match[2]!];
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text);
}

const wrong = (text: string): WrongQuery => ({ wrong: text });
