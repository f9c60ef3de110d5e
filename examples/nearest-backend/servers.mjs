// Three servers, as if they stood in three regions. Each takes 250 ms for an answer. Ctrl-C ends them.
//     node examples/nearest-backend/servers.mjs [PORT...]
import { createServer } from "node:http";

const regions = ["seoul", "frankfurt", "virginia"];
const ports = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [9001, 9002, 9003];

for (const [at, port] of ports.entries()) {
  const server = createServer((request, response) => {
    if (request.method === "POST" && request.url === "/stop") {
      // For this example only: the region is lost.
      server.close(() => console.log(`${regions[at]} has stopped`));
      response.setHeader("connection", "close").end("stopped\n");
      return;
    }
    setTimeout(() => response.end(`${regions[at]} ${port}\n`), 250);
  });
  server.listen(port, "127.0.0.1", () => console.log(`${regions[at]} on http://127.0.0.1:${port}`));
}
