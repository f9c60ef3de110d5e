import { type ChildProcessByStdio, spawn } from "node:child_process";
import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";

/** One entry of the log on stderr. */
export interface Entry {
  readonly level: string;
  readonly code: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface StartOptions {
  readonly uid?: number;
  readonly cwd?: string;
  /** Most files it may have open. */
  readonly files?: number;
}

const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

/** `spillway ...` as its users run it: the built program in a process of its own. */
export class SpillwayProcess {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  /** Resolves with the exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>;
  stdout = "";
  stderr = "";
  readonly #waiting: { readonly seen: () => boolean; readonly resolve: () => void }[] = [];

  constructor(args: readonly string[], { uid, cwd, files }: StartOptions = {}) {
    const program = [process.execPath, main, ...args];
    const [command, ...rest] =
      files === undefined ? program : ["sh", "-c", `ulimit -n ${files} && exec "$@"`, "sh", ...program];
    this.child = spawn(command!, rest, {
      stdio: ["ignore", "pipe", "pipe"],
      ...(uid === undefined ? {} : { uid }),
      ...(cwd === undefined ? {} : { cwd }),
    });
    this.child.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
      this.#look();
    });
    this.child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
      this.#look();
    });
    this.exited = new Promise((resolve) => {
      this.child.once("close", (code, signal) => {
        resolve(code ?? signal!);
        this.#look();
      });
    });
    running.add(this);
    void this.exited.then(() => running.delete(this));
  }

  /** Entries of its log so far. */
  get entries(): readonly Entry[] {
    return this.stderr
      .split("\n")
      .filter((line) => line.startsWith("{") && line.endsWith("}"))
      .map((line) => JSON.parse(line) as Entry);
  }

  /** The first entry with this code; waits for it. */
  async entry(code: string): Promise<Entry> {
    const find = (): Entry | undefined => this.entries.find((entry) => entry.code === code);
    await this.until(() => find() !== undefined, `an entry ${code}`);
    return find()!;
  }

  /** Resolves when `seen` holds; looked at whenever it writes something. Rejects when it ends before. */
  async until(seen: () => boolean, what: string): Promise<void> {
    if (!seen()) await new Promise<void>((resolve) => this.#waiting.push({ seen, resolve }));
    if (!seen()) throw new Error(`it ended before ${what}; it wrote:\n${this.stderr}${this.stdout}`);
  }

  /** Resolves with the port of its first listener once it is up. */
  async port(): Promise<number> {
    await this.entry("upstream"); // The last of the entries of a start.
    return portOf(await this.entry("listening"));
  }

  async adminPort(): Promise<number> {
    return portOf(await this.entry("admin_listening"));
  }

  #look(): void {
    const ended = this.child.exitCode !== null || this.child.signalCode !== null;
    for (const waiting of this.#waiting.splice(0)) {
      if (ended || waiting.seen()) waiting.resolve();
      else this.#waiting.push(waiting);
    }
  }
}

const running = new Set<SpillwayProcess>();
const servers = new Set<Server>();

/** Ends everything a test started; for `afterEach`. */
export async function endAll(): Promise<void> {
  for (const process of running) process.child.kill("SIGKILL");
  await Promise.all([...running].map(({ exited }) => exited));
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
  servers.clear();
}

/** A backend in this process. */
export async function httpBackend(
  answer: RequestListener,
  port = 0,
): Promise<{ port: number; url: string; stop(): void }> {
  const server = createServer(answer);
  servers.add(server);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  const stop = (): void => {
    servers.delete(server);
    server.close();
    server.closeAllConnections();
  };
  return { port: bound, url: `http://127.0.0.1:${bound}`, stop };
}

/** A request on a connection of its own; resolves with everything that came back when the other side closed. */
export function rawRequest(to: number | string, text: string): { socket: Socket; answer: Promise<string> } {
  const socket = typeof to === "number" ? connect(to, "127.0.0.1") : connect(to);
  let received = "";
  socket.setEncoding("latin1").on("data", (piece) => {
    received += piece;
  });
  socket.write(text);
  const answer = new Promise<string>((resolve) => {
    socket.on("error", () => {});
    socket.on("close", () => resolve(received));
  });
  return { socket, answer };
}

function portOf({ address }: Entry): number {
  const text = String(address);
  return Number(text.slice(text.lastIndexOf(":") + 1));
}
