import { createServer, type Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { badInputs } from "../support/bad-inputs.ts";
import { startProxy, type TestProxy, talk } from "../support/proxy.ts";

/** What the backend does with a connection, by the text of a row. */
let answer: (socket: Socket) => void = () => {};
let heard = 0;
const backend = createServer((socket) => {
  socket.on("error", () => {});
  socket.on("data", () => {
    heard++;
    answer(socket);
  });
});
let proxy: TestProxy;
let refused: TestProxy;

beforeAll(async () => {
  await new Promise<void>((resolve) => backend.listen(0, "127.0.0.1", resolve));
  const { port } = backend.address() as { port: number };
  const listener = {
    listen: "127.0.0.1:0",
    upstream: "web",
    limits: { bodyBytes: "1000" },
    timeouts: { head: "300ms" },
  };
  const run = (url: string) =>
    startProxy({ listeners: [listener], upstreams: { web: { backends: [url], timeouts: { response: "300ms" } } } });
  proxy = await run(`http://127.0.0.1:${port}`);
  // Nobody listens on port 1 of loopback.
  refused = await run("http://127.0.0.1:1");
});

afterAll(() => {
  proxy.close();
  refused.close();
  backend.close();
});

/** The bytes that a cell stands for. */
function bytes(cell: string): string {
  return cell
    .replace("{101 fields}", "X: 1\\r\\n".repeat(101))
    .replace(/\{(\d+) bytes\}/, (_, count) => "a".repeat(Number(count)))
    .replaceAll("\\r", "\r")
    .replaceAll("\\n", "\n")
    .replace(/\\x([0-9a-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** Status, whether the connection is announced to close, and what stands in the body. */
function read(received: string): { status: string; closes: boolean; body: string } {
  const [head = "", body = ""] = received.split("\r\n\r\n");
  return { status: head.split(" ")[1] ?? "", closes: /\r\nconnection: close$/im.test(head), body };
}

test.each(badInputs("Network"))("$input", async ({ input, seen, result }) => {
  heard = 0;
  const { status, closes, body } = read(await talk(proxy.port, Buffer.from(bytes(input), "latin1")));
  expect({ status, closes }).toEqual({ status: result, closes: true });
  expect(body).toContain(seen);
  expect(heard).toBe(0);
});

test.each(badInputs("Backends"))("a backend: $input", async ({ input, seen, result }) => {
  answer = (socket) => {
    if (input === "closes without an answer") socket.destroy();
    else if (input !== "says nothing") socket.write(bytes(input));
  };
  const { port } = input === "refuses connections" ? refused : proxy;
  const { status, body } = read(await talk(port, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
  expect({ status, seen: body.includes(seen) }).toEqual({ status: result, seen: true });
});
