import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { startProxy } from "../support/proxy.ts";
import { answering, ok } from "../support/raw-backend.ts";
import { get, READ_MODES, scene } from "../support/scene.ts";
import { eventually, pause, turn } from "../support/wire.ts";

const UPGRADE = get("/ws", ["Connection: Upgrade", "Upgrade: echo"]);
const SWITCHED = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";

describe.each(READ_MODES)("with reads by %s", (mode) => {
  async function webSockets(onConnection: (socket: WebSocket) => void) {
    const server = createServer();
    const sockets = new WebSocketServer({ server });
    sockets.on("connection", onConnection);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const proxy = await startProxy(
      {
        listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
        upstreams: { web: { backends: [`http://127.0.0.1:${port}`] } },
      },
      mode,
    );
    onTestFinished(() => {
      for (const client of sockets.clients) client.terminate();
      proxy.close();
      server.close();
      expect(proxy.logs.filter(({ code }) => code === "fault")).toEqual([]);
    });
    const quiet = () =>
      eventually(
        () => {
          const { tunnels, exchanges, clientConnections, backends } = proxy.plane.inspect();
          return tunnels === 0 && exchanges === 0 && clientConnections === 0 && backends[0]!.busy === 0;
        },
        `rest: ${JSON.stringify(proxy.plane.inspect())}`,
      );
    return { proxy, server: sockets, quiet, url: `ws://127.0.0.1:${proxy.port}/chat` };
  }

  const opened = (socket: WebSocket) =>
    new Promise<void>((resolve, reject) => {
      socket.once("open", resolve);
      socket.once("error", reject);
    });

  test("a WebSocket carries text and binary frames of every size both ways", async () => {
    const { url, quiet } = await webSockets((socket) => {
      socket.on("message", (data, binary) => socket.send(data, { binary }));
    });
    const socket = new WebSocket(url, { perMessageDeflate: false });
    await opened(socket);
    for (const size of [0, 1, 125, 126, 65_535, 65_536, 1_000_000, 8_000_000]) {
      const sent = Buffer.alloc(size, Buffer.from([0, 1, 2, 250, 255, 13, 10]));
      socket.send(sent);
      const [back, binary] = await new Promise<[Buffer, boolean]>((resolve) =>
        socket.once("message", (data, isBinary) => resolve([data as Buffer, isBinary])),
      );
      expect(binary).toBe(true);
      expect(back.equals(sent)).toBe(true);
    }
    socket.send("grüße");
    expect(String(await new Promise((resolve) => socket.once("message", resolve)))).toBe("grüße");
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.close(1000);
    expect(await closed).toBe(1000);
    await quiet();
  });

  test("a close of the server, with its code, reaches the client", async () => {
    const { url, quiet } = await webSockets((socket) => {
      socket.on("message", () => socket.close(4001, "enough"));
    });
    const socket = new WebSocket(url);
    await opened(socket);
    const closed = new Promise((resolve) => socket.once("close", (code, reason) => resolve([code, String(reason)])));
    socket.send("x");
    expect(await closed).toEqual([4001, "enough"]);
    await quiet();
  });

  test("a client that breaks off takes the server's side along", async () => {
    let gone = false;
    const { url, quiet } = await webSockets((socket) => {
      socket.on("close", () => {
        gone = true;
      });
      socket.on("error", () => {});
    });
    const socket = new WebSocket(url);
    await opened(socket);
    socket.terminate();
    await eventually(() => gone, "the server noticed");
    await quiet();
  });

  test("a server that breaks off takes the client's side along", async () => {
    const { url, quiet } = await webSockets((socket) => {
      socket.on("message", () => socket.terminate());
    });
    const socket = new WebSocket(url);
    socket.on("error", () => {});
    await opened(socket);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.send("x");
    expect(await closed).toBe(1006);
    await quiet();
  });

  test("bytes right behind the request and right behind the 101 belong to the tunnel", async () => {
    const { client, proxy, quiet } = await scene(
      async (wire) => {
        const head = await wire.until("\r\n\r\n");
        expect(head.toLowerCase()).toContain("connection: upgrade\r\nupgrade: echo\r\n");
        wire.write(`${SWITCHED}early`);
        wire.write(await wire.read(8));
        wire.write(await wire.read(4));
        wire.end();
      },
      { mode },
    );
    const wire = await client();
    wire.write(`${UPGRADE}GET / HT`);
    const response = await wire.response();
    expect(response.status).toBe(101);
    expect(response.value("upgrade")).toBe("echo");
    expect(response.value("connection")?.toLowerCase()).toBe("upgrade");
    expect(await wire.read(13)).toBe("earlyGET / HT");
    expect(proxy.plane.inspect().tunnels).toBe(1);
    expect(proxy.snapshot().tunnelsActive).toBe(1);
    wire.write("last");
    expect(await wire.rest()).toBe("last");
    wire.end();
    await quiet();
    expect(proxy.snapshot().tunnelsActive).toBe(0);
    expect(proxy.snapshot().tunnelsOpened).toBe(1);
  });

  test("either side may end its direction and still hear the other", async () => {
    const { client, quiet } = await scene(
      async (wire) => {
        await wire.until("\r\n\r\n");
        wire.write(SWITCHED);
        const all = await wire.rest();
        await pause(50);
        wire.end(`heard ${all}`);
      },
      { mode },
    );
    const wire = await client();
    wire.write(UPGRADE);
    await wire.response();
    wire.end("everything");
    expect(await wire.rest()).toBe("heard everything");
    await quiet();
  });

  test("what one side sent before it ended arrives, however much it is and however slowly it is read", async () => {
    const size = 10_000_000;
    const { client, quiet } = await scene(
      async (wire) => {
        await wire.until("\r\n\r\n");
        wire.write(SWITCHED);
        await wire.read(2);
        wire.write("x".repeat(size));
        wire.end();
      },
      { mode },
    );
    const wire = await client();
    wire.write(UPGRADE);
    await wire.response();
    wire.end("go");
    wire.socket.pause();
    await pause(300);
    wire.socket.resume();
    expect((await wire.rest()).length).toBe(size);
    await quiet();
  }, 20_000);

  test("101 that nobody asked for is a 502 and never passed on", async () => {
    const { client, backend } = await scene(answering(SWITCHED), { mode });
    const wire = await client();
    wire.write(get());
    expect((await wire.response()).status).toBe(502);
    await backend.connections[0]!.gone();
  });

  test("an upgrade that is refused is an ordinary response, and the connection goes on", async () => {
    const { client, backend } = await scene(
      answering((request) =>
        request.start.includes("/ws") ? "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno" : ok(),
      ),
      { mode },
    );
    const wire = await client();
    wire.write(UPGRADE);
    expect((await wire.response()).status).toBe(426);
    wire.write(get());
    expect((await wire.response()).body).toBe("ok");
    expect(backend.connections).toHaveLength(1);
  });

  test.each(["h2c", "H2C, echo"])("an upgrade to %s is not forwarded: the request is served without it", async (to) => {
    let head: readonly string[] = [];
    const { client } = await scene(
      answering((request) => {
        head = request.lines;
        return ok();
      }),
      { mode },
    );
    const wire = await client();
    wire.write(get("/", ["Connection: Upgrade, HTTP2-Settings", `Upgrade: ${to}`, "HTTP2-Settings: AAMAAABkAAQAAP__"]));
    expect((await wire.response()).status).toBe(200);
    expect(head.filter((line) => /^(upgrade|connection|http2-settings):/i.test(line))).toEqual([]);
  });

  test("Upgrade without Connection: upgrade is dropped", async () => {
    let head: readonly string[] = [];
    const { client } = await scene(
      answering((request) => {
        head = request.lines;
        return ok();
      }),
      { mode },
    );
    const wire = await client();
    wire.write(get("/", ["Upgrade: echo"]));
    expect((await wire.response()).status).toBe(200);
    expect(head.filter((line) => /^(upgrade|connection):/i.test(line))).toEqual([]);
  });

  test("an upgrade with a body is served without the upgrade", async () => {
    const { client } = await scene(
      answering((request) => ok(`${request.value("upgrade")} ${request.body}`)),
      { mode },
    );
    const wire = await client();
    wire.write("POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\nContent-Length: 2\r\n\r\nhi");
    expect((await wire.response()).body).toBe("undefined hi");
  });

  test("a silent tunnel is closed after timeouts.tunnel", async () => {
    const { client, backend, quiet } = await scene(
      async (wire) => {
        await wire.until("\r\n\r\n");
        wire.write(SWITCHED);
        for (;;) wire.write(await wire.read(1));
      },
      { mode, listener: { timeouts: { tunnel: "300ms" } } },
    );
    const wire = await client();
    wire.write(UPGRADE);
    await wire.response();
    for (let i = 0; i < 5; i++) {
      await pause(120);
      wire.write("x");
      expect(await wire.read(1)).toBe("x");
    }
    const from = performance.now();
    await wire.gone();
    expect(performance.now() - from).toBeGreaterThan(250);
    await backend.connections[0]!.gone();
    await quiet();
  });

  test("101 bytes that come one by one make the same tunnel", async () => {
    const { client } = await scene(
      async (wire) => {
        await wire.until("\r\n\r\n");
        await wire.writeInPieces(`${SWITCHED}hello`, 1);
        await turn();
        wire.end();
      },
      { mode },
    );
    const wire = await client();
    await wire.writeInPieces(UPGRADE, 1);
    expect((await wire.response()).status).toBe(101);
    expect(await wire.rest()).toBe("hello");
  });
});
