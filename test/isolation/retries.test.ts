import { describe, expect, test } from "vitest";
import { answering, deadPort, ok, type Script } from "../support/raw-backend.ts";
import { get, post, READ_MODES, scene } from "../support/scene.ts";
import { eventually, pause, turn } from "../support/wire.ts";
import { type Act, ask, cast, reply } from "./cast.ts";

/** The first delivery of all is lost with its connection, every other is answered. */
const firstIsReset: Act = ({ wire, nth, backend }) => (nth === 0 ? wire.reset() : ok(`from ${backend}`));

/** The first of all gets `status`. */
const firstGets =
  (status: number, fields: readonly string[] = []): Act =>
  ({ nth, backend }) =>
    nth === 0 ? reply(status, "not now", fields) : ok(`from ${backend}`);

const PATIENT = { timeouts: { response: "5s" } };

test.each(["reset", "end"] as const)(
  "a GET whose backend breaks (%s) before it answers is answered by another",
  async (how) => {
    const company = cast(2, ({ wire, nth }) => (nth === 0 ? wire[how]() : ok("from the other")));
    const { client, proxy, quiet } = await scene(company.scripts);
    const response = await ask({ client }, get("/once"));
    expect(response).toMatchObject({ status: 200, body: "from the other" });
    expect(response.values("spillway-reason")).toEqual([]);
    expect(company.counts).toEqual([1, 1]);
    expect(company.deliveries[1]!.request.start).toBe("GET /once HTTP/1.1");
    await quiet();
    expect(proxy.snapshot().upstreams[0]).toMatchObject({ requests: 1, failed: 0, active: 0, retries: 1, moves: 0 });
  },
);

test("a POST whose backend breaks before it answers is 502, delivered once", async () => {
  const company = cast(2, firstIsReset);
  const { client, proxy } = await scene(company.scripts);
  const response = await ask({ client }, post("order"));
  expect(response.status).toBe(502);
  expect(response.value("spillway-reason")).toBe("reset");
  await pause(100);
  expect(company.deliveries).toHaveLength(1);
  expect(proxy.snapshot().upstreams[0]).toMatchObject({ failed: 1, retries: 0 });
});

test("unsafeMethods: a POST is sent again, too, with its body", async () => {
  const company = cast(2, firstIsReset);
  const { client } = await scene(company.scripts, { upstream: { retry: { unsafeMethods: true } } });
  expect((await ask({ client }, post("order"))).status).toBe(200);
  expect(company.counts).toEqual([1, 1]);
  expect(company.deliveries.map(({ request }) => request.body)).toEqual(["order", "order"]);
});

test("the client's connection serves on after a retry", async () => {
  const company = cast(2, firstIsReset);
  const { client, proxy } = await scene(company.scripts);
  const wire = await client();
  wire.write(get("/1") + get("/2") + post("three", "/3"));
  for (let i = 0; i < 3; i++) expect((await wire.response()).status).toBe(200);
  expect(company.deliveries.map(({ request }) => request.start.split(" ")[1])).toEqual(["/1", "/1", "/2", "/3"]);
  expect(proxy.snapshot().upstreams[0]).toMatchObject({ requests: 3, failed: 0 });
});

/** Every byte there is, over and over. */
function bytes(count: number): string {
  return Array.from({ length: count }, (_, i) => String.fromCharCode((i * 7 + (i >> 8)) & 255)).join("");
}

function put(body: string): string {
  return `PUT /thing HTTP/1.1\r\nHost: shop.test\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

function chunked(chunks: readonly string[], trailer = ""): string {
  const text = chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join("");
  return `PUT /thing HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n${text}0\r\n${trailer}\r\n`;
}

describe.each(READ_MODES)("the body of a PUT (reads by %s)", (mode) => {
  test.each([
    ["short", put("a few bytes"), 0],
    ["empty", put(""), 0],
    ["whole with its head", put(bytes(50_000)), 0],
    ["in pieces", put(bytes(40_000)), 3_000],
    ["in the smallest pieces", put(bytes(300)), 7],
    ["as long as is kept", put(bytes(64 * 1024)), 9_999],
    ["in chunks", chunked(["ab", bytes(10_000), bytes(300)]), 0],
    ["in chunks, in pieces", chunked([bytes(5_000), "x", bytes(5_000)]), 777],
    ["in chunks with a trailer", chunked([bytes(100), bytes(20)], "x-sum: 1\r\n"), 50],
  ] as const)("%s: reaches the second backend byte by byte as it did the first", async (_what, request, size) => {
    const company = cast(2, firstIsReset);
    const { client } = await scene(company.scripts, { mode });
    const wire = await client();
    if (size === 0) wire.write(request);
    else await wire.writeInPieces(request, size);
    expect((await wire.response("PUT")).status).toBe(200);
    const [first, second] = company.deliveries;
    const body = request.slice(request.indexOf("\r\n\r\n") + 4);
    expect(second!.request.body).toBe(first!.request.body);
    expect(second!.request.trailers).toEqual(first!.request.trailers);
    if (first!.request.chunks.length === 0) expect(second!.request.body).toBe(body);
    expect(company.counts).toEqual([1, 1]);
    wire.write(get("/next"));
    expect((await wire.response()).status).toBe(200);
  });

  test.each([
    ["of known length", put(bytes(30_000)), bytes(30_000)],
    ["in chunks", chunked([bytes(10_000), bytes(10_000), bytes(10_000)]), bytes(10_000).repeat(3)],
  ])("%s: is replayed though the first backend broke in the middle of it", async (_what, request, body) => {
    let connections = 0;
    const bodies: string[] = [];
    const script: Script = async (wire, index) => {
      if (connections++ > 0) return answering(({ body: got }) => ok(`${bodies.push(got)}`))(wire, index);
      await wire.read(5_000);
      wire.reset();
    };
    const { client } = await scene([script, script], { mode });
    const wire = await client();
    wire.write(request.slice(0, 8_000));
    await eventually(() => connections === 2, "the second backend is asked");
    await wire.writeInPieces(request.slice(8_000), 4_000);
    expect((await wire.response("PUT")).status).toBe(200);
    expect(bodies).toEqual([body]);
  });

  test("longer than retry.bodyBytes: sent once", async () => {
    const company = cast(2, firstIsReset);
    const { client } = await scene(company.scripts, { mode });
    expect((await ask({ client }, put(bytes(64 * 1024 + 1)))).status).toBe(502);
    expect(company.deliveries).toHaveLength(1);
  });

  test("in chunks, longer than retry.bodyBytes: sent once", async () => {
    const company = cast(2, firstIsReset);
    const { client } = await scene(company.scripts, { mode, upstream: { retry: { bodyBytes: "1KiB" } } });
    expect((await ask({ client }, chunked([bytes(600), bytes(600)]))).status).toBe(502);
    expect(company.deliveries).toHaveLength(1);
  });

  test("in very many pieces: sent once, because keeping them would cost far more than their bytes", async () => {
    const company = cast(2, firstIsReset);
    const { client } = await scene(company.scripts, { mode });
    const wire = await client();
    await wire.writeInPieces(put(bytes(900)), 1);
    expect((await wire.response("PUT")).status).toBe(502);
    expect(company.deliveries).toHaveLength(1);
    expect(company.deliveries[0]!.request.body).toBe(bytes(900));
  });

  test("is still there when what came for a response is none, before any of it has gone out", async () => {
    const company = cast(2, ({ nth }) =>
      nth === 0 ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n" : ok("whole"),
    );
    const { client } = await scene(company.scripts, { mode });
    const wire = await client();
    await wire.writeInPieces(put(bytes(3_000)), 1_000);
    expect(await wire.response("PUT")).toMatchObject({ status: 200, body: "whole" });
    expect(company.deliveries.map(({ request }) => request.body)).toEqual([bytes(3_000), bytes(3_000)]);
    expect(company.counts).toEqual([1, 1]);
  });

  test("short, but longer than retry.bodyBytes, whole with its head: sent once", async () => {
    const company = cast(2, firstIsReset);
    const { client } = await scene(company.scripts, { mode, upstream: { retry: { bodyBytes: "100" } } });
    expect((await ask({ client }, put(bytes(101)))).status).toBe(502);
    expect(company.deliveries).toHaveLength(1);
  });

  test("awaited with 100 Continue: is asked for by the second backend, when the first broke before", async () => {
    let connections = 0;
    const script: Script = async (wire) => {
      await wire.until("\r\n\r\n");
      if (connections++ === 0) return wire.reset();
      wire.write("HTTP/1.1 100 Continue\r\n\r\n");
      wire.write(ok(await wire.read(4)));
    };
    const { client } = await scene([script, script], { mode });
    const wire = await client();
    wire.write("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    expect((await wire.response("PUT")).status).toBe(100);
    wire.write("body");
    expect(await wire.response("PUT")).toMatchObject({ status: 200, body: "body" });
    expect(connections).toBe(2);
  });
});

test.each([502, 503])("a response %i is not passed on when another backend answers better", async (status) => {
  const company = cast(2, firstGets(status));
  const { client, proxy, quiet } = await scene(company.scripts);
  expect((await ask({ client }, get())).status).toBe(200);
  expect(company.counts).toEqual([1, 1]);
  await quiet();
  expect(proxy.snapshot().upstreams[0]).toMatchObject({ requests: 1, failed: 0, retries: 1, statuses: { 200: 1 } });
});

test.each([500, 504, 404, 429])("a response %i is passed on", async (status) => {
  const company = cast(2, firstGets(status));
  const { client } = await scene(company.scripts);
  expect(await ask({ client }, get())).toMatchObject({ status, body: "not now" });
  expect(company.deliveries).toHaveLength(1);
});

test("a 503 for a POST is passed on: its backend has had it", async () => {
  const company = cast(2, firstGets(503));
  const { client } = await scene(company.scripts);
  expect(await ask({ client }, post("order"))).toMatchObject({ status: 503, body: "not now" });
  expect(company.deliveries).toHaveLength(1);
});

test("the last 503 of all is passed on as it is", async () => {
  const company = cast(2, ({ backend }) => reply(503, "busy", [`X-Backend: ${backend}`]));
  const { client } = await scene(company.scripts);
  const response = await ask({ client }, get());
  expect(response).toMatchObject({ status: 503, body: "busy" });
  expect(response.value("x-backend")).toBe(String(company.deliveries[1]!.backend));
  expect(response.value("spillway-reason")).toBeUndefined();
  expect(company.counts).toEqual([1, 1]);
});

test("retry.on may list other statuses", async () => {
  const company = cast(2, firstGets(404));
  const { client } = await scene(company.scripts, { upstream: { retry: { on: [404] } } });
  expect((await ask({ client }, get())).status).toBe(200);
});

test("the connection of a 503 that was whole is used again", async () => {
  const company = cast(2, firstGets(503));
  const { client, backends, quiet } = await scene(company.scripts, { upstream: { balance: "round-robin" } });
  await ask({ client }, get());
  await quiet();
  for (let i = 0; i < 4; i++) expect((await ask({ client }, get())).status).toBe(200);
  expect(backends.map(({ connections }) => connections.length)).toEqual([1, 1]);
});

test("the connection of a 503 that was not whole is closed", async () => {
  const company = cast(2, ({ nth }) =>
    nth === 0 ? "HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\nthe rest is on its" : ok("fine"),
  );
  const { client, quiet } = await scene(company.scripts);
  expect(await ask({ client }, get())).toMatchObject({ status: 200, body: "fine" });
  await company.deliveries[0]!.wire.gone();
  await quiet();
});

describe("Retry-After of a 503", () => {
  test("0: another backend is asked at once", async () => {
    const company = cast(2, firstGets(503, ["Retry-After: 0"]));
    const { client } = await scene(company.scripts);
    expect((await ask({ client }, get())).status).toBe(200);
  });

  test("1: another backend is asked in a second", async () => {
    const company = cast(2, firstGets(503, ["retry-after: 1"]));
    const { client } = await scene(company.scripts);
    const from = performance.now();
    expect((await ask({ client }, get())).status).toBe(200);
    expect(performance.now() - from).toBeGreaterThan(980);
  });

  test.each(["120", "Fri, 31 Dec 2199 23:59:59 GMT"])("%s: is for the client to wait for", async (value) => {
    const company = cast(2, firstGets(503, [`Retry-After: ${value}`]));
    const { client } = await scene(company.scripts);
    const response = await ask({ client }, get());
    expect(response).toMatchObject({ status: 503, body: "not now" });
    expect(response.value("retry-after")).toBe(value);
    expect(company.deliveries).toHaveLength(1);
  });

  test("longer than the exchange may take: is passed on at once, not waited for in vain", async () => {
    const company = cast(2, firstGets(503, ["Retry-After: 1"]));
    const { client } = await scene(company.scripts, {
      listener: { routes: [{ timeout: "400ms", upstream: "web" }] },
    });
    expect(await ask({ client }, get())).toMatchObject({ status: 503, body: "not now" });
  });
});

test.each([404, 503])("a field of %i that is long and means nothing keeps nobody waiting", async (status) => {
  const blanks = " ".repeat(55_000);
  for (const field of [`Retry-After: x${blanks}x`, `Retry-After:${blanks}x`, `X-Retry-After: ${blanks}1`]) {
    const company = cast(2, firstGets(status, [field]));
    const { client } = await scene(company.scripts);
    const from = performance.now();
    expect((await ask({ client }, get())).status).toBe(status === 404 ? 404 : 200);
    expect(performance.now() - from).toBeLessThan(1_000);
  }
});

test.each([
  ["a reset", ({ wire }) => wire.reset(), 502],
  ["503", () => reply(503), 503],
] satisfies [string, Act, number][])(
  "attempts: 3 over four backends, each with %s, ends after three of them",
  async (_what, act, status) => {
    const company = cast(4, act);
    const { client, proxy, quiet } = await scene(company.scripts, { upstream: { retry: { attempts: 3 } } });
    expect((await ask({ client }, get())).status).toBe(status);
    expect(company.deliveries).toHaveLength(3);
    expect(Math.max(...company.counts)).toBe(1);
    await quiet();
    expect(proxy.snapshot().upstreams[0]).toMatchObject({ retries: 2, failed: 1, requests: 1 });
  },
);

describe("perTryTimeout", () => {
  test("a backend that is slow is given up, and another answers", async () => {
    const company = cast(2, ({ nth }) => (nth === 0 ? undefined : ok("quick")));
    const { client, proxy, quiet } = await scene(company.scripts, {
      upstream: { ...PATIENT, retry: { perTryTimeout: "150ms" } },
    });
    expect((await ask({ client }, get())).body).toBe("quick");
    await company.deliveries[0]!.wire.gone();
    await quiet();
    expect(proxy.snapshot()).toMatchObject({ timeouts: { response: 1 }, upstreams: [{ retries: 1, failed: 0 }] });
  });

  test("the only backend there is has the whole response time limit", async () => {
    const company = cast(1, async () => {
      await pause(250);
      return ok("late");
    });
    const { client } = await scene(company.scripts, { upstream: { ...PATIENT, retry: { perTryTimeout: "100ms" } } });
    expect((await ask({ client }, get())).body).toBe("late");
  });

  test("so has the last attempt", async () => {
    const company = cast(2, async ({ nth }) => {
      await pause(nth === 0 ? 3_000 : 250);
      return ok("late");
    });
    const { client } = await scene(company.scripts, { upstream: { ...PATIENT, retry: { perTryTimeout: "100ms" } } });
    expect((await ask({ client }, get())).body).toBe("late");
  });

  test("a POST, which cannot be sent again, has it too", async () => {
    const company = cast(2, async () => {
      await pause(250);
      return ok("late");
    });
    const { client } = await scene(company.scripts, { upstream: { ...PATIENT, retry: { perTryTimeout: "100ms" } } });
    expect((await ask({ client }, post("order"))).body).toBe("late");
    expect(company.deliveries).toHaveLength(1);
  });
});

describe("retry: false", () => {
  const off = { upstream: { retry: false as const } };

  test.each([
    ["a reset is 502", firstIsReset, 502],
    ["503 is passed on", firstGets(503), 503],
  ] as const)("%s", async (_what, act, status) => {
    const company = cast(2, act);
    const { client } = await scene(company.scripts, off);
    expect((await ask({ client }, get())).status).toBe(status);
    expect(company.deliveries).toHaveLength(1);
  });
});

/** Two requests over a backend that nobody listens for and one that answers: what came of them, in order of status. */
async function pastADeadOne(on: ("connect" | "reset")[] | undefined, request: string) {
  const dead = await deadPort();
  const company = cast(1, () => ok("alive"));
  const { client, proxy } = await scene(company.scripts, {
    settings: ([url]) => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: {
        web: {
          balance: "round-robin",
          backends: [`http://127.0.0.1:${dead}`, url!],
          retry: on === undefined ? {} : { on },
        },
      },
    }),
  });
  const responses = [await ask({ client }, request), await ask({ client }, request)];
  return { responses: responses.sort((a, b) => a.status - b.status), proxy };
}

test.each([get(), post("order")])("what could not be sent for want of a connection moves on (%#)", async (request) => {
  const { responses, proxy } = await pastADeadOne(undefined, request);
  expect(responses.map(({ status }) => status)).toEqual([200, 200]);
  const [web] = proxy.snapshot().upstreams;
  expect(web).toMatchObject({ moves: web!.backends[0]!.failures, retries: 0, failed: 0 });
  expect(web!.moves).toBeGreaterThan(0);
});

test("retry.on without connect: a backend without a connection is the end of it", async () => {
  const { responses, proxy } = await pastADeadOne(["reset"], get());
  expect(responses.map(({ status }) => status)).toEqual([200, 502]);
  expect(responses[1]!.value("spillway-reason")).toBe("connect");
  expect(proxy.snapshot().upstreams[0]).toMatchObject({ moves: 0, failed: 1 });
});

describe("once the response has begun", () => {
  test.each([
    ["amid its body", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"],
    ["behind its head", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"],
    ["amid a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf"],
  ])("a reset %s cuts the client off, and nobody else is asked", async (_where, beginning) => {
    const company = cast(2, async ({ wire, nth }) => {
      if (nth > 0) return ok();
      wire.write(beginning);
      await pause(30);
      wire.reset();
    });
    const { client, quiet } = await scene(company.scripts);
    const wire = await client();
    wire.write(get());
    const text = await wire.rest();
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(text.match(/HTTP\/1\.1/g)).toHaveLength(1);
    await pause(60);
    expect(company.deliveries).toHaveLength(1);
    await quiet();
  });

  test("a head that broke off was none: the client gets the other backend's response alone", async () => {
    const company = cast(2, async ({ wire, nth }) => {
      if (nth > 0) return ok("whole");
      wire.write("HTTP/1.1 200 OK\r\nX-First: 1\r\nConte");
      await turn();
      wire.reset();
    });
    const { client } = await scene(company.scripts);
    const response = await ask({ client }, get());
    expect(response).toMatchObject({ status: 200, body: "whole" });
    expect(response.value("x-first")).toBeUndefined();
  });

  test("what is no HTTP was no response either", async () => {
    const company = cast(2, ({ nth }) => (nth === 0 ? "220 mail.test ESMTP\r\n" : ok("whole")));
    const { client } = await scene(company.scripts);
    expect((await ask({ client }, get())).body).toBe("whole");
    expect(company.counts).toEqual([1, 1]);
  });

  test("an interim response is not its beginning: hints before a reset are passed on, and the other's response", async () => {
    const company = cast(2, async ({ wire, nth }) => {
      if (nth > 0) return ok("final");
      wire.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
      await pause(30);
      wire.reset();
    });
    const { client } = await scene(company.scripts);
    const wire = await client();
    wire.write(get());
    expect((await wire.response()).status).toBe(103);
    expect(await wire.response()).toMatchObject({ status: 200, body: "final" });
    expect(wire.pending).toBe("");
  });
});

describe("the budget", () => {
  const none = { upstream: { retry: { budget: "0%", minimumBudget: 0 }, pool: { queue: { timeout: "100ms" } } } };

  test("without any, a 503 is passed on", async () => {
    const company = cast(2, firstGets(503));
    const { client, proxy } = await scene(company.scripts, none);
    expect(await ask({ client }, get())).toMatchObject({ status: 503, body: "not now" });
    expect(company.deliveries).toHaveLength(1);
    expect(proxy.snapshot().upstreams[0]).toMatchObject({ retries: 0, retriesDenied: 1 });
  });

  test("without any, a lost request waits for it as long as it might in the queue, and fails", async () => {
    const company = cast(2, firstIsReset);
    const { client, proxy, quiet } = await scene(company.scripts, none);
    const from = performance.now();
    const response = await ask({ client }, get());
    expect(response.status).toBe(502);
    expect(response.value("spillway-reason")).toBe("reset");
    expect(performance.now() - from).toBeGreaterThan(80);
    expect(company.deliveries).toHaveLength(1);
    await quiet();
    expect(proxy.snapshot().upstreams[0]).toMatchObject({ retries: 0, retriesDenied: 1 });
  });

  test("a retry whose turn comes late is still sent", async () => {
    let held: (() => void) | undefined;
    const company = cast(2, async ({ wire, request, backend }) => {
      const first = company.deliveries.filter((each) => each.request.start === request.start).length === 1;
      if (first) return wire.reset();
      if (request.start.includes("/hold")) await new Promise<void>((resolve) => (held = resolve));
      return ok(`from ${backend}`);
    });
    const { client, proxy } = await scene(company.scripts, {
      upstream: { retry: { budget: "0%", minimumBudget: 1 }, pool: { queue: { timeout: "3s" } } },
    });
    const holder = ask({ client }, get("/hold"));
    await eventually(() => held !== undefined, "the budget is taken");
    const late = ask({ client }, get("/late"));
    await eventually(() => company.deliveries.some(({ request }) => request.start.includes("/late")), "sent once");
    await pause(60);
    expect(company.deliveries).toHaveLength(3);
    held!();
    expect((await holder).status).toBe(200);
    expect((await late).status).toBe(200);
    expect(proxy.snapshot().upstreams[0]).toMatchObject({ retries: 2, failed: 0 });
  });
});

describe("the access log", () => {
  const log = { access: { format: "json", path: "stdout" } } as const;

  async function logged(act: Act) {
    const company = cast(2, act);
    const { client, proxy, quiet } = await scene(company.scripts, { log });
    const response = await ask({ client }, get());
    await quiet();
    expect(proxy.accessLog).toHaveLength(1);
    return { response, line: JSON.parse(proxy.accessLog[0]!) as Record<string, unknown>, company };
  }

  test("has one line for all attempts, of the backend that answered, and no reason when all is well", async () => {
    const { line, company } = await logged(({ nth }) => (nth === 0 ? "no HTTP\r\n\r\n" : ok()));
    expect(line).toMatchObject({ status: 200, attempts: 2 });
    expect(JSON.stringify(line)).toContain(String(company.deliveries[1]!.wire.socket.localPort));
    expect(line.reason ?? "").toBe("");
  });

  test("has the reason of the last attempt when all fail, as the client reads it", async () => {
    const { response, line } = await logged(({ nth, wire }) => (nth === 0 ? "no HTTP\r\n\r\n" : wire.reset()));
    expect(response.value("spillway-reason")).toBe("reset");
    expect(line).toMatchObject({ status: 502, reason: "reset" });
  });
});
