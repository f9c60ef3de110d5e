import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { cityMmdb } from "../../test/support/mmdb.ts";
import { speak } from "../../test/support/terminal.ts";

const directory = mkdtempSync(join(tmpdir(), "spillway-explain-"));
afterAll(() => rmSync(directory, { recursive: true }));

function written(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

const database = join(directory, "city.mmdb");
writeFileSync(database, cityMmdb({ "192.0.2.0/24": [35.1, 129] }));

const file = written(
  "shop.yaml",
  `listeners:
  - listen: 127.0.0.1:8080
    trustedProxies: [10.0.0.0/8]
    clientPosition: { geoip: "${database}" }
    routes:
      - match: { host: "*.shop.test", path: /v1/* }
        rewrite: { stripPrefix: /v1, addPrefix: /api }
        rateLimit: { rate: 10, burst: 20 }
        upstream: web
      - { match: { path: /old }, redirect: { to: "https://shop.test/new", status: 308 } }
      - { match: { path: /mix }, split: [{ upstream: web, weight: 3 }, { upstream: any, weight: 1 }] }
      - { match: { path: /gone }, upstream: gone }
      - { match: { path: /lost }, upstream: lost }
  - { listen: ":8081", upstream: any }
upstreams:
  web:
    balance: nearest
    backends:
      - { url: "http://10.0.1.1:3000", id: seoul, location: { latitude: 37.5, longitude: 127 } }
      - { url: "http://10.0.1.2:3000", id: tokyo, location: { latitude: 35.7, longitude: 139.7 } }
      - { url: "http://10.0.1.3:3000", id: off, state: down }
  any: { balance: random, backends: [http://10.0.2.1:3000] }
  gone:
    backends: [{ url: "http://10.0.3.1:3000", state: down }]
    circuitBreaker: { fallback: { upstream: any } }
  lost:
    backends: [{ url: "http://10.0.4.1:3000", state: down }]
`,
);

const explain = (...options: string[]) => speak(["explain", ...options], { width: 200 });

describe("of a file", () => {
  test("says route, client, limit, what is asked for, each backend, and where it would go", async () => {
    const { exitCode, out, err } = await explain(
      file,
      ...["-r", "GET http://eu.shop.test/v1/x", "--client", "10.0.0.9", "-H", "X-Forwarded-For: 192.0.2.7"],
    );
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
    expect(out).toBe(`GET /v1/x for eu.shop.test on 127.0.0.1:8080
  route-1  takes it
  route-2  not reached
  route-3  not reached
  route-4  not reached
  route-5  not reached
client    192.0.2.7 at 35.1, 129 (by GeoIP), through a trusted proxy
limit     at most 10 in 1s, 20 at once for client-ip 192.0.2.7, of which this is none
asks for  /api/x

Upstream web (nearest)
  seoul  10.0.1.1:3000  321 km  up    chosen     nearest: 321 km
  tokyo  10.0.1.2:3000  972 km  up    candidate  farther: 972 km against 321 km
  off    10.0.1.3:3000          down  out        down: set in the configuration
  -> seoul
`);
  });

  test("shows each upstream of a split with its part of such requests", async () => {
    const { exitCode, out } = await explain(file, "-r", "/mix");
    expect(exitCode).toBe(0);
    expect(out).toContain("Upstream web (nearest), 75 % of such requests\n");
    expect(out).toContain("  -> seoul\n\nUpstream any (random), 25 % of such requests\n");
    expect(out).toContain("  10.0.2.1:3000  up  candidate  chance: 100 %\n  -> one of the candidates, by chance\n");
  });

  test("shows what takes over, and exits 1 where nothing does", async () => {
    const taken = await explain(file, "-r", "/gone");
    expect(taken.exitCode).toBe(0);
    expect(taken.out).toContain("  -> 503 no-backend\n\nFallback upstream any (random)\n");
    const lost = await explain(file, "-r", "/lost");
    expect(lost.exitCode).toBe(1);
    expect(lost.out).toMatch(/ {2}-> 503 no-backend\n$/);
  });

  test("shows what Spillway answers by itself: 0 for what the settings say, 1 for an error", async () => {
    const redirected = await explain(file, "-r", "/old");
    expect(redirected).toMatchObject({ exitCode: 0, out: expect.stringMatching(/\n-> 308 redirect\n$/) });
    const refused = await explain(file, "-r", "/old", "-H", "content-length: 1", "-H", "transfer-encoding: chunked");
    expect(refused).toMatchObject({ exitCode: 1, out: expect.stringMatching(/\n-> 400 two-framings\n$/) });
  });

  test("takes the listener that is named", async () => {
    const { out } = await explain(file, "-r", "/x", "--listener", "1");
    expect(out).toMatch(/^GET \/x for localhost on :8081\n {2}any {2}takes it\n/);
  });

  test("with --json holds the same as data, with null for what is not there", async () => {
    const { exitCode, out } = await explain(file, "-r", "/old", "--json");
    expect(exitCode).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      listener: "127.0.0.1:8080",
      route: "route-2",
      forwardedTarget: null,
      position: null,
      answer: { status: 308, reason: "redirect" },
      upstreams: [],
    });
  });
});

describe("wrong usage is exit code 2 and says what to write", () => {
  const missing = written(
    "missing.yaml",
    'listeners: [{ listen: ":1", upstream: web, clientPosition: { geoip: /nowhere/city.mmdb } }]\nupstreams: { web: { balance: nearest, backends: [{ url: "http://a", location: { latitude: 1, longitude: 1 } }] } }\n',
  );
  const broken = written("broken.yaml", "workers: 0\n");
  test.each([
    [[file], "there is no request to explain. Add --request"],
    [[file, "-r", "nonsense"], '--request "nonsense" is no request'],
    [[file, "-r", "/", "-H", "x"], '--header "x" is no field'],
    [[file, "-r", "/", "--client", "x"], '--client "x" is no address'],
    [[file, "-r", "/", "--listener", "first"], '--listener "first" is no number'],
    [[file, "-r", "/", "--listener", "2"], "listener: 2 is none of the 2 there are"],
    [[file, "-r", "/", "--admin", "http://127.0.0.1:1"], "is explained without an instance"],
    [[broken, "-r", "/"], `${broken} cannot be used`],
    [[missing, "-r", "/"], "cannot use the GeoIP database /nowhere/city.mmdb"],
  ])("%j", async (options, message) => {
    const { exitCode, out, err } = await explain(...options);
    expect({ exitCode, out }).toEqual({ exitCode: 2, out: "" });
    expect(err).toContain(message);
  });
});

test.each([
  [503, '{"error":"no worker answers now; ask again"}', 1, "no worker answers now; ask again"],
  [400, '{"error":"header: 101 fields are more than 100"}', 2, "header: 101 fields are more than 100"],
  [404, "{}", 1, "answers /api/v1/explain with status 404: it is no Spillway, or an older one"],
  [431, "", 2, "the request is too large"],
  [200, "<html>", 1, "does not answer with JSON"],
] as const)("an instance that answers %d is exit code %s with its reason", async (status, body, exitCode, message) => {
  const server = createServer((_, response) => response.writeHead(status).end(body));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const spoken = await explain("-r", "/", "--admin", `http://127.0.0.1:${port}`);
  server.close();
  expect(spoken.exitCode).toBe(exitCode);
  expect(spoken.err).toContain(message);
});
