import { CHUNKED, UNTIL_CLOSE } from "../wire/request-head.ts";
import type { ResponseHead } from "../wire/response-head.ts";
import type { Encoding } from "./body-relay.ts";
import type { Exchange } from "./exchange.ts";
import { applyRules } from "./header-rules.ts";
import { explanation, statusText } from "./reasons.ts";

/** How a response body with this framing reaches a client that speaks HTTP/1.`minor`. */
export function encodingFor(framing: number, minor: number): Encoding {
  if (framing === CHUNKED) return minor === 1 ? "as-is" : "data-only";
  return framing === UNTIL_CLOSE && minor === 1 ? "chunked" : "as-is";
}

/** The head of a backend's response as the client gets it, written anew from its parsed parts. */
export function responseText(
  exchange: Exchange,
  response: ResponseHead,
  keepAlive: boolean,
  encoding: Encoding,
): string {
  const { session, route } = exchange;
  let fields = response.kept;
  fields += exchange.limitFields;
  if (!response.hasDate) fields += `date: ${session.services.date()}\r\n`;
  const rules = route?.responseHeaders;
  if (rules !== undefined) fields = withRules(exchange, fields);
  // After the rules: what they say of cookies is meant for those of the application.
  fields += exchange.sessionField;
  return `HTTP/1.1 ${response.status}${response.reason}\r\n${fields}${framingFields(response, encoding)}${connectionField(exchange, response, keepAlive)}\r\n`;
}

function withRules(exchange: Exchange, fields: string): string {
  return applyRules(fields, exchange.route!.responseHeaders!, {
    backend: exchange.backendId,
    client: exchange.head.client,
    requestId: exchange.requestId,
    route: exchange.route!.name,
  });
}

function framingFields(response: ResponseHead, encoding: Encoding): string {
  const { status, framing, length } = response;
  if (status < 200 || status === 204) return "";
  if (encoding === "chunked" || (framing === CHUNKED && encoding === "as-is")) return "transfer-encoding: chunked\r\n";
  return length >= 0 ? `content-length: ${length}\r\n` : "";
}

function connectionField(exchange: Exchange, response: ResponseHead, keepAlive: boolean): string {
  if (response.status === 101) return `connection: upgrade\r\nupgrade: ${response.upgrade}\r\n`;
  // RFC 9110 section 15.5.22: 426 names what it wants to be upgraded to.
  if (response.status === 426 && response.upgrade !== "") {
    return `connection: upgrade${keepAlive ? "" : ", close"}\r\nupgrade: ${response.upgrade}\r\n`;
  }
  if (!keepAlive) return "connection: close\r\n";
  return exchange.head.minor === 0 ? "connection: keep-alive\r\n" : "";
}

/** An interim response (1xx) as it is passed on. */
export function interimText(response: ResponseHead): string {
  return `HTTP/1.1 ${response.status}${response.reason}\r\n${response.kept}\r\n`;
}

/** What an answer of our own may say besides its status. */
export interface Answer {
  readonly body?: string;
  readonly headers?: readonly { readonly name: string; readonly value: string }[];
  readonly location?: string;
  /** Seconds. */
  readonly retryAfter?: number;
  /** Why Spillway answers in a backend's place. */
  readonly because?: string;
}

/** An answer of our own, whole. */
export function answerText(exchange: Exchange, status: number, keepAlive: boolean, answer: Answer): string {
  const body = Buffer.from(answer.body ?? explanation(status), "utf8");
  const own = answer.headers ?? [];
  let fields = `date: ${exchange.session.services.date()}\r\n`;
  if (answer.location !== undefined) fields += `location: ${answer.location}\r\n`;
  if (answer.retryAfter !== undefined) fields += `retry-after: ${answer.retryAfter}\r\n`;
  if (answer.because !== undefined) fields += `spillway-reason: ${answer.because}\r\n`;
  fields += exchange.limitFields;
  if (status === 405) fields += `allow: ${ALLOWED}\r\n`;
  if (!own.some(({ name }) => name.toLowerCase() === "content-type"))
    fields += "content-type: text/plain; charset=utf-8\r\n";
  for (const { name, value } of own) fields += `${name}: ${value}\r\n`;
  if (exchange.route?.responseHeaders !== undefined) fields = withRules(exchange, fields);
  if (status !== 204 && status !== 304) fields += `content-length: ${body.length}\r\n`;
  if (!keepAlive) fields += "connection: close\r\n";
  else if (exchange.head.minor === 0) fields += "connection: keep-alive\r\n";
  const bodiless = exchange.method === "HEAD" || status === 204 || status === 304;
  return `HTTP/1.1 ${statusText(status)}\r\n${fields}\r\n${bodiless ? "" : body.toString("latin1")}`;
}

const ALLOWED = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/** The answer to a request whose head could not be read: the connection closes after it. */
export function refusalText(status: number, message: string, date: string): string {
  const body = `${statusText(status).trim()}: ${message}\n`;
  const allow = status === 405 ? `allow: ${ALLOWED}\r\n` : "";
  return `HTTP/1.1 ${statusText(status)}\r\ndate: ${date}\r\n${allow}content-type: text/plain; charset=utf-8\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`;
}
