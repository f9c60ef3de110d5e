/**
 * Clients and backends that misbehave, in a process of their own, so that what is measured in the other one is the
 * proxy alone. Told what to do by messages: `{ port, kind, count, together }`, answered by `{ done, failed }`.
 */
import { connect, createServer } from "node:net";

const HALF = 64 * 1024;
const piece = Buffer.alloc(HALF, "x");
let random = 1;

/** The same numbers in every run: the "minimal standard" generator of Park and Miller. */
function chance() {
  random = (random * 48271) % 2147483647;
  return random / 2147483647;
}

const ignore = () => {};

const backend = createServer((socket) => {
  socket.setNoDelay(true);
  socket.on("error", ignore);
  let text = "";
  let reading = "head";
  socket.on("data", (bytes) => {
    if (reading === "tunnel") {
      const said = bytes.toString("latin1");
      if (said.includes("reset")) socket.resetAndDestroy();
      else if (said.includes("destroy")) socket.destroy();
      else socket.write(bytes);
      return;
    }
    text += bytes.toString("latin1");
    for (;;) {
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = text.slice(0, end);
      const path = head.split(" ")[1];
      if (path === "/upload") {
        text = text.slice(0, end + 4);
        return;
      }
      text = text.slice(end + 4);
      if (path === "/ws") {
        reading = "tunnel";
        socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        return;
      }
      if (path === "/half") {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${2 * HALF}\r\n\r\n`);
        socket.write(piece);
      } else if (path === "/stream") {
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        const more = () => {
          while (
            !socket.destroyed &&
            socket.write(`${HALF.toString(16)}\r\n`) &&
            socket.write(piece) &&
            socket.write("\r\n")
          );
        };
        // A chunk that the kernel did not take whole is the last one: enough to stand still half-way.
        more();
      } else if (path !== "/hang") {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      }
    }
  });
});

/** One connection: `behave` is called when it is open; settles when it has closed. */
function client(port, behave) {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("error", ignore);
    socket.once("connect", () => behave(socket));
    socket.once("close", () => resolve(true));
  });
}

const leave = (socket, n) => (n % 2 === 0 ? socket.resetAndDestroy() : socket.destroy());

const kinds = {
  download: (port, n) =>
    client(port, (socket) => {
      let received = 0;
      socket.on("data", (bytes) => {
        received += bytes.length;
        if (received >= HALF) leave(socket, n);
      });
      socket.write(`GET ${n % 4 < 2 ? "/half" : "/stream"} HTTP/1.1\r\nHost: a\r\n\r\n`);
    }),
  upload: (port, n) =>
    client(port, (socket) => {
      const framing = n % 4 < 2 ? `Content-Length: ${2 * HALF}` : "Transfer-Encoding: chunked";
      socket.write(`POST /upload HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`);
      if (n % 4 >= 2) socket.write(`${(2 * HALF).toString(16)}\r\n`);
      socket.write(piece, () => setTimeout(() => leave(socket, n), n % 3));
    }),
  halfHead: (port) =>
    client(port, (socket) => {
      socket.resume();
      socket.write("GET / HTTP/1.1\r\nHost: a\r\nX-Half: ");
    }),
  reset: (port, n) =>
    client(port, (socket) => {
      socket.resume();
      const requests = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hang HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /half HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
        `POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n${"x".repeat(5000)}`,
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5),
        "GET / HTTP/1.1\r\n\r\n",
      ];
      const text = requests[n % requests.length];
      socket.write(chance() < 0.7 ? text : text.slice(0, Math.floor(chance() * text.length)));
      if (chance() < 0.2) socket.resetAndDestroy();
      else setTimeout(() => socket.resetAndDestroy(), chance() * 12);
    }),
  webSocket: (port, n) =>
    client(port, (socket) => {
      let open = false;
      socket.on("data", () => {
        if (!open) {
          open = true;
          socket.write("echo this");
        } else if (n % 4 === 0) socket.resetAndDestroy();
        else if (n % 4 === 1) socket.destroy();
        else socket.write(n % 4 === 2 ? "reset" : "destroy");
      });
      socket.write("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    }),
  /** One good request on a connection of its own; false when it was not answered well. */
  good: (port) =>
    new Promise((resolve) => {
      let text = "";
      const socket = connect({ port, host: "127.0.0.1" });
      socket.on("error", ignore);
      socket.on("data", (bytes) => {
        text += bytes.toString("latin1");
      });
      socket.once("close", () => resolve(text.startsWith("HTTP/1.1 200 OK\r\n") && text.endsWith("ok")));
      socket.write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }),
};

process.on("message", async ({ id, port, kind, count, together }) => {
  let next = 0;
  let failed = 0;
  const work = async () => {
    for (let n = next++; n < count; n = next++) if (!(await kinds[kind](port, n))) failed++;
  };
  await Promise.all(Array.from({ length: Math.min(together, count) }, work));
  process.send({ id, failed });
});
process.on("disconnect", () => process.exit());
backend.listen(0, "127.0.0.1", 4096, () => process.send({ backend: backend.address().port }));
