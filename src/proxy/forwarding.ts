import type { ListenerSettings } from "../config/settings.ts";
import { isHost, type RequestHead } from "../wire/request-head.ts";

/** Which of these fields a listener writes. */
export type ForwardedSettings = ListenerSettings["forwarded"];

/** Whom a listener believes. */
export interface Trust {
  trusts(address: string): boolean;
}

/**
 * The fields that tell a backend of the client: X-Forwarded-For, -Host, -Proto, Forwarded (RFC 7239) and Via (RFC 9110
 * section 7.6.3). What a trusted proxy said is kept and continued; what anybody else said of itself is dropped.
 */
export function forwardedFields(
  head: RequestHead,
  peer: string,
  trusted: boolean,
  settings: ForwardedSettings,
): string {
  let text = "";
  if (settings.xForwarded) {
    const chain = trusted && head.forwardedFor !== "" ? `${head.forwardedFor}, ${peer}` : peer;
    if (chain !== "") text += `x-forwarded-for: ${chain}\r\n`;
    const host = trusted && head.forwardedHost !== "" ? head.forwardedHost : head.hostText;
    if (host !== "") text += `x-forwarded-host: ${host}\r\n`;
    const scheme = trusted && head.forwardedProto !== "" ? head.forwardedProto : "http";
    text += `x-forwarded-proto: ${scheme}\r\n`;
  } else if (trusted) {
    if (head.forwardedFor !== "") text += `x-forwarded-for: ${head.forwardedFor}\r\n`;
    if (head.forwardedHost !== "") text += `x-forwarded-host: ${head.forwardedHost}\r\n`;
    if (head.forwardedProto !== "") text += `x-forwarded-proto: ${head.forwardedProto}\r\n`;
  }
  if (settings.rfc7239) {
    const hop = `for=${node(peer)};host="${head.hostText}";proto=http`;
    text += `forwarded: ${trusted && head.forwarded !== "" ? `${head.forwarded}, ` : ""}${hop}\r\n`;
  } else if (trusted && head.forwarded !== "") {
    text += `forwarded: ${head.forwarded}\r\n`;
  }
  if (settings.via) text += `via: 1.${head.minor} spillway\r\n`;
  return text;
}

/** A node identifier (RFC 7239 section 6): IPv6 addresses are quoted and in brackets. */
function node(address: string): string {
  if (address === "") return "unknown";
  return address.includes(":") ? `"[${address}]"` : address;
}

/** The client's own address: going back from the peer, the first that is not a trusted proxy's. */
export function clientOf(head: RequestHead, peer: string, trust: Trust): string {
  let client = peer;
  const chain = head.forwardedFor.split(",");
  for (let i = chain.length - 1; i >= 0 && trust.trusts(client); i--) {
    const address = withoutPort(chain[i]!.trim());
    if (address === "") break;
    client = address;
  }
  return client;
}

/** Some proxies write ports: `192.0.2.1:1234`, `[2001:db8::1]:1234`. What is no address at all says nothing. */
function withoutPort(text: string): string {
  if (/^::ffff:[0-9.]+$/i.test(text)) return text.slice(7);
  const bytes = Buffer.from(text, "latin1");
  if (text.startsWith("[")) return isHost(bytes, 0, bytes.length) ? text.slice(1, text.indexOf("]")) : "";
  if (/^[0-9.]+(:\d+)?$/.test(text)) return text.replace(/:\d+$/, "");
  return /^[0-9a-f:.]+$/i.test(text) ? text : "";
}
