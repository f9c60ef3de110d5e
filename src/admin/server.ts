import { chmod } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { ListenOptions } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { formatAddress } from "../config/values.ts";
import { type BoundAddress, ListenError } from "../proxy/data-plane-api.ts";
import { removeStaleSocket } from "../proxy/transport/stale-socket.ts";
import { adminApp } from "./app.ts";
import type { AdminSource } from "./source.ts";

export interface AdminOptions {
  /** Where to listen; port 0 takes a free one. */
  readonly listen: BoundAddress;
  /** Hears of errors that clients of the admin server caused or met. Nothing of it stops the process. */
  readonly onError?: (error: Error) => void;
}

export interface Admin {
  /** Resolves with the bound address. @throws ListenError naming the address. */
  start(): Promise<BoundAddress>;
  /** Refuses new connections and resolves when those open are closed, at the latest after a second. */
  stop(): Promise<void>;
}

/** How long answers that are being sent may take when the server stops. */
const STOP_MS = 1000;

/** The admin server: metrics, health, status and the overview page. Runs in the control plane's thread. */
export function createAdmin(source: AdminSource, options: AdminOptions): Admin {
  const failed = options.onError ?? (() => {});
  const server = createAdaptorServer({
    fetch: adminApp(source, failed).fetch,
    // Request and Response of the process stay its own: the admin server may run inside somebody's service.
    overrideGlobalObjects: false,
    createServer,
    serverOptions: {
      maxHeaderSize: 16 * 1024,
      headersTimeout: 5_000,
      requestTimeout: 10_000,
      keepAliveTimeout: 5_000,
      connectionsCheckingInterval: 1_000,
    },
  }) as Server;
  server.maxConnections = 256;
  server.timeout = 30_000;

  return {
    async start() {
      const { listen } = options;
      try {
        await bind(server, listen);
      } catch (error) {
        throw listenError(error as NodeJS.ErrnoException, listen);
      }
      server.on("error", failed);
      if (listen.kind === "unix") {
        // Who may read and later change the running configuration is whoever started it.
        await chmod(listen.path, 0o600);
        return listen;
      }
      const bound = server.address();
      return { kind: "tcp", host: listen.host, port: typeof bound === "object" && bound ? bound.port : listen.port };
    },

    stop() {
      if (!server.listening) return Promise.resolve();
      return new Promise((resolve) => {
        const cut = setTimeout(() => server.closeAllConnections(), STOP_MS);
        server.close(() => {
          clearTimeout(cut);
          resolve();
        });
        server.closeIdleConnections();
      });
    },
  };
}

async function bind(server: Server, address: BoundAddress): Promise<void> {
  if (address.kind === "tcp") return listening(server, { host: address.host, port: address.port });
  await removeStaleSocket(address.path);
  return listening(server, { path: address.path });
}

function listening(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function listenError(error: NodeJS.ErrnoException, address: BoundAddress): ListenError {
  if (error instanceof ListenError) return error;
  return new ListenError(error.code ?? "UNKNOWN", formatAddress(address), error.message, { cause: error });
}
