import { expect, onTestFinished } from "vitest";
import type { SettingsInput } from "../../src/config/settings.ts";
import type { ReadMode } from "../../src/proxy/transport/net-connection.ts";
import { startProxy, type TestProxy } from "./proxy.ts";
import { type RawBackend, rawBackend, type Script } from "./raw-backend.ts";
import { dial, eventually, type Wire } from "./wire.ts";

type ListenerInput = SettingsInput["listeners"][number];
type UpstreamInput = SettingsInput["upstreams"][string];

export interface SceneOptions {
  readonly mode?: ReadMode;
  readonly listener?: Partial<ListenerInput>;
  readonly upstream?: Partial<UpstreamInput>;
  /** Instead of everything above. */
  readonly settings?: (urls: readonly string[]) => SettingsInput;
  readonly log?: SettingsInput["log"];
}

/** A proxy in front of scripted backends, gone when the test is over. */
export interface Scene {
  readonly proxy: TestProxy;
  /** The first backend. */
  readonly backend: RawBackend;
  readonly backends: readonly RawBackend[];
  client(): Promise<Wire>;
  /** Waits until nothing runs any more: no exchange, no tunnel, no busy connection. */
  quiet(): Promise<void>;
}

const thrown: unknown[] = [];
process.on("uncaughtException", (error) => thrown.push(error));
process.on("unhandledRejection", (error) => thrown.push(error));

/** Sets a scene; when the test is over, nothing may have thrown, in a handler of the proxy or anywhere else. */
export async function scene(scripts: Script | readonly Script[], options: SceneOptions = {}): Promise<Scene> {
  const backends = await Promise.all([scripts].flat().map((script) => rawBackend(script)));
  const urls = backends.map(({ url }) => url);
  const settings = options.settings?.(urls) ?? {
    listeners: [
      {
        listen: "127.0.0.1:0",
        ...(options.listener?.routes === undefined ? { upstream: "web" } : {}),
        ...options.listener,
      },
    ],
    upstreams: { web: { backends: urls, ...options.upstream } },
    ...(options.log === undefined ? {} : { log: options.log }),
  };
  const proxy = await startProxy(settings, options.mode);
  const clients: Wire[] = [];
  onTestFinished(async () => {
    for (const client of clients) client.destroy();
    proxy.close();
    await Promise.all(backends.map((backend) => backend.close()));
    expect(backends.flatMap(({ errors }) => errors)).toEqual([]);
    expect(proxy.logs.filter(({ code }) => code === "fault" || code === "pool")).toEqual([]);
    expect(thrown.splice(0)).toEqual([]);
  });
  return {
    proxy,
    backend: backends[0]!,
    backends,
    client: async () => {
      const wire = await dial(proxy.port);
      clients.push(wire);
      return wire;
    },
    quiet: () =>
      eventually(
        () => {
          const { exchanges, tunnels, backends: pools } = proxy.plane.inspect();
          return exchanges === 0 && tunnels === 0 && pools.every(({ busy, waiting }) => busy === 0 && waiting === 0);
        },
        () => `everything at rest: ${JSON.stringify(proxy.plane.inspect())}`,
      ),
  };
}

/** The two ways of reading from sockets: core promises hold in both. */
export const READ_MODES = ["onread", "data"] as const;

/** A request without body. */
export function get(target = "/", fields: readonly string[] = []): string {
  return `GET ${target} HTTP/1.1\r\nHost: shop.test\r\n${fields.map((line) => `${line}\r\n`).join("")}\r\n`;
}

/** A request with a body of known length. */
export function post(body: string, target = "/", fields: readonly string[] = []): string {
  return `POST ${target} HTTP/1.1\r\nHost: shop.test\r\n${fields.map((line) => `${line}\r\n`).join("")}Content-Length: ${body.length}\r\n\r\n${body}`;
}
