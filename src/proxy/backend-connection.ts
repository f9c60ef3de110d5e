import type { Timer } from "../time/clock.ts";
import { INCOMPLETE, REFUSED } from "../wire/fields.ts";
import type { ResponseHead } from "../wire/response-head.ts";
import type { Services } from "./services.ts";
import type { Connection, ConnectionHandler } from "./transport/connection.ts";

/** Who a backend connection works for: it is told what arrives, in order. */
export interface ResponseReader {
  readonly method: string;
  /** Some of a head has arrived. */
  heard(): void;
  /** A 1xx head but 101. */
  interim(head: ResponseHead): void;
  /** Status 101: `bytes[from, to)` belong to the new protocol already. */
  switched(head: ResponseHead, bytes: Buffer, from: number, to: number): void;
  /** The final head; `bytes[from, to)` come after it. `head` is shared: read it now. */
  responded(head: ResponseHead, bytes: Buffer, from: number, to: number): void;
  responseBytes(bytes: Buffer, from: number, to: number): void;
  /** The kernel has taken what was written to the backend. */
  backendDrained(): void;
  /** The backend will send no more. */
  backendEnded(): void;
  backendClosed(error: Error | undefined): void;
  /** What arrived is not HTTP. */
  malformed(why: string): void;
  backendLate(): void;
}

/** More interim responses than this to one request are a fault of the backend. */
const MAX_INTERIM = 100;

/** An HTTP/1.1 connection to a backend: parses responses for the exchange it works for, and watches itself while idle. */
export class BackendConnection implements ConnectionHandler {
  readonly connection: Connection;
  readonly slot: number;
  readonly #services: Services;
  readonly #head: ResponseHead;
  readonly #timer: Timer;
  #reader: ResponseReader | undefined;
  #partial: Buffer | undefined;
  #inBody = false;
  #interims = 0;
  #gone = false;
  /** Set by the pool: says that the connection died on its own. */
  died: (reason?: string) => void = () => {};

  constructor(connection: Connection, slot: number, head: ResponseHead, services: Services) {
    this.connection = connection;
    this.slot = slot;
    this.#head = head;
    this.#services = services;
    this.#timer = services.clock.timer(() => this.#reader?.backendLate());
    connection.handler = this;
    services.stripe.backendConnectionOpened(slot);
  }

  /** False once the other side has closed, or sent something nobody asked for. */
  get alive(): boolean {
    return !this.#gone;
  }

  /** From now on it works for `reader`, which has sent nothing yet. */
  begin(reader: ResponseReader): void {
    this.#reader = reader;
    this.#inBody = false;
    this.#interims = 0;
  }

  /** The exchange is over. What comes from now on is nobody's: the connection is then not used again. */
  finish(): void {
    this.#reader = undefined;
    this.#partial = undefined;
    this.#timer.clear();
  }

  /** `backendLate` is called in `ms`, unless this is called again before. What arrives does not change it. */
  expectWithin(ms: number): void {
    this.#timer.set(ms);
  }

  destroy(): void {
    this.#gone = true;
    this.#timer.clear();
    this.connection.destroy();
  }

  bytes(bytes: Buffer, from: number, to: number): void {
    const reader = this.#reader;
    if (reader === undefined) this.#die("sent something while idle");
    else if (this.#inBody) reader.responseBytes(bytes, from, to);
    else if (this.#partial === undefined) this.#readHead(reader, bytes, from, to);
    else {
      const whole = Buffer.concat([this.#partial, bytes.subarray(from, to)]);
      this.#partial = undefined;
      this.#readHead(reader, whole, 0, whole.length);
    }
  }

  #readHead(reader: ResponseReader, bytes: Buffer, from: number, to: number): void {
    const head = this.#head;
    for (let at = from; at < to; ) {
      const end = head.parse(bytes, at, to, reader.method);
      if (end === INCOMPLETE) {
        this.#partial = Buffer.from(bytes.subarray(at, to));
        reader.heard();
        return;
      }
      if (end === REFUSED) return reader.malformed(head.refusal!.code);
      if (head.status === 101) {
        reader.switched(head, bytes, end, to);
        // From now on everything is the tunnel's, which began on this connection within the call.
        this.#inBody = true;
        return;
      }
      if (head.status >= 200) {
        this.#inBody = true;
        return reader.responded(head, bytes, end, to);
      }
      if (++this.#interims > MAX_INTERIM) return reader.malformed("too-many-interim-responses");
      reader.interim(head);
      at = end;
    }
  }

  drained(): void {
    this.#reader?.backendDrained();
  }

  ended(): void {
    if (this.#reader === undefined) this.#die("closed while idle");
    else this.#reader.backendEnded();
  }

  closed(error: Error | undefined): void {
    this.#services.stripe.backendConnectionClosed(this.slot);
    if (this.#reader === undefined) this.#die("closed while idle");
    else this.#reader.backendClosed(error);
    this.#gone = true;
    this.#timer.clear();
  }

  #die(reason: string): void {
    if (this.#gone) return;
    this.destroy();
    this.died(reason);
  }
}
