import { describe, expect, test } from "vitest";
import { answering, ok } from "../support/raw-backend.ts";
import { get, post, READ_MODES, scene } from "../support/scene.ts";
import { eventually, pause } from "../support/wire.ts";

describe("the access log", () => {
  test("combined: one line for each exchange, as Apache and nginx write it", async () => {
    const { client, proxy, quiet } = await scene(answering(ok("12345")), { log: { access: { format: "combined" } } });
    const wire = await client();
    wire.write(get("/a?b=c", ["Referer: http://before.test/", "User-Agent: test/1.0"]));
    await wire.response();
    wire.write(get("/").replace("GET", "HEAD"));
    await wire.response("HEAD");
    await quiet();
    expect(proxy.accessLog).toHaveLength(2);
    expect(proxy.accessLog[0]).toMatch(
      /^127\.0\.0\.1 - - \[\d{2}\/[A-Z][a-z]{2}\/\d{4}:\d{2}:\d{2}:\d{2} \+0000\] "GET \/a\?b=c HTTP\/1\.1" 200 5 "http:\/\/before\.test\/" "test\/1\.0"$/,
    );
    expect(proxy.accessLog[1]).toMatch(/"HEAD \/ HTTP\/1\.1" 200 - "-" "-"$/);
  });

  test("json: one object for each exchange, with who answered and how long it took", async () => {
    const { client, proxy, backend, quiet } = await scene(answering(ok("12345")), {
      log: { access: { format: "json" } },
    });
    const wire = await client();
    wire.write(post("body", "/order", ["User-Agent: test/1.0"]));
    await wire.response();
    await quiet();
    const line = JSON.parse(proxy.accessLog[0]!);
    expect(line).toMatchObject({
      client: "127.0.0.1",
      method: "POST",
      host: "shop.test",
      target: "/order",
      status: 200,
      bytes: 5,
      route: "web",
      upstream: "web",
      backend: `127.0.0.1:${backend.port}`,
      attempts: 1,
      userAgent: "test/1.0",
    });
    expect(Math.abs(Date.parse(line.time) - Date.now())).toBeLessThan(5_000);
    expect(line.durationMs).toBeGreaterThan(0);
    expect(line.requestId).toMatch(/^[0-9a-f]{16}-/);
    expect(line.reason).toBeUndefined();
  });

  test.each(["combined", "json"] as const)(
    "%s: nothing a client sends makes a second line, or a field of its own",
    async (format) => {
      const { client, proxy, quiet } = await scene(answering(ok()), { log: { access: { format } } });
      const hostile = [
        'User-Agent: x" 200 1 "-" "evil',
        'Referer: \\" - - [01/Jan/2000:00:00:00 +0000] \\x22',
        'User-Agent: \x1b[31m\xff\t{"a":1}',
      ];
      for (const field of hostile) {
        const wire = await client();
        wire.write(get("/a%22%0a'\\x22", [field]));
        await wire.response();
      }
      const wire = await client();
      wire.write('G\x1b[31mT /"\n evil HTTP/1.1\r\n\r\n');
      expect((await wire.response()).status).toBe(400);
      await quiet();
      expect(proxy.accessLog).toHaveLength(hostile.length + 1);
      for (const line of proxy.accessLog) {
        expect(line).not.toMatch(/[\r\n\x1b]/);
        if (format === "json") expect(JSON.parse(line).client).toBe("127.0.0.1");
        else expect(line).toMatch(/^[^"]*"[^"]*" \d{3} (-|\d+) "[^"]*" "[^"]*"$/);
      }
    },
  );

  test("off: not a line", async () => {
    const { client, proxy } = await scene(answering(ok()));
    const wire = await client();
    wire.write(get());
    await wire.response();
    expect(proxy.accessLog).toEqual([]);
  });
});

describe.each(READ_MODES)("the metrics, with reads by %s", (mode) => {
  test("count exchanges, statuses, attempts, connections and time, and are at rest afterwards", async () => {
    const { client, proxy, backend, quiet } = await scene(
      async (wire) => {
        for (;;) {
          const request = await wire.request();
          if (request.start.includes("/slow")) await pause(120);
          wire.write(
            request.start.includes("/fail") ? "HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n" : ok("12345"),
          );
        }
      },
      { mode },
    );
    const wire = await client();
    for (const target of ["/", "/", "/slow", "/fail"]) {
      wire.write(get(target));
      await wire.response();
    }
    wire.write(get("/").replace("Host: shop.test\r\n", ""));
    await wire.response();
    await wire.gone();
    await quiet();
    await eventually(() => proxy.snapshot().listeners[0]!.connectionsActive === 0, "the client is gone");
    const { total, upstreams, rejected, listeners } = proxy.snapshot();
    expect(total).toMatchObject({ requests: 4, failed: 1, active: 0, unanswered: 0, statuses: { 200: 3, 500: 1 } });
    expect(total.buckets.reduce((sum, count) => sum + count, 0)).toBe(4);
    expect(total.buckets.slice(2).reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(1);
    expect(total.durationMs).toBeGreaterThan(110);
    expect(upstreams[0]!.backends[0]).toMatchObject({
      id: `127.0.0.1:${backend.port}`,
      requests: 4,
      failures: 1,
      active: 0,
      connections: 1,
      connectionsOpened: 1,
      connectionsClosed: 0,
      reused: 3,
      replayed: 0,
    });
    expect(upstreams[0]!.backends[0]!.meanMs).toBeGreaterThan(27);
    expect(rejected).toEqual({ 400: 1 });
    expect(listeners[0]).toMatchObject({ connectionsOpened: 1, connectionsActive: 0 });
  });

  test("count bytes of clients both ways", async () => {
    const { client, proxy, quiet } = await scene(
      answering((request) => ok(request.body)),
      { mode },
    );
    let up = 0;
    let down = 0;
    for (const size of [0, 10, 100_000, 3_000_000]) {
      const wire = await client();
      wire.socket.on("data", (text) => {
        down += text.length;
      });
      const request = post("x".repeat(size), "/", ["Connection: close"]);
      up += request.length;
      wire.write(request);
      await wire.response();
      await wire.gone();
    }
    await quiet();
    const { bytesIn, bytesOut } = proxy.snapshot();
    expect([bytesIn, bytesOut]).toEqual([up, down]);
  }, 20_000);

  test("count a client that leaves before it is answered as unanswered, not as a failure of the backend", async () => {
    const { client, proxy, quiet } = await scene(
      async (wire) => {
        await wire.request();
      },
      { mode },
    );
    const wire = await client();
    wire.write(get());
    await eventually(() => proxy.snapshot().total.active === 1, "it runs");
    expect(proxy.snapshot().upstreams[0]!.backends[0]!.active).toBe(1);
    wire.reset();
    await quiet();
    const { total, upstreams } = proxy.snapshot();
    expect(total).toMatchObject({ requests: 1, active: 0, failed: 0, unanswered: 1, statuses: {} });
    expect(upstreams[0]!.backends[0]).toMatchObject({ requests: 1, failures: 0, active: 0, connections: 0 });
  });

  test("show what runs while it runs", async () => {
    let finish: (() => void) | undefined;
    const { client, proxy, quiet } = await scene(
      async (wire) => {
        await wire.request();
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
        wire.write(ok());
      },
      { mode },
    );
    const wire = await client();
    wire.write(get());
    await eventually(() => finish !== undefined, "the backend has the request");
    expect(proxy.snapshot().total).toMatchObject({ requests: 1, active: 1 });
    expect(proxy.snapshot().upstreams[0]!.backends[0]).toMatchObject({ active: 1, connections: 1 });
    expect(proxy.plane.inspect()).toMatchObject({ clientConnections: 1, exchanges: 1, tunnels: 0 });
    finish?.();
    await wire.response();
    await quiet();
    expect(proxy.plane.inspect()).toMatchObject({ clientConnections: 1, exchanges: 0 });
  });
});

test("a tunnel is one line in the log when it closes, with its bytes, and a tunnel in the metrics", async () => {
  const { client, proxy, quiet } = await scene(
    async (wire) => {
      await wire.until("\r\n\r\n");
      wire.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
      wire.write(await wire.read(5));
      wire.end();
    },
    { log: { access: { format: "json" } } },
  );
  const wire = await client();
  wire.write(get("/ws", ["Connection: upgrade", "Upgrade: echo"]));
  await wire.response();
  expect(proxy.accessLog).toEqual([]);
  expect(proxy.snapshot().total).toMatchObject({ requests: 1, active: 0, statuses: { 101: 1 } });
  wire.write("hello");
  expect(await wire.rest()).toBe("hello");
  wire.end();
  await quiet();
  expect(proxy.accessLog).toHaveLength(1);
  expect(JSON.parse(proxy.accessLog[0]!)).toMatchObject({ status: 101, bytes: 5, target: "/ws" });
  expect(proxy.snapshot()).toMatchObject({ tunnelsOpened: 1, tunnelsActive: 0 });
});

describe("a drain", () => {
  test("answers what runs with Connection: close, closes what is idle, and takes nothing new", async () => {
    let finish: () => void = () => {};
    const { client, proxy } = await scene(async (wire) => {
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
    const idle = await client();
    idle.write(get());
    await idle.response();
    const busy = await client();
    busy.write(get("/slow"));
    await eventually(() => proxy.plane.inspect().backends[0]!.busy === 1, "it runs");
    const drained = proxy.plane.drain(5_000);
    await idle.rest();
    await expect(client()).rejects.toThrow();
    finish();
    const response = await busy.response();
    expect([response.status, response.value("connection")]).toEqual([200, "close"]);
    expect(await drained).toEqual({ cut: 0 });
  });

  test("counts a tunnel that stays open among what it cuts", async () => {
    const { client, proxy } = await scene(async (wire) => {
      await wire.until("\r\n\r\n");
      wire.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
      await wire.rest();
    });
    const wire = await client();
    wire.write(get("/ws", ["Connection: upgrade", "Upgrade: echo"]));
    await wire.response();
    expect(await proxy.plane.drain(200)).toEqual({ cut: 1 });
    await wire.gone();
  });

  test("cuts what is left at its deadline, and says how many that were", async () => {
    const { client, proxy } = await scene(async (wire) => {
      await wire.request();
    });
    const wires = [await client(), await client()];
    for (const wire of wires) wire.write(get());
    await eventually(() => proxy.plane.inspect().backends[0]!.busy === 2, "both run");
    expect(await proxy.plane.drain(200)).toEqual({ cut: 2 });
    await Promise.all(wires.map((wire) => wire.gone()));
  });
});
