import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const START_MS = 30_000;

/** Where the program redis-server is, or why there is none, as a sentence for people. */
export function findRedis(): { readonly program: string } | string {
  for (const directory of [...(process.env.PATH ?? "").split(":"), "/usr/bin", "/usr/local/bin"]) {
    const program = join(directory, "redis-server");
    try {
      accessSync(program, constants.X_OK);
      return { program };
    } catch {
      // The next one.
    }
  }
  return "Redis is not installed (no redis-server on the PATH)";
}

/** A real Redis on a loopback port of its own, which keeps nothing on disk; gone with this process. */
export class RedisServer {
  readonly port: number;
  readonly #program: string;
  readonly #directory: string;
  readonly #settings: readonly string[];
  readonly #kill = (): void => this.#remove();
  #child: ChildProcess | undefined;

  private constructor(program: string, port: number, settings: readonly string[]) {
    this.#program = program;
    this.port = port;
    this.#settings = settings;
    this.#directory = mkdtempSync(join(tmpdir(), "spillway-redis-"));
    process.on("exit", this.#kill);
  }

  /** @param settings more of them, as on the command line of redis-server */
  static async start(program: string, ...settings: string[]): Promise<RedisServer> {
    const server = new RedisServer(program, await freePort(), settings);
    await server.start();
    return server;
  }

  /** `redis://[user:password@]127.0.0.1:port`. */
  url(credentials = ""): string {
    return `redis://${credentials === "" ? "" : `${credentials}@`}127.0.0.1:${this.port}`;
  }

  /** Resolves when it takes connections. It is empty, also where it ran before. */
  async start(): Promise<void> {
    const address = ["--port", `${this.port}`, "--bind", "127.0.0.1"];
    const nothingKept = ["--save", "", "--appendonly", "no", "--dir", this.#directory];
    const child = spawn(this.#program, [...address, ...nothingKept, ...this.#settings], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#child = child;
    let log = "";
    await new Promise<void>((resolve, reject) => {
      const patience = setTimeout(() => reject(new Error(`Redis is not up yet: ${log}`)), START_MS);
      child.once("error", reject);
      child.once("exit", () => {
        clearTimeout(patience);
        reject(new Error(`Redis ended: ${log}`));
      });
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        log = (log + text).slice(-8192);
        if (!log.includes("eady to accept connections")) return;
        clearTimeout(patience);
        resolve();
      });
    });
  }

  /** Breaks all connections and ends it; resolves when its port is closed. */
  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL"); // Also a frozen one ends by this.
    await gone;
  }

  /** It keeps its connections, takes new ones, and answers nothing. */
  freeze(): void {
    this.#child?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child?.kill("SIGCONT");
  }

  /** Ends it for good. */
  async remove(): Promise<void> {
    await this.stop();
    process.off("exit", this.#kill);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #remove(): void {
    this.#child?.kill("SIGKILL");
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Below the ports that the system gives to outgoing connections: nobody takes it while the server is stopped. */
async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const free = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once("error", () => resolve(false));
      server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
  throw new Error("no port is free");
}
