import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

/** What a backend has counted since it began. */
export interface BackendFigures {
  readonly requests: number;
  readonly active: number;
  readonly mostActive: number;
  /** Connections it accepted. */
  readonly connections: number;
  readonly open: number;
  readonly mostOpen: number;
}

interface FromBackend {
  readonly port?: number;
  readonly id?: number;
  readonly figures?: BackendFigures;
}

const program = fileURLToPath(new URL("backend.mjs", import.meta.url));

/** `backend.mjs` in a process of its own, ended when the test is over. */
export class BackendProcess {
  readonly name: string;
  readonly port: number;
  readonly url: string;
  readonly #child: ChildProcess;
  #asked = 0;

  private constructor(name: string, port: number, child: ChildProcess) {
    this.name = name;
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
    this.#child = child;
  }

  static async start(name: string, port = 0): Promise<BackendProcess> {
    const child = fork(program, [name, String(port)], { execArgv: [] });
    onTestFinished(() => void child.kill("SIGKILL"));
    const [message] = (await once(child, "message")) as [FromBackend];
    return new BackendProcess(name, message.port!, child);
  }

  async figures(): Promise<BackendFigures> {
    const id = this.#asked++;
    const answer = new Promise<BackendFigures>((resolve) => {
      const hear = (message: FromBackend): void => {
        if (message.id !== id) return;
        this.#child.off("message", hear);
        resolve(message.figures!);
      };
      this.#child.on("message", hear);
    });
    this.#child.send({ figures: id });
    return answer;
  }

  /** Lets the answer to `/hold/KEY` end. */
  release(key: string): void {
    this.#child.send({ release: key });
  }

  /**
   * kill -9. Returns when the process is gone and its sockets with it: nothing else runs in this thread meanwhile, so
   * whatever is sent afterwards is sent to a dead process.
   */
  kill(): void {
    const { pid } = this.#child;
    this.#child.kill("SIGKILL");
    // Only the kernel's own word is exact; elsewhere the signal is as near as it gets.
    while (process.platform === "linux" && !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, "latin1")));
  }
}

export function startBackends(names: readonly string[]): Promise<BackendProcess[]> {
  return Promise.all(names.map((name) => BackendProcess.start(name)));
}
