import { formatDeadline } from "../policy/resilience/deadline.ts";
import { CHUNKED } from "../wire/request-head.ts";
import type { Exchange } from "./exchange.ts";
import { applyRules } from "./header-rules.ts";

/**
 * The head of a request as a backend gets it, written anew from its parsed parts: Host first, then the fields that came,
 * then what is known of the client, then what frames this message. Hop-by-hop fields were left out by the parser.
 */
export function requestText(exchange: Exchange, hostHeader: string, authority: string, backendId: string): string {
  const { head, session, route, requestId } = exchange;
  let host = hostHeader;
  if (hostHeader === "keep") host = head.hostText === "" ? authority : head.hostText;
  else if (hostHeader === "backend") host = authority;
  const rules = route?.requestHeaders;
  let fields = session.forwardedFields(head);
  const { requestIdName } = session.listener;
  if (requestIdName !== undefined) fields += `${requestIdName}: ${requestId}\r\n`;
  const { deadlineName } = session.listener;
  if (deadlineName !== undefined && exchange.deadlineMs !== Number.POSITIVE_INFINITY) {
    fields += `${deadlineName}: ${formatDeadline(exchange.deadlineMs - session.services.clock.now())}\r\n`;
  }
  if (rules !== undefined) {
    fields = applyRules(fields, rules, {
      backend: backendId,
      client: head.client,
      requestId,
      route: route!.name,
    });
  }
  return `${exchange.method} ${exchange.target} HTTP/1.1\r\nhost: ${host}\r\n${fields}${framingFields(exchange)}\r\n`;
}

function framingFields({ head }: Exchange): string {
  let text = "";
  if (head.framing === CHUNKED) text = "transfer-encoding: chunked\r\n";
  else if (head.hasLength) text = `content-length: ${head.framing}\r\n`;
  if (head.expectsContinue) text += "expect: 100-continue\r\n";
  if (head.upgrade !== "") text += `connection: upgrade\r\nupgrade: ${head.upgrade}\r\n`;
  return text;
}
