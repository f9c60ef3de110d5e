import type { PickRequest } from "../policy/model/request.ts";
import { parseIp } from "../policy/route/index.ts";
import { CommandError, listOption, textOption } from "./command.ts";

/** A request in words: what `--request`, `--header` and `--client` say. */
export interface DescribedRequest {
  readonly method: string;
  /** In lower case. */
  readonly host: string;
  readonly target: string;
  readonly client: string;
  /** In order, names in lower case, without Host. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** The options that describe a request, the same for every command that takes one. */
export const requestOptions = {
  request: textOption("request", "a request: 'GET http://shop.test/v1/x'", "r"),
  header: listOption("field", "a field of that request: 'x-canary: 1'", "H"),
  client: textOption("address", "the client it comes from (default: 127.0.0.1)"),
};

const REQUEST = /^(?:([!#$%&'*+\-.^_`|~0-9A-Za-z]+) +)?(?:https?:\/\/([^/?#\s@]+))?(\/[^\s#]*|\*)?$/;
const FIELD = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*$/;

/** @throws CommandError that says what to write instead. */
export function describedRequest(text: string, fields: readonly string[], client = "127.0.0.1"): DescribedRequest {
  const match = REQUEST.exec(text.trim());
  const [, method = "GET", host, target] = match ?? [];
  if (match === null || (host === undefined && target === undefined)) {
    throw new CommandError(`--request "${text}" is no request. Write 'GET http://shop.test/v1/x' or /v1/x.`, 2);
  }
  if (parseIp(client) === undefined) throw new CommandError(`--client "${client}" is no address. Write 192.0.2.7.`, 2);
  const headers = fields.map(parseField);
  const hostField = headers.find(([name]) => name === "host")?.[1];
  return {
    method,
    host: (host ?? hostField ?? "localhost").toLowerCase(),
    target: target ?? "/",
    client,
    headers: headers.filter(([name]) => name !== "host"),
  };
}

function parseField(field: string): readonly [name: string, value: string] {
  const match = FIELD.exec(field);
  if (match === null) throw new CommandError(`--header "${field}" is no field. Write 'x-canary: 1'.`, 2);
  return [match[1]!.toLowerCase(), match[2]!];
}

/** The request as routes and policies see it. */
export function asPickRequest({ headers, ...request }: DescribedRequest): PickRequest {
  const byName = new Map([["host", request.host]]);
  for (const [name, value] of headers) {
    const before = byName.get(name);
    byName.set(name, before === undefined ? value : `${before}${name === "cookie" ? "; " : ", "}${value}`);
  }
  return { ...request, header: (name) => byName.get(name) };
}

/** Each route, and why it does not take a request: cells for `columns`. */
export function routeRows(
  routes: readonly { readonly name: string; readonly verdict: string; readonly because: string | undefined }[],
): string[][] {
  return routes.map(({ name, verdict, because }) => [
    `  ${name}`,
    because ?? (verdict === "taken" ? "takes it" : "not reached"),
  ]);
}
