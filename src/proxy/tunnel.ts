import { UNTIL_CLOSE } from "../wire/request-head.ts";
import type { BackendConnection, ResponseReader } from "./backend-connection.ts";
import { BodyRelay } from "./body-relay.ts";
import type { RequestReader } from "./client-session.ts";
import type { Exchange } from "./exchange.ts";
import type { Services } from "./services.ts";
import type { Connection } from "./transport/connection.ts";

const NO_CHUNKS = { chunkExtensionBytes: 0, headBytes: 0, headFields: 0 };

/** A peer that is told of the other's end and does not end within this time is not waited for. */
const LAST_WORDS_MS = 10_000;

/**
 * An upgraded connection (WebSocket): bytes both ways, nothing read of them. Each side may end its direction first; the
 * tunnel closes when both have, when either breaks, or when both were silent for `timeouts.tunnel`.
 */
export class Tunnel implements RequestReader, ResponseReader {
  readonly method = "";
  readonly requestUnread = true;
  readonly responding = true;
  readonly #exchange: Exchange;
  readonly #client: Connection;
  readonly #backend: BackendConnection;
  readonly #services: Services;
  #silenceMs: number;
  readonly #up: BodyRelay;
  readonly #down: BodyRelay;
  #endedSides = 0;
  #closed = false;

  constructor(exchange: Exchange, backend: BackendConnection, services: Services) {
    this.#exchange = exchange;
    this.#client = exchange.session.connection;
    this.#backend = backend;
    this.#services = services;
    this.#silenceMs = exchange.session.listener.timeouts.tunnel;
    const init = { buffers: services.buffers, framing: UNTIL_CLOSE, encoding: "as-is", limits: NO_CHUNKS } as const;
    this.#up = new BodyRelay({ ...init, source: this.#client });
    this.#up.open(backend.connection);
    this.#down = new BodyRelay({ ...init, source: backend.connection });
    this.#down.open(this.#client);
    backend.expectWithin(this.#silenceMs);
  }

  get bytesToClient(): number {
    return this.#down.bytes;
  }

  requestBytes(bytes: Buffer, from: number, to: number): number {
    this.#backend.expectWithin(this.#silenceMs);
    return this.#up.feed(bytes, from, to);
  }

  responseBytes(bytes: Buffer, from: number, to: number): void {
    this.#backend.expectWithin(this.#silenceMs);
    this.#down.feed(bytes, from, to);
  }

  clientDrained(): void {
    this.#down.drained();
  }

  backendDrained(): void {
    this.#up.drained();
  }

  clientEnded(): void {
    this.#backend.connection.end();
    this.#sideEnded();
  }

  backendEnded(): void {
    this.#client.end();
    this.#sideEnded();
  }

  #sideEnded(): void {
    // What the backend has not taken yet would be lost: its connection then closes by itself when it has.
    if (++this.#endedSides === 2 && !this.#backend.connection.unsent) return this.close();
    this.#silenceMs = Math.min(this.#silenceMs, LAST_WORDS_MS);
    this.#backend.expectWithin(this.#silenceMs);
  }

  clientGone(): void {
    // It has said all it had to say, and its backend is still taking it.
    if (this.#endedSides === 2 && this.#backend.connection.unsent) return;
    this.close();
  }

  backendClosed(): void {
    this.close();
  }

  backendLate(): void {
    this.close();
  }

  /** Ends both sides; what the client was sent and has not taken yet still goes out. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#services.stripe.bytesOut(this.#down.written);
    this.#up.abandon();
    this.#down.abandon();
    this.#exchange.tunnelClosed();
    this.#exchange.session.closeTunnel();
  }

  heard(): void {}
  interim(): void {}
  switched(): void {}
  responded(): void {}
  malformed(): void {}
  clientLate(): void {}
  routeLate(): void {}

  woken(): void {}
}
