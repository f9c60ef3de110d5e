import { spawn } from "node:child_process";
import { connect } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { answering, deadPort, ok } from "../support/raw-backend.ts";
import { get, post, READ_MODES, scene } from "../support/scene.ts";
import { eventually, pause, turn, type Wire } from "../support/wire.ts";

test.each(READ_MODES)(
  "maxConnections holds whatever comes at once, and everybody is served (%s)",
  async (mode) => {
    const clients = 60;
    const rounds = 5;
    let open = 0;
    let most = 0;
    const { client, backend, proxy, quiet } = await scene(
      async (wire) => {
        most = Math.max(most, ++open);
        wire.socket.once("close", () => open--);
        for (;;) {
          const request = await wire.request();
          await pause(2);
          wire.write(ok(request.start));
        }
      },
      { mode, upstream: { pool: { maxConnections: 4, queue: { max: 100, timeout: "20s" } } } },
    );
    const wires = await Promise.all(Array.from({ length: clients }, client));
    await Promise.all(
      wires.map(async (wire, n) => {
        for (let i = 0; i < rounds; i++) {
          wire.write(i % 2 === 0 ? get(`/${n}/${i}`) : post("body", `/${n}/${i}`));
          expect((await wire.response()).body).toContain(`/${n}/${i}`);
        }
      }),
    );
    expect(most).toBeLessThanOrEqual(4);
    expect(backend.connections.length).toBeLessThanOrEqual(4);
    await quiet();
    const stats = proxy.snapshot().upstreams[0]!.backends[0]!;
    expect(stats).toMatchObject({ requests: clients * rounds, failures: 0, active: 0, connections: 4 });
    expect(stats.reused).toBe(clients * rounds - backend.connections.length);
  },
  30_000,
);

/** A backend that answers `/hold` when told to, and everything else at once. */
function holding() {
  const held: Wire[] = [];
  return {
    release: () => {
      for (const wire of held.splice(0)) wire.write(ok("released"));
    },
    script: async (wire: Wire) => {
      for (;;) {
        const request = await wire.request();
        if (request.start.includes("/hold")) held.push(wire);
        else wire.write(ok(request.start));
      }
    },
  };
}

test("who waits too long for a connection gets 503, with when to come again", async () => {
  const { release, script } = holding();
  const { client, proxy, quiet } = await scene(script, {
    upstream: { pool: { maxConnections: 1, queue: { max: 10, timeout: "200ms" } } },
  });
  const first = await client();
  first.write(get("/hold"));
  await eventually(() => proxy.plane.inspect().backends[0]!.busy === 1, "busy");
  for (const request of [get("/wait"), post("body"), post("x".repeat(200_000))]) {
    const second = await client();
    const from = performance.now();
    second.write(request);
    const response = await second.response();
    expect(response.status).toBe(503);
    expect(Number(response.value("retry-after"))).toBeGreaterThan(0);
    expect(performance.now() - from).toBeGreaterThan(150);
  }
  expect(proxy.snapshot().timeouts.queue).toBe(3);
  release();
  expect((await first.response()).body).toBe("released");
  await quiet();
});

test("who finds the queue full gets 503 at once", async () => {
  const { release, script } = holding();
  const { client, proxy, quiet } = await scene(script, {
    upstream: { pool: { maxConnections: 1, queue: { max: 1, timeout: "10s" } } },
  });
  const first = await client();
  first.write(get("/hold"));
  await eventually(() => proxy.plane.inspect().backends[0]!.busy === 1, "busy");
  const second = await client();
  second.write(get("/second"));
  await eventually(() => proxy.plane.inspect().waiting === 1, "waiting");
  const third = await client();
  third.write(get("/third"));
  const response = await third.response();
  expect(response.status).toBe(503);
  expect(response.value("connection")).toBeUndefined();
  release();
  expect((await first.response()).status).toBe(200);
  expect((await second.response()).body).toBe("GET /second HTTP/1.1");
  third.write(get("/again"));
  expect((await third.response()).status).toBe(200);
  await quiet();
});

test("without a queue the answer is 503 at once, unless another backend has room", async () => {
  const a = holding();
  const b = holding();
  const { client, proxy } = await scene([a.script, b.script], {
    upstream: { balance: "round-robin", pool: { maxConnections: 1, queue: false } },
  });
  const holders = [await client(), await client()];
  holders[0]!.write(get("/hold"));
  await eventually(() => proxy.plane.inspect().backends.some(({ busy }) => busy === 1), "one is busy");
  const wire = await client();
  for (let i = 0; i < 6; i++) {
    wire.write(get());
    expect((await wire.response()).status).toBe(200);
  }
  holders[1]!.write(get("/hold"));
  await eventually(() => proxy.plane.inspect().backends.every(({ busy }) => busy === 1), "both are busy");
  wire.write(get());
  expect((await wire.response()).status).toBe(503);
  a.release();
  b.release();
  for (const holder of holders) expect((await holder.response()).status).toBe(200);
});

test("maxRequests: a connection is closed after that many exchanges", async () => {
  const { client, backend } = await scene(answering(ok()), { upstream: { pool: { maxRequests: 3 } } });
  const wire = await client();
  for (let i = 0; i < 9; i++) {
    wire.write(get());
    await wire.response();
  }
  expect(backend.connections).toHaveLength(3);
  await Promise.all(backend.connections.map((connection) => connection.gone()));
});

test("maxIdle: no more idle connections than that are kept", async () => {
  const { release, script } = holding();
  const { client, proxy, quiet } = await scene(script, { upstream: { pool: { maxIdle: 2 } } });
  const wires = await Promise.all(Array.from({ length: 8 }, client));
  for (const wire of wires) wire.write(get("/hold"));
  await eventually(() => proxy.plane.inspect().backends[0]!.busy === 8, "all are busy");
  await turn();
  release();
  await Promise.all(wires.map((wire) => wire.response()));
  await quiet();
  expect(proxy.plane.inspect().backends[0]).toMatchObject({ idle: 2, busy: 0, opening: 0 });
});

test("idleTimeout: an idle connection is closed after that", async () => {
  const { client, backend, proxy } = await scene(answering(ok()), { upstream: { pool: { idleTimeout: "200ms" } } });
  const wire = await client();
  wire.write(get());
  await wire.response();
  expect(proxy.plane.inspect().backends[0]!.idle).toBe(1);
  await eventually(() => proxy.plane.inspect().backends[0]!.idle === 0, "closed", 1_000);
  await backend.connections[0]!.gone();
});

test.each(["end", "reset"] as const)(
  "an idle connection that the backend closes (%s) leaves the pool at once",
  async (how) => {
    const { client, backend, proxy } = await scene(answering(ok()));
    const wire = await client();
    wire.write(get());
    await wire.response();
    expect(proxy.plane.inspect().backends[0]!.idle).toBe(1);
    backend.connections[0]![how]();
    await eventually(() => proxy.plane.inspect().backends[0]!.idle === 0, "gone", 500);
    wire.write(post("safe to send, on a new connection"));
    expect((await wire.response()).status).toBe(200);
    expect(backend.connections).toHaveLength(2);
    expect(proxy.snapshot().upstreams[0]!.backends[0]).toMatchObject({ failures: 0, connections: 1 });
  },
);

test("the connection used last is used again first", async () => {
  const { release, script } = holding();
  const { client, backend, quiet } = await scene(async (wire, index) => {
    if (index < 3) return script(wire);
  });
  const wires = await Promise.all(Array.from({ length: 3 }, client));
  for (const wire of wires) {
    wire.write(get("/hold"));
    await turn();
  }
  await eventually(() => backend.connections.length === 3, "three are open");
  await turn();
  release();
  await Promise.all(wires.map((wire) => wire.response()));
  await quiet();
  const heard = backend.connections.map(() => 0);
  backend.connections.forEach(({ socket }, index) => {
    socket.on("data", () => heard[index]!++);
  });
  for (let i = 0; i < 10; i++) {
    wires[0]!.write(get());
    await wires[0]!.response();
  }
  expect([...heard].sort((a, b) => a - b)).toEqual([0, 0, 10]);
});

test("what cannot be sent twice gets a new connection, though the only one allowed has been idle for a while", async () => {
  const { client, backend, proxy } = await scene(answering(ok()), { upstream: { pool: { maxConnections: 1 } } });
  const wire = await client();
  wire.write(get());
  await wire.response();
  await pause(1_100);
  for (let i = 0; i < 3; i++) {
    wire.write(post("order"));
    expect((await wire.response()).status).toBe(200);
  }
  expect(backend.connections).toHaveLength(2);
  expect(proxy.snapshot().upstreams[0]!.backends[0]).toMatchObject({ failures: 0, connections: 1 });
});

test("a connection that ends right behind its response fails no request behind it", async () => {
  const { client, backend, proxy } = await scene(async (wire) => {
    await wire.request();
    wire.end(ok("last words"));
  });
  const wire = await client();
  wire.write(get("/1") + get("/2") + get("/3"));
  for (let i = 0; i < 3; i++) expect((await wire.response()).body).toBe("last words");
  for (let i = 0; i < 3; i++) {
    wire.write(post("x"));
    expect((await wire.response()).body).toBe("last words");
  }
  expect(backend.connections).toHaveLength(6);
  expect(proxy.snapshot().upstreams[0]!.backends[0]!.failures).toBe(0);
});

test.each([
  ["a chunked body", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
  ["a body of 100 kB", post("x".repeat(100_000))],
  ["a short body", post("x")],
] as const)(
  "a request with %s that no backend takes leaves its connection ready for the next",
  async (_what, request) => {
    const dead = await deadPort();
    const { client } = await scene([], {
      settings: () => ({
        listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
        upstreams: { web: { backends: [`http://127.0.0.1:${dead}`] } },
      }),
    });
    let wire = await client();
    for (let i = 0; i < 4; i++) {
      wire.write(request);
      const response = await wire.response();
      expect(response.status).toBe(502);
      if (response.value("connection") !== "close") continue;
      await wire.gone();
      wire = await client();
    }
  },
);

test.skipIf(process.platform !== "linux")(
  "a backend that does not even accept is left for another after timeouts.connect",
  async () => {
    // A process that is stopped accepts nothing: once its queue is full, connects stay unanswered.
    const stopped = spawn(process.execPath, [
      "-e",
      "const s = require('net').createServer(() => {}).listen(0, '127.0.0.1', 1, () => console.log(s.address().port))",
    ]);
    onTestFinished(() => {
      stopped.kill("SIGKILL");
    });
    const port = Number(await new Promise((resolve) => stopped.stdout.once("data", resolve)));
    stopped.kill("SIGSTOP");
    const fillers = Array.from({ length: 8 }, () => connect(port, "127.0.0.1").on("error", () => {}));
    onTestFinished(() => {
      for (const filler of fillers) filler.destroy();
    });
    await pause(300);
    const deaf = `http://127.0.0.1:${port}`;
    const { client, proxy } = await scene(answering(ok("other")), {
      settings: ([url]) => ({
        listeners: [
          {
            listen: "127.0.0.1:0",
            routes: [{ match: { path: "/alone" }, upstream: "alone" }, { upstream: "web" }],
          },
        ],
        upstreams: {
          web: { balance: "round-robin", timeouts: { connect: "200ms" }, backends: [deaf, url!] },
          alone: { timeouts: { connect: "200ms" }, backends: [deaf] },
        },
      }),
    });
    const wire = await client();
    for (let i = 0; i < 3; i++) {
      wire.write(i === 1 ? post("x".repeat(100_000)) : get());
      expect((await wire.response()).body).toBe("other");
    }
    const alone = await client();
    alone.write(get("/alone"));
    expect((await alone.response()).status).toBe(504);
    const { timeouts, upstreams } = proxy.snapshot();
    expect(timeouts.connect).toBeGreaterThanOrEqual(2);
    expect(upstreams[0]!.backends[0]!.failures).toBe(upstreams[0]!.backends[0]!.requests);
    expect(proxy.plane.inspect().backends.map(({ opening, busy }) => [opening, busy])).toEqual([
      [0, 0],
      [0, 0],
      [0, 0],
    ]);
  },
);
