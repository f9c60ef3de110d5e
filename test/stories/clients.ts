import { onTestFinished } from "vitest";
import { dial, type Message, type Wire, WireEnd } from "../support/wire.ts";

/** What became of one request. Times are of `performance.now()`. */
export interface Answer {
  readonly sentMs: number;
  readonly endedMs: number;
  /** 0: the connection ended first. */
  readonly status: number;
  /** Name of the backend that answered; empty when it was Spillway. */
  readonly backend: string;
  /** Tells the worker apart that carried it. */
  readonly worker: string;
  /** The answer said that it is the last one on its connection. */
  readonly last: boolean;
}

/** A client that keeps its connection and sends one request at a time. */
export class KeepAliveClient {
  readonly #port: number;
  #wire: Wire | undefined;
  /** Connections it has opened. */
  dials = 0;

  constructor(port: number) {
    this.#port = port;
    onTestFinished(() => this.#wire?.destroy());
  }

  get connected(): boolean {
    return this.#wire !== undefined && !this.#wire.ended && !this.#wire.closed;
  }

  async connect(): Promise<void> {
    if (this.connected) return;
    this.#wire?.destroy();
    this.dials++;
    this.#wire = await dial(this.#port);
  }

  /** Sends a GET, on a new connection if there is none, and reads the whole answer. */
  async get(target: string): Promise<Answer> {
    await this.connect();
    const sentMs = performance.now();
    const message = await this.#exchange(target);
    return {
      sentMs,
      endedMs: performance.now(),
      status: message?.status ?? 0,
      backend: message?.value("x-backend") ?? "",
      worker: message?.value("x-worker") ?? "",
      last: message?.value("connection")?.toLowerCase() === "close",
    };
  }

  /** Sends a GET and reads only the head of the answer; `rest` reads what follows. */
  async begin(target: string): Promise<{ readonly backend: string; rest(): Promise<void> }> {
    await this.connect();
    const wire = this.#wire!;
    wire.write(request(target));
    const head = await wire.until("\r\n\r\n");
    return {
      backend: /^x-backend: (.*)\r$/im.exec(head)?.[1] ?? "",
      rest: async () => void (await wire.until("0\r\n\r\n")),
    };
  }

  async #exchange(target: string): Promise<Message | undefined> {
    const wire = this.#wire!;
    wire.write(request(target));
    try {
      const message = await wire.response();
      if (message.value("connection")?.toLowerCase() === "close") await wire.gone();
      return message;
    } catch (error) {
      if (error instanceof WireEnd) return undefined;
      throw error;
    }
  }
}

function request(target: string): string {
  return `GET ${target} HTTP/1.1\r\nHost: shop.test\r\n\r\n`;
}

/** Clients that each send the next request when the last one is answered. */
export class Press {
  readonly clients: readonly KeepAliveClient[];
  readonly answers: Answer[] = [];
  /** Requests sent and not answered yet. */
  outstanding = 0;
  #going = true;
  readonly #done: Promise<unknown>;

  /** Stops by itself after `most` requests. */
  constructor(port: number, count: number, target: string | ((index: number) => string), most: number) {
    let sent = 0;
    this.clients = Array.from({ length: count }, () => new KeepAliveClient(port));
    const work = async (client: KeepAliveClient): Promise<void> => {
      while (this.#going && sent < most) {
        const next = typeof target === "string" ? target : target(sent);
        sent++;
        await client.connect();
        this.outstanding++;
        this.answers.push(await client.get(next).finally(() => this.outstanding--));
      }
    };
    this.#done = Promise.all(this.clients.map(work));
    onTestFinished(() => {
      this.#going = false;
    });
  }

  /** Resolves when every request is answered. */
  async whole(): Promise<readonly Answer[]> {
    await this.#done;
    return this.answers;
  }

  /** No further requests; resolves when those sent are answered. */
  stop(): Promise<readonly Answer[]> {
    this.#going = false;
    return this.whole();
  }
}

/** How often each value of `key` occurs. */
export function tally<T, K extends string | number>(list: readonly T[], key: (item: T) => K): Record<K, number> {
  const counts = {} as Record<K, number>;
  for (const item of list) counts[key(item)] = (counts[key(item)] ?? 0) + 1;
  return counts;
}
