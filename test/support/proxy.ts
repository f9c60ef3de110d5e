import { connect, type Socket } from "node:net";
import { settingsSchema } from "../../src/config/schema.ts";
import type { SettingsInput } from "../../src/config/settings.ts";
import {
  createCounts,
  createLayout,
  createMetricsMemory,
  readSnapshot,
  SharedCounts,
  type Snapshot,
  Stripe,
} from "../../src/metrics/index.ts";
import { SeededRandom } from "../../src/policy/model/random.ts";
import { createDataPlane } from "../../src/proxy/data-plane.ts";
import type { DataPlane } from "../../src/proxy/data-plane-api.ts";
import { affinityRows, assignSlots } from "../../src/proxy/slots.ts";
import type { ReadMode } from "../../src/proxy/transport/net-connection.ts";
import { SystemClock } from "../../src/time/system-clock.ts";

/** A data plane in this process, with what it logged. */
export interface TestProxy {
  readonly plane: DataPlane;
  /** Port of the first listener. */
  readonly port: number;
  readonly logs: { level: string; code: string; message: string }[];
  readonly accessLog: string[];
  snapshot(): Snapshot;
  close(): void;
}

/** Runs `input` (listeners on 127.0.0.1:0 unless they say otherwise) without control plane: no checks, no admin. */
export async function startProxy(input: SettingsInput, mode?: ReadMode): Promise<TestProxy> {
  const settings = settingsSchema.parse(input);
  const layout = createLayout({
    upstreams: Object.keys(settings.upstreams),
    backends: assignSlots(settings),
    affinities: affinityRows(settings),
    listeners: settings.listeners.map((_, index) => `listener-${index}`),
  });
  const memory = createMetricsMemory(layout, 1);
  const logs: TestProxy["logs"] = [];
  const accessLog: string[] = [];
  const counts = new SharedCounts(createCounts(layout.capacity.backends));
  const plane = await createDataPlane(
    {
      settings,
      worker: 0,
      stripe: new Stripe(layout, memory, 0),
      counts,
      clock: new SystemClock(),
      random: new SeededRandom(1),
      bind: { mode: "exclusive" },
      events: {
        accessLog: (line) => accessLog.push(line),
        log: (level, code, message) => logs.push({ level, code, message }),
        connectionWanted: () => {},
        connectionFreed: () => {},
        backendCondition: () => {},
        sessionWanted: () => {},
        sessionPlaced: () => {},
      },
      secret: "a secret of the tests",
      sharedSessions: new Set(),
      geoip: new Map(),
    },
    mode,
  );
  const [bound] = await plane.start();
  return {
    plane,
    port: bound?.kind === "tcp" ? bound.port : 0,
    logs,
    accessLog,
    snapshot: () => readSnapshot(layout, memory, { counts }),
    close: () => plane.close(),
  };
}

/** Sends `text` as it is and collects what comes back until the other side closes, or `until` is satisfied. */
export function talk(port: number, text: string | Buffer, until?: (received: string) => boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = "";
    const socket: Socket = connect(port, "127.0.0.1", () => socket.write(text));
    socket.setEncoding("latin1");
    socket.on("data", (piece) => {
      received += piece;
      if (until?.(received) === true) {
        socket.destroy();
        resolve(received);
      }
    });
    socket.on("end", () => {
      socket.destroy();
      resolve(received);
    });
    socket.on("error", (error) => (received === "" ? reject(error) : resolve(received)));
    socket.setTimeout(10_000, () => {
      socket.destroy();
      reject(new Error(`no answer; received so far: ${JSON.stringify(received)}`));
    });
  });
}
