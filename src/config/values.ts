import { parseIp } from "../policy/route/cidr.ts";
import type { MistakeCode } from "./mistakes.ts";

/** Why a text is not what a key asks for, and what would be. */
export interface Wrong {
  readonly wrong: string;
  readonly fix: string;
  readonly code: MistakeCode;
}

/** Whether a parser refused its text. */
export function isWrong(value: unknown): value is Wrong {
  return typeof value === "object" && value !== null && "wrong" in value;
}

/** Where a listener accepts connections. A TCP host of undefined stands for every address of the machine. */
export type ListenAddress =
  | { readonly kind: "tcp"; readonly host: string | undefined; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** Where a backend is reached. */
export type Endpoint =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const UNIT_BYTES: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
};

/** Timers of the platform count milliseconds in 31 bits: 24 days are the longest wait they can keep. */
const LONGEST_MS = 24 * 86_400_000;

/** Milliseconds of `250ms`, `5s`, `1.5m`, `1h`, `1d`; at most `longestMs`. */
export function parseDuration(value: unknown, longestMs = LONGEST_MS): number | Wrong {
  const code = "CONFIG_DURATION";
  if (typeof value === "number" || (typeof value === "string" && /^\d+(\.\d+)?$/.test(value))) {
    const number = Number(value);
    if (number === 0) return 0;
    if (number > 0 && number < 1e6)
      return wrong(code, `"${value}" has no unit`, `Write ${value}s, ${value}ms or ${value}m`);
    return wrong(code, `"${value}" has no unit`, "Write 5s, 250ms or 1m");
  }
  if (typeof value !== "string") return wrong(code, `${describe(value)} is no duration`, "Write 5s, 250ms or 1m");
  if (/^\s*-/.test(value))
    return wrong(code, `${quote(value)} is negative`, "Write a time from now on: 5s, 250ms or 1m");
  const match = /^(\d+(?:\.\d+)?) ?([a-zA-Zµ]+)$/.exec(value);
  const unit = match === null ? undefined : UNIT_MS[match[2]!];
  if (match !== null && unit === undefined) {
    return wrong(
      code,
      `${quote(value)} has the unit ${quote(match[2]!)}, which does not exist here`,
      "Use ms, s, m, h or d",
    );
  }
  if (match === null || unit === undefined)
    return wrong(code, `${quote(value)} is no duration`, "Write 5s, 250ms or 1m");
  const ms = Number(match[1]) * unit;
  if (ms > longestMs) return wrong(code, `${quote(value)} is longer than a timer can wait`, "Write at most 24d");
  if (ms > 0 && ms < 1) return wrong(code, `${quote(value)} is shorter than a timer can wait`, "Write at least 1ms");
  return Math.round(ms);
}

/** Bytes of `64KiB`, `1MiB`, `512B`, `1MB`, or of a bare whole number. */
export function parseSize(value: unknown): number | Wrong {
  const code = "CONFIG_SIZE";
  // The keys that take a size have the unit in their names (headBytes): a bare whole number is that many bytes.
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  if (typeof value === "string" && /^\d{1,15}$/.test(value)) return Number(value);
  if (typeof value !== "string") return wrong(code, `${describe(value)} is no size`, "Write 512B, 64KiB or 10MiB");
  if (/^\s*-/.test(value)) return wrong(code, `${quote(value)} is negative`, "Write 512B, 64KiB or 10MiB");
  const match = /^(\d+(?:\.\d+)?) ?([a-zA-Z]+)$/.exec(value);
  const unit = match === null ? undefined : UNIT_BYTES[match[2]!];
  if (match !== null && unit === undefined) {
    return wrong(
      code,
      `${quote(value)} has the unit ${quote(match[2]!)}, which does not exist here`,
      "Use B, KiB, MiB, GiB, kB, MB or GB",
    );
  }
  if (match === null || unit === undefined)
    return wrong(code, `${quote(value)} is no size`, "Write 512B, 64KiB or 10MiB");
  const bytes = Math.round(Number(match[1]) * unit);
  if (bytes > Number.MAX_SAFE_INTEGER)
    return wrong(code, `${quote(value)} is more bytes than can be counted`, "Write unlimited");
  return bytes;
}

/** The number from 0 to 1 that `50%` or `12.5%` is. */
export function parseShare(value: unknown): number | Wrong {
  const code = "CONFIG_SHARE";
  const number = typeof value === "string" && /^\d+(\.\d+)?$/.test(value) ? Number(value) : value;
  if (typeof number === "number") {
    // Whether 0.5 is a half or half a percent, and what 1 is, only who wrote it knows.
    const meant = number > 0 && number < 1 ? `${Math.round(number * 1e4) / 100}% or ${number}%` : `${number}%`;
    return wrong(code, `"${value}" has no percent sign`, number >= 0 && number <= 100 ? `Write ${meant}` : "Write 50%");
  }
  if (typeof value !== "string") return wrong(code, `${describe(value)} is no share`, "Write 50%");
  if (/^\s*-/.test(value)) return wrong(code, `${quote(value)} is negative`, "Write 50%");
  const match = /^(\d+(?:\.\d+)?) ?%$/.exec(value);
  if (match === null) return wrong(code, `${quote(value)} is no share`, "Write 50%");
  return Number(match[1]) / 100;
}

/** Parses `127.0.0.1:8080`, `[::]:8080`, `:8080`, `localhost:8080`, `unix:/run/x.sock`. Port 0 lets the kernel choose. */
export function parseListen(value: unknown): ListenAddress | Wrong {
  const code = "CONFIG_LISTEN";
  const examples = "Write 127.0.0.1:8080, [::1]:8080, :8080 or unix:/run/spillway.sock";
  if (typeof value === "number")
    return wrong(code, `${value} is a number`, `Write :${value} for every address, or 127.0.0.1:${value}`);
  if (typeof value !== "string") return wrong(code, `${describe(value)} is no address`, examples);
  if (value.startsWith("unix:")) {
    const path = unixPath(value.slice("unix:".length));
    return path === undefined
      ? wrong(
          code,
          `${quote(value)} has no usable socket path`,
          `Write an absolute path of at most 107 bytes: unix:/run/spillway.sock`,
        )
      : { kind: "unix", path };
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(value)) {
    return wrong(code, `${quote(value)} is a URL`, `A listener takes host and port alone. ${examples}`);
  }
  if (/^\d+$/.test(value))
    return wrong(code, `${quote(value)} has no colon`, `Write :${value} for every address, or 127.0.0.1:${value}`);
  const split = splitHostPort(value);
  if (split === undefined) return wrong(code, `${quote(value)} is no address with a port`, examples);
  if (split.port === undefined) return wrong(code, `${quote(value)} has no port`, `Write ${split.host}:8080`);
  const port = parsePort(split.port);
  if (port === undefined) return wrong(code, `port ${quote(split.port)} is not between 0 and 65535`, examples);
  if (split.host === "") return { kind: "tcp", host: undefined, port };
  if (split.host === "*")
    return wrong(code, `${quote(value)} has a star for its host`, `Write :${port} for every address`);
  const host = bareHost(split.host);
  return host === undefined ? wrong(code, `${quote(split.host)} is no host`, examples) : { kind: "tcp", host, port };
}

/** The address as people write it: `127.0.0.1:8080`, `[::1]:8080`, `:8080`, `unix:/run/x.sock`. */
export function formatAddress(address: ListenAddress | Endpoint): string {
  return address.kind === "unix" ? `unix:${address.path}` : `${formatHost(address.host ?? "")}:${address.port}`;
}

/** Schemes that later versions speak to backends. */
const LATER_SCHEMES = new Set(["https", "h2c", "h2", "tcp", "tls", "ws", "wss", "fcgi", "https+unix"]);

/** Parses `http://host:port` (port 80 where none is given) and `http+unix:/path`. */
export function parseBackendUrl(value: unknown): Endpoint | Wrong {
  const code = "CONFIG_BACKEND_URL";
  const examples = "Write http://10.0.0.1:3000 or http+unix:/run/app.sock";
  if (typeof value !== "string") return wrong(code, `${describe(value)} is no address of a backend`, examples);
  if (value.startsWith("http+unix:")) {
    const path = unixPath(value.slice("http+unix:".length).replace(/^\/\/(?=\/)/, ""));
    return path === undefined
      ? wrong(
          code,
          `${quote(value)} has no usable socket path`,
          "Write an absolute path of at most 107 bytes: http+unix:/run/app.sock",
        )
      : { kind: "unix", path };
  }
  const match = /^([a-z][a-z0-9+.-]*):\/\/([^/?#\\]*)(.*)$/is.exec(value);
  if (match === null) {
    const bare = splitHostPort(value);
    const plain = bare?.port !== undefined && parsePort(bare.port) !== undefined && bareHost(bare.host) !== undefined;
    return wrong(code, `${quote(value)} has no scheme`, plain ? `Write http://${value}` : examples);
  }
  const [, scheme, authority, rest] = match as unknown as [string, string, string, string];
  if (LATER_SCHEMES.has(scheme.toLowerCase())) {
    return wrong("CONFIG_NOT_YET", `${scheme}:// to backends does not work yet`, "Write http:// or http+unix: for now");
  }
  if (scheme.toLowerCase() !== "http")
    return wrong(code, `${quote(`${scheme}://`)} is no scheme Spillway speaks`, examples);
  if (authority.includes("@"))
    return wrong(
      code,
      "a user name or password in the address is not used",
      "Leave it out; set a field with headers.request.set where a backend needs one",
    );
  if (rest !== "" && rest !== "/") {
    return wrong(
      code,
      `${quote(rest)} after the address is not used`,
      "Leave it out; a path prefix is put on by rewrite.addPrefix of a route",
    );
  }
  const split = splitHostPort(authority) ?? { host: authority, port: undefined };
  const host = bareHost(split.host);
  if (host === undefined) return wrong(code, `${quote(authority)} is no host with a port`, examples);
  const port = split.port === undefined ? 80 : parsePort(split.port);
  if (port === undefined || port === 0)
    return wrong(code, `port ${quote(split.port ?? "")} is not between 1 and 65535`, examples);
  return { kind: "tcp", host, port };
}

function splitHostPort(text: string): { host: string; port: string | undefined } | undefined {
  const match = /^(\[[^\]]*\]|[^:[\]]*)(?::([^:]*))?$/.exec(text);
  return match === null ? undefined : { host: match[1]!, port: match[2] };
}

function parsePort(text: string): number | undefined {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65535 ? Number(text) : undefined;
}

/** The host without brackets, or undefined where it is neither an address nor a name. */
function bareHost(text: string): string | undefined {
  if (text.startsWith("[")) {
    const inner = text.slice(1, -1);
    return parseIp(inner)?.version === 6 ? inner.toLowerCase() : undefined;
  }
  if (/^[\d.]+$/.test(text)) return parseIp(text)?.version === 4 ? text : undefined;
  return isHostName(text) ? text.toLowerCase() : undefined;
}

/** Whether `text` is a DNS name (underscores allowed: container names have them). */
export function isHostName(text: string): boolean {
  return text.length <= 253 && /^(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?$/i.test(text);
}

function formatHost(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/** A socket path has to be absolute and fit sun_path (108 bytes with its terminator). */
function unixPath(text: string): string | undefined {
  return text.startsWith("/") && text.length > 1 && Buffer.byteLength(text) <= 107 && !/[\x00-\x1f\x7f]/.test(text)
    ? text
    : undefined;
}

/** For messages: what kind of thing stands where something else was expected. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a block of keys";
  if (typeof value === "string") return `the text ${quote(value)}`;
  if (typeof value === "function") return "a function";
  return `${typeof value === "boolean" ? "the switch" : "the number"} ${String(value)}`;
}

/** For messages: text in quotes, cut to a readable length, control characters shown. */
export function quote(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 77)}...` : text;
  return JSON.stringify(short);
}

function wrong(code: MistakeCode, what: string, fix: string): Wrong {
  return { code, wrong: what, fix };
}
