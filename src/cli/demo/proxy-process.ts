import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { StatusDocument } from "../../admin/status.ts";
import { CAPACITIES, POLICIES } from "./chapter.ts";

/** How often the demo's Spillway checks its backends: fast, so that an outage can be watched. */
export const CHECK_INTERVAL_MS = 250;

const START_MS = 15_000;
const STOP_MS = 5_000;
const ATTEMPTS = 3;

export interface Ports {
  readonly proxy: number;
  readonly admin: number;
}

/** A Spillway of its own process in front of the sample backends, one upstream per policy. */
export class ProxyProcess {
  readonly ports: Ports;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;

  private constructor(child: ChildProcess, ports: Ports) {
    this.#child = child;
    this.ports = ports;
    this.#exited = new Promise((resolve) => {
      child.once("close", () => resolve());
      child.once("error", () => resolve());
    });
  }

  /**
   * Starts it and waits until it is ready.
   * @param backendPorts of A, B and C. @throws Error with what the process wrote when it does not come up.
   */
  static async start(backendPorts: readonly number[]): Promise<ProxyProcess> {
    for (let attempt = 1; ; attempt++) {
      const ports = { proxy: await freePort(8080), admin: await freePort(9900) };
      const started = await ProxyProcess.#startOn(ports, backendPorts);
      if (started instanceof ProxyProcess) return started;
      // Somebody was faster on a port that was free a moment ago.
      if (attempt < ATTEMPTS && /EADDRINUSE|in use/.test(started)) continue;
      throw new Error(`the proxy did not start:\n${started || "it wrote nothing"}`);
    }
  }

  /** Answers with what the process wrote when it does not come up. */
  static async #startOn(ports: Ports, backendPorts: readonly number[]): Promise<ProxyProcess | string> {
    const directory = await mkdtemp(join(tmpdir(), "spillway-demo-"));
    const config = join(directory, "spillway.json");
    await writeFile(config, JSON.stringify(configuration(ports, backendPorts), null, 2));

    const guard = new URL("./exit-with-parent.js", import.meta.url);
    const main = fileURLToPath(new URL("../main.js", import.meta.url));
    const child = spawn(process.execPath, ["--import", guard.href, main, "run", config], {
      // Its own group: a Ctrl-C in the terminal is for the demo, which then ends it in order.
      detached: true,
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    const written: string[] = [];
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      written.push(text);
      if (written.length > 20) written.shift();
    });
    const proxy = new ProxyProcess(child, ports);
    const ready = await proxy.#ready();
    // It has read the file by now; nothing is left behind even when this process is killed.
    await rm(directory, { recursive: true, force: true });
    if (ready) return proxy;
    await proxy.stop();
    return written.join("").trim();
  }

  /** Whether the process still runs. */
  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What it says of its backends; undefined while it does not answer. */
  async status(): Promise<StatusDocument | undefined> {
    const response = await this.#get("/api/v1/status");
    return response?.ok ? ((await response.json()) as StatusDocument) : undefined;
  }

  /** Ends it in order, after a while by force. */
  async stop(): Promise<void> {
    if (!this.running) return;
    this.#child.kill("SIGTERM");
    const force = setTimeout(() => this.#child.kill("SIGKILL"), STOP_MS);
    await this.#exited;
    clearTimeout(force);
  }

  async #ready(): Promise<boolean> {
    const deadline = performance.now() + START_MS;
    while (this.running && performance.now() < deadline) {
      if ((await this.#get("/readyz"))?.ok) return true;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return false;
  }

  #get(path: string): Promise<Response | undefined> {
    return fetch(`http://127.0.0.1:${this.ports.admin}${path}`, { signal: AbortSignal.timeout(1_000) }).catch(
      () => undefined,
    );
  }
}

function configuration(ports: Ports, backendPorts: readonly number[]): object {
  const upstreams = POLICIES.map((policy) => ({
    [policy]: {
      balance: policy,
      backends: CAPACITIES.map(({ id, weight }, index) => ({
        url: `http://127.0.0.1:${backendPorts[index]}`,
        id,
        // Least connections finds out by itself what each can do.
        weight: policy === "weighted-round-robin" ? weight : 1,
      })),
      healthCheck: { type: "tcp", interval: `${CHECK_INTERVAL_MS}ms`, timeout: "200ms", unhealthyAfter: 3 },
    },
  }));
  return {
    admin: { listen: `127.0.0.1:${ports.admin}` },
    log: { level: "warn", access: { format: "off" } },
    listeners: [
      {
        listen: `127.0.0.1:${ports.proxy}`,
        routes: [
          ...POLICIES.map((policy) => ({ match: { path: `/${policy}/*` }, upstream: policy })),
          { upstream: "least-connections" },
        ],
      },
    ],
    upstreams: Object.assign({}, ...upstreams),
  };
}

/** `wanted` when nobody listens there, else any free port of the loopback address. */
async function freePort(wanted: number): Promise<number> {
  return (await listenOn(wanted)) ?? (await listenOn(0))!;
}

function listenOn(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : undefined));
    });
  });
}
