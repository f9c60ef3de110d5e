import { type AddressInfo, createServer, type Socket } from "node:net";
import { SeededRandom } from "../../src/policy/model/random.ts";
import { idIn } from "./chaos-requests.ts";

/** A backend that closes its connections at random moments, but never one that has not served yet. */
export interface ClosingBackend {
  readonly url: string;
  /** Requests that came in, whole: how often each. */
  readonly came: ReadonlyMap<string, number>;
  /** Those that it answered. */
  readonly answered: ReadonlyMap<string, number>;
  /** Connections that it closed: idle, right behind an answer, or as a request came. */
  readonly closed: { idle: number; behind: number; upon: number };
  close(): Promise<void>;
}

type Ending = "end" | "destroy" | "resetAndDestroy";

export async function closingBackend(seed: number): Promise<ClosingBackend> {
  const random = new SeededRandom(seed);
  const sockets = new Set<Socket>();
  const came = new Map<string, number>();
  const answered = new Map<string, number>();
  const closed = { idle: 0, behind: 0, upon: 0 };

  const anyEnding = (): Ending => (["end", "destroy", "resetAndDestroy"] as const)[Math.floor(random.next() * 3)]!;

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    let bytes = "";
    let over = false;
    let closesUpon: Ending | undefined;
    let idle: NodeJS.Timeout | undefined;

    const shut = (how: Ending) => {
      over = true;
      socket[how]();
    };
    /** What becomes of the connection when a request has been answered. */
    const decide = () => {
      const dice = random.next();
      if (dice < 0.1) {
        closed.behind++;
        // A reset would take the answer along.
        shut(random.next() < 0.5 ? "end" : "destroy");
      } else if (dice < 0.25) {
        idle = setTimeout(() => {
          if (bytes !== "" || over) return;
          closed.idle++;
          shut(anyEnding());
        }, random.next() * 15);
      } else if (dice < 0.35) {
        closesUpon = anyEnding();
      }
    };

    socket.setEncoding("latin1");
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(idle);
      sockets.delete(socket);
    });
    socket.on("end", () => socket.destroy());
    socket.on("data", (piece) => {
      if (over) return;
      bytes += piece;
      for (;;) {
        const end = bytes.indexOf("\r\n\r\n");
        if (end < 0) return;
        const head = bytes.slice(0, end + 2);
        const length = Number(/\r\ncontent-length: (\d+)\r\n/i.exec(head)?.[1] ?? 0);
        if (bytes.length < end + 4 + length) return;
        bytes = bytes.slice(end + 4 + length);
        const id = idIn(head);
        came.set(id, (came.get(id) ?? 0) + 1);
        clearTimeout(idle);
        if (closesUpon !== undefined) {
          closed.upon++;
          shut(closesUpon);
          return;
        }
        answered.set(id, (answered.get(id) ?? 0) + 1);
        socket.write(`HTTP/1.1 200 OK\r\nX-Id: ${id}\r\nContent-Length: ${id.length}\r\n\r\n${id}`);
        decide();
        if (over) return;
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    came,
    answered,
    closed,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
