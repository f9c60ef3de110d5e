import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

// The bench is plain JavaScript that runs without a build; its types are in comments.
const { describeProfile } = await import(new URL("./profile.mjs", import.meta.url).href);
const { spread } = await import(new URL("./lib/figures.mjs", import.meta.url).href);
const { orderOf } = await import(new URL("./rounds.mjs", import.meta.url).href);
const { buildNative } = await import(new URL("./lib/native.mjs", import.meta.url).href);
const { installed, start } = await import(new URL("./lib/processes.mjs", import.meta.url).href);

const compiler = ["cc", "gcc", "clang"].find(installed);
if (compiler === undefined) console.log("skipped: no C compiler, so the bench's load generator is not tested");
if (compiler === undefined && process.env.CI === "true") throw new Error("CI needs a C compiler");

describe.skipIf(compiler === undefined)("the load generator", () => {
  let answer = "";
  let heads = "";
  const server = createServer((socket) => {
    socket.on("error", () => {}); // it resets a connection whose answer was wrong
    socket.on("data", (head) => {
      heads += head;
      socket.end(answer);
    });
  });
  let load = "";
  let port = 0;

  beforeAll(async () => {
    load = buildNative().load;
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as { port: number }).port;
  });
  afterAll(() => server.close());

  /** Ten answers like this, and what the load generator says of them. */
  async function judge(text: string): Promise<{ completed: number; errors: number; reasons: Record<string, number> }> {
    answer = text.replaceAll("\n", "\r\n");
    const running = start(load, ["--port", String(port), "--connections", "1", "--requests", "10", "--close"]);
    return JSON.parse(await running.line(10_000));
  }

  test("counts whole answers, with Content-Length and in chunks", async () => {
    const head = "HTTP/1.1 200 OK\nConnection: close\n";
    const plain = await judge(`${head}Content-Length: 13\n\nabcdefghijklm`);
    expect(plain).toMatchObject({ completed: 10, errors: 0 });
    const chunked = await judge(`${head}Transfer-Encoding: chunked\n\n5;x=1\nabcde\n8\nfghijklm\n0\nx-trailer: 1\n\n`);
    expect(chunked).toMatchObject({ completed: 10, errors: 0 });
  });

  test("gives each connection the fields of its block, and begins again with the first", async () => {
    const dir = mkdtempSync(join(tmpdir(), "spillway-bench-"));
    try {
      writeFileSync(join(dir, "fields"), "X-Session: a\r\nX-More: 1\r\n\r\nX-Session: b\r\n\r\n");
      answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 13\r\n\r\nabcdefghijklm";
      heads = "";
      const settings = { port, connections: 4, requests: 4, fields: join(dir, "fields") };
      const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
      const result = JSON.parse(await start(load, [...args, "--close"]).line(10_000));
      expect(result).toMatchObject({ completed: 4, errors: 0 });
      const sent = heads
        .split("\r\n\r\n")
        .slice(0, -1)
        .map((head) => head.replace(/^.*\r\nHost:.*\r\n/, "").replace(/\r\n/g, " "));
      const [a, b, none] = [
        "X-Session: a X-More: 1 Connection: close",
        "X-Session: b Connection: close",
        "Connection: close",
      ];
      expect(sent.sort()).toEqual([none, a, a, b].sort());
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test.each([
    ["status 502", "HTTP/1.1 502 Bad Gateway\nConnection: close\nContent-Length: 13\n\nabcdefghijklm"],
    ["body malformed or altered", "HTTP/1.1 200 OK\nConnection: close\nContent-Length: 13\n\nabcdefghijkXm"],
    [
      "body malformed or altered",
      "HTTP/1.1 200 OK\nConnection: close\nTransfer-Encoding: chunked\n\nd\nabcdefghijklmX\n0\n\n",
    ],
    ["body of another length", "HTTP/1.1 200 OK\nConnection: close\nContent-Length: 12\n\nabcdefghijkl"],
    ["closed before the whole answer", "HTTP/1.1 200 OK\nConnection: close\nContent-Length: 13\n\nabcdefghijkl"],
    ["bytes behind the answer", "HTTP/1.1 200 OK\nConnection: close\nContent-Length: 13\n\nabcdefghijklmn"],
    ["no framing, or two", "HTTP/1.1 200 OK\nConnection: close\n\nabcdefghijklm"],
    ["Connection: close missing", "HTTP/1.1 200 OK\nContent-Length: 13\n\nabcdefghijklm"],
  ])("tells a wrong answer by its reason: %s", async (reason, text) => {
    const result = await judge(text);
    expect(result).toMatchObject({ completed: 0, reasons: { [reason]: result.errors } });
    expect(result.errors).toBeGreaterThan(0);
  });
});

test("a spread is the median with the smallest and the largest", () => {
  expect(spread([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
  expect(spread([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4 });
  expect(spread([])).toBeUndefined();
});

test("every round takes each once, one that comes right after its neighbour going before it in the next", () => {
  const orders = [0, 1, 2, 3, 4, 5].map((round) => orderOf(round, 3));
  expect(orders).toEqual([
    [0, 1, 2],
    [2, 1, 0],
    [1, 2, 0],
    [0, 2, 1],
    [2, 0, 1],
    [1, 0, 2],
  ]);
  expect(orderOf(1, 2)).toEqual([1, 0]);
});

test("a profile's idle time is no share of anything, and a function's samples add up over its callers", () => {
  const frame = (functionName: string, url = "") => ({ functionName, url, lineNumber: 9 });
  const { busyMs, text } = describeProfile(
    {
      nodes: [
        { id: 1, callFrame: frame("(root)") },
        { id: 2, callFrame: frame("(idle)") },
        { id: 3, callFrame: frame("parse", "file:///elsewhere/head.js") },
        { id: 4, callFrame: frame("parse", "file:///elsewhere/head.js") },
        { id: 5, callFrame: frame("writev") },
      ],
      samples: [2, 3, 4, 5],
      timeDeltas: [50_000, 1000, 2000, 1000],
    },
    10,
  );
  expect(busyMs).toBe(4);
  expect(text).toMatch(/parse {2}\/elsewhere\/head\.js:10 +3\.0 +75\.0 %/);
});
