// A Node.js program with a load balancer inside. It starts three replicas of a small service, puts Spillway in front of
// them in its own thread, and loses one of them on the way.
//     node examples/embed/server.mjs
// In your own project: npm install spillway, and the same import.
import { once } from "node:events";
import { createServer } from "node:http";
import { createSpillway } from "spillway";

const replicas = await Promise.all(["a", "b", "c"].map(startReplica));

const spillway = await createSpillway({
  log: { level: "warn" },
  listeners: [{ listen: "127.0.0.1:0", upstream: "service" }],
  upstreams: {
    service: {
      balance: "round-robin",
      backends: replicas.map(({ name, port }) => ({ id: name, url: `http://127.0.0.1:${port}` })),
    },
  },
});

const { port } = spillway.listeners[0];
console.log(`listening on http://127.0.0.1:${port}`);

console.log("three replicas:", await ask(9));
replicas[1].server.close();
replicas[1].server.closeAllConnections();
console.log("without b:     ", await ask(9));
console.log(spillway.report());

await spillway.close();
for (const { server } of replicas) server.close();

/** One server on a port of its own that answers with its name. */
async function startReplica(name) {
  const server = createServer((_request, response) => response.end(name)).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { name, server, port: server.address().port };
}

/** Who answered so many requests, in order. */
async function ask(count) {
  const names = [];
  for (let i = 0; i < count; i++) {
    const response = await fetch(`http://127.0.0.1:${port}/`);
    names.push(response.ok ? await response.text() : `status ${response.status}`);
  }
  return names.join(" ");
}
