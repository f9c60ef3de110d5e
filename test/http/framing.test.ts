import { describe, expect, test } from "vitest";
import { answering, ok } from "../support/raw-backend.ts";
import { get, post, READ_MODES, scene } from "../support/scene.ts";
import { dial, eventually, pause, turn } from "../support/wire.ts";

const SIZES = [0, 1, 2, 1000, 16_383, 65_535, 65_536, 65_537, 262_144, 1_000_000];

/** Bytes of every value, so that nothing is decoded or re-encoded unseen. */
function sample(size: number): string {
  return Buffer.alloc(size, Buffer.from(Uint8Array.from({ length: 251 }, (_, i) => (i * 7 + 3) & 0xff))).toString(
    "latin1",
  );
}

function chunked(body: string, size: number, trailer = ""): string {
  let text = "";
  for (let at = 0; at < body.length; at += size) {
    const piece = body.slice(at, at + size);
    text += `${piece.length.toString(16)}\r\n${piece}\r\n`;
  }
  return `${text}0\r\n${trailer}\r\n`;
}

describe.each(READ_MODES)("with reads by %s", (mode) => {
  test.each(SIZES)("a body of %d bytes with Content-Length arrives as it was, up and down", async (size) => {
    const body = sample(size);
    const { client } = await scene(
      answering((request) => ok(request.body)),
      { mode },
    );
    const wire = await client();
    for (let i = 0; i < 2; i++) {
      wire.write(post(body));
      const response = await wire.response();
      expect(response.value("content-length")).toBe(String(size));
      expect(response.body === body).toBe(true);
    }
  });

  test.each(SIZES)("a chunked body of %d bytes arrives as it was, up and down", async (size) => {
    const body = sample(size);
    let up: string | undefined;
    const { client } = await scene(
      answering((request) => {
        up = request.value("transfer-encoding");
        return `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunked(request.body, 5000)}`;
      }),
      { mode },
    );
    const wire = await client();
    for (let i = 0; i < 2; i++) {
      wire.write(`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunked(body, 9_999)}`);
      const response = await wire.response();
      expect(up).toBe("chunked");
      expect(response.value("transfer-encoding")).toBe("chunked");
      expect(response.body === body).toBe(true);
    }
  });

  test.each([100, 15_000, 20_000, 40_000, 70_000])(
    "bodies that end with a piece of %d bytes leave both connections ready for the next request",
    async (last) => {
      const first = sample(80_000);
      const { client, backend } = await scene(
        async (wire) => {
          for (;;) {
            const request = await wire.request();
            wire.write(
              `HTTP/1.1 200 OK\r\nContent-Length: ${request.body.length}\r\n\r\n${request.body.slice(0, first.length)}`,
            );
            await pause(30);
            wire.write(request.body.slice(first.length));
          }
        },
        { mode },
      );
      const wire = await client();
      const body = first + sample(last);
      for (let i = 0; i < 3; i++) {
        wire.write(post(body).slice(0, -last));
        await pause(30);
        wire.write(body.slice(-last));
        expect((await wire.response()).body === body).toBe(true);
      }
      expect(backend.connections).toHaveLength(1);
    },
  );

  test("messages that arrive byte by byte are the same messages", async () => {
    const body = sample(300);
    const { client } = await scene(
      async (wire) => {
        for (;;) {
          const request = await wire.request();
          const head = `HTTP/1.1 200 OK\r\nX-A: ${request.value("x-a")}\r\n`;
          await wire.writeInPieces(`${head}Transfer-Encoding: chunked\r\n\r\n${chunked(request.body, 77)}`, 1);
        }
      },
      { mode },
    );
    const wire = await client();
    await wire.writeInPieces(post(body, "/", ["X-A: 1"]), 1);
    expect((await wire.response()).body).toBe(body);
    await wire.writeInPieces(
      `POST / HTTP/1.1\r\nHost: a\r\nX-A: 2\r\nTransfer-Encoding: chunked\r\n\r\n${chunked(body, 50)}`,
      1,
    );
    const response = await wire.response();
    expect(response.value("x-a")).toBe("2");
    expect(response.body).toBe(body);
  });

  test("a request cut in two at any byte is the same request", async () => {
    const { client } = await scene(
      answering((request) => ok(`${request.start}|${request.value("x-long")}|${request.body}`)),
      { mode },
    );
    const text = post("body", "/cut", ["X-Long: some value, and more"]);
    const wire = await client();
    for (let at = 1; at < text.length; at++) {
      wire.write(text.slice(0, at));
      await turn();
      wire.write(text.slice(at));
      expect((await wire.response()).body).toBe("POST /cut HTTP/1.1|some value, and more|body");
    }
  });

  test("a response cut in two at any byte is the same response", async () => {
    const text = "HTTP/1.1 200 Fine\r\nX-B: 1\r\nTransfer-Encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n0\r\nX-T: 2\r\n\r\n";
    let cut = 1;
    const { client } = await scene(
      async (wire) => {
        for (;;) {
          await wire.request();
          wire.write(text.slice(0, cut));
          await turn();
          wire.write(text.slice(cut));
        }
      },
      { mode },
    );
    const wire = await client();
    for (cut = 1; cut < text.length; cut++) {
      wire.write(get());
      const response = await wire.response();
      expect(response.start).toBe("HTTP/1.1 200 Fine");
      expect(response.body).toBe("abc");
      expect(response.trailers).toEqual(["X-T: 2"]);
    }
  });

  test("a close-delimited response reaches an HTTP/1.1 client in chunks, and its connection stays open", async () => {
    const body = sample(100_000);
    const { client, backend } = await scene(
      async (wire) => {
        await wire.request();
        wire.write("HTTP/1.1 200 OK\r\n\r\n");
        await wire.writeInPieces(body, 9_000);
        wire.end();
      },
      { mode },
    );
    const wire = await client();
    for (let i = 0; i < 2; i++) {
      wire.write(get());
      const response = await wire.response();
      expect(response.value("transfer-encoding")).toBe("chunked");
      expect(response.value("connection")).toBeUndefined();
      expect(response.body === body).toBe(true);
    }
    expect(backend.connections).toHaveLength(2);
  });

  test("a close-delimited response reaches an HTTP/1.0 client as it is, ended by the close", async () => {
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        wire.write("HTTP/1.0 200 OK\r\n\r\nabc");
        await turn();
        wire.end("def");
      },
      { mode },
    );
    const wire = await client();
    wire.write("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const response = await wire.response();
    expect(response.value("connection")).toBe("close");
    expect(response.value("transfer-encoding")).toBeUndefined();
    expect(response.value("content-length")).toBeUndefined();
    expect(response.body).toBe("abcdef");
    expect(wire.error).toBeUndefined();
  });

  test("an empty close-delimited response is complete", async () => {
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        wire.end("HTTP/1.1 200 OK\r\n\r\n");
      },
      { mode },
    );
    const wire = await client();
    wire.write(get());
    const response = await wire.response();
    expect(response.value("transfer-encoding")).toBe("chunked");
    expect(response.body).toBe("");
  });

  test("HEAD has the fields of a body and none", async () => {
    const { client, backend } = await scene(
      answering((request) =>
        request.start.includes("chunked")
          ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
          : "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n",
      ),
      { mode },
    );
    const wire = await client();
    wire.write(get("/").replace("GET", "HEAD"));
    expect((await wire.response("HEAD")).value("content-length")).toBe("12345");
    wire.write(get("/chunked").replace("GET", "HEAD"));
    expect((await wire.response("HEAD")).status).toBe(200);
    wire.write(get("/").replace("GET", "HEAD"));
    expect((await wire.response("HEAD")).value("content-length")).toBe("12345");
    expect(wire.pending).toBe("");
    expect(backend.connections).toHaveLength(1);
  });

  test("204 and 304 have no body, whatever their fields say, and the connections live on", async () => {
    const answers = [
      "HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n",
      'HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: "a"\r\n\r\n',
      "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n",
      ok("last"),
    ];
    const { client, backend } = await scene(
      answering(() => answers.shift()!),
      { mode },
    );
    const wire = await client();
    wire.write(get("/1") + get("/2") + get("/3") + get("/4") + get("/5"));
    const none = await wire.response();
    expect(none.status).toBe(204);
    expect(none.value("content-length")).toBeUndefined();
    expect(none.value("x")).toBe("1");
    const unmodified = await wire.response();
    expect(unmodified.value("content-length")).toBe("500");
    expect(unmodified.value("etag")).toBe('"a"');
    expect((await wire.response()).status).toBe(304);
    const strange = await wire.response();
    expect(strange.status).toBe(204);
    // RFC 9110 section 8.6: a server must not send Content-Length with 204.
    expect(strange.value("content-length")).toBeUndefined();
    expect((await wire.response()).body).toBe("last");
    // A 204 that announces a body may be followed by one: what comes behind it is not trusted.
    expect(backend.connections).toHaveLength(2);
  });

  test("trailers pass both ways, without those that have no place there", async () => {
    const trailer = "X-Sum: 1\r\nContent-Length: 5\r\nHost: evil\r\nTransfer-Encoding: chunked\r\nX-Sum: 2\r\n";
    let up: readonly string[] = [];
    const { client } = await scene(
      answering((request) => {
        up = request.trailers;
        return `HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n${chunked("down", 2, trailer)}`;
      }),
      { mode },
    );
    const wire = await client();
    wire.write(`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunked("upload", 4, trailer)}`);
    const response = await wire.response();
    expect(up).toEqual(["X-Sum: 1", "X-Sum: 2"]);
    expect(response.trailers).toEqual(["X-Sum: 1", "X-Sum: 2"]);
    expect(response.body).toBe("down");
  });

  test("chunk extensions are dropped both ways", async () => {
    let raw = "";
    const { client } = await scene(
      async (wire) => {
        await wire.until("\r\n\r\n");
        raw = await wire.until("0\r\n\r\n");
        wire.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;sig="a;b"\r\ndown\r\n0;last\r\n\r\n');
      },
      { mode },
    );
    const wire = await client();
    wire.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b;c\r\nup\r\n0;x\r\n\r\n");
    await wire.until("\r\n\r\n");
    expect(await wire.until("0\r\n\r\n")).toBe("4\r\ndown\r\n0\r\n\r\n");
    expect(raw).toBe("2\r\nup\r\n0\r\n\r\n");
  });

  test("a response may begin, and go on, while the request is still coming", async () => {
    const { client } = await scene(
      async (wire) => {
        await wire.until("\r\n\r\n");
        wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (;;) {
          const line = await wire.until("\r\n");
          const size = Number.parseInt(line, 16);
          wire.write(line + (await wire.read(size + 2)));
          if (size === 0) return;
        }
      },
      { mode },
    );
    const wire = await client();
    wire.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    expect(await wire.until("\r\n\r\n")).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    for (let i = 0; i < 20; i++) {
      wire.write(`5\r\npin${i % 10}g\r\n`);
      expect(await wire.until(`pin${i % 10}g\r\n`)).toBe(`5\r\npin${i % 10}g\r\n`);
    }
    wire.write("0\r\n\r\n");
    expect(await wire.until("0\r\n\r\n")).toBe("0\r\n\r\n");
  });

  test("a backend that echoes as it reads can be sent 20 MB, both directions flowing at once", async () => {
    const size = 20_000_000;
    const { client, proxy } = await scene(
      async (wire) => {
        await wire.until("\r\n\r\n");
        wire.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
        const early = wire.pending;
        await wire.read(early.length);
        wire.write(early);
        wire.socket.removeAllListeners("data");
        wire.socket.setEncoding();
        wire.socket.on("data", (piece) => {
          if (!wire.socket.write(piece, "latin1")) {
            wire.socket.pause();
            wire.socket.once("drain", () => wire.socket.resume());
          }
        });
        await new Promise((resolve) => wire.socket.once("close", resolve));
      },
      { mode },
    );
    const wire = await client();
    wire.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`);
    const piece = Buffer.from(sample(1_000_000), "latin1");
    await wire.until("\r\n\r\n");
    let received = 0;
    wire.socket.removeAllListeners("data");
    wire.socket.on("data", (text) => {
      received += text.length;
    });
    for (let i = 0; i < 20; i++) {
      if (!wire.socket.write(piece)) await new Promise((resolve) => wire.socket.once("drain", resolve));
    }
    await eventually(
      () => received === size,
      () => `all of it came back: ${received}`,
      15_000,
    );
    expect(proxy.snapshot().total.requests).toBe(1);
  }, 30_000);

  test("an early 413 reaches a client that is still sending, and the connection closes", async () => {
    const { client, backend } = await scene(
      async (wire) => {
        await wire.until("\r\n\r\n");
        wire.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
      },
      { mode },
    );
    const wire = await client();
    wire.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n${"x".repeat(100_000)}`);
    const response = await wire.response();
    expect(response.status).toBe(413);
    expect(response.body).toBe("big");
    expect(response.value("connection")).toBe("close");
    await wire.gone();
    await backend.connections[0]!.gone();
  });

  test("a response of any size to a client that reads slowly is held back, not held in memory", async () => {
    const size = 64_000_000;
    let sent = 0;
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        wire.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
        const piece = Buffer.alloc(1_000_000, "x");
        for (; sent < size; sent += piece.length) {
          if (!wire.socket.write(piece)) await new Promise((resolve) => wire.socket.once("drain", resolve));
        }
      },
      { mode },
    );
    const wire = await client();
    wire.write(get());
    await wire.until("\r\n\r\n");
    wire.socket.pause();
    await eventually(() => sent > 0, "some was sent");
    let before = -1;
    while (before !== sent) {
      before = sent;
      await pause(300);
    }
    // What the kernel holds for two connections, and a read or two.
    expect(sent).toBeLessThan(32_000_000);
    let received = wire.pending.length;
    wire.socket.removeAllListeners("data");
    wire.socket.on("data", (text) => {
      received += text.length;
    });
    wire.socket.resume();
    await eventually(
      () => received === size,
      () => `the rest came: ${received}`,
      20_000,
    );
  }, 40_000);

  test("an upload of any size to a backend that reads slowly is held back, not held in memory", async () => {
    const size = 64_000_000;
    let go: () => void = () => {};
    const { proxy, backend } = await scene(
      async (wire) => {
        await wire.until("\r\n\r\n");
        wire.socket.pause();
        await new Promise<void>((resolve) => {
          go = resolve;
        });
        let received = wire.pending.length;
        wire.socket.removeAllListeners("data");
        wire.socket.on("data", (text) => {
          received += text.length;
        });
        wire.socket.resume();
        await eventually(
          () => received === size,
          () => `the rest came: ${received}`,
          20_000,
        );
        wire.write(ok("done"));
      },
      { mode },
    );
    const wire = await dial(proxy.port);
    wire.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`);
    let sent = 0;
    const sending = (async () => {
      const piece = Buffer.alloc(1_000_000, "x");
      for (; sent < size; sent += piece.length) {
        if (!wire.socket.write(piece)) await new Promise((resolve) => wire.socket.once("drain", resolve));
      }
    })();
    await eventually(() => backend.connections.length === 1 && sent > 0, "some was sent");
    let before = -1;
    while (before !== sent) {
      before = sent;
      await pause(300);
    }
    expect(sent).toBeLessThan(32_000_000);
    go();
    await sending;
    expect((await wire.response()).body).toBe("done");
    wire.destroy();
  }, 40_000);
});
