import { connect, type Socket } from "node:net";

/** One HTTP/1.1 message as it stood on the wire, taken apart by rules of the tests' own. */
export interface Message {
  /** Request line or status line. */
  readonly start: string;
  /** Of a response; 0 for a request. */
  readonly status: number;
  /** Field lines as they stood, names in their own case. */
  readonly lines: readonly string[];
  /** Data of the body, chunks taken off. */
  readonly body: string;
  /** Data of each chunk; empty for any other framing. */
  readonly chunks: readonly string[];
  /** Lines of the trailer section. */
  readonly trailers: readonly string[];
  /** All values of a field, in order; name in any case. */
  values(name: string): string[];
  /** The value of a field that is there once; undefined when it is not there. */
  value(name: string): string | undefined;
}

const PATIENCE_MS = 8_000;

/** Either end of a TCP connection, in raw bytes (one latin1 character each): tests say what is sent, and read what came. */
export class Wire {
  readonly socket: Socket;
  /** The other side has ended its direction. */
  ended = false;
  /** The connection is gone. */
  closed = false;
  /** How it broke, if it did. */
  error: NodeJS.ErrnoException | undefined;
  #received = "";
  #wake: (() => void)[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.setEncoding("latin1");
    socket.on("data", (piece) => {
      this.#received += piece;
      this.#told();
    });
    socket.on("end", () => {
      this.ended = true;
      this.#told();
    });
    socket.on("error", (error) => {
      this.error = error;
    });
    socket.on("close", () => {
      this.closed = true;
      this.#told();
    });
  }

  /** What came and has not been read yet. */
  get pending(): string {
    return this.#received;
  }

  write(text: string | Buffer): this {
    this.socket.write(text as string, "latin1");
    return this;
  }

  /** Writes `text` in pieces of `size` bytes, each in a packet of its own. */
  async writeInPieces(text: string, size: number): Promise<void> {
    for (let at = 0; at < text.length && !this.closed; at += size) {
      this.write(text.slice(at, at + size));
      await turn();
    }
  }

  /** Reads up to and with `marker`. */
  async until(marker: string): Promise<string> {
    await this.#wait(() => this.#received.includes(marker), `until ${JSON.stringify(marker)}`);
    return this.#take(this.#received.indexOf(marker) + marker.length);
  }

  async read(count: number): Promise<string> {
    await this.#wait(() => this.#received.length >= count, `${count} bytes`);
    return this.#take(count);
  }

  /** Everything until the other side ends or breaks. */
  async rest(): Promise<string> {
    await this.#wait(() => this.ended || this.closed, "the end", true);
    return this.#take(this.#received.length);
  }

  /** Resolves when the connection is gone. A connection whose other side has ended is closed from here, too. */
  async gone(withinMs = PATIENCE_MS): Promise<void> {
    this.socket.resume();
    await this.#wait(() => this.closed || this.ended, "the connection to close", true, withinMs);
    this.socket.end();
  }

  /** One request, whole. */
  request(): Promise<Message> {
    return this.#message(undefined);
  }

  /** One response to `method`, whole; an interim one counts. */
  response(method = "GET"): Promise<Message> {
    return this.#message(method);
  }

  end(text?: string): void {
    if (text === undefined) this.socket.end();
    else this.socket.end(text, "latin1");
  }

  destroy(): void {
    this.socket.destroy();
  }

  reset(): void {
    this.socket.resetAndDestroy();
  }

  async #message(method: string | undefined): Promise<Message> {
    const head = await this.until("\r\n\r\n");
    const [start = "", ...lines] = head.slice(0, -4).split("\r\n");
    const status = method === undefined ? 0 : Number(/^HTTP\/1\.[01] (\d{3})( |$)/.exec(start)?.[1] ?? Number.NaN);
    if (Number.isNaN(status)) throw new Error(`no status line: ${JSON.stringify(head)}`);
    const values = (name: string) =>
      lines
        .filter((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`))
        .map((line) => line.slice(name.length + 1).trim());
    const value = (name: string) => {
      const all = values(name);
      if (all.length > 1) throw new Error(`${name} stands there ${all.length} times: ${JSON.stringify(head)}`);
      return all[0];
    };
    const chunks: string[] = [];
    const trailers: string[] = [];
    let body = "";
    const bodiless = method === "HEAD" || (status > 0 && status < 200) || status === 204 || status === 304;
    const length = value("content-length");
    const coding = value("transfer-encoding");
    if (length !== undefined && coding !== undefined) throw new Error(`two framings: ${JSON.stringify(head)}`);
    if (bodiless) body = "";
    else if (length !== undefined) body = await this.read(Number(length));
    else if (coding === "chunked") {
      for (;;) {
        const line = await this.until("\r\n");
        if (!/^[0-9a-f]+\r\n$/i.test(line)) throw new Error(`no chunk size: ${JSON.stringify(line)}`);
        const size = Number.parseInt(line, 16);
        if (size === 0) break;
        chunks.push(await this.read(size));
        const end = await this.read(2);
        if (end !== "\r\n") throw new Error(`no end of chunk: ${JSON.stringify(end)}`);
      }
      for (let line = await this.until("\r\n"); line !== "\r\n"; line = await this.until("\r\n")) {
        trailers.push(line.slice(0, -2));
      }
      body = chunks.join("");
    } else if (method !== undefined) body = await this.rest();
    return { start, status, lines, body, chunks, trailers, values, value };
  }

  #take(count: number): string {
    const text = this.#received.slice(0, count);
    this.#received = this.#received.slice(count);
    return text;
  }

  async #wait(enough: () => boolean, what: string, endIsFine = false, withinMs = PATIENCE_MS): Promise<void> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#told();
    }, withinMs);
    while (!enough()) {
      if ((this.ended || this.closed) && !endIsFine) {
        clearTimeout(timer);
        throw new WireEnd(`waited for ${what}, but it ended (${this.error?.code ?? "no error"}) after ${this.#seen()}`);
      }
      if (late) throw new Error(`waited in vain for ${what}; came so far: ${this.#seen()}`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
    clearTimeout(timer);
  }

  #seen(): string {
    return JSON.stringify(this.#received.length > 2000 ? `${this.#received.slice(0, 2000)}...` : this.#received);
  }

  #told(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** The other side ended while more was waited for. */
export class WireEnd extends Error {
  override readonly name = "WireEnd";
}

/** Lets sockets of this process hand over what was written: enough turns of the event loop for one hop. */
export async function turn(): Promise<void> {
  for (let i = 0; i < 2; i++) await new Promise((resolve) => setImmediate(resolve));
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Resolves when `holds` does; looks every few milliseconds. */
export async function eventually(holds: () => boolean, what: string | (() => string), withinMs = 5_000): Promise<void> {
  const late = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > late) throw new Error(`never came true: ${typeof what === "string" ? what : what()}`);
    await pause(5);
  }
}

/** Connects to a port of this machine. */
export function dial(port: number, options: { allowHalfOpen?: boolean } = {}): Promise<Wire> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, ...options });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(new Wire(socket));
    });
  });
}
