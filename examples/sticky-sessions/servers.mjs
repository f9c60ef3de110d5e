// Three servers of a shop, each of which keeps the carts of its customers in its own memory. Ctrl-C ends them.
//     node examples/sticky-sessions/servers.mjs [PORT...]
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";

const ports = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [9001, 9002, 9003];

for (const port of ports) {
  const carts = new Map();
  const server = createServer((request, response) => {
    // As if it had been killed, its carts are gone: for this example only.
    if (request.method === "POST" && request.url === "/stop") {
      server.close(() => console.log(`server ${port} has stopped`));
      response.setHeader("connection", "close").end("stopped\n");
      return;
    }
    // The shop knows its customers by a cookie of its own. A cart that this server has not made is none.
    let id = /(?:^|; )cart=([\w-]+)/.exec(request.headers.cookie ?? "")?.[1];
    if (!carts.has(id)) {
      id = randomUUID();
      carts.set(id, new Set());
      response.setHeader("set-cookie", `cart=${id}; Path=/; HttpOnly; SameSite=Lax`);
    }
    const cart = carts.get(id);
    const thing = /^\/cart\/(\w+)$/.exec(request.url)?.[1];
    if (request.method === "PUT" && thing !== undefined) cart.add(thing);
    // What somebody carries is nobody else's: no cache may keep it.
    response.setHeader("cache-control", "private, no-store");
    response.end(`${port} has ${[...cart].join(" ") || "nothing"}\n`);
  });
  server.listen(port, "127.0.0.1", () => console.log(`server on http://127.0.0.1:${port}`));
}
