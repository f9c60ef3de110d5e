import { parseDeadline } from "../policy/resilience/deadline.ts";
import type { Timer } from "../time/clock.ts";
import { CR, LF } from "../wire/bytes.ts";
import { INCOMPLETE, REFUSED } from "../wire/fields.ts";
import type { Refusal } from "../wire/refusal.ts";
import { RequestHead, UNTIL_CLOSE } from "../wire/request-head.ts";
import type { BodyRelay, Encoding } from "./body-relay.ts";
import { Exchange } from "./exchange.ts";
import { clientOf, forwardedFields } from "./forwarding.ts";
import type { Listener } from "./listener.ts";
import { refusalText } from "./response-text.ts";
import type { Services } from "./services.ts";
import type { Connection, ConnectionHandler } from "./transport/connection.ts";
import type { Tunnel } from "./tunnel.ts";
import type { UpstreamRuntime } from "./upstream-runtime.ts";

/** Who reads what a client sends: an exchange, or the tunnel it became. */
export interface RequestReader {
  /** More of the request is to come. */
  readonly requestUnread: boolean;
  /** A response has begun to go out. */
  readonly responding: boolean;
  /** Takes what belongs to it out of `bytes[from, to)`; returns the offset behind it. */
  requestBytes(bytes: Buffer, from: number, to: number): number;
  clientDrained(): void;
  clientGone(): void;
  clientLate(): void;
  routeLate(): void;
  /** The time it asked for with `wakeWithin` is over. */
  woken(): void;
}

/** What came before its turn: more of it than this, and the client is not read until its turn comes. */
const MAX_STASH_BYTES = 64 * 1024;
/** Requests that one client's bytes may begin before others have their turn. */
const MAX_BEGUN_AT_ONCE = 64;
/** A connection idle for this long gives up what only a repeated request would use. */
const FORGET_AFTER_MS = 5_000;
/** How long what a client still sends is read and dropped before its connection closes, so that it can read the answer. */
const LINGER_MS = 1_000;
/**
 * How long an idle connection is kept when a drain begins: the client was told that it may send another request, and
 * one on its way would be lost with the connection. It is answered instead, and told that it was the last.
 */
const DRAIN_GRACE_MS = 100;
/** A client that has ended its side may have left for good: how long a response may take to begin, */
const HALF_CLOSED_BEGIN_MS = 1_000;
/** and how long it may stand still once it has begun. */
const HALF_CLOSED_PAUSE_MS = 5_000;

const HEAD_LATE: Refusal = { status: 408, code: "head-timeout", message: "The head was not complete in time." };

/**
 * What the client is waited for. `idle`: a request; `head`: the rest of its head; `body`: the next piece of a body, or
 * that it takes what it was sent; `exchange`: nothing, its exchange runs; `half-closed`: nothing, it may have left;
 * `closing`: the end.
 */
type Phase = "idle" | "head" | "body" | "exchange" | "half-closed" | "closing";

/** A client's connection: reads its requests one after the other, and runs one exchange at a time. */
export class ClientSession implements ConnectionHandler {
  readonly connection: Connection;
  readonly listener: Listener;
  readonly services: Services;
  /** Where its listener keeps it. */
  place: number;
  /** Kept from request to request, because a client mostly repeats itself; given up when it is idle. */
  #head: RequestHead | undefined;
  readonly #peer: string;
  readonly #trusted: boolean;
  readonly #timer: Timer;
  #routeTimer: Timer | undefined;
  /** For what an exchange waits for: kept, because one for each request would cost more than it does. */
  #wakeTimer: Timer | undefined;
  #phase: Phase = "idle";
  #reader: RequestReader | undefined;
  #tunnel: Tunnel | undefined;
  /** Bytes that came before their turn: an unfinished head, or requests behind the running one. */
  #stash: Buffer | undefined;
  #stashPaused = false;
  #consuming = false;
  /** While consuming: bytes follow the request that begins. */
  #moreBehind = false;
  /** The client has not taken what it was sent: the next request waits. */
  #blocked = false;
  /** A body that has been taken from its backend, but not by the client. */
  #undrained: BodyRelay | undefined;
  #keepAlive = true;
  /** The response has no end but the connection's: if it breaks off, only a reset can tell. */
  #endsWithClose = false;
  /** The rest of a request that nobody reads may be on its way. */
  #mayStillSend = false;
  #inputEnded = false;
  #closed = false;
  #requests = 0;
  #idleSinceMs: number;
  #fields = "";
  #fieldsVersion = -1;
  #fieldsHost = "";
  #progressMark = -1;

  constructor(connection: Connection, listener: Listener, place: number, services: Services) {
    this.place = place;
    this.connection = connection;
    this.listener = listener;
    this.services = services;
    const { peer } = connection;
    this.#peer = peer.startsWith("::ffff:") ? peer.slice(7) : peer;
    this.#trusted = listener.trusts(this.#peer);
    this.#timer = services.clock.timer(() => this.#late());
    this.#idleSinceMs = services.clock.now();
    this.#awaitRequest();
    connection.handler = this;
  }

  // What arrives.

  bytes(bytes: Buffer, from: number, to: number): void {
    this.services.stripe.bytesIn(to - from);
    if (this.#phase === "closing") return;
    const stash = this.#stash;
    if (stash === undefined) return this.#consume(bytes, from, to);
    const whole = Buffer.concat([stash, bytes.subarray(from, to)]);
    // An unfinished head is only worth another look when a line of it has ended, or when it is too long.
    const unfinished = this.#phase === "head";
    const lineEnded = unfinished && bytes.subarray(from, to).includes(LF);
    this.#stash = undefined;
    if (unfinished && !lineEnded && whole.length <= this.listener.limits.headBytes) this.#stash = whole;
    else this.#consume(whole, 0, whole.length);
  }

  #consume(bytes: Buffer, from: number, to: number): void {
    this.#consuming = true;
    let at = from;
    let begun = 0;
    while (at < to && this.#phase !== "closing") {
      if (this.#reader?.requestUnread === true) at = this.#reader.requestBytes(bytes, at, to);
      else if (this.#reader !== undefined || this.#blocked) {
        this.#keep(bytes, at, to);
        break;
      } else {
        // Some clients send an empty line behind a body: that is no beginning of a request (RFC 9112 section 2.2).
        if (this.#phase === "idle" && bytes[at] === CR && bytes[at + 1] === LF && at + 2 <= to) {
          at += 2;
          continue;
        }
        const head = this.#head ?? this.#newHead();
        const end = head.parse(bytes, at, to);
        if (end === INCOMPLETE) {
          this.#keep(bytes, at, to);
          // What a client that has ended its side left unfinished stays so.
          if (this.#inputEnded) this.#close(false);
          else this.#awaitHead();
          break;
        }
        if (end === REFUSED) {
          this.#refuse(head.refusal!);
          break;
        }
        if (++begun > MAX_BEGUN_AT_ONCE) {
          this.#goOnLater(bytes, at, to);
          break;
        }
        this.#moreBehind = end < to;
        at = this.#begin(head, bytes, end, to);
      }
    }
    this.#consuming = this.#moreBehind = false;
    this.#closeIfLast();
  }

  /** One client that pipelines what is answered at once must not keep all others waiting. */
  #goOnLater(bytes: Buffer, from: number, to: number): void {
    this.#stash = Buffer.from(bytes.subarray(from, to));
    this.#stashPaused = true;
    this.connection.pause();
    this.connection.later(() => this.takeStash());
  }

  #newHead(): RequestHead {
    const head = new RequestHead(this.listener.limits, this.listener.fieldNames);
    head.client = this.#peer;
    this.#head = head;
    this.#fieldsVersion = -1;
    return head;
  }

  #begin(head: RequestHead, bytes: Buffer, from: number, to: number): number {
    const { services } = this;
    const exchange = new Exchange(this, head, services.clock.now());
    this.#reader = exchange;
    this.#phase = "exchange";
    this.#keepAlive = head.keepAlive;
    this.#endsWithClose = this.#mayStillSend = false;
    if (this.#trusted) head.client = clientOf(head, this.#peer, this.listener);
    if (++this.#requests >= this.listener.limits.requestsPerConnection) this.#keepAlive = false;
    const at = exchange.begin(bytes, from, to);
    if (this.#inputEnded && this.#reader === exchange && this.#phase === "exchange") this.#awaitExchange();
    return at;
  }

  #keep(bytes: Buffer, from: number, to: number): void {
    this.#stash = Buffer.from(bytes.subarray(from, to));
    const unfinishedHead = this.#reader === undefined && !this.#blocked;
    if (unfinishedHead || this.#stash.length < MAX_STASH_BYTES) return;
    this.#stashPaused = true;
    this.connection.pause();
  }

  /** Takes up what came before its turn. */
  takeStash(): void {
    const stash = this.#stash;
    if (this.#stashPaused) {
      this.#stashPaused = false;
      this.connection.resume();
    }
    if (stash === undefined) return;
    this.#stash = undefined;
    this.#consume(stash, 0, stash.length);
  }

  #refuse({ status, code, message }: Refusal): void {
    this.services.stripe.rejected(status);
    this.services.accessLog?.refused(this.#peer, status, code);
    this.write(refusalText(status, message, this.services.date()));
    this.#close(true);
  }

  drained(): void {
    this.#undrained?.drained();
    this.#undrained = undefined;
    this.#blocked = false;
    if (this.#phase === "closing") return;
    if (this.#reader !== undefined) {
      if (this.#phase === "body" && !this.#reader.requestUnread) this.#awaitExchange();
      this.#reader.clientDrained();
    } else {
      this.#next();
    }
  }

  ended(): void {
    this.#inputEnded = true;
    if (this.#tunnel !== undefined) return this.#tunnel.clientEnded();
    const reader = this.#reader;
    if (this.#phase === "closing" || reader === undefined) {
      // Requests that it sent before still have their turn.
      if (this.#blocked && this.#stash !== undefined) return;
      if (!this.connection.unsent) return this.#destroy();
      // The end of a response is still on its way, and a client that ended its side may well read on.
      if (this.#phase !== "closing") this.#close(false);
      return;
    }
    if (reader.requestUnread) {
      reader.clientGone();
      return this.#destroy();
    }
    if (this.#stash === undefined) this.#keepAlive = false;
    // One that does not take what it was sent is waited for as any other.
    if (!this.#blocked) this.#awaitExchange();
  }

  closed(): void {
    this.#closed = true;
    this.#timer.clear();
    this.#routeTimer?.clear();
    this.#wakeTimer?.clear();
    this.#undrained?.abandon();
    this.#phase = "closing";
    this.#stash = undefined;
    const reader = this.#reader;
    this.#reader = this.#tunnel = undefined;
    this.listener.sessionClosed(this);
    reader?.clientGone();
    this.services.ended();
  }

  // What an exchange asks for.

  write(text: string): void {
    this.services.stripe.bytesOut(text.length);
    if (!this.connection.write(text)) this.expectDrain();
  }

  /** The client has to take what it was sent before anything else happens; `undrained` is told when it has. */
  expectDrain(undrained?: BodyRelay): void {
    this.#blocked = true;
    this.#undrained = undrained;
    if (this.#phase !== "closing") this.expectBody();
  }

  /** The client has to send, or to take, the next piece of a body in time. */
  expectBody(): void {
    this.#phase = "body";
    this.#timer.set(this.listener.timeouts.body);
  }

  /** It is not the client who is waited for now. */
  awaitNothing(): void {
    if (this.#phase === "body" && !this.#blocked) this.#awaitExchange();
  }

  /** The exchange has to end in time. */
  limitExchange(ms: number): void {
    this.#routeTimer ??= this.services.clock.timer(() => this.#reader?.routeLate());
    this.#routeTimer.set(ms);
  }

  /** Calls the exchange's `woken` in `ms`, unless it is over by then; the last call counts. */
  wakeWithin(ms: number): void {
    this.#wakeTimer ??= this.services.clock.timer(() => this.#reader?.woken());
    this.#wakeTimer.set(ms);
  }

  /** The request cannot be read to its end: no other can follow it. */
  closeAfterExchange(): void {
    this.#keepAlive = false;
    this.#mayStillSend = true;
  }

  /** Whether the client may send another request after this response; settled as its head is written. */
  settleKeepAlive(framing: number, encoding: Encoding): boolean {
    const last = this.#inputEnded && this.#stash === undefined && !this.#moreBehind;
    if (this.services.draining || last) this.#keepAlive = false;
    // A body without an end of its own, or one whose chunks were taken off, ends with the connection.
    this.#endsWithClose = (framing === UNTIL_CLOSE && encoding === "as-is") || encoding === "data-only";
    if (this.#endsWithClose) this.#keepAlive = false;
    return this.#keepAlive;
  }

  /** The id of a request: a trusted proxy's, or one of ours. */
  requestIdFor(head: RequestHead): string {
    const { requestId } = head;
    if (this.#trusted && requestId !== "" && requestId.length <= 200) return requestId;
    return this.services.requestIds.next();
  }

  /** Milliseconds that a trusted proxy says are left for a request; Infinity when nobody says so. */
  timeLeft(head: RequestHead): number {
    if (!this.#trusted || head.deadline === "") return Number.POSITIVE_INFINITY;
    return parseDeadline(head.deadline) ?? Number.POSITIVE_INFINITY;
  }

  /** Finds out where the client of a request is, where its upstream asks for that and the listener is told to. */
  locate(head: RequestHead, { asksForPosition }: UpstreamRuntime): void {
    const { positions } = this.listener;
    if (positions === undefined) return;
    head.position = asksForPosition ? positions.locate(head, this.#trusted) : undefined;
    if (asksForPosition) this.services.stripe.positionFrom(positions.source);
  }

  /** Whether the client came by TLS, as far as is known: it ends in front of Spillway. */
  cameByTls(head: RequestHead): boolean {
    // Of several proxies the first has seen the client.
    return this.#trusted && /^https *(?:,|$)/i.test(head.forwardedProto);
  }

  /** The fields that a backend gets of this request: those that came, and those that tell of the client. */
  forwardedFields(head: RequestHead): string {
    if (this.#fieldsVersion !== head.blockVersion || this.#fieldsHost !== head.hostText) {
      this.#fieldsVersion = head.blockVersion;
      this.#fieldsHost = head.hostText;
      this.#fields = head.kept + forwardedFields(head, this.#peer, this.#trusted, this.listener.forwarded);
    }
    return this.#fields;
  }

  /** The exchange is over, its response written. */
  exchangeEnded(): void {
    this.#routeTimer?.clear();
    this.#wakeTimer?.clear();
    this.#reader = undefined;
    if (!this.#keepAlive) return this.#close(this.#mayStillSend || this.#stash !== undefined);
    if (this.#head?.bulky === true) this.#head = undefined;
    if (!this.#blocked) this.#next();
  }

  /** The response could not be completed. */
  cut(): void {
    this.#reader = undefined;
    if (this.#endsWithClose) this.connection.reset();
    this.#destroy();
  }

  /** From now on the client talks through `tunnel`. */
  upgraded(tunnel: Tunnel): void {
    this.#reader = this.#tunnel = tunnel;
    this.#routeTimer?.clear();
    this.#wakeTimer?.clear();
    this.#phase = "exchange";
    this.#head = undefined;
    this.takeStash();
    if (this.#inputEnded) tunnel.clientEnded();
  }

  /** The tunnel has closed, or is to be closed. */
  closeTunnel(): void {
    this.#reader = this.#tunnel = undefined;
    if (!this.#closed) this.#close(false);
  }

  // Draining.

  /**
   * What runs is answered and closes the connection, as `settleKeepAlive` sees to. An idle connection is closed when
   * nothing comes for a moment, an unfinished head is not waited for as long as usual.
   */
  drain(): void {
    if (this.#phase === "idle") this.#awaitRequest();
    else if (this.#phase === "head") this.#timer.set(LINGER_MS);
  }

  /** Closes the connection and what runs on it. */
  abort(): void {
    this.#destroy();
  }

  // Time and end.

  #next(): void {
    this.#awaitRequest();
    if (this.#consuming) return;
    // Not at once: when many exchanges end in the same moment, each would begin its client's next one within the others.
    if (this.#stash !== undefined) {
      this.#stashPaused = true;
      this.connection.pause();
      this.connection.later(() => this.takeStash());
    }
    this.#closeIfLast();
  }

  /** A client that has ended its side and has nothing open will ask for nothing more. */
  #closeIfLast(): void {
    if (this.#inputEnded && this.#phase === "idle" && this.#stash === undefined && !this.#blocked) this.#close(false);
  }

  #awaitRequest(): void {
    this.#phase = "idle";
    this.#idleSinceMs = this.services.clock.now();
    const { idle } = this.listener.timeouts;
    this.#timer.set(Math.min(idle, this.services.draining ? DRAIN_GRACE_MS : FORGET_AFTER_MS));
  }

  #awaitHead(): void {
    if (this.#phase === "head") return;
    this.#phase = "head";
    this.#timer.set(this.listener.timeouts.head);
  }

  /** Nothing is waited for but the exchange, as long as the client has not ended its side. */
  #awaitExchange(): void {
    this.#phase = "exchange";
    if (!this.#inputEnded || this.#tunnel !== undefined) return;
    this.#phase = "half-closed";
    this.#timer.set(HALF_CLOSED_BEGIN_MS);
  }

  #late(): void {
    switch (this.#phase) {
      case "idle": {
        const left = this.listener.timeouts.idle - (this.services.clock.now() - this.#idleSinceMs);
        if (left <= 0 || this.services.draining) return this.#destroy();
        this.#head = undefined;
        this.#fields = "";
        return this.#timer.set(left);
      }
      case "head":
        return this.#refuse(HEAD_LATE);
      case "body":
        if (this.#reader === undefined) return this.#destroy();
        return this.#reader.clientLate();
      case "half-closed":
        return this.#lateHalfClosed();
      case "closing":
        return this.#destroy();
      case "exchange":
    }
  }

  /** A client that ended its side and waits looks like one that left. It is given up when nothing moves. */
  #lateHalfClosed(): void {
    const reader = this.#reader;
    if (reader === undefined) return this.#destroy();
    const mark = reader instanceof Exchange ? reader.responseBytesSent : 0;
    if (!reader.responding || mark === this.#progressMark) {
      reader.clientGone();
      return this.#destroy();
    }
    this.#progressMark = mark;
    this.#timer.set(HALF_CLOSED_PAUSE_MS);
  }

  /** Sends what is written, then closes. A client that may still be sending is read for a while, so that it can read. */
  #close(mayStillSend: boolean): void {
    this.#phase = "closing";
    this.#stash = undefined;
    if (this.#closed) return;
    this.connection.flush();
    const { unsent } = this.connection;
    if (!unsent && !mayStillSend) return this.#destroy();
    this.connection.end();
    this.connection.resume();
    this.#timer.set(unsent ? this.listener.timeouts.body : LINGER_MS);
  }

  #destroy(): void {
    this.#phase = "closing";
    this.#timer.clear();
    this.connection.destroy();
  }
}
