import { type ClientRequest, request } from "node:http";
import { connect } from "node:net";
import type { Endpoint, HealthCheckSettings } from "../../config/settings.ts";

/** What a backend is asked: the settings of a check that is not switched off. */
export type CheckSettings = Exclude<HealthCheckSettings, false>;

/**
 * What one check found. `impossible`: the check could not be made for a reason of our own, such as no file descriptor
 * left, so that it says nothing about the backend.
 */
export type CheckResult =
  | { readonly kind: "passed" }
  | { readonly kind: "failed"; readonly reason: string }
  | { readonly kind: "impossible"; readonly reason: string };

/** Makes one check of one backend and never rejects. After `signal` aborts nothing of it is left open. */
export type Check = (endpoint: Endpoint, settings: CheckSettings, signal: AbortSignal) => Promise<CheckResult>;

const PASSED: CheckResult = { kind: "passed" };
const BODY_BYTES = 64 * 1024;

/** The check that `settings` describe: `tcp` opens a connection, `http` sends a request and looks at the answer. */
export const checkBackend: Check = (endpoint, settings, signal) =>
  settings.type === "tcp" ? checkTcp(endpoint, signal) : checkHttp(endpoint, settings, signal);

function checkTcp(endpoint: Endpoint, signal: AbortSignal): Promise<CheckResult> {
  return new Promise((resolve) => {
    const socket = connect({ ...target(endpoint), signal });
    socket.once("connect", () => {
      socket.destroy();
      resolve(PASSED);
    });
    socket.on("error", (error) => resolve(fromError(error)));
  });
}

function checkHttp(
  endpoint: Endpoint,
  settings: CheckSettings & { readonly type: "http" },
  signal: AbortSignal,
): Promise<CheckResult> {
  return new Promise((resolve) => {
    let asked: ClientRequest;
    const end = (result: CheckResult): void => {
      resolve(result);
      asked.destroy();
    };
    asked = request({
      ...(endpoint.kind === "unix" ? { socketPath: endpoint.path } : { host: endpoint.host, port: endpoint.port }),
      agent: false,
      method: settings.method,
      path: settings.path,
      headers: { host: settings.host ?? hostOf(endpoint), "user-agent": "spillway-health-check", connection: "close" },
      signal,
    });
    asked.on("error", (error) => resolve(fromError(error)));
    let ifClosed = "connection closed without an answer";
    asked.on("close", () => resolve({ kind: "failed", reason: ifClosed }));
    asked.on("response", (response) => {
      ifClosed = "the answer ended early";
      const status = response.statusCode ?? 0;
      if (!settings.expectStatus.some(([from, to]) => status >= from && status <= to)) {
        end({ kind: "failed", reason: `status ${status}, expected ${ranges(settings.expectStatus)}` });
        return;
      }
      const expected = settings.expectBody;
      if (expected === undefined) {
        end(PASSED);
        return;
      }
      const wanted = Buffer.from(expected);
      let body = Buffer.alloc(0);
      response.on("data", (bytes: Buffer) => {
        body = Buffer.concat([body, bytes.subarray(0, BODY_BYTES - body.length)]);
        if (body.includes(wanted)) end(PASSED);
        else if (body.length === BODY_BYTES) end(notContained(expected));
      });
      response.on("end", () => end(notContained(expected)));
      response.on("error", () => end({ kind: "failed", reason: ifClosed }));
    });
    asked.end();
  });
}

function notContained(expected: string): CheckResult {
  return { kind: "failed", reason: `the answer does not contain ${JSON.stringify(expected)}` };
}

function target(endpoint: Endpoint): { path: string } | { host: string; port: number } {
  return endpoint.kind === "unix" ? { path: endpoint.path } : { host: endpoint.host, port: endpoint.port };
}

function hostOf(endpoint: Endpoint): string {
  if (endpoint.kind === "unix") return "localhost";
  return `${endpoint.host.includes(":") ? `[${endpoint.host}]` : endpoint.host}:${endpoint.port}`;
}

function ranges(of: readonly (readonly [number, number])[]): string {
  return of.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(", ");
}

/** Want of something on this machine. */
const OURS = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL"]);

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  EPIPE: "connection reset",
  ETIMEDOUT: "connection timed out",
  EHOSTUNREACH: "host unreachable",
  ENETUNREACH: "network unreachable",
  ENOTFOUND: "host name does not resolve",
  EAI_AGAIN: "name server does not answer",
  ENOENT: "socket does not exist",
};

function fromError(error: NodeJS.ErrnoException): CheckResult {
  // A name with several addresses fails once for each of them; the first says as much as any.
  const first: NodeJS.ErrnoException = error instanceof AggregateError ? (error.errors[0] ?? error) : error;
  const code = first.code ?? "";
  if (OURS.has(code)) return { kind: "impossible", reason: first.message };
  const parse = code.startsWith("HPE_") ? `malformed answer (${code})` : first.message;
  return { kind: "failed", reason: REASONS[code] ?? parse };
}
