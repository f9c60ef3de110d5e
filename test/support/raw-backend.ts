import { type AddressInfo, createServer, type Server } from "node:net";
import { Wire, WireEnd } from "./wire.ts";

/** What a backend does with one connection. Waiting in vain because the proxy closed it is no error. */
export type Script = (wire: Wire, index: number) => unknown;

/** A backend that does exactly what a test says, byte by byte. */
export interface RawBackend {
  readonly port: number;
  readonly url: string;
  /** Every connection so far, in order. */
  readonly connections: readonly Wire[];
  /** Connections open now. */
  readonly open: number;
  /** What went wrong in scripts. */
  readonly errors: unknown[];
  /** From now on new connections do this. */
  script: Script;
  close(): Promise<void>;
}

export async function rawBackend(script: Script, port = 0): Promise<RawBackend> {
  const connections: Wire[] = [];
  const errors: unknown[] = [];
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    const wire = new Wire(socket);
    const index = connections.push(wire) - 1;
    // A wire whose script is over closes when its other side does.
    void Promise.resolve()
      .then(() => backend.script(wire, index))
      .catch((error: unknown) => {
        if (!(error instanceof WireEnd)) errors.push(error);
      })
      .then(() => wire.gone(3_600_000))
      .catch(() => {});
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  const backend: RawBackend = {
    port: bound,
    url: `http://127.0.0.1:${bound}`,
    connections,
    get open() {
      return connections.filter(({ closed }) => !closed).length;
    },
    errors,
    script,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const wire of connections) wire.destroy();
      }),
  };
  return backend;
}

/** Answers every request of a connection with `answer`, whole requests one after the other. */
export function answering(answer: string | ((request: Awaited<ReturnType<Wire["request"]>>) => string)): Script {
  return async (wire) => {
    for (;;) {
      const request = await wire.request();
      wire.write(typeof answer === "string" ? answer : answer(request));
    }
  };
}

/** A whole response. */
export function ok(body = "ok", fields: readonly string[] = []): string {
  return `HTTP/1.1 200 OK\r\n${fields.map((line) => `${line}\r\n`).join("")}Content-Length: ${body.length}\r\n\r\n${body}`;
}

/** A port of this machine on which nobody listens. */
export async function deadPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
