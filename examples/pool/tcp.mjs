// A connection pool for a protocol of your own: lines over TCP, to a server that takes its time with new connections.
//     node examples/pool/tcp.mjs
// In your own project: npm install spillway, and the same import.
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { createPool } from "spillway/pool";

const GREETING_MS = 3; // what a new connection costs: think of a database that checks a password
const QUERIES = 100;

const server = createServer((socket) => {
  socket.on("error", () => {});
  setTimeout(() => socket.write("hello\n"), GREETING_MS);
  socket.on("data", (query) => setTimeout(() => socket.write(query), query.includes("slow") ? 20 : 0));
}).listen(0, "127.0.0.1");
await once(server, "listening");
const { port } = server.address();

const pool = createPool({
  maxConnections: 4,
  create: open,
  destroy: (socket) => socket.destroy(),
  watch: (socket, dead) => socket.on("close", dead),
});

console.log(`a connection per query: ${await timed(withoutPool)} ms for ${QUERIES} queries`);
console.log(`through the pool:       ${await timed(() => pool.use((socket) => query(socket, "select 1")))} ms`);

const eight = await Promise.all(Array.from({ length: 8 }, () => pool.use((socket) => query(socket, "slow"))));
console.log(`eight at once:          ${eight.length} answers over ${pool.stats.created} connections`);

await pool.drain();
server.close();

/** Opens a connection; gives up when `signal` says so. */
async function open(signal) {
  const socket = connect({ port, host: "127.0.0.1", signal });
  socket.on("error", () => {});
  await once(socket, "data", { signal });
  return socket;
}

async function query(socket, text) {
  socket.write(`${text}\n`);
  const [answer] = await once(socket, "data");
  return answer.toString();
}

async function withoutPool() {
  const socket = await open(new AbortController().signal);
  await query(socket, "select 1");
  socket.destroy();
}

/** Milliseconds for all queries, one after the other. */
async function timed(work) {
  const started = performance.now();
  for (let i = 0; i < QUERIES; i++) await work();
  return Math.round(performance.now() - started);
}
