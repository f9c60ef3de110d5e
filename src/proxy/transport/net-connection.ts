import type { Socket } from "node:net";
import type { Clock } from "../../time/clock.ts";
import { type Connection, type ConnectionHandler, NOBODY } from "./connection.ts";
import type { Gathering, Outbox } from "./outbox.ts";
import type { ReadBuffers } from "./read-buffers.ts";

/** How bytes are taken from sockets: `onread` into our own buffers, or `data` events as the fallback. */
export type ReadMode = "onread" | "data";

/** What the connections of a thread share. */
export interface NetContext {
  readonly buffers: ReadBuffers;
  readonly outbox: Outbox;
  readonly mode: ReadMode;
  /** Its time is held while an event is handled. */
  readonly clock: Clock;
  /** A handler threw: a fault of ours, never of the network. */
  readonly fault: (error: unknown) => void;
}

/** More than this is written at once: gathering is for messages that are small beside the cost of a write. */
const MAX_GATHERED = 16 * 1024;

const OWNER = Symbol("connection");
type OwnedSocket = Socket & { [OWNER]: NetConnection };

/** What `net.Socket` takes to read into a buffer of ours. */
export interface OnRead {
  buffer: () => Uint8Array;
  callback: (bytes: number, buffer: Uint8Array) => boolean;
}

/**
 * A {@link Connection} on `net.Socket`.
 *
 * Listeners are four functions shared by all sockets, because closures per socket would double what an idle connection
 * weighs.
 */
export class NetConnection implements Connection, Gathering {
  handler: ConnectionHandler = NOBODY;
  readonly #context: NetContext;
  #socket!: OwnedSocket;
  #own: Buffer | undefined;
  #error: Error | undefined;
  #flush: (() => void) | undefined;
  /** Writes so far. */
  #writes = 0;
  /** Text of this turn, not yet written. */
  #gathered = "";
  /** A write was answered with no, and its owner waits for `drained`. */
  #drainAwaited = false;

  constructor(context: NetContext) {
    this.#context = context;
  }

  /** Options for the socket's constructor, so that it reads into our buffers from the start. */
  get onread(): { onread: OnRead } | Record<never, never> {
    if (this.#context.mode === "data") return {};
    return {
      onread: {
        buffer: () => this.#own ?? this.#context.buffers.shared,
        callback: (count, buffer) => {
          this.#deliver(buffer as Buffer, count);
          return true;
        },
      },
    };
  }

  /** Binds the socket; from now on events reach `handler`. */
  attach(socket: Socket): this {
    const owned = socket as OwnedSocket;
    owned[OWNER] = this;
    this.#socket = owned;
    owned.on("end", onEnd).on("close", onClose).on("error", onError).on("drain", onDrain);
    if (this.#context.mode === "data") owned.on("data", onData);
    return this;
  }

  get peer(): string {
    return this.#socket.remoteAddress ?? "";
  }

  get unsent(): boolean {
    return this.#gathered !== "" || this.#socket.writableLength > 0;
  }

  write(text: string): boolean {
    const gathered = this.#gathered;
    if (gathered.length + text.length > MAX_GATHERED || this.#socket.writableLength > 0) {
      this.#gathered = "";
      return this.#writeNow(gathered + text);
    }
    if (gathered === "") this.#context.outbox.add(this);
    this.#gathered = gathered + text;
    return true;
  }

  /**
   * Nothing waits for a full packet: a small write behind another one would wait for the peer to acknowledge that. The
   * first write of a connection never does, and for many it is the last, so that they are spared the system call.
   */
  #beforeWrite(): void {
    if (this.#writes++ === 1) this.#socket.setNoDelay(true);
  }

  #writeNow(text: string): boolean {
    this.#beforeWrite();
    // What net.Socket answers goes by the size of the write: it says no although the kernel has taken everything.
    if (this.#socket.write(text, "latin1") || this.#socket.writableLength === 0) return true;
    this.#drainAwaited = true;
    return false;
  }

  /** Writes what was gathered. It is little, so whether the kernel takes it at once is nobody's concern. */
  flush(): void {
    const gathered = this.#gathered;
    if (gathered === "") return;
    this.#gathered = "";
    this.#beforeWrite();
    this.#socket.write(gathered, "latin1");
  }

  writeLent(bytes: Uint8Array): boolean {
    this.flush();
    this.#beforeWrite();
    this.#socket.write(bytes);
    if (this.#socket.writableLength === 0) return true;
    this.#drainAwaited = true;
    // A write below the high-water mark brings no 'drain'; an empty one behind it says when it is through.
    this.#flush ??= () => NetConnection.onEvent(this, "drained");
    if (!this.#socket.writableNeedDrain) this.#socket.write("", this.#flush);
    return false;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  readInto(buffer: Buffer | undefined): void {
    this.#own = buffer;
  }

  later(step: () => void): void {
    setImmediate(() => this.#guard(step));
  }

  end(): void {
    this.flush();
    this.#socket.end();
  }

  destroy(): void {
    this.flush();
    this.#socket.destroy();
  }

  reset(): void {
    this.flush();
    try {
      this.#socket.resetAndDestroy();
    } catch {
      // A Unix socket knows no reset.
      this.#socket.destroy();
    }
  }

  #deliver(bytes: Buffer, count: number): void {
    const { clock } = this.#context;
    clock.hold?.();
    try {
      this.handler.bytes(bytes, 0, count);
    } catch (error) {
      this.#faulted(error);
    }
    clock.release?.();
  }

  /** Runs a step of the handler, or on its behalf. */
  #guard(step: () => void): void {
    const { clock } = this.#context;
    clock.hold?.();
    try {
      step();
    } catch (error) {
      this.#faulted(error);
    }
    clock.release?.();
  }

  /** What a handler throws costs its connection, not the process. */
  #faulted(error: unknown): void {
    this.#context.fault(error);
    this.destroy();
  }

  /** @internal */
  static onData(connection: NetConnection, bytes: Buffer): void {
    connection.#deliver(bytes, bytes.length);
  }

  /** @internal */
  static onEvent(connection: NetConnection, event: "ended" | "drained" | "closed"): void {
    if (event === "drained") {
      if (!connection.#drainAwaited) return;
      connection.#drainAwaited = false;
    }
    connection.#guard(() => {
      if (event === "ended") connection.handler.ended();
      else if (event === "drained") connection.handler.drained();
      else connection.handler.closed(connection.#error);
    });
    if (event === "closed") connection.handler = NOBODY;
  }

  /** @internal */
  static onError(connection: NetConnection, error: Error): void {
    connection.#error = error;
  }
}

function onData(this: Socket, bytes: Buffer): void {
  NetConnection.onData((this as OwnedSocket)[OWNER], bytes);
}

function onEnd(this: Socket): void {
  // libuv reports a reset that comes close behind data as an end. The kernel then knows no peer any more; Node.js asks it
  // anew here, because nobody asks for the address of a backend before.
  if (this.localAddress !== undefined && this.remoteAddress === undefined) {
    this.destroy(new Error("reset by the peer"));
    return;
  }
  NetConnection.onEvent((this as OwnedSocket)[OWNER], "ended");
}

function onDrain(this: Socket): void {
  NetConnection.onEvent((this as OwnedSocket)[OWNER], "drained");
}

function onClose(this: Socket): void {
  NetConnection.onEvent((this as OwnedSocket)[OWNER], "closed");
}

function onError(this: Socket, error: Error): void {
  NetConnection.onError((this as OwnedSocket)[OWNER], error);
}
