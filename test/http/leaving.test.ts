import { describe, expect, test } from "vitest";
import { answering, ok } from "../support/raw-backend.ts";
import { get, post, READ_MODES, scene } from "../support/scene.ts";
import { eventually, pause, turn } from "../support/wire.ts";

/** A client that has left is noticed by then: at once by a reset, within a second or so by the end of its side. */
const SOON_MS = 1_600;

describe.each(READ_MODES)("with reads by %s", (mode) => {
  test.each(["reset", "destroy", "end"] as const)(
    "a client that leaves while it waits (%s): the backend's exchange is given up soon",
    async (how) => {
      const { client, backend, quiet, proxy } = await scene(
        async (wire) => {
          await wire.request();
          await wire.gone(5_000);
        },
        { mode, log: { access: { format: "json" } } },
      );
      const wire = await client();
      wire.write(get());
      await eventually(() => backend.connections[0]?.pending === "", "the request arrived");
      await pause(20);
      wire[how]();
      await eventually(() => backend.connections[0]!.closed, "the backend was let go", SOON_MS);
      await quiet();
      expect(proxy.snapshot().total).toMatchObject({ requests: 1, active: 0 });
      expect(JSON.parse(proxy.accessLog[0]!)).toMatchObject({ reason: "client-closed" });
      // It is not the backend's fault.
      expect(proxy.snapshot().upstreams[0]!.backends[0]).toMatchObject({ failures: 0, active: 0 });
    },
  );

  test.each(["reset", "destroy"] as const)(
    "a client that leaves within a download (%s) frees the backend",
    async (how) => {
      const { client, backend, quiet } = await scene(
        async (wire) => {
          await wire.request();
          wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
          while (!wire.closed && !wire.ended) {
            wire.write(`400\r\n${"x".repeat(1024)}\r\n`);
            await pause(5);
          }
        },
        { mode },
      );
      const wire = await client();
      wire.write(get());
      await wire.until("\r\n\r\n");
      await wire.read(5_000);
      wire[how]();
      await eventually(() => backend.connections[0]!.closed, "the backend was let go", SOON_MS);
      await quiet();
    },
  );

  test.each(["reset", "destroy", "end"] as const)(
    "a client that leaves within an upload (%s) frees the backend",
    async (how) => {
      const { client, backend, quiet } = await scene(
        async (wire) => {
          await wire.request();
        },
        { mode },
      );
      const wire = await client();
      wire.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n${"x".repeat(50_000)}`);
      await eventually(() => (backend.connections[0]?.pending.length ?? 0) > 0, "some arrived");
      wire[how]();
      await eventually(() => backend.connections[0]!.closed, "the backend was let go", SOON_MS);
      await quiet();
    },
  );

  test("a client that leaves while it waits for a connection leaves its place in the queue", async () => {
    const { client, backend, quiet, proxy } = await scene(
      async (wire) => {
        for (;;) {
          const request = await wire.request();
          if (request.start.includes("/slow")) await pause(300);
          wire.write(ok(request.start));
        }
      },
      { mode, upstream: { pool: { maxConnections: 1 } } },
    );
    const slow = await client();
    slow.write(get("/slow"));
    await eventually(() => proxy.plane.inspect().backends[0]!.busy === 1, "busy");
    const leaver = await client();
    leaver.write(get("/left"));
    await eventually(() => proxy.plane.inspect().waiting === 1, "waiting");
    leaver.reset();
    await eventually(() => proxy.plane.inspect().waiting === 0, "no longer waiting");
    const third = await client();
    third.write(get("/third"));
    expect((await third.response()).body).toBe("GET /third HTTP/1.1");
    await slow.response();
    await quiet();
    expect(backend.connections).toHaveLength(1);
  });

  test("a client that ends its side right behind its request still gets its answer", async () => {
    const { client } = await scene(
      answering((request) => ok(`${request.start} ${request.body}`)),
      { mode },
    );
    for (const [request, body] of [
      [get("/1"), "GET /1 HTTP/1.1 "],
      [post("body", "/2"), "POST /2 HTTP/1.1 body"],
      ["POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "POST /3 HTTP/1.1 hi"],
      ["GET /4 HTTP/1.0\r\n\r\n", "GET /4 HTTP/1.1 "],
    ] as const) {
      const wire = await client();
      wire.end(request);
      const response = await wire.response();
      expect(response.body).toBe(body);
      expect(response.value("connection")).toBe("close");
      expect(await wire.rest()).toBe("");
    }
  });

  test("a client that pipelines and then ends its side gets every answer", async () => {
    const { client } = await scene(
      async (wire) => {
        for (;;) {
          const request = await wire.request();
          await pause(10);
          wire.write(ok(request.start));
        }
      },
      { mode },
    );
    const wire = await client();
    wire.end(Array.from({ length: 10 }, (_, i) => get(`/${i}`)).join(""));
    for (let i = 0; i < 10; i++) expect((await wire.response()).body).toBe(`GET /${i} HTTP/1.1`);
    expect(await wire.rest()).toBe("");
  });

  test("a client that has ended its side gets a long answer to the end", async () => {
    const size = 20_000_000;
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        wire.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
        for (let i = 0; i < 20; i++) {
          wire.write(Buffer.alloc(size / 20, "x"));
          await pause(100);
        }
      },
      { mode },
    );
    const wire = await client();
    wire.end(get());
    expect((await wire.response()).body.length).toBe(size);
  }, 20_000);

  test("a client that ends its side between requests is closed", async () => {
    const { client, proxy } = await scene(answering(ok()), { mode });
    const wire = await client();
    wire.write(get());
    await wire.response();
    wire.end();
    expect(await wire.rest()).toBe("");
    await eventually(() => proxy.plane.inspect().clientConnections === 0, "closed");
  });

  test("a client that ends its side within a head is closed", async () => {
    const { client, backend, proxy } = await scene(answering(ok()), { mode });
    const wire = await client();
    wire.end("GET / HTTP/1.1\r\nHost: a\r\n");
    await wire.rest();
    await eventually(() => proxy.plane.inspect().clientConnections === 0, "closed");
    expect(backend.connections).toHaveLength(0);
  });

  test("a backend that keeps sending to a client that left is not read for ever", async () => {
    const { client, backend, quiet } = await scene(
      async (wire) => {
        await wire.request();
        wire.write("HTTP/1.1 200 OK\r\n\r\n");
        while (!wire.closed && !wire.ended) {
          wire.write("x".repeat(100_000));
          await turn();
        }
      },
      { mode },
    );
    const wire = await client();
    wire.write(get());
    await wire.read(1_000_000);
    wire.destroy();
    await eventually(() => backend.connections[0]!.closed, "the backend was let go", SOON_MS);
    await quiet();
  });
});
