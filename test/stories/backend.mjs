/**
 * A backend in a process of its own: `node backend.mjs NAME PORT`. It counts what reaches it, so that a story can compare
 * the proxy's account of things with what happened. Targets: `/` answers at once, `/wait/MS` after a while, `/hold/KEY`
 * begins at once and ends when told; an upgrade is a WebSocket that echoes. Told by messages: `{ release: KEY }`,
 * `{ figures: ID }`.
 */
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const [name, port] = process.argv.slice(2);
const figures = { requests: 0, active: 0, mostActive: 0, connections: 0, open: 0, mostOpen: 0 };
const held = new Map();

const server = createServer((request, response) => {
  figures.requests++;
  figures.mostActive = Math.max(figures.mostActive, ++figures.active);
  response.on("close", () => figures.active--);
  response.setHeader("x-backend", name);
  // Ids count on from a random start of each worker: what stands before the dash tells workers apart.
  response.setHeader("x-worker", String(request.headers["x-request-id"]).split("-")[0]);
  const [, what, value] = request.url.split("/");
  if (what === "wait") setTimeout(() => response.end(name), Number(value));
  else if (what === "hold") {
    response.write("held");
    held.set(value, response);
  } else response.end(name);
});
server.keepAliveTimeout = 0;

server.on("connection", (socket) => {
  figures.connections++;
  figures.open++;
  let open = true;
  const ended = () => {
    if (open) figures.open--;
    open = false;
  };
  socket.once("end", ended).once("close", ended);
  // One that ended before this one began may only be heard of in the same turn of the loop.
  setImmediate(() => {
    figures.mostOpen = Math.max(figures.mostOpen, figures.open);
  });
});

const webSockets = new WebSocketServer({ noServer: true });
server.on("upgrade", (request, socket, head) => {
  webSockets.handleUpgrade(request, socket, head, (webSocket) => {
    webSocket.on("message", (data) => webSocket.send(String(data)));
    webSocket.on("error", () => {});
  });
});

process.on("message", (message) => {
  if ("release" in message) {
    held.get(message.release).end("done");
    held.delete(message.release);
  } else process.send({ figures, id: message.figures });
});
process.on("disconnect", () => process.exit());
server.listen(Number(port), "127.0.0.1", () => process.send({ port: server.address().port }));
