import { closeSync, fstatSync } from "node:fs";
import { endianness } from "node:os";
import { getSystemErrorName } from "node:util";
import { parseIp } from "../policy/route/cidr.ts";
import { ListenError } from "../proxy/data-plane-api.ts";

/** How several workers of one process come to share an address. */
export type ReusePort = "node" | "koffi";

/** Whether `listen({ reusePort: true })` exists: Node.js 22.12 and 23.1 brought it. */
export function nodeHasReusePort(version: string = process.versions.node): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
}

/** The little we use of koffi, which is optional and so need not be there when types are checked. */
export interface Koffi {
  load(library: null): { func(signature: string): (...args: unknown[]) => number };
  errno(): number;
}

/** The package koffi, or undefined where it is not installed or does not load. */
export async function loadKoffi(): Promise<Koffi | undefined> {
  const name: string = "koffi";
  try {
    const loaded = (await import(name)) as { default: Koffi };
    return loaded.default;
  } catch {
    return undefined;
  }
}

/** The way this machine offers, or undefined: then one worker is all there can be. */
export async function findReusePort(version?: string): Promise<ReusePort | undefined> {
  if (nodeHasReusePort(version)) return "node";
  if (process.platform !== "linux") return undefined;
  return (await loadKoffi()) === undefined ? undefined : "koffi";
}

// <sys/socket.h> and <netinet/in.h> of Linux, the same on every architecture Node.js runs on there.
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM_CLOEXEC = 1 | 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_REUSEPORT = 15;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;

/** A TCP socket with an address of its own and SO_REUSEPORT; it does not listen yet. */
export interface BoundSocket {
  readonly fd: number;
  /** Closes it, unless somebody else has done so or its number stands for another file by now. */
  close(): void;
}

/**
 * Makes sockets as libuv does (SO_REUSEADDR, dual-stack `::`), and SO_REUSEPORT on top, which Node.js 20 cannot ask for.
 */
export class SocketMaker {
  readonly #koffi: Koffi;
  readonly #socket: (...args: unknown[]) => number;
  readonly #setsockopt: (...args: unknown[]) => number;
  readonly #bind: (...args: unknown[]) => number;

  constructor(koffi: Koffi) {
    const libc = koffi.load(null);
    this.#koffi = koffi;
    this.#socket = libc.func("int socket(int domain, int type, int protocol)");
    this.#setsockopt = libc.func("int setsockopt(int fd, int level, int name, const void *value, uint32_t length)");
    this.#bind = libc.func("int bind(int fd, const void *address, uint32_t length)");
  }

  /** @param host an IP address. @throws ListenError with the system's code. */
  bind(host: string, port: number): BoundSocket {
    const address = socketAddress(host, port);
    const v6 = address.length > 16;
    const call = (result: number): number => {
      if (result >= 0) return result;
      const code = getSystemErrorName(-this.#koffi.errno());
      throw new ListenError(code, v6 ? `[${host}]:${port}` : `${host}:${port}`, `bind ${code} ${host}:${port}`);
    };
    const fd = call(this.#socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM_CLOEXEC, 0));
    const socket = { fd, close: closer(fd) };
    try {
      call(this.#setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, int(1), 4));
      call(this.#setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, int(1), 4));
      if (v6) call(this.#setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, int(0), 4));
      call(this.#bind(fd, address, address.length));
    } catch (error) {
      socket.close();
      throw error;
    }
    return socket;
  }
}

function closer(fd: number): () => void {
  const { ino } = fstatSync(fd);
  return () => {
    try {
      if (fstatSync(fd).ino === ino) closeSync(fd);
    } catch {
      // Closed by whoever adopted it.
    }
  };
}

function int(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  if (endianness() === "LE") bytes.writeInt32LE(value);
  else bytes.writeInt32BE(value);
  return bytes;
}

/** struct sockaddr_in (16 bytes) or sockaddr_in6 (28 bytes). */
function socketAddress(host: string, port: number): Buffer {
  const ip = parseIp(host);
  if (ip === undefined) throw new ListenError("EINVAL", `${host}:${port}`, `${host} is no IP address`);
  const bytes = Buffer.alloc(ip.version === 4 ? 16 : 28);
  const family = ip.version === 4 ? AF_INET : AF_INET6;
  if (endianness() === "LE") bytes.writeUInt16LE(family, 0);
  else bytes.writeUInt16BE(family, 0);
  bytes.writeUInt16BE(port, 2);
  if (ip.version === 4) bytes.writeUInt32BE(ip.words[3], 4);
  else for (const [index, word] of ip.words.entries()) bytes.writeUInt32BE(word, 8 + index * 4);
  return bytes;
}
