import { createServer, type ListenOptions, connect as netConnect, type Server, Socket } from "node:net";
import type { Clock } from "../../time/clock.ts";
import { type Connection, NOBODY } from "./connection.ts";
import { NetConnection, type NetContext, type ReadMode } from "./net-connection.ts";
import { Outbox } from "./outbox.ts";
import { ReadBuffers } from "./read-buffers.ts";

/** Where to connect to: an address, or a Unix socket. */
export type Destination = { readonly host: string; readonly port: number } | { readonly path: string };

/** A socket that accepts connections. */
export interface ListeningSocket {
  readonly address: { readonly host: string; readonly port: number } | { readonly path: string };
  /** Stops accepting; connections already accepted live on. */
  close(): void;
}

/** The network, as the data plane sees it. */
export interface Transport {
  /** Listens; rejects with the system's error. */
  listen(options: ListenOptions, accepted: (connection: Connection) => void): Promise<ListeningSocket>;
  /** Opens a connection; aborting gives it up. Rejects with the system's error. */
  connect(to: Destination, signal: AbortSignal): Promise<Connection>;
  readonly buffers: ReadBuffers;
}

/** `net.Server` keeps its listening handle here; its `onconnection` is called for every accepted connection. */
type ServerInside = Server & { _handle: { onconnection: (status: number, handle: object) => void } };
/** `net.Socket` takes `handle` and `onread`; the types know neither for accepted sockets. */
const SocketOf = Socket as unknown as new (options: object) => Socket;

/** The first engine: `net.Socket`, with `onread` on both sides where this Node.js lets us adopt accepted handles. */
export class NetTransport implements Transport {
  readonly buffers = new ReadBuffers();
  readonly #context: NetContext;

  constructor(mode: ReadMode, clock: Clock, fault: (error: unknown) => void) {
    this.#context = { buffers: this.buffers, outbox: new Outbox(), mode, clock, fault };
  }

  listen(options: ListenOptions, accepted: (connection: Connection) => void): Promise<ListeningSocket> {
    const server = createServer({ allowHalfOpen: true });
    server.on("connection", (socket) => this.#accept(new NetConnection(this.#context).attach(socket), accepted));
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(options, () => {
        server.off("error", reject);
        // An accept that fails (no descriptors left) is tried again by the event loop; the next one tells.
        server.on("error", this.#context.fault);
        if (this.#context.mode === "onread") this.#adopt(server as ServerInside, accepted);
        const bound = server.address();
        const address =
          bound === null || typeof bound === "string"
            ? { path: bound ?? String(options.path) }
            : { host: bound.address, port: bound.port };
        resolve({ address, close: () => server.close() });
      });
    });
  }

  connect(to: Destination, signal: AbortSignal): Promise<Connection> {
    const connection = new NetConnection(this.#context);
    return new Promise((resolve, reject) => {
      const socket = netConnect({ ...to, ...connection.onread, allowHalfOpen: true });
      const abort = () => socket.destroy(new Error("given up"));
      const failed = (error: Error) => {
        signal.removeEventListener("abort", abort);
        reject(error);
      };
      if (signal.aborted) abort();
      signal.addEventListener("abort", abort, { once: true });
      socket.once("error", failed);
      socket.once("connect", () => {
        signal.removeEventListener("abort", abort);
        socket.off("error", failed);
        resolve(connection.attach(socket));
      });
    });
  }

  /** One net.Socket per accepted connection, reading into our buffers: Node offers `onread` only to those it connects. */
  #adopt(server: ServerInside, accepted: (connection: Connection) => void): void {
    const context = this.#context;
    server._handle.onconnection = (status, handle) => {
      if (status !== 0) {
        server.emit("error", new Error(`accept failed with status ${status}`));
        return;
      }
      const connection = new NetConnection(context);
      this.#accept(connection.attach(new SocketOf({ handle, allowHalfOpen: true, ...connection.onread })), accepted);
    };
  }

  #accept(connection: Connection, accepted: (connection: Connection) => void): void {
    try {
      accepted(connection);
    } catch (error) {
      this.#context.fault(error);
      connection.destroy();
    }
  }
}

/**
 * Whether accepted handles can be adopted on this Node.js: tried once at start, on loopback, because it rests on how
 * `net.Server` works inside. Where it fails, `data` events carry the traffic, a few percent dearer.
 */
export async function detectReadMode(clock: Clock): Promise<ReadMode> {
  if (process.env.SPILLWAY_READ_MODE === "data") return "data";
  const transport = new NetTransport("onread", clock, () => {});
  let heard: (text: string) => void = () => {};
  const answer = new Promise<string>((resolve) => {
    heard = resolve;
  });
  const accepted = (connection: Connection) => {
    const bytes = (bytes: Buffer, from: number, to: number) => {
      heard(bytes === transport.buffers.shared ? bytes.toString("latin1", from, to) : "");
      connection.destroy();
    };
    connection.handler = { ...NOBODY, bytes };
  };
  let listening: ListeningSocket | undefined;
  const late = setTimeout(heard, PROBE_MS, "");
  try {
    listening = await transport.listen({ host: "127.0.0.1", port: 0 }, accepted);
    const { port } = listening.address as { port: number };
    const client = netConnect(port, "127.0.0.1", () => client.end("probe")).on("error", () => {});
    client.resume();
    return (await answer) === "probe" ? "onread" : "data";
  } catch {
    return "data";
  } finally {
    clearTimeout(late);
    listening?.close();
  }
}

/** On loopback an answer takes well under a millisecond. */
const PROBE_MS = 1000;
