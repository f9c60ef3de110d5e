import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import type { SettingsInput } from "../../src/config/settings.ts";
import { createSpillway, type EmbeddedSpillway } from "../../src/control/embed.ts";
import type { RequestExplanation } from "../../src/proxy/data-plane-api.ts";
import { speak } from "../support/terminal.ts";
import { eventually } from "../support/wire.ts";

const PLACES = {
  seoul: { latitude: 37.5, longitude: 127, region: "asia" },
  tokyo: { latitude: 35.7, longitude: 139.7, region: "asia" },
  frankfurt: { latitude: 50.1, longitude: 8.7, region: "europe" },
} as const;

type Place = keyof typeof PLACES;

const servers: Server[] = [];
const ports = {} as Record<Place, number>;
/** A port that nobody listens on. */
let dead = 0;

beforeAll(async () => {
  for (const place of Object.keys(PLACES) as Place[]) {
    const server = createServer((_, response) => response.end(place));
    servers.push(server.listen(0, "127.0.0.1"));
    await once(server, "listening");
    ports[place] = (server.address() as AddressInfo).port;
  }
  const gone = createServer().listen(0, "127.0.0.1");
  await once(gone, "listening");
  dead = (gone.address() as AddressInfo).port;
  gone.close();
  await once(gone, "close");
});
afterAll(() => {
  for (const server of servers) server.close();
});

type UpstreamInput = SettingsInput["upstreams"][string];

/** An instance over all places, and one that nobody reaches, whose state is known already. */
async function instance(states: Partial<Record<Place, "up" | "drain">> = {}, more: Partial<UpstreamInput> = {}) {
  const spillway = await createSpillway(
    {
      admin: { listen: "127.0.0.1:0" },
      listeners: [
        {
          listen: "127.0.0.1:0",
          trustedProxies: ["127.0.0.1"],
          clientPosition: { headers: { latitude: "x-latitude", longitude: "x-longitude" } },
          routes: [{ match: { path: "/shop/*" }, rewrite: { stripPrefix: "/shop" }, upstream: "web" }],
        },
      ],
      upstreams: {
        web: {
          balance: "nearest",
          backends: [
            ...(Object.keys(PLACES) as Place[]).map((id) => {
              const state = states[id] ?? "up";
              return { url: `http://127.0.0.1:${ports[id]}`, id, location: PLACES[id], state };
            }),
            {
              url: `http://127.0.0.1:${dead}`,
              id: "busan",
              location: { latitude: 35.1, longitude: 129, region: "asia" },
            },
          ],
          affinity: { cookie: "spillway", key: "a key of the tests, long enough" },
          healthCheck: { interval: "100ms", unhealthyAfter: 1, timeout: "1s" },
          ...more,
        },
      },
    },
    { log: { write: () => {}, flush: () => {} } },
  );
  onTestFinished(() => spillway.close());
  await eventually(
    () => spillway.metrics().upstreams[0]!.backends.find(({ id }) => id === "busan")?.state === "down",
    "busan is down",
  );
  return spillway;
}

const portOf = (address: EmbeddedSpillway["admin"]): number => (address?.kind === "tcp" ? address.port : 0);

/** `spillway explain` of an instance. */
const explain = (spillway: EmbeddedSpillway, ...options: string[]) =>
  speak(["explain", "--admin", `http://127.0.0.1:${portOf(spillway.admin)}`, ...options], { width: 200 });

async function explained(spillway: EmbeddedSpillway, ...options: string[]): Promise<RequestExplanation> {
  return JSON.parse((await explain(spillway, "--json", ...options)).out) as RequestExplanation;
}

/** A request of a client in Busan; the place that answered, and its cookie. */
async function visit(spillway: EmbeddedSpillway, fields: Readonly<Record<string, string>>) {
  const response = await fetch(`http://127.0.0.1:${portOf(spillway.listeners[0])}/shop/x`, { headers: fields });
  return { place: await response.text(), cookie: response.headers.get("set-cookie")?.split(";")[0] ?? "" };
}

const FROM_BUSAN = ["-H", "x-latitude: 35.1", "-H", "x-longitude: 129"];

test("an explanation says what happens then: the nearest that is up, then the one that the cookie names", async () => {
  const spillway = await instance({ frankfurt: "drain" });
  const { exitCode, out, err } = await explain(spillway, "-r", "GET http://shop.test/shop/x", ...FROM_BUSAN);
  expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
  expect(out.replaceAll(/127\.0\.0\.1:\d+/g, "127.0.0.1:PORT").replaceAll(/ +/g, " ")).toBe(
    [
      "GET /shop/x for shop.test on 127.0.0.1:PORT",
      " route-1 takes it",
      "client 127.0.0.1 at 35.1, 129 (by its fields), through a trusted proxy",
      "asks for /x",
      "",
      "Upstream web (nearest)",
      " session: by cookie:spillway, which the request has not",
      " seoul 127.0.0.1:PORT asia 321 km up chosen nearest: 321 km",
      " tokyo 127.0.0.1:PORT asia 972 km up candidate farther: 972 km against 321 km",
      " frankfurt 127.0.0.1:PORT europe 8,878 km draining out draining: only its sessions",
      " busan 127.0.0.1:PORT asia 0.0 km down out down: connection refused",
      " -> seoul",
      "",
    ].join("\n"),
  );

  const { place, cookie } = await visit(spillway, { "x-latitude": "35.1", "x-longitude": "129" });
  expect(place).toBe("seoul");

  const elsewhere = ["-r", "/shop/x", "-H", "x-latitude: 50", "-H", "x-longitude: 8", "-H", `cookie: ${cookie}`];
  const later = await explain(spillway, ...elsewhere);
  expect(later.out).toContain("session: by cookie:spillway, on seoul\n");
  expect(later.out).toMatch(/\n {2}seoul .* chosen +its session is here\n/);
  expect(later.out).toMatch(/\n {2}tokyo .* candidate +its session is on seoul\n/);
  expect(later.out).toMatch(/\n {2}-> seoul\n$/);
  expect((await visit(spillway, { "x-latitude": "50", "x-longitude": "8", cookie })).place).toBe("seoul");
});

test("a session stays on a backend that drains, and new ones do not come to it", async () => {
  const before = await instance();
  const { place, cookie } = await visit(before, { "x-latitude": "50", "x-longitude": "8" });
  expect(place).toBe("frankfurt");
  const after = await instance({ frankfurt: "drain" });
  const own = await explained(after, "-r", "/shop/x", "-H", `cookie: ${cookie}`);
  expect(own.upstreams[0]!.pick).toMatchObject({
    session: { state: "kept", backend: "frankfurt" },
    choice: { kind: "backend", backend: "frankfurt" },
  });
  expect((await visit(after, { cookie })).place).toBe("frankfurt");
  const anothers = await explained(after, "-r", "/shop/x", "-H", "x-latitude: 50", "-H", "x-longitude: 8");
  expect(anothers.upstreams[0]!.pick.backends.find(({ id }) => id === "frankfurt")).toMatchObject({
    state: "draining",
    verdict: "out",
    because: "draining: only its sessions",
  });
});

test("nothing is counted, and no turn is taken, by explaining", async () => {
  const spillway = await instance({}, { balance: "round-robin", affinity: false });
  const first = await explained(spillway, "-r", "/shop/x");
  for (let i = 0; i < 5; i++) expect(await explained(spillway, "-r", "/shop/x")).toEqual(first);
  expect(spillway.metrics().total.requests).toBe(0);
  const { choice } = first.upstreams[0]!.pick;
  expect(choice).toEqual({ kind: "backend", backend: (await visit(spillway, {})).place });
});

test("who is not a trusted proxy says nothing of where a client is", async () => {
  const spillway = await instance();
  const { position, positionFrom, trusted } = await explained(
    spillway,
    "-r",
    "/shop/x",
    ...FROM_BUSAN,
    "--client",
    "192.0.2.7",
  );
  expect({ position, positionFrom, trusted }).toEqual({ position: null, positionFrom: "none", trusted: false });
});

test("what is answered with an error is exit code 1, what is no request at all is 2", async () => {
  const spillway = await instance();
  expect(await explain(spillway, "-r", "/other")).toMatchObject({
    exitCode: 1,
    out: expect.stringContaining("-> 404 no-route\n"),
  });
  expect(await explain(spillway, "-r", "/shop/../x")).toMatchObject({
    exitCode: 1,
    out: expect.stringContaining("-> 400 path-leaves-prefix\n"),
  });
  expect(await explain(spillway, "-r", "/shop/x", "--listener", "1")).toMatchObject({
    exitCode: 2,
    err: expect.stringContaining('listener: "1" is none of the 1 there are'),
  });
});
