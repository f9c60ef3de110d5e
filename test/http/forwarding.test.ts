import { describe, expect, test } from "vitest";
import { answering, ok } from "../support/raw-backend.ts";
import { get, post, READ_MODES, type SceneOptions, scene } from "../support/scene.ts";
import type { Message } from "../support/wire.ts";

/** Sends `request` and returns it as the backend got it, with the response the client got. */
async function passed(
  request: string,
  options: SceneOptions = {},
  answer = ok(),
): Promise<{ up: Message; down: Message; backendUrl: string }> {
  let up: Message | undefined;
  const { client, backend } = await scene(
    answering((received) => {
      up = received;
      return answer;
    }),
    options,
  );
  const wire = await client();
  wire.write(request);
  const down = await wire.response();
  return { up: up!, down, backendUrl: backend.url };
}

const TRUSTING = { listener: { trustedProxies: ["127.0.0.0/8"] } };

describe.each(READ_MODES)("with reads by %s", (mode) => {
  test("hop-by-hop fields and those named in Connection stay on their hop, both ways", async () => {
    const { up, down } = await passed(
      get("/", [
        "Connection: close, X-Secret, x-other",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic x",
        "TE: trailers",
        "X-Secret: 1",
        "X-OTHER: 2",
        "X-Kept: 3",
      ]),
      { mode },
      ok("ok", [
        "Connection: keep-alive, X-Hop",
        "Keep-Alive: timeout=9",
        "Proxy-Authenticate: Basic",
        "X-Hop: 1",
        "X-Stays: 2",
      ]),
    );
    const names = (message: Message) => message.lines.map((line) => line.slice(0, line.indexOf(":")).toLowerCase());
    expect(names(up).sort()).toEqual(
      ["host", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-kept", "x-request-id"].sort(),
    );
    expect(names(down)).toEqual(expect.arrayContaining(["x-stays", "content-length", "date", "connection"]));
    for (const name of ["keep-alive", "proxy-authenticate", "x-hop"]) expect(names(down)).not.toContain(name);
    expect(down.value("connection")).toBe("close");
  });

  test("order, case, repetition and odd bytes of other fields are kept, both ways", async () => {
    const fields = [
      "X-First: 1",
      "accept: a/b",
      "X-First: 2",
      "x-empty:",
      "COOKIE: a=b; c=d",
      "X-Odd: \xe4\xf6 \t tab",
      "x-first: 3",
    ];
    const answer = ok("ok", ["Set-Cookie: a=1", "X-B: \xff", "set-cookie: b=2", "Date: Tue, 24 Nov 2026 09:00:00 GMT"]);
    const { up, down } = await passed(get("/", fields), { mode }, answer);
    expect(up.lines.filter((line) => fields.includes(line))).toEqual(fields);
    expect(down.lines.slice(0, 4)).toEqual([
      "Set-Cookie: a=1",
      "X-B: \xff",
      "set-cookie: b=2",
      "Date: Tue, 24 Nov 2026 09:00:00 GMT",
    ]);
    expect(down.values("date")).toHaveLength(1);
  });

  test("the second of two alike requests is forwarded like the first, and one that differs is not", async () => {
    const seen: Message[] = [];
    const { client } = await scene(
      answering((request) => {
        seen.push(request);
        return ok();
      }),
      { mode },
    );
    const wire = await client();
    for (const [target, value] of [
      ["/1", "a"],
      ["/2", "a"],
      ["/3", "b"],
      ["/4", "a"],
    ]) {
      wire.write(get(target, [`X-V: ${value}`]));
      await wire.response();
    }
    wire.write("GET /5 HTTP/1.1\r\nHost: other.test\r\nX-V: a\r\n\r\n");
    await wire.response();
    wire.write("GET http://third.test/6 HTTP/1.1\r\nHost: other.test\r\nX-V: a\r\n\r\n");
    await wire.response();
    wire.write("GET /7 HTTP/1.1\r\nHost: other.test\r\nX-V: a\r\n\r\n");
    await wire.response();
    expect(seen.map(({ start }) => start.split(" ")[1])).toEqual(["/1", "/2", "/3", "/4", "/5", "/6", "/7"]);
    expect(seen.map((message) => message.value("x-v"))).toEqual(["a", "a", "b", "a", "a", "a", "a"]);
    const hosts = ["shop.test", "shop.test", "shop.test", "shop.test", "other.test", "third.test", "other.test"];
    expect(seen.map((message) => message.value("host"))).toEqual(hosts);
    expect(seen.map((message) => message.value("x-forwarded-host"))).toEqual(hosts);
    expect(new Set(seen.map((message) => message.value("x-request-id"))).size).toBe(7);
  });
});

test("what a stranger says of the client, the scheme, the host and the request id is dropped", async () => {
  const { up } = await passed(
    get("/", [
      "X-Forwarded-For: 1.2.3.4",
      "x-forwarded-for: 5.6.7.8",
      "X-Forwarded-Proto: https",
      "X-Forwarded-Host: evil.test",
      "Forwarded: for=6.6.6.6",
      "X-Request-Id: evil",
      "Via: 1.1 before",
    ]),
  );
  expect(up.value("x-forwarded-for")).toBe("127.0.0.1");
  expect(up.value("x-forwarded-proto")).toBe("http");
  expect(up.value("x-forwarded-host")).toBe("shop.test");
  expect(up.value("forwarded")).toBeUndefined();
  expect(up.value("x-request-id")).toMatch(/^[0-9a-f]{16}-[0-9a-z]+$/);
  expect(up.values("via")).toEqual(["1.1 before", "1.1 spillway"]);
});

test("what a trusted proxy says is kept and continued", async () => {
  const { up } = await passed(
    get("/", [
      "X-Forwarded-For: 192.0.2.7",
      "X-Forwarded-For: 198.51.100.2",
      "X-Forwarded-Proto: https",
      "X-Forwarded-Host: www.shop.test",
      "X-Request-Id: from-the-edge",
    ]),
    TRUSTING,
  );
  expect(up.value("x-forwarded-for")).toBe("192.0.2.7, 198.51.100.2, 127.0.0.1");
  expect(up.value("x-forwarded-proto")).toBe("https");
  expect(up.value("x-forwarded-host")).toBe("www.shop.test");
  expect(up.value("x-request-id")).toBe("from-the-edge");
});

test("the client's address is the last one before the trusted proxies", async () => {
  const headers = { request: { set: { "x-client": "{client}" } } };
  const routed = {
    listener: { ...TRUSTING.listener, routes: [{ headers, upstream: "web" }] },
  };
  const chain = ["X-Forwarded-For: 203.0.113.9, 192.0.2.7, 127.0.0.3"];
  expect((await passed(get("/", chain), routed)).up.value("x-client")).toBe("192.0.2.7");
  expect((await passed(get("/"), routed)).up.value("x-client")).toBe("127.0.0.1");
  const nonsense = ["X-Forwarded-For: <script>, 127.0.0.3"];
  expect((await passed(get("/", nonsense), routed)).up.value("x-client")).toBe("127.0.0.3");
  const ports = ["X-Forwarded-For: [2001:db8::1]:443, 127.0.0.3:99"];
  expect((await passed(get("/", ports), routed)).up.value("x-client")).toBe("2001:db8::1");
});

test("a second request on the connection has its own client, not the first one's", async () => {
  const clients: (string | undefined)[] = [];
  const { client } = await scene(
    answering((request) => {
      clients.push(request.value("x-client"));
      return ok();
    }),
    {
      listener: {
        ...TRUSTING.listener,
        routes: [{ headers: { request: { set: { "x-client": "{client}" } } }, upstream: "web" }],
      },
    },
  );
  const wire = await client();
  for (const fields of [
    ["X-Forwarded-For: 192.0.2.1"],
    ["X-Forwarded-For: 192.0.2.2"],
    [],
    ["X-Forwarded-For: 192.0.2.1"],
  ]) {
    wire.write(get("/", fields));
    await wire.response();
  }
  expect(clients).toEqual(["192.0.2.1", "192.0.2.2", "127.0.0.1", "192.0.2.1"]);
});

test("Forwarded is written as RFC 7239 asks, and a trusted proxy's is continued", async () => {
  const rfc7239 = { forwarded: { rfc7239: true } };
  const fresh = await passed(get("/", ["Forwarded: for=evil"]), { listener: rfc7239 });
  expect(fresh.up.value("forwarded")).toBe('for=127.0.0.1;host="shop.test";proto=http');
  const continued = await passed(get("/", ['Forwarded: for="[2001:db8::1]"']), {
    listener: { ...rfc7239, ...TRUSTING.listener },
  });
  expect(continued.up.value("forwarded")).toBe('for="[2001:db8::1]", for=127.0.0.1;host="shop.test";proto=http');
});

test("forwarding fields can be switched off, one by one", async () => {
  const { up } = await passed(get("/", ["X-Request-Id: theirs", "X-Forwarded-For: theirs"]), {
    listener: { forwarded: { xForwarded: false, via: false, requestId: false } },
  });
  const names = up.lines.map((line) => line.slice(0, line.indexOf(":")).toLowerCase());
  // Without a field of ours, a request id is a field like any other.
  expect(names).toEqual(["host", "x-request-id"]);
});

test("the request id has the name the configuration gives it", async () => {
  const { up } = await passed(get("/", ["Trace-Id: mine", "X-Request-Id: other"]), {
    listener: { forwarded: { requestId: "Trace-Id" } },
  });
  expect(up.values("trace-id")).toHaveLength(1);
  expect(up.value("trace-id")).not.toBe("mine");
  expect(up.value("x-request-id")).toBe("other");
});

test("hostHeader keep: the backend sees the host as the client wrote it, exactly once and first", async () => {
  const { up } = await passed("GET / HTTP/1.1\r\nX-A: 1\r\nHost: Shop.Test:8080\r\n\r\n");
  expect(up.lines[0]?.toLowerCase()).toMatch(/^host:/);
  expect(up.value("host")).toBe("Shop.Test:8080");
});

test("hostHeader backend: the backend sees its own address", async () => {
  const { up, backendUrl } = await passed(get(), { upstream: { hostHeader: "backend" } });
  expect(up.value("host")).toBe(new URL(backendUrl).host);
  expect(up.value("x-forwarded-host")).toBe("shop.test");
});

test("hostHeader with a name: the backend sees that", async () => {
  const { up } = await passed(get(), { upstream: { hostHeader: "inner.test" } });
  expect(up.value("host")).toBe("inner.test");
});

test("an HTTP/1.0 request without Host gets the backend's, and becomes 1.1", async () => {
  const { up, backendUrl } = await passed("GET /old HTTP/1.0\r\n\r\n");
  expect(up.start).toBe("GET /old HTTP/1.1");
  expect(up.value("host")).toBe(new URL(backendUrl).host);
  expect(up.value("x-forwarded-host")).toBeUndefined();
  expect(up.value("via")).toBe("1.0 spillway");
});

test.each([
  ["http://Real.test:81/p?q=1", "/p?q=1", "Real.test:81"],
  ["http://real.test", "/", "real.test"],
  ["http://real.test?x", "/?x", "real.test"],
  ["HTTPS://real.test/", "/", "real.test"],
])("the absolute form %s is forwarded as %s with its own authority", async (target, path, host) => {
  const { up } = await passed(`GET ${target} HTTP/1.1\r\nHost: ignored.test\r\n\r\n`);
  expect(up.start).toBe(`GET ${path} HTTP/1.1`);
  expect(up.value("host")).toBe(host);
});

test.each(["/a%2Fb/../c//d/./e?x=%00&y=a+b", "/;p=1?", "/?", "//double", "/%zz", "/{a|b}"])(
  "the target %s is forwarded as sent",
  async (target) => {
    expect((await passed(get(target))).up.start).toBe(`GET ${target} HTTP/1.1`);
  },
);

test.each(["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "custom-Method!"])(
  "the method %s is forwarded as sent",
  async (method) => {
    expect((await passed(`${method} / HTTP/1.1\r\nHost: a\r\n\r\n`)).up.start).toBe(`${method} / HTTP/1.1`);
  },
);

test("OPTIONS * is forwarded as that", async () => {
  expect((await passed("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")).up.start).toBe("OPTIONS * HTTP/1.1");
});

test("Content-Length: 0 is kept, and no length stays none", async () => {
  expect((await passed(post(""))).up.value("content-length")).toBe("0");
  const { up } = await passed("POST / HTTP/1.1\r\nHost: a\r\n\r\n");
  expect(up.value("content-length")).toBeUndefined();
  expect(up.value("transfer-encoding")).toBeUndefined();
});

test("a response without Date gets one; the reason phrase is kept", async () => {
  const { down } = await passed(get(), {}, "HTTP/1.1 299 All  Good\xe4!\r\nContent-Length: 0\r\n\r\n");
  expect(down.start).toBe("HTTP/1.1 299 All  Good\xe4!");
  expect(Math.abs(Date.parse(down.value("date")!) - Date.now())).toBeLessThan(5_000);
});

test("naming Host, Content-Length or Transfer-Encoding in Connection removes none of them", async () => {
  const { up } = await passed(post("body", "/", ["Connection: Host, Content-Length, Transfer-Encoding"]));
  expect(up.value("host")).toBe("shop.test");
  expect(up.body).toBe("body");
});

test("naming a forwarding field in Connection does not remove ours", async () => {
  const { up } = await passed(get("/", ["Connection: X-Forwarded-For, Via, X-Request-Id, X-Forwarded-Proto"]));
  expect(up.value("x-forwarded-for")).toBe("127.0.0.1");
  expect(up.value("via")).toBe("1.1 spillway");
  expect(up.value("x-request-id")).toBeDefined();
});
