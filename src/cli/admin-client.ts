import { type IncomingMessage, request } from "node:http";
import { formatAddress, type ListenAddress } from "../config/values.ts";

/** No instance answered at an address; the message says which and what to do. */
export class NoAnswer extends Error {
  override readonly name = "NoAnswer";
}

export interface AdminAnswer {
  readonly status: number;
  readonly body: string;
}

const ANSWER_MS = 5_000;
const ANSWER_BYTES = 64 * 1024 * 1024;

/** What `--admin` takes: `http://HOST:PORT`, or `unix:/path` for a socket. Undefined when it is neither. */
export function parseAdmin(text: string): ListenAddress | undefined {
  if (/^unix:\/./.test(text)) return { kind: "unix", path: text.slice("unix:".length) };
  if (!/^http:\/\//i.test(text) || !URL.canParse(text)) return undefined;
  const { hostname, port, pathname, search, username } = new URL(text);
  if (pathname !== "/" || search !== "" || username !== "") return undefined;
  return { kind: "tcp", host: hostname.replace(/^\[(.*)\]$/, "$1"), port: port === "" ? 80 : Number(port) };
}

/** Asks the admin server at `address`. @throws NoAnswer when there is none, or it is no Spillway. */
export async function askAdmin(address: ListenAddress, path: string): Promise<AdminAnswer> {
  try {
    return await get(address, path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new NoAnswer(`no Spillway answers at ${formatAddress(address)}: ${REASONS[code ?? ""] ?? message}`, {
      cause: error,
    });
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ENOENT: "there is no such socket",
  ENOTFOUND: "the host name does not resolve",
  ECONNRESET: "it closed the connection",
  EACCES: "permission denied",
};

function get(address: ListenAddress, path: string): Promise<AdminAnswer> {
  const target =
    address.kind === "unix" ? { socketPath: address.path } : { host: reachable(address.host), port: address.port };
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(ANSWER_MS);
    const late = (): void => reject(new Error(`no answer within ${ANSWER_MS / 1000} s`));
    const asked = request({ ...target, path, signal, agent: false }, (response: IncomingMessage) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        body += text;
        if (body.length > ANSWER_BYTES) asked.destroy(new Error("the answer has no end"));
      });
      response.once("end", () => resolve({ status: response.statusCode ?? 0, body }));
      response.once("error", (error) => (signal.aborted ? late() : reject(error)));
    });
    asked.once("error", (error) => (signal.aborted ? late() : reject(error)));
    asked.end();
  });
}

/** An address somebody listens on as one that can be connected to: every address includes the loopback one. */
function reachable(host: string | undefined): string {
  if (host === undefined || host === "" || host === "0.0.0.0") return "127.0.0.1";
  return host === "::" ? "::1" : host;
}
