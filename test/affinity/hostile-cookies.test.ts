import { createHash, createHmac } from "node:crypto";
import { describe, expect, onTestFinished, test } from "vitest";
import type { SettingsInput } from "../../src/config/settings.ts";
import { SeededRandom } from "../../src/policy/model/random.ts";
import { ask, type Cast, cast } from "../isolation/cast.ts";
import { startProxy, type TestProxy } from "../support/proxy.ts";
import { ok } from "../support/raw-backend.ts";
import { get, type Scene, scene } from "../support/scene.ts";
import { dial, type Message, type Wire } from "../support/wire.ts";
import { cookieOf, KEY, stoppedTime } from "./visitors.ts";

const BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

interface Target {
  readonly stage: Scene;
  readonly company: Cast;
  /** What a client of each backend was given, in order: `token.time`. */
  readonly values: readonly string[];
  /** Sends each value as the cookie, one after the other on one connection. */
  attack(values: Iterable<string>): Promise<Message[]>;
  /** How many a balancer would send to each, and how many of `responses` went there. */
  expectAsIfNone(responses: readonly Message[]): void;
  sessions(): ReturnType<TestProxy["snapshot"]>["upstreams"][number]["sessions"];
}

/** Three backends with the weights 4:2:1, at the beginning of a cycle of 7. */
async function target(affinity: object = {}): Promise<Target> {
  const company = cast(3, ({ backend }) => ok(String(backend)));
  const stage = await scene(company.scripts, {
    settings: (urls) => ({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: {
        web: {
          backends: urls.map((url, n) => ({ url, id: `machine-${n}`, weight: [4, 2, 1][n]! })),
          affinity: { cookie: "spillway", key: KEY, ...affinity },
        },
      },
    }),
  });
  const values: string[] = [];
  for (let i = 0; i < 7; i++) {
    const response = await ask(stage, get());
    values[Number(response.body)] = cookieOf(response)!.slice("spillway=".length);
  }
  expect(values.length).toBe(3);
  return {
    stage,
    company,
    values,
    attack: async (values) => attack(await stage.client(), values),
    expectAsIfNone: (responses) => {
      expect(responses.length % 7).toBe(0);
      expect(responses.filter(({ status }) => status !== 200)).toEqual([]);
      const counts = ["0", "1", "2"].map((backend) => responses.filter(({ body }) => body === backend).length);
      expect(counts).toEqual([4, 2, 1].map((share) => (responses.length * share) / 7));
      for (const response of responses) expect(response.values("set-cookie").length).toBe(1);
    },
    sessions: () => stage.proxy.snapshot().upstreams[0]!.sessions,
  };
}

async function attack(wire: Wire, values: Iterable<string>): Promise<Message[]> {
  const responses: Message[] = [];
  for (const value of values) {
    wire.write(get("/", [`Cookie: spillway=${value}`]));
    responses.push(await wire.response());
  }
  return responses;
}

/** Another proxy in front of the same backends, gone when the test is over. */
async function another(settings: SettingsInput) {
  const proxy = await startProxy(settings);
  const wire = await dial(proxy.port);
  onTestFinished(() => {
    wire.destroy();
    proxy.close();
    expect(proxy.logs.filter(({ code }) => code === "fault")).toEqual([]);
  });
  return { proxy, attack: (values: Iterable<string>) => attack(wire, values) };
}

function webOf(urls: readonly string[], affinity: object): SettingsInput {
  return {
    listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
    upstreams: { web: { backends: urls, affinity: { cookie: "spillway", key: KEY, ...affinity } } },
  };
}

function repeated(values: readonly string[], times: number): string[] {
  return Array.from({ length: times }, () => values).flat();
}

test("700 forged cookies, no two alike, are spread as if they were none, and each client gets one of ours", async () => {
  const { attack, expectAsIfNone, values, sessions } = await target();
  const random = new SeededRandom(5);
  const letter = () => BASE64URL[Math.floor(random.next() * 64)]!;
  const time = values[0]!.split(".")[1]!;
  const forged = Array.from({ length: 700 }, () => `${Array.from({ length: 22 }, letter).join("")}.${time}`);
  const responses = await attack(forged);
  expectAsIfNone(responses);
  expect(sessions()).toMatchObject({ begun: 707, kept: 0, moved: 0 });
  const given = new Set(responses.map((response) => cookieOf(response)!.split(".")[0]!.slice("spillway=".length)));
  expect(given).toEqual(new Set(values.map((value) => value.split(".")[0])));
});

test("the backend of a client's own cookie is the one it had, and every other character at every place of it is none", async () => {
  const { attack, expectAsIfNone, values, sessions } = await target();
  const [token, time] = values[2]!.split(".") as [string, string];
  expect((await attack([values[2]!]))[0]!.body).toBe("2");
  const flipped = [...token].flatMap((own, at) =>
    [...`${BASE64URL}=+/. !~`]
      .filter((char) => char !== own)
      .map((char) => token.slice(0, at) + char + token.slice(at + 1)),
  );
  // The dot flipped, and each half in the other's place.
  flipped.push(`${token}-${time}`, `${token}${time}`, `${time}.${token}`, `.${token}.${time}`);
  while (flipped.length % 7 > 0) flipped.push(`${"A".repeat(22)}`);
  expectAsIfNone(await attack(flipped.map((value) => (value.includes(time) ? value : `${value}.${time}`))));
  expect(sessions().kept).toBe(1);
});

test("pieces of two good cookies make none, and so does a good one cut short anywhere", async () => {
  const { attack, expectAsIfNone, values } = await target();
  const [one, other] = values as [string, string];
  const mixed = [...one.slice(1, 22)].map((_, at) => one.slice(0, at + 1) + other.slice(at + 1));
  const cut = Array.from({ length: 24 }, (_, length) => one.slice(0, length));
  const behind = [...one.slice(0, 22)].map((_, at) => one.slice(at + 1));
  const all = [...mixed.filter((value) => value !== other), ...cut, ...behind];
  while (all.length % 7 > 0) all.push("");
  expectAsIfNone(await attack(all));
});

test("a backend's address, its id and its place name it in no way of writing them", async () => {
  const { attack, expectAsIfNone, stage, values } = await target();
  const time = values[0]!.split(".")[1]!;
  const names = stage.backends.flatMap(({ port }, n) => [
    `127.0.0.1:${port}`,
    `http://127.0.0.1:${port}`,
    `127.0.0.1:${port}/`,
    `localhost:${port}`,
    String(port),
    `machine-${n}`,
    `web/machine-${n}`,
    `web\n127.0.0.1:${port}`,
    String(n),
  ]);
  const digests = ["md5", "sha1", "sha256", "sha512"];
  const written = names.flatMap((name) => {
    const bytes = Buffer.from(name);
    const hashed = digests.flatMap((kind) => [
      createHash(kind).update(bytes).digest("base64url").slice(0, 22),
      createHash(kind).update(bytes).digest("hex").slice(0, 22),
      createHmac(kind, "spillway").update(bytes).digest("base64url").slice(0, 22),
    ]);
    return [
      encodeURIComponent(name),
      bytes.toString("base64"),
      bytes.toString("base64url"),
      bytes.toString("hex"),
      ...hashed.map((digest) => `${digest}.${time}`),
      `${bytes.toString("base64url").padEnd(22, "A").slice(0, 22)}.${time}`,
    ];
  });
  while (written.length % 7 > 0) written.push("machine-2");
  expectAsIfNone(await attack(written));
});

test("what clients are given holds no address, port, id or name of an upstream, in any way of writing them", async () => {
  const { stage, values } = await target();
  const heads: string[] = [];
  for (let i = 0; i < 14; i++) {
    const response = await ask(stage, get());
    heads.push([response.start, ...response.lines].join("\n"));
  }
  const text = [...heads, ...values].join("\n");
  for (const [n, { port }] of stage.backends.entries()) {
    for (const secret of [`127.0.0.1:${port}`, "127.0.0.1", String(port), `machine-${n}`, "machine"]) {
      const bytes = Buffer.from(secret);
      // Without what depends on the bytes that would stand before and behind.
      const base64 = bytes.toString("base64").slice(2, -4);
      for (const written of [secret, bytes.toString("hex"), ...(base64.length > 4 ? [base64] : [])]) {
        expect(text).not.toContain(written);
      }
    }
    for (const kind of ["md5", "sha1", "sha256"]) {
      for (const plain of [`127.0.0.1:${port}`, `web\n127.0.0.1:${port}`, `machine-${n}`]) {
        const hash = createHash(kind).update(plain).digest("base64url").slice(0, 16);
        expect(text).not.toContain(hash);
      }
    }
  }
});

describe("values nobody expects", () => {
  const latin = String.fromCharCode(...Array.from({ length: 128 }, (_, n) => n + 128));
  const oddities: readonly (readonly [name: string, value: string])[] = [
    ["empty", ""],
    ["a dot", "."],
    ["22 dots and more", ".".repeat(31)],
    ["a word", "null"],
    ["names of what every object has", "__proto__"],
    ["such a name as long as a token", `${"constructor".padEnd(22, "_")}.0`],
    ["an equals sign", "a=b=c"],
    ["quoted", '"quoted"'],
    ["a quote that does not end", '"quoted'],
    ["percent encoded", "%00%0d%0aSet-Cookie:%20x=1"],
    ["bytes above ASCII", latin],
    ["UTF-8", Buffer.from("ключ.€").toString("latin1")],
    ["a horizontal tab", "a\tb"],
    ["8 KiB", "A".repeat(8192)],
    ["8 KiB of dots", ".".repeat(8192)],
    ["8 KiB behind a token", `${"A".repeat(22)}.${"z".repeat(8192)}`],
    ["8 KiB of other cookies", "a; ".repeat(2730)],
    ["30 KiB", "A".repeat(30_000)],
    ["a number", "9".repeat(400)],
    ["as long as a cookie, and no digits", `${"-".repeat(22)}.${"_".repeat(9)}`],
  ];

  test.each(oddities)("%s: counts as none", async (_, value) => {
    const { attack, expectAsIfNone, sessions } = await target();
    expectAsIfNone(await attack(repeated([value], 14)));
    expect(sessions()).toMatchObject({ begun: 21, kept: 0, moved: 0 });
  });

  test("control bytes are refused before anybody looks at cookies", async () => {
    const { stage, sessions } = await target();
    for (const code of [0, 1, 8, 10, 11, 12, 13, 27, 31, 127]) {
      const response = await ask(stage, get("/", [`Cookie: spillway=a${String.fromCharCode(code)}b`]));
      expect([code, response.status, response.values("set-cookie")]).toEqual([code, 400, []]);
    }
    expect(sessions()).toMatchObject({ begun: 7 });
  });

  test("a head with a cookie that is too long is 431, and the next client is served", async () => {
    const { stage } = await target();
    const wire = await stage.client();
    wire.write(get("/", [`Cookie: spillway=${"A".repeat(40_000)}`]));
    expect((await wire.response()).status).toBe(431);
    expect((await ask(stage, get())).status).toBe(200);
  });

  test("ids of 8 KiB are as good as any other where the client says what tells it", async () => {
    for (const [affinity, request] of [
      [{ cookie: undefined, key: undefined, header: "x-id" }, (id: string) => get("/", [`X-Id: ${id}`])],
      [{ cookie: undefined, key: undefined, query: "id" }, (id: string) => get(`/?id=${id}`)],
    ] as const) {
      const company = cast(3, ({ backend }) => ok(String(backend)));
      const stage = await scene(company.scripts, { upstream: { affinity } });
      // Of equal beginnings, and longer than what is kept as it is.
      const ids = Array.from({ length: 9 }, (_, n) => `${"x".repeat(8_000)}${n}`);
      const first = [];
      for (const id of ids) first.push((await ask(stage, request(id))).body);
      expect(first).toEqual(["0", "1", "2", "0", "1", "2", "0", "1", "2"]);
      for (const [n, id] of ids.entries()) expect((await ask(stage, request(id))).body).toBe(first[n]);
      expect(stage.proxy.snapshot().upstreams[0]!.sessions).toMatchObject({ held: 9, begun: 9, kept: 9 });
    }
  });
});

describe("a good cookie with another time", () => {
  const HOUR = 3_600_000;
  const base36 = (ms: number) => Math.floor(ms).toString(36);

  test.each([
    ["of an hour ago", -HOUR],
    ["of a year ago", -365 * 24 * HOUR],
  ])("%s is one that has ended", async (_, ms) => {
    const time = stoppedTime();
    const { attack, expectAsIfNone, values } = await target();
    const token = values[2]!.split(".")[0]!;
    expectAsIfNone(await attack(repeated([`${token}.${base36(time.wallMs + ms)}`, `${token}.0`], 7)));
  });

  test.each([
    ["of not quite an hour ago", (now: number) => base36(now - HOUR + 1)],
    ["of two minutes ahead", (now: number) => base36(now + 120_000)],
    ["of a century ahead", (now: number) => base36(now + 100 * 365 * 24 * HOUR)],
    ["of the end of times", () => "zzzzzzzzz"],
    ["that is none", () => "~~~"],
    ["behind two dots", (now: number) => `.${base36(now)}`],
    ["in capitals", (now: number) => base36(now).toUpperCase()],
    ["with a zero in front", (now: number) => `0${base36(now)}`],
  ])("%s is its owner's still, on its own backend, and made anew", async (_, of) => {
    const time = stoppedTime();
    const { attack, values } = await target();
    for (const [backend, value] of values.entries()) {
      const [token] = value.split(".");
      const [response] = await attack([`${token}.${of(time.wallMs)}`]);
      expect(response!.body).toBe(String(backend));
      expect(cookieOf(response!)).toBe(`spillway=${token}.${base36(time.wallMs)}`);
    }
  });

  test("that is too long, or not there, is none", async () => {
    const { attack, expectAsIfNone, values } = await target();
    const token = values[2]!.split(".")[0]!;
    expectAsIfNone(await attack(repeated([token, `${token}.`, `${token}.zzzzzzzzzz`, `${token}. `], 7)));
  });
});

describe("foreign cookies", () => {
  test("those of another key are none, and those of the same key are good in any proxy", async () => {
    const { stage, values } = await target();
    const urls = stage.backends.map(({ url }) => url);
    const same = await another(webOf(urls, {}));
    const responses = await same.attack(repeated(values, 7));
    expect(responses.map(({ body }) => body)).toEqual(repeated(["0", "1", "2"], 7));
    const other = await another(webOf(urls, { key: `${KEY}!` }));
    const none = await other.attack(repeated([values[1]!], 21));
    expect([0, 1, 2].map((n) => none.filter(({ body }) => body === String(n)).length)).toEqual([7, 7, 7]);
    expect(other.proxy.snapshot().upstreams[0]!.sessions).toMatchObject({ begun: 21, kept: 0 });
    const tokens = none.map((response) => cookieOf(response)!.split(/[=.]/)[1]);
    expect(tokens.filter((token) => values.some((value) => value.startsWith(token!)))).toEqual([]);
  });

  test("those of another upstream with the same backends and key are none", async () => {
    const { stage, values } = await target();
    const backends = stage.backends.map(({ url }) => url);
    const affinity = { cookie: "spillway", key: KEY };
    const { proxy, attack } = await another({
      listeners: [{ listen: "127.0.0.1:0", upstream: "api" }],
      upstreams: { web: { backends, affinity }, api: { backends, affinity } },
    });
    const responses = await attack(repeated(values, 7));
    expect([0, 1, 2].map((n) => responses.filter(({ body }) => body === String(n)).length)).toEqual([7, 7, 7]);
    expect(proxy.snapshot().upstreams.map(({ sessions }) => [sessions.begun, sessions.kept])).toEqual([
      [0, 0],
      [21, 0],
    ]);
  });

  test.each([false, true])(
    "one of a backend that was removed goes where the balancer says, and stays there (strict: %s)",
    async (strict) => {
      const { stage, values } = await target();
      const urls = stage.backends.map(({ url }) => url);
      const { proxy, attack } = await another(webOf(urls.slice(0, 2), { strict }));
      const moved = await attack(repeated([values[2]!], 10));
      expect(moved.map(({ status }) => status)).toEqual(Array(10).fill(200));
      expect([0, 1].map((n) => moved.filter(({ body }) => body === String(n)).length)).toEqual([5, 5]);
      for (const response of moved) {
        const [next] = await attack([cookieOf(response)!.slice("spillway=".length)]);
        expect([next!.body, next!.values("set-cookie")]).toEqual([response.body, []]);
      }
      const others = await attack(repeated(values.slice(0, 2), 5));
      expect(others.map(({ body }) => body)).toEqual(repeated(["0", "1"], 5));
      expect(proxy.snapshot().upstreams[0]!.sessions).toMatchObject({ begun: 10, kept: 20, moved: 0, lost: 0 });
      // It comes back: who still has its cookie finds it again.
      const again = await another(webOf(urls, { strict }));
      expect((await again.attack([values[2]!]))[0]!.body).toBe("2");
    },
  );

  test("another order, other weights and other ids of the backends change nothing", async () => {
    const { stage, values } = await target();
    const [a, b, c] = stage.backends.map(({ url }) => url) as [string, string, string];
    const { attack } = await another({
      listeners: [{ listen: "127.0.0.1:0", upstream: "web" }],
      upstreams: {
        web: {
          backends: [{ url: c, weight: 9, id: "last" }, a, { url: b, id: "machine-0" }],
          affinity: { cookie: { name: "spillway", path: "/x" }, ttl: "1d", key: KEY },
        },
      },
    });
    expect((await attack(repeated(values, 4))).map(({ body }) => body)).toEqual(repeated(["0", "1", "2"], 4));
  });
});
