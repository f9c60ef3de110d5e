import { connect, type Socket } from "node:net";

/** What came back: a status, with the id that the answer names, or that the connection ended instead. */
export interface Reply {
  readonly status: number;
  readonly id: string;
}

/** A client that keeps its connection and sends one request after the other. */
export class KeepAliveClient {
  readonly #socket: Socket;
  #bytes = "";
  #reply: ((reply: Reply) => void) | undefined;

  constructor(port: number) {
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.setEncoding("latin1");
    this.#socket.on("error", () => {});
    this.#socket.on("close", () => this.#answer({ status: 0, id: "the connection closed" }));
    this.#socket.on("data", (piece) => {
      this.#bytes += piece;
      const end = this.#bytes.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = this.#bytes.slice(0, end + 2);
      const length = Number(/\r\ncontent-length: (\d+)\r\n/i.exec(head)?.[1]);
      if (this.#bytes.length < end + 4 + length) return;
      const body = this.#bytes.slice(end + 4, end + 4 + length);
      this.#bytes = this.#bytes.slice(end + 4 + length);
      const id = /\r\nx-id: (\S+)\r\n/i.exec(head)?.[1] ?? "";
      const status = Number(head.slice(9, 12));
      this.#answer({ status, id: status === 200 && body !== id ? `${id} with the body of ${body}` : id });
    });
  }

  send(text: string): Promise<Reply> {
    if (this.#socket.destroyed) return Promise.resolve({ status: 0, id: "the connection had closed" });
    return new Promise((resolve) => {
      this.#reply = resolve;
      this.#socket.write(text, "latin1");
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #answer(reply: Reply): void {
    const resolve = this.#reply;
    this.#reply = undefined;
    resolve?.(reply);
  }
}
