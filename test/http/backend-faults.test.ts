import { describe, expect, test } from "vitest";
import { answering, deadPort, ok, rawBackend } from "../support/raw-backend.ts";
import { get, post, READ_MODES, scene } from "../support/scene.ts";
import { eventually, pause, turn, type Wire, WireEnd } from "../support/wire.ts";

/** What a client saw of a response that broke off: its bytes, and whether it looked like a clean end. */
async function broken(wire: Wire): Promise<{ text: string; reset: boolean }> {
  const text = await wire.rest();
  return { text, reset: wire.error !== undefined };
}

describe.each(READ_MODES)("with reads by %s", (mode) => {
  const malformed: readonly (readonly [what: string, answer: string])[] = [
    ["garbage", "\x01\x02garbage that is not HTTP\r\n\r\n"],
    ["a banner of another protocol", "220 mail.test ESMTP\r\n"],
    ["HTTP/2", "HTTP/2.0 200 OK\r\n\r\n"],
    ["a status that is no number", "HTTP/1.1 2x0 OK\r\n\r\n"],
    ["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"],
    ["a status out of range", "HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n"],
    ["a bare LF behind the status line", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"],
    ["a bare LF behind a field", "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n"],
    ["a folded field", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"],
    ["a space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"],
    ["a NUL in a field", "HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 0\r\n\r\n"],
    ["a CR in a field", "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"],
    ["two different lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"],
    ["two equal lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab"],
    ["a length that is no number", "HTTP/1.1 200 OK\r\nContent-Length: 2a\r\n\r\nab"],
    ["length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["an unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"],
    ["chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["a head beyond all bounds", `HTTP/1.1 200 OK\r\n${`X: ${"x".repeat(1000)}\r\n`.repeat(100)}\r\n`],
    ["too many fields", `HTTP/1.1 200 OK\r\n${"X: y\r\n".repeat(400)}\r\n`],
    ["101 that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"],
  ];

  test.each(malformed)("%s is a 502, never passed on, and its connection is not used again", async (_what, answer) => {
    const { client, backend, proxy, quiet } = await scene(
      async (wire, index) => {
        await wire.request();
        wire.write(index === 0 ? answer : ok("good"));
      },
      { mode },
    );
    const wire = await client();
    wire.write(get());
    const response = await wire.response();
    expect(response.status).toBe(502);
    expect(response.lines.join()).not.toContain("garbage");
    expect(response.value("connection")).toBeUndefined();
    wire.write(get());
    expect((await wire.response()).body).toBe("good");
    await backend.connections[0]!.gone();
    expect(backend.connections).toHaveLength(2);
    await quiet();
    expect(proxy.snapshot().upstreams[0]).toMatchObject({ requests: 2, failed: 1, active: 0 });
    expect(proxy.snapshot().upstreams[0]!.backends[0]).toMatchObject({ requests: 2, failures: 1, active: 0 });
  });

  test("a head that never ends is cut off at its limit", async () => {
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        wire.write("HTTP/1.1 200 OK\r\n");
        while (!wire.closed && !wire.ended) {
          wire.write(`X: ${"x".repeat(5000)}\r\n`);
          await turn();
        }
      },
      { mode },
    );
    const wire = await client();
    wire.write(get());
    expect((await wire.response()).status).toBe(502);
  });

  test.each(["end", "reset"] as const)("a backend that answers with its %s alone is a 502", async (how) => {
    const { client, backend } = await scene(
      async (wire) => {
        await wire.request();
        wire[how]();
      },
      { mode },
    );
    for (const request of [get(), post("body")]) {
      const wire = await client();
      wire.write(request);
      expect((await wire.response()).status).toBe(502);
    }
    expect(backend.connections).toHaveLength(2);
  });

  test.each(["end", "reset"] as const)("a backend that breaks off within its head (%s) is a 502", async (how) => {
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        wire.write("HTTP/1.1 200 OK\r\nContent-Le");
        await turn();
        wire[how]();
      },
      { mode },
    );
    const wire = await client();
    wire.write(get());
    expect((await wire.response()).status).toBe(502);
  });

  test("a backend that closes an idle connection just as a GET uses it costs nothing: it is sent again, once", async () => {
    const { client, backend, proxy } = await scene(
      async (wire, index) => {
        await wire.request();
        wire.write(ok(`first of ${index}`));
        if (index === 1) return answering(ok("again"))(wire, index);
        await wire.request();
        wire.destroy();
      },
      { mode },
    );
    const wire = await client();
    wire.write(get());
    expect((await wire.response()).body).toBe("first of 0");
    wire.write(get());
    expect((await wire.response()).body).toBe("first of 1");
    expect(backend.connections).toHaveLength(2);
    const stats = proxy.snapshot().upstreams[0]!.backends[0]!;
    expect(stats).toMatchObject({ replayed: 1, requests: 2, failures: 0 });
  });

  test("a POST that was sent on a connection which then closes is not sent again", async () => {
    let posts = 0;
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        wire.write(ok());
        await wire.request();
        posts++;
        wire.destroy();
      },
      { mode },
    );
    const wire = await client();
    wire.write(get());
    await wire.response();
    wire.write(post("order"));
    expect((await wire.response()).status).toBe(502);
    expect(posts).toBe(1);
  });

  test.each([
    ["Content-Length, broken off by an end", "Content-Length: 100", "half", "end", "HTTP/1.1"],
    ["Content-Length, broken off by a reset", "Content-Length: 100", "half", "reset", "HTTP/1.1"],
    ["chunks, broken off between two", "Transfer-Encoding: chunked", "4\r\nhalf\r\n", "end", "HTTP/1.1"],
    ["chunks, broken off within one", "Transfer-Encoding: chunked", "8\r\nhalf", "end", "HTTP/1.1"],
    [
      "chunks, broken off within the trailers",
      "Transfer-Encoding: chunked",
      "4\r\nhalf\r\n0\r\nX: 1",
      "end",
      "HTTP/1.1",
    ],
    ["chunks, broken off by a reset", "Transfer-Encoding: chunked", "4\r\nhalf\r\n", "reset", "HTTP/1.1"],
    ["no framing, broken off by a reset", "X: 1", "half", "reset", "HTTP/1.1"],
  ] as const)("a body by %s is seen to be incomplete by the client", async (_what, framing, body, how, version) => {
    const { client, proxy, quiet } = await scene(
      async (wire) => {
        await wire.request();
        wire.write(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n${body}`);
        await pause(20);
        wire[how]();
      },
      { mode },
    );
    const wire = await client();
    wire.write(get("/").replace("HTTP/1.1", version));
    await expect(wire.response()).rejects.toThrow(WireEnd);
    expect(wire.pending).not.toContain("0\r\n\r\n");
    await quiet();
    expect(proxy.snapshot().upstreams[0]).toMatchObject({ requests: 1, failed: 1, active: 0 });
    expect(proxy.snapshot().upstreams[0]!.backends[0]).toMatchObject({ failures: 1 });
  });

  test("a reset that arrives together with data is no clean end of a body without framing", async () => {
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        wire.write("HTTP/1.1 200 OK\r\n\r\nhalf");
        wire.reset();
      },
      { mode },
    );
    for (let i = 0; i < 10; i++) {
      const wire = await client();
      wire.write(get());
      // Either it broke off before the head was read, or within the body: never does it look whole.
      const status = await wire.response().then(
        (response) => response.status,
        () => "broken off",
      );
      expect([502, "broken off"]).toContain(status);
    }
  });

  test.each([
    ["chunks", "Transfer-Encoding: chunked", "4\r\nhalf\r\n", "end"],
    ["no framing", "X: 1", "half", "reset"],
    ["a length", "Content-Length: 100", "half", "end"],
  ] as const)("an HTTP/1.0 client can tell that a body by %s is incomplete", async (_what, framing, body, how) => {
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        wire.write(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n${body}`);
        await pause(20);
        wire[how]();
      },
      { mode },
    );
    const wire = await client();
    wire.write("GET / HTTP/1.0\r\n\r\n");
    const { text, reset } = await broken(wire);
    // Where the head says no length, nothing but a reset tells.
    expect(reset || text.includes("content-length: 100")).toBe(true);
  });

  test("chunks that are malformed end the client's response early", async () => {
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n");
        await pause(20);
        wire.write("zz\r\nbad\r\n0\r\n\r\n");
      },
      { mode },
    );
    const wire = await client();
    wire.write(get());
    const { text } = await broken(wire);
    expect(text).toContain("4\r\ngood\r\n");
    expect(text).not.toContain("bad");
    expect(text).not.toContain("0\r\n\r\n");
  });

  test("bytes behind a response never reach anybody, and the connection is not used again", async () => {
    for (const extra of ["X", ok("poison"), "x".repeat(100_000)]) {
      for (const [answer, apart] of [
        [ok("mine"), false],
        [ok("mine"), true],
        ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmine\r\n0\r\n\r\n", false],
        [ok("x".repeat(100_000)), false],
        ["HTTP/1.1 204 No Content\r\n\r\n", false],
        ["HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", false],
      ] as const) {
        const { client, backend } = await scene(
          async (wire) => {
            for (;;) {
              await wire.request();
              wire.write(apart ? answer : answer + extra);
              if (apart) {
                await turn();
                wire.write(extra);
              }
            }
          },
          { mode },
        );
        const wire = await client();
        for (let i = 0; i < 3; i++) {
          wire.write(get());
          const response = await wire.response();
          expect(response.body).toBe(/\r\n\r\n(?:4\r\n)?([^\r]*)/.exec(answer)![1]);
          await turn();
          await turn();
          expect(wire.pending).toBe("");
        }
        expect(backend.connections).toHaveLength(3);
      }
    }
  }, 60_000);

  test("a body behind the head of a HEAD response never reaches anybody", async () => {
    const { client, backend } = await scene(answering(ok("body")), { mode });
    const wire = await client();
    for (let i = 0; i < 2; i++) {
      wire.write(get().replace("GET", "HEAD"));
      const response = await wire.response("HEAD");
      expect(response.value("content-length")).toBe("4");
      await turn();
      expect(wire.pending).toBe("");
    }
    expect(backend.connections).toHaveLength(2);
  });

  test("a response that came before its request poisons nobody", async () => {
    const { client, backend } = await scene(
      async (wire) => {
        await wire.request();
        wire.write(ok("one"));
        await pause(20);
        wire.write(ok("unasked"));
      },
      { mode },
    );
    const wire = await client();
    wire.write(get("/1"));
    expect((await wire.response()).body).toBe("one");
    await pause(60);
    wire.write(get("/2"));
    expect((await wire.response()).body).toBe("one");
    expect(backend.connections).toHaveLength(2);
    await backend.connections[0]!.gone();
  });
});

test("a backend that refuses connections costs the request nothing while there is another", async () => {
  const dead = await deadPort();
  const { client, proxy } = await scene(answering(ok("alive")), {
    settings: ([url]) => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: { web: { balance: "round-robin", backends: [`http://127.0.0.1:${dead}`, url!] } },
    }),
  });
  const wire = await client();
  for (let i = 0; i < 10; i++) {
    wire.write(i % 2 === 0 ? get() : post("body"));
    expect((await wire.response()).body).toBe("alive");
  }
  const [deadStats, aliveStats] = proxy.snapshot().upstreams[0]!.backends;
  expect(aliveStats).toMatchObject({ requests: 10, failures: 0 });
  expect(deadStats!.failures).toBe(deadStats!.requests);
  expect(deadStats!.requests).toBeGreaterThan(0);
  expect(proxy.snapshot().total).toMatchObject({ requests: 10, failed: 0 });
});

test("a large body moves to another backend, too, when the first cannot be reached", async () => {
  const dead = await deadPort();
  const body = "b".repeat(300_000);
  const { client } = await scene(
    answering((request) => ok(String(request.body.length))),
    {
      settings: ([url]) => ({
        listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
        upstreams: { web: { balance: "round-robin", backends: [`http://127.0.0.1:${dead}`, url!] } },
      }),
    },
  );
  for (let i = 0; i < 4; i++) {
    const wire = await client();
    wire.write(post(body));
    expect((await wire.response()).body).toBe("300000");
  }
});

test("each backend is tried once, then the answer is 502", async () => {
  const dead = [await deadPort(), await deadPort(), await deadPort()];
  const { client, proxy } = await scene([], {
    settings: () => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: { web: { backends: dead.map((port) => `http://127.0.0.1:${port}`) } },
    }),
  });
  const wire = await client();
  wire.write(get());
  const response = await wire.response();
  expect(response.status).toBe(502);
  expect(response.value("connection")).toBeUndefined();
  expect(proxy.snapshot().upstreams[0]!.backends.map(({ requests, failures }) => [requests, failures])).toEqual([
    [1, 1],
    [1, 1],
    [1, 1],
  ]);
  wire.write(get());
  expect((await wire.response()).status).toBe(502);
});

test("without an available backend the answer is 503, with when to come again", async () => {
  const { client, proxy, backend } = await scene([answering(ok()), answering(ok())]);
  proxy.plane.setHealth(0, false, "connection refused");
  const wire = await client();
  wire.write(get());
  expect((await wire.response()).status).toBe(200);
  proxy.plane.setHealth(1, false, "connection refused");
  for (let i = 0; i < 3; i++) {
    wire.write(get());
    const response = await wire.response();
    expect(response.status).toBe(503);
    expect(Number(response.value("retry-after"))).toBeGreaterThan(0);
    expect(response.value("connection")).toBeUndefined();
  }
  expect(backend.connections).toHaveLength(0);
  proxy.plane.setHealth(0, true, "check passed");
  wire.write(get());
  expect((await wire.response()).status).toBe(200);
  expect(backend.connections).toHaveLength(1);
});

test("a backend that goes down loses its idle connections at once, not the exchange that runs", async () => {
  let finish: () => void = () => {};
  const { client, proxy, backend } = await scene(async (wire) => {
    for (;;) {
      const request = await wire.request();
      if (request.start.includes("/slow")) {
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
      }
      wire.write(ok());
    }
  });
  const slow = await client();
  const fast = await client();
  slow.write(get("/slow"));
  await eventually(() => proxy.plane.inspect().backends[0]!.busy === 1, "the slow one runs");
  fast.write(get());
  await fast.response();
  await eventually(() => proxy.plane.inspect().backends[0]!.idle === 1, "one is idle");
  proxy.plane.setHealth(0, false, "no answer");
  expect(proxy.plane.inspect().backends[0]).toMatchObject({ idle: 0, busy: 1 });
  await backend.connections[1]!.gone();
  finish();
  expect((await slow.response()).status).toBe(200);
});

test("a state in the configuration holds: drain and down take no exchange", async () => {
  const { client, backends } = await scene([answering(ok("a")), answering(ok("b")), answering(ok("c"))], {
    settings: ([a, b, c]) => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: { web: { backends: [{ url: a!, state: "drain" }, { url: b!, state: "down" }, c!] } },
    }),
  });
  const wire = await client();
  for (let i = 0; i < 6; i++) {
    wire.write(get());
    expect((await wire.response()).body).toBe("c");
  }
  expect(backends.map(({ connections }) => connections.length)).toEqual([0, 0, 1]);
});

test("a Unix socket is a backend like any other", async () => {
  const { createServer } = await import("node:net");
  const { mkdtempSync, rmSync } = await import("node:fs");
  const { tmpdir } = await import("node:os");
  const { join } = await import("node:path");
  const directory = mkdtempSync(join(tmpdir(), "spillway-"));
  const path = join(directory, "app.sock");
  const server = createServer((socket) => {
    socket.once("data", (head) => socket.end(ok(/host: (.*)\r\n/i.exec(String(head))![1])));
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const { client } = await scene([], {
    settings: () => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: { web: { hostHeader: "backend", backends: [`http+unix:${path}`] } },
    }),
  });
  const wire = await client();
  wire.write(get());
  expect((await wire.response()).body).toBe("localhost");
  server.close();
  rmSync(directory, { recursive: true });
});

test("a backend that comes back on its port is used again", async () => {
  const first = await rawBackend(answering(ok("before")));
  const { client } = await scene([], {
    settings: () => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: { web: { backends: [first.url] } },
    }),
  });
  const wire = await client();
  wire.write(get());
  expect((await wire.response()).body).toBe("before");
  await first.close();
  await turn();
  wire.write(get());
  expect((await wire.response()).status).toBe(502);
  const again = await rawBackend(answering(ok("after")), first.port);
  wire.write(get());
  expect((await wire.response()).body).toBe("after");
  await again.close();
});
