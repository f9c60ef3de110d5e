import type { Settings } from "../config/settings.ts";
import { SharedCounts } from "../metrics/shared-counts.ts";
import { Stripe } from "../metrics/stripe.ts";
import type { Random } from "../policy/model/random.ts";
import { type Bind, type DataPlane, type DataPlaneInit, ListenError } from "../proxy/data-plane-api.ts";
import type { Clock } from "../time/clock.ts";
import { AccessLogBatch } from "./access-log-batch.ts";
import { countDroppedLines } from "./dropped-lines.ts";
import type { Log } from "./log.ts";
import { LogLimiter, limitLog, perBackend } from "./log-limiter.ts";
import type { FromWorker, ToWorker, WorkerData } from "./messages.ts";
import { type BoundSocket, loadKoffi, SocketMaker } from "./reuse-port.ts";

/** The worker's end of the line to the control plane. */
export interface ControlPort {
  post(message: FromWorker): void;
  receive(handler: (message: ToWorker) => void): void;
}

/** What a worker is made of besides its data; tests put in their own. */
export interface WorkerParts {
  readonly port: ControlPort;
  readonly clock: Clock;
  readonly random: Random;
  createDataPlane(init: DataPlaneInit): Promise<DataPlane>;
}

/**
 * Runs a data plane at one end of a message port. Resolves once it listens, or has said that it cannot. A fault of the
 * data plane is thrown on: the thread ends with it, and the control plane replaces the thread.
 */
export async function hostWorker(data: WorkerData, parts: WorkerParts): Promise<void> {
  const { settings, worker, memory } = data;
  const { port, clock, random } = parts;
  const stripe = new Stripe(memory.layout, memory.metrics, worker);
  const toControl: Log = {
    write: (level, code, message, fields) => port.post({ type: "log", level, code, message, fields }),
    flush: () => {},
  };
  const log = limitLog(toControl, clock, new LogLimiter(), perBackend);
  const accessLog = new AccessLogBatch(
    clock,
    ({ text, lines }) => port.post({ type: "accessLog", text, lines }),
    countDroppedLines(stripe, toControl, clock),
  );

  const sockets: (BoundSocket | undefined)[] = [];
  let plane: DataPlane | undefined;
  try {
    if (data.bind === "koffi") sockets.push(...(await bindSockets(settings)));
    plane = await parts.createDataPlane({
      settings,
      worker,
      stripe,
      counts: new SharedCounts(memory.counts, worker),
      clock,
      random,
      bind: bindOf(data, sockets),
      events: {
        accessLog: (line) => accessLog.add(line),
        log: (level, code, message, fields) => log.write(level, code, message, fields),
        connectionWanted: (slot) => port.post({ type: "connectionWanted", slot }),
        connectionFreed: (slot) => port.post({ type: "connectionFreed", slot }),
        backendCondition: (slot, { circuit, ejected, reason }) =>
          port.post({ type: "backendCondition", slot, circuit, ejected, reason }),
        sessionWanted: (id, upstream, key) => port.post({ type: "sessionWanted", id, upstream, key }),
        sessionPlaced: (upstream, key, address, instead, ttlMs) =>
          port.post({ type: "sessionPlaced", upstream, key, address, instead, ttlMs }),
      },
      secret: data.secret,
      sharedSessions: data.sharedSessions,
      geoip: data.geoip,
    });
    for (const { slot, reason } of data.down) plane.setHealth(slot, false, reason);
    obey(plane, port, accessLog);
    port.post({ type: "listening", addresses: await plane.start() });
  } catch (error) {
    if (!(error instanceof ListenError)) throw error;
    plane?.close();
    // What the data plane did not come to adopt would take its share of connections and never serve them.
    for (const socket of sockets) socket?.close();
    const { code, address, message } = error;
    port.post({ type: "listenFailed", code, address, message });
  }
}

function obey(plane: DataPlane, port: ControlPort, accessLog: AccessLogBatch): void {
  port.receive((message) => {
    switch (message.type) {
      case "health":
        plane.setHealth(message.slot, message.up, message.reason);
        break;
      case "checkPassed":
        plane.checkPassed(message.slot, message.http);
        break;
      case "surrenderConnection":
        plane.surrenderConnection(message.slot);
        break;
      case "retryConnections":
        plane.retryConnections(message.slot);
        break;
      case "accessLogWritten":
        accessLog.written(message.chars);
        break;
      case "sessionFound":
        plane.sessionFound(message.id, message.address, message.failed);
        break;
      case "sessionCorrected":
        plane.sessionCorrected(message.upstream, message.key, message.address, message.instead);
        break;
      case "sessionsForgotten":
        plane.sessionsForgotten(message.upstream);
        break;
      case "geoip":
        plane.setGeoip(message.path, message.database);
        break;
      case "inspect":
        port.post({ type: "inspected", inspection: plane.inspect() });
        break;
      case "explain":
        port.post({ type: "explained", id: message.id, explanation: plane.explain(message.request) });
        break;
      case "drain":
        void plane.drain(message.deadlineMs).then(({ cut }) => {
          accessLog.flush();
          port.post({ type: "drained", cut });
        });
        break;
    }
  });
}

/** One socket per TCP listener; the control plane has resolved names and chosen ports. */
async function bindSockets({ listeners }: Settings): Promise<(BoundSocket | undefined)[]> {
  const koffi = await loadKoffi();
  if (koffi === undefined) throw new Error("the package koffi does not load in a worker thread");
  const maker = new SocketMaker(koffi);
  const sockets: (BoundSocket | undefined)[] = [];
  try {
    for (const { listen } of listeners) {
      sockets.push(listen.kind === "tcp" ? maker.bind(listen.host ?? "::", listen.port) : undefined);
    }
  } catch (error) {
    for (const socket of sockets) socket?.close();
    throw error;
  }
  return sockets;
}

function bindOf({ bind }: WorkerData, sockets: readonly (BoundSocket | undefined)[]): Bind {
  if (bind === "exclusive") return { mode: "exclusive" };
  if (bind === "reuse-port") return { mode: "reuse-port" };
  return { mode: "fds", fds: sockets.map((socket) => socket?.fd) };
}
