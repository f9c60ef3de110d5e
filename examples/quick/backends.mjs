// The two servers that spillway.yaml sends requests to. Ctrl-C ends them.
//     node examples/quick/backends.mjs [PORT...]
import { createServer } from "node:http";

const ports = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [9001, 9002];

for (const port of ports) {
  const server = createServer((request, response) => {
    response.end(request.url === "/healthz" ? "ok\n" : `${request.method} ${request.url} answered by ${port}\n`);
  });
  server.listen(port, "127.0.0.1", () => console.log(`backend on http://127.0.0.1:${port}`));
}
