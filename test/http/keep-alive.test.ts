import { describe, expect, test } from "vitest";
import { answering, ok } from "../support/raw-backend.ts";
import { get, post, READ_MODES, scene } from "../support/scene.ts";
import { turn } from "../support/wire.ts";

describe.each(READ_MODES)("with reads by %s", (mode) => {
  test("many requests go over one client connection and one backend connection", async () => {
    const { client, backend } = await scene(
      answering((request) => ok(request.start)),
      { mode },
    );
    const wire = await client();
    for (let i = 0; i < 50; i++) {
      wire.write(get(`/${i}`));
      const response = await wire.response();
      expect(response.body).toBe(`GET /${i} HTTP/1.1`);
      expect(response.value("connection")).toBeUndefined();
    }
    expect(backend.connections).toHaveLength(1);
  });

  test("Connection: close is answered, said back, and closes", async () => {
    const { client, backend } = await scene(answering(ok()), { mode });
    const wire = await client();
    wire.write(get("/", ["Connection: close"]));
    const response = await wire.response();
    expect(response.value("connection")).toBe("close");
    expect(await wire.rest()).toBe("");
    expect(wire.error).toBeUndefined();
    expect(backend.open).toBe(1);
  });

  test("nothing behind a request with Connection: close is served", async () => {
    const seen: string[] = [];
    const { client } = await scene(
      answering((request) => {
        seen.push(request.start);
        return ok();
      }),
      { mode },
    );
    const wire = await client();
    wire.write(get("/1", ["Connection: close"]) + get("/2"));
    expect((await wire.response()).status).toBe(200);
    expect(await wire.rest()).toBe("");
    expect(seen).toEqual(["GET /1 HTTP/1.1"]);
  });

  test("an HTTP/1.0 client gets one answer, then the end", async () => {
    const { client } = await scene(answering(ok("old")), { mode });
    const wire = await client();
    wire.write("GET / HTTP/1.0\r\n\r\n");
    const response = await wire.response();
    expect(response.start).toBe("HTTP/1.1 200 OK");
    expect(response.body).toBe("old");
    expect(response.value("connection")).toBe("close");
    expect(await wire.rest()).toBe("");
  });

  test("an HTTP/1.0 client that asks for keep-alive is told that it has it", async () => {
    const { client } = await scene(answering(ok("old")), { mode });
    const wire = await client();
    for (let i = 0; i < 3; i++) {
      wire.write("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
      const response = await wire.response();
      expect(response.value("connection")).toBe("keep-alive");
      expect(response.body).toBe("old");
    }
  });

  test("an HTTP/1.0 client gets a chunked body without its chunks, ended by the close", async () => {
    const { client } = await scene(
      answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nT: 1\r\n\r\n"),
      { mode },
    );
    const wire = await client();
    wire.write("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const response = await wire.response();
    expect(response.value("transfer-encoding")).toBeUndefined();
    expect(response.value("connection")).toBe("close");
    expect(response.body).toBe("abcdefg");
    expect(wire.error).toBeUndefined();
  });

  test("pipelined requests are answered in order", async () => {
    const { client } = await scene(
      answering((request) => ok(request.start)),
      { mode },
    );
    const wire = await client();
    wire.write(Array.from({ length: 30 }, (_, i) => get(`/${i}`)).join(""));
    for (let i = 0; i < 30; i++) expect((await wire.response()).body).toBe(`GET /${i} HTTP/1.1`);
  });

  test("1,000 requests pipelined at a backend that takes its time are all answered, in order", async () => {
    const { client, backend } = await scene(
      async (wire) => {
        for (;;) {
          const request = await wire.request();
          await turn();
          wire.write(ok(request.start));
        }
      },
      { mode },
    );
    const wire = await client();
    wire.write(Array.from({ length: 1000 }, (_, i) => get(`/${i}`, [`X-Padding: ${"p".repeat(100)}`])).join(""));
    for (let i = 0; i < 1000; i++) expect((await wire.response()).body).toBe(`GET /${i} HTTP/1.1`);
    expect(backend.connections).toHaveLength(1);
  });

  test.each([1, 7, 100, 4096])("pipelined requests cut every %d bytes are the same requests", async (size) => {
    const { client } = await scene(
      answering((request) => ok(`${request.start} ${request.body}`)),
      { mode },
    );
    const wire = await client();
    const chunked =
      "PUT /c HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
    const writing = wire.writeInPieces(get("/a") + post("body", "/b") + chunked + get("/d"), size);
    expect((await wire.response()).body).toBe("GET /a HTTP/1.1 ");
    expect((await wire.response()).body).toBe("POST /b HTTP/1.1 body");
    expect((await wire.response()).body).toBe("PUT /c HTTP/1.1 abc");
    expect((await wire.response()).body).toBe("GET /d HTTP/1.1 ");
    await writing;
  });

  test.each([10, 100_000, 1_000_000])(
    "a request pipelined behind a body of %d bytes is served after it",
    async (size) => {
      const { client } = await scene(
        answering((request) => ok(`${request.start} ${request.body.length}`)),
        { mode },
      );
      const wire = await client();
      wire.write(post("x".repeat(size), "/up") + get("/next") + post("y".repeat(size), "/up2") + get("/last"));
      expect((await wire.response()).body).toBe(`POST /up HTTP/1.1 ${size}`);
      expect((await wire.response()).body).toBe("GET /next HTTP/1.1 0");
      expect((await wire.response()).body).toBe(`POST /up2 HTTP/1.1 ${size}`);
      expect((await wire.response()).body).toBe("GET /last HTTP/1.1 0");
    },
  );

  test("empty lines before a request line are forgiven", async () => {
    const { client } = await scene(answering(ok()), { mode });
    const wire = await client();
    wire.write(`\r\n${get()}\r\n${get()}`);
    expect((await wire.response()).status).toBe(200);
    expect((await wire.response()).status).toBe(200);
  });

  test("a backend that says Connection: close costs its own connection, not the client's", async () => {
    const { client, backend } = await scene(answering(ok("bye", ["Connection: close"])), { mode });
    const wire = await client();
    for (let i = 0; i < 3; i++) {
      wire.write(get());
      const response = await wire.response();
      expect(response.value("connection")).toBeUndefined();
      expect(response.body).toBe("bye");
    }
    expect(backend.connections).toHaveLength(3);
    await Promise.all(backend.connections.map((connection) => connection.gone()));
  });

  test("an HTTP/1.0 backend is not kept unless it says so", async () => {
    let keep = false;
    const { client, backend } = await scene(
      answering(() => `HTTP/1.0 200 OK\r\n${keep ? "Connection: Keep-Alive\r\n" : ""}Content-Length: 1\r\n\r\nx`),
      { mode },
    );
    const wire = await client();
    for (keep of [false, false, true, true, true]) {
      wire.write(get());
      const response = await wire.response();
      expect(response.start).toBe("HTTP/1.1 200 OK");
      expect(response.body).toBe("x");
    }
    expect(backend.connections).toHaveLength(3);
  });

  test("requestsPerConnection closes after that many, and says so on the last", async () => {
    const { client } = await scene(answering(ok()), { mode, listener: { limits: { requestsPerConnection: 3 } } });
    const wire = await client();
    wire.write(get() + get() + get() + get());
    expect((await wire.response()).value("connection")).toBeUndefined();
    expect((await wire.response()).value("connection")).toBeUndefined();
    expect((await wire.response()).value("connection")).toBe("close");
    expect(await wire.rest()).toBe("");
  });
});
