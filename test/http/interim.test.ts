import { describe, expect, test } from "vitest";
import { ok } from "../support/raw-backend.ts";
import { get, READ_MODES, scene } from "../support/scene.ts";
import { turn } from "../support/wire.ts";

const EXPECTING = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

describe.each(READ_MODES)("with reads by %s", (mode) => {
  test("early hints reach the client before the response, with their fields", async () => {
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        wire.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
        wire.write("HTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\n\r\n");
        await turn();
        wire.write(ok("page"));
      },
      { mode },
    );
    const wire = await client();
    wire.write(get());
    const hints = await wire.response();
    expect(hints.start).toBe("HTTP/1.1 103 Early Hints");
    expect(hints.lines).toEqual(["Link: </a.css>; rel=preload"]);
    expect((await wire.response()).lines).toEqual(["Link: </b.css>"]);
    expect((await wire.response()).body).toBe("page");
  });

  test("interim and final response in one packet are told apart", async () => {
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        wire.write(`HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n${ok("page")}`);
      },
      { mode },
    );
    const wire = await client();
    wire.write(get());
    expect((await wire.response()).status).toBe(102);
    expect((await wire.response()).status).toBe(103);
    expect((await wire.response()).body).toBe("page");
  });

  test("an HTTP/1.0 client is spared interim responses", async () => {
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        wire.write(`HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n${ok("page")}`);
      },
      { mode },
    );
    const wire = await client();
    wire.write("GET / HTTP/1.0\r\n\r\n");
    expect((await wire.response()).status).toBe(200);
  });

  test("a client that waits for 100 is let go on by the backend, not by the proxy", async () => {
    const { client } = await scene(
      async (wire) => {
        const head = await wire.until("\r\n\r\n");
        expect(head.toLowerCase()).toContain("expect: 100-continue\r\n");
        wire.write("HTTP/1.1 100 Continue\r\n\r\n");
        wire.write(ok(await wire.read(5)));
      },
      { mode },
    );
    const wire = await client();
    wire.write(EXPECTING);
    expect((await wire.response()).start).toBe("HTTP/1.1 100 Continue");
    wire.write("hello");
    expect((await wire.response()).body).toBe("hello");
  });

  test("a client that waits for 100 may get a final answer instead, and cannot send its body as a request", async () => {
    const { client, backend } = await scene(
      async (wire) => {
        await wire.until("\r\n\r\n");
        wire.write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
      },
      { mode },
    );
    const wire = await client();
    wire.write(EXPECTING);
    const response = await wire.response();
    expect(response.status).toBe(401);
    expect(response.body).toBe("no");
    expect(response.value("connection")).toBe("close");
    wire.write(get("/smuggled"));
    await wire.gone();
    expect(backend.connections).toHaveLength(1);
    expect(backend.connections[0]!.pending).toBe("");
  });

  test("a body that comes with Expect, unasked, is sent on with it", async () => {
    const { client } = await scene(
      async (wire) => {
        const request = await wire.request();
        wire.write(ok(request.body));
      },
      { mode },
    );
    const wire = await client();
    wire.write(`${EXPECTING}hello`);
    expect((await wire.response()).body).toBe("hello");
  });

  test("an expectation nobody knows is refused with 417", async () => {
    const { client, backend } = await scene(() => {}, { mode });
    const wire = await client();
    wire.write("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n");
    const response = await wire.response();
    expect(response.status).toBe(417);
    expect(response.value("connection")).toBe("close");
    expect(backend.connections).toHaveLength(0);
  });

  test("Expect in HTTP/1.0 is ignored", async () => {
    const { client } = await scene(
      async (wire) => {
        const request = await wire.request();
        expect(request.value("expect")).toBeUndefined();
        wire.write(ok(request.body));
      },
      { mode },
    );
    const wire = await client();
    wire.write("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi");
    expect((await wire.response()).body).toBe("hi");
  });

  test("a backend that sends interim responses without end is cut off with 502", async () => {
    const { client } = await scene(
      async (wire) => {
        await wire.request();
        while (!wire.closed && !wire.ended) {
          wire.write("HTTP/1.1 102 Processing\r\n\r\n".repeat(20));
          await turn();
        }
      },
      { mode },
    );
    const wire = await client();
    wire.write(get());
    let response = await wire.response();
    let interim = 0;
    for (; response.status === 102; interim++) response = await wire.response();
    expect(response.status).toBe(502);
    expect(interim).toBeLessThanOrEqual(200);
  });
});
