import { UNTIL_CLOSE } from "../wire/request-head.ts";
import { closeFrame, WebSocketFrames } from "../wire/websocket-frames.ts";
import type { BackendConnection, ResponseReader } from "./backend-connection.ts";
import { BodyRelay } from "./body-relay.ts";
import type { RequestReader } from "./client-session.ts";
import type { Exchange } from "./exchange.ts";
import { type MovableTunnel, openTunnelsAt } from "./rebalancer.ts";
import type { Services } from "./services.ts";
import type { Connection } from "./transport/connection.ts";

const NO_CHUNKS = { chunkExtensionBytes: 0, headBytes: 0, headFields: 0 };

/** A peer that is told of the other's end and does not end within this time is not waited for. */
const LAST_WORDS_MS = 10_000;
/**
 * A tunnel in which nothing has passed for so long is idle. Shorter pauses are those between a question and its answer,
 * or between the messages of one burst.
 */
const IDLE_AFTER_MS = 1_000;
/** 1012 says: come again, at once if you like (IANA registry of WebSocket close codes). */
const COME_AGAIN = closeFrame(1012, "service restart").toString("latin1");

/**
 * An upgraded connection (WebSocket): bytes both ways, nothing read of them. Each side may end its direction first; the
 * tunnel closes when both have, when either breaks, or when both were silent for `timeouts.tunnel`.
 *
 * Where tunnels are rebalanced it can also be closed from here, by a WebSocket's Close. For that the frames that pass are
 * counted, so that it stands between two messages.
 */
export class Tunnel implements RequestReader, ResponseReader, MovableTunnel {
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
  /** The client has been told to come again. */
  #closing = false;
  /** The tunnels of its backend, where those are rebalanced. */
  readonly #siblings: Set<MovableTunnel> | undefined;
  readonly #framesUp: WebSocketFrames | undefined;
  readonly #framesDown: WebSocketFrames | undefined;
  readonly who: string;
  lastActiveMs = 0;

  constructor(exchange: Exchange, backend: BackendConnection, services: Services) {
    this.#exchange = exchange;
    this.who = exchange.sessionOf;
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
    this.#siblings = openTunnelsAt(services, backend.slot);
    if (this.#siblings === undefined) return;
    this.#siblings.add(this);
    this.lastActiveMs = services.clock.now();
    if (exchange.head.upgrade.toLowerCase() !== "websocket") return;
    this.#framesUp = new WebSocketFrames();
    this.#framesDown = new WebSocketFrames();
  }

  get bytesToClient(): number {
    return this.#down.bytes;
  }

  /** It is idle, and both ways are between two messages: one cut in the middle would be lost. */
  get mayClose(): boolean {
    return (
      this.#framesDown?.atBoundary === true &&
      this.#framesUp?.atBoundary === true &&
      !this.#closing &&
      !this.#closed &&
      this.#endedSides === 0 &&
      this.#services.clock.now() - this.lastActiveMs >= IDLE_AFTER_MS &&
      !this.#client.unsent &&
      !this.#backend.connection.unsent
    );
  }

  /**
   * Closes the WebSocket from here, where {@link mayClose}: the client gets a Close, and what it answers reaches the
   * backend, which takes it for the client's own. Nothing follows a Close (RFC 6455 section 5.5.1), so what the backend
   * still sends is dropped. The tunnel is over when either side closes, or after a last few words' time.
   */
  closeGently(): boolean {
    if (!this.mayClose) return false;
    this.#closing = true;
    this.#exchange.reason = "rebalanced";
    this.#leaveSiblings();
    this.#down.head = COME_AGAIN;
    this.#down.flush();
    this.#backend.expectWithin(LAST_WORDS_MS);
    return true;
  }

  requestBytes(bytes: Buffer, from: number, to: number): number {
    if (this.#siblings === undefined) this.#backend.expectWithin(this.#silenceMs);
    else this.#follow(this.#framesUp, bytes, from, to);
    return this.#up.feed(bytes, from, to);
  }

  responseBytes(bytes: Buffer, from: number, to: number): void {
    if (this.#siblings === undefined) this.#backend.expectWithin(this.#silenceMs);
    else if (this.#closing) return;
    else this.#follow(this.#framesDown, bytes, from, to);
    this.#down.feed(bytes, from, to);
  }

  /** Where tunnels are rebalanced, for all that passes. Last words put nothing off. */
  #follow(frames: WebSocketFrames | undefined, bytes: Buffer, from: number, to: number): void {
    if (!this.#closing) this.#backend.expectWithin(this.#silenceMs);
    this.lastActiveMs = this.#services.clock.now();
    frames?.feed(bytes, from, to);
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
    this.#endedSides = this.#closing ? 2 : this.#endedSides + 1;
    // What the backend has not taken yet would be lost: its connection then closes by itself when it has.
    if (this.#endedSides === 2 && !this.#backend.connection.unsent) return this.close();
    if (this.#closing) return;
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
    this.#leaveSiblings();
    this.#services.stripe.bytesOut(this.#down.written);
    this.#up.abandon();
    this.#down.abandon();
    this.#exchange.tunnelClosed();
    this.#exchange.session.closeTunnel();
  }

  #leaveSiblings(): void {
    this.#siblings?.delete(this);
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
