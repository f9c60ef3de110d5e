import { describe, expect, test } from "vitest";
import { answering, ok } from "../support/raw-backend.ts";
import { get, post, READ_MODES, scene } from "../support/scene.ts";
import { eventually, pause, turn, WireEnd } from "../support/wire.ts";

/** How long `work` took. */
async function took(work: Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work;
  return performance.now() - from;
}

describe.each(READ_MODES)("with reads by %s", (mode) => {
  test("a head that does not end is answered 408 and the connection closed, however steadily it drips", async () => {
    const { client, proxy, backend } = await scene(answering(ok()), {
      mode,
      listener: { timeouts: { head: "300ms" } },
    });
    const wire = await client();
    wire.write("GET / HTTP/1.1\r\nHost: a\r\n");
    const dripping = (async () => {
      for (let i = 0; i < 200 && !wire.ended && !wire.closed; i++) {
        wire.write(`X-${i}: y\r\n`);
        await pause(20);
      }
    })();
    const elapsed = await took(wire.response().then(({ status }) => expect(status).toBe(408)));
    expect(elapsed).toBeGreaterThan(250);
    await wire.rest();
    await dripping;
    expect(backend.connections).toHaveLength(0);
    expect(proxy.snapshot().rejected[408]).toBe(1);
  });

  test("an idle connection is closed without a word after timeouts.idle", async () => {
    const { client } = await scene(answering(ok()), { mode, listener: { timeouts: { idle: "300ms" } } });
    const fresh = await client();
    expect(await took(fresh.rest().then((text) => expect(text).toBe("")))).toBeGreaterThan(250);
    const used = await client();
    for (let i = 0; i < 3; i++) {
      used.write(get());
      await used.response();
      await pause(150);
    }
    expect(await took(used.rest().then((text) => expect(text).toBe("")))).toBeLessThan(1_000);
  });

  test("a client that stops within its body is answered 408, and the backend's connection closed", async () => {
    const { client, backend, proxy, quiet } = await scene(
      async (wire) => {
        await wire.request();
      },
      { mode, listener: { timeouts: { body: "300ms" } } },
    );
    for (const request of [
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ]) {
      const wire = await client();
      wire.write(request);
      const response = await wire.response();
      expect(response.status).toBe(408);
      expect(response.value("connection")).toBe("close");
      await wire.gone();
    }
    await Promise.all(backend.connections.map((connection) => connection.gone()));
    await quiet();
    expect(proxy.snapshot().timeouts.body).toBe(2);
  });

  test("a client that sends its body slowly, but keeps moving, is not cut off", async () => {
    const { client } = await scene(
      answering((request) => ok(String(request.body.length))),
      { mode, listener: { timeouts: { body: "300ms" } } },
    );
    const wire = await client();
    wire.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n");
    for (let i = 0; i < 8; i++) {
      await pause(100);
      wire.write("x");
    }
    expect((await wire.response()).body).toBe("8");
  });

  test("a backend that does not answer is a 504 after timeouts.response, and its connection is closed", async () => {
    const { client, backend, proxy, quiet } = await scene(
      async (wire) => {
        await wire.request();
        await wire.gone(5_000);
      },
      { mode, upstream: { timeouts: { response: "300ms" } } },
    );
    for (const request of [get(), post("x".repeat(200_000))]) {
      const wire = await client();
      wire.write(request);
      const elapsed = await took(wire.response().then(({ status }) => expect(status).toBe(504)));
      expect(elapsed).toBeGreaterThan(250);
      expect(elapsed).toBeLessThan(2_000);
    }
    await Promise.all(backend.connections.map((connection) => connection.gone()));
    await quiet();
    expect(proxy.snapshot().timeouts.response).toBe(2);
    expect(proxy.snapshot().upstreams[0]!.backends[0]).toMatchObject({ requests: 2, failures: 2 });
  });

  test("timeouts.response begins with the end of the request, not with its start", async () => {
    const { client } = await scene(
      answering((request) => ok(String(request.body.length))),
      { mode, upstream: { timeouts: { response: "200ms" } } },
    );
    const wire = await client();
    wire.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
    for (let i = 0; i < 6; i++) {
      await pause(100);
      wire.write("x");
    }
    expect((await wire.response()).body).toBe("6");
  });

  test("an interim response gives the backend its time anew", async () => {
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        for (let i = 0; i < 4; i++) {
          await pause(150);
          wire.write("HTTP/1.1 102 Processing\r\n\r\n");
        }
        await pause(150);
        wire.write(ok("done"));
      },
      { mode, upstream: { timeouts: { response: "300ms" } } },
    );
    const wire = await client();
    wire.write(get());
    for (let i = 0; i < 4; i++) expect((await wire.response()).status).toBe(102);
    expect((await wire.response()).body).toBe("done");
  });

  test("a backend that stops within its body is cut off after timeouts.idle, and the client can tell", async () => {
    const { client, backend, quiet, proxy } = await scene(
      async (wire) => {
        await wire.request();
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        await wire.gone(5_000);
      },
      { mode, upstream: { timeouts: { idle: "300ms" } } },
    );
    const wire = await client();
    wire.write(get());
    await expect(wire.response()).rejects.toThrow(WireEnd);
    expect(wire.pending).toBe("half");
    await backend.connections[0]!.gone();
    await quiet();
    expect(proxy.snapshot().timeouts.body).toBe(1);
    expect(proxy.snapshot().upstreams[0]!.backends[0]!.failures).toBe(1);
  });

  test("a backend that sends its body slowly, but keeps moving, is not cut off", async () => {
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
        for (let i = 0; i < 8; i++) {
          await pause(100);
          wire.write("x");
        }
      },
      { mode, upstream: { timeouts: { idle: "300ms", response: "300ms" } } },
    );
    const wire = await client();
    wire.write(get());
    expect((await wire.response()).body).toBe("xxxxxxxx");
  });

  test("a client that does not read is cut off after timeouts.body, and the backend let go", async () => {
    const { client, backend, quiet } = await scene(
      async (wire) => {
        await wire.request();
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        const piece = Buffer.alloc(1_000_000, "x");
        for (let i = 0; i < 100 && !wire.closed; i++) {
          if (!wire.socket.write(piece)) {
            await Promise.race([
              new Promise((resolve) => wire.socket.once("drain", resolve)),
              new Promise((resolve) => wire.socket.once("close", resolve)),
            ]);
          }
        }
      },
      { mode, listener: { timeouts: { body: "400ms" } }, upstream: { timeouts: { idle: "10s" } } },
    );
    const wire = await client();
    wire.write(get());
    await wire.until("\r\n\r\n");
    wire.socket.pause();
    await eventually(() => backend.connections[0]!.closed, "the backend was let go", 4_000);
    await quiet();
    wire.socket.resume();
    await wire.gone();
  });

  test("a client that asks for more and more without reading is not read any further", async () => {
    const big = ok("x".repeat(60_000));
    const { client, proxy } = await scene(answering(big), { mode, listener: { timeouts: { body: "2s" } } });
    const wire = await client();
    wire.socket.pause();
    let sent = 0;
    for (; sent < 50_000; sent += 100) {
      if (!wire.socket.write(get().repeat(100))) break;
    }
    await pause(700);
    const served = proxy.snapshot().total.requests;
    await pause(300);
    // What the kernel takes of 60 kB responses, not all of them.
    expect(proxy.snapshot().total.requests - served).toBeLessThanOrEqual(1);
    expect(served).toBeLessThan(1_000);
  });

  test("the time of a route is that of the whole exchange: 504 before the response, cut within it", async () => {
    const { client, backend, quiet, proxy } = await scene(
      async (wire) => {
        const request = await wire.request();
        if (request.start.includes("/begin")) wire.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        for (let i = 0; i < 20 && !wire.closed; i++) {
          await pause(100);
          if (request.start.includes("/begin")) wire.write("x");
        }
      },
      { mode, listener: { routes: [{ timeout: "400ms", upstream: "web" }] } },
    );
    const first = await client();
    first.write(get("/never"));
    const elapsed = await took(first.response().then(({ status }) => expect(status).toBe(504)));
    expect(elapsed).toBeGreaterThan(350);
    const second = await client();
    second.write(get("/begin"));
    await expect(second.response()).rejects.toThrow(WireEnd);
    await Promise.all(backend.connections.map((connection) => connection.gone()));
    await quiet();
    expect(proxy.snapshot().timeouts.route).toBe(2);
  });

  test("the time of a route counts while the request waits for a connection, and while its body is coming", async () => {
    const { client, proxy, quiet } = await scene(
      async (wire) => {
        for (;;) {
          const request = await wire.request();
          if (request.start.includes("/hold")) await pause(1_200);
          wire.write(ok());
        }
      },
      {
        mode,
        listener: {
          routes: [
            { match: { path: "/hold" }, upstream: "web" },
            { timeout: "300ms", upstream: "web" },
          ],
        },
        upstream: { pool: { maxConnections: 1, queue: { max: 10, timeout: "5s" } } },
      },
    );
    const holder = await client();
    holder.write(get("/hold"));
    await eventually(() => proxy.plane.inspect().backends[0]!.busy === 1, "busy");
    const waiting = await client();
    waiting.write(get("/wait"));
    const response = await waiting.response();
    expect([response.status, response.value("connection")]).toEqual([504, undefined]);
    expect(proxy.plane.inspect().waiting).toBe(0);
    await holder.response();
    waiting.write(get("/again"));
    expect((await waiting.response()).status).toBe(200);
    const uploading = await client();
    uploading.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    for (let i = 0; i < 6; i++) {
      uploading.write("x");
      await pause(70);
    }
    const late = await uploading.response();
    expect([late.status, late.value("connection")]).toEqual([504, "close"]);
    await quiet();
  });

  test("a client that takes a response while its upload stands still is not slow", async () => {
    const { client } = await scene(
      async (wire) => {
        await wire.until("\r\n\r\n");
        wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (let i = 0; i < 10; i++) {
          await pause(100);
          wire.write("1\r\nx\r\n");
        }
        await wire.until("0\r\n\r\n");
        wire.write("0\r\n\r\n");
      },
      { mode, listener: { timeouts: { body: "300ms" } } },
    );
    const wire = await client();
    wire.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    await wire.until("\r\n\r\n");
    for (let i = 0; i < 10; i++) await wire.until("1\r\nx\r\n");
    wire.write("0\r\n\r\n");
    expect(await wire.until("0\r\n\r\n")).toBe("0\r\n\r\n");
  });

  test("a backend that has begun to answer and still takes the upload has not stopped", async () => {
    const { client } = await scene(
      async (wire) => {
        await wire.until("\r\n\r\n");
        wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        await wire.until("0\r\n\r\n");
        wire.write("4\r\ndone\r\n0\r\n\r\n");
      },
      { mode, upstream: { timeouts: { idle: "300ms", response: "300ms" } } },
    );
    const wire = await client();
    wire.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    await wire.until("\r\n\r\n");
    for (let i = 0; i < 10; i++) {
      await pause(100);
      wire.write("1\r\nx\r\n");
    }
    wire.write("0\r\n\r\n");
    expect(await wire.until("0\r\n\r\n")).toBe("4\r\ndone\r\n0\r\n\r\n");
  });

  test("the time of a route does not go on after its exchange", async () => {
    const { client } = await scene(answering(ok()), {
      mode,
      listener: { routes: [{ match: { path: "/limited" }, timeout: "200ms", upstream: "web" }, { upstream: "web" }] },
    });
    const wire = await client();
    wire.write(get("/limited"));
    await wire.response();
    await pause(300);
    wire.write(get("/free"));
    expect((await wire.response()).status).toBe(200);
  });

  test("a client that waits long for its backend is not taken for one that is idle or slow", async () => {
    const { client } = await scene(
      async (wire) => {
        for (;;) {
          await wire.request();
          await pause(600);
          wire.write(ok());
        }
      },
      { mode, listener: { timeouts: { idle: "200ms", head: "200ms", body: "200ms" } } },
    );
    const wire = await client();
    wire.write(get());
    expect((await wire.response()).status).toBe(200);
    wire.write(post("body"));
    expect((await wire.response()).status).toBe(200);
    wire.write(post("x".repeat(200_000)));
    expect((await wire.response()).status).toBe(200);
  });
});

test("thousands of half-sent heads are cut off by the head timeout while others are served", async () => {
  const count = 1_000;
  const { client, proxy } = await scene(answering(ok()), { listener: { timeouts: { head: "1s" } } });
  const slow = [];
  for (let i = 0; i < count; i++) {
    const wire = await client();
    wire.write("GET / HTTP/1.1\r\nHost: a\r\nX-Half: ");
    slow.push(wire);
  }
  const good = await client();
  let served = 0;
  while (proxy.plane.inspect().clientConnections > 1) {
    good.write(get());
    expect((await good.response()).status).toBe(200);
    served++;
    await turn();
    if (served > 100_000) throw new Error("the slow ones are still there");
  }
  await Promise.all(slow.map((wire) => wire.rest().then((text) => expect(text).toMatch(/^HTTP\/1\.1 408 /))));
  expect(served).toBeGreaterThan(10);
  expect(proxy.snapshot().rejected[408]).toBe(count);
}, 30_000);
