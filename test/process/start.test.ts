import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { findReusePort } from "../../src/control/reuse-port.ts";
import { endAll, httpBackend, rawRequest, SpillwayProcess } from "./spillway-process.ts";

let folder: string;
let other: Server | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spillway-process-"));
});
afterEach(async () => {
  other?.close();
  other = undefined;
  await endAll();
  rmSync(folder, { recursive: true });
});

const quick = ["run", "--admin", "off", "--listen", "127.0.0.1:0"];
const anywhere = "http://127.0.0.1:9";

async function takenPort(): Promise<number> {
  other = createServer();
  await new Promise<void>((resolve) => other!.listen(0, "127.0.0.1", resolve));
  return (other.address() as { port: number }).port;
}

const sharing = await findReusePort();

test("it says what it is, where it listens and for whom", async () => {
  const spillway = new SpillwayProcess(["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", anywhere]);
  const port = await spillway.port();
  expect(spillway.entries.map(({ code }) => code)).toEqual(["started", "listening", "admin_listening", "upstream"]);
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  expect(spillway.entries[0]).toMatchObject({ version, node: process.versions.node, workers: 1 });
  expect(spillway.entries[1]!.msg).toBe(`listening on 127.0.0.1:${port}`);
  expect(spillway.entries[3]!.msg).toBe("upstream web: 1 backend, weighted-round-robin");
});

test("a port in use is one clear line with the address, and exit code 1", async () => {
  const port = await takenPort();
  const spillway = new SpillwayProcess(["run", "--admin", "off", "--listen", `127.0.0.1:${port}`, anywhere]);
  expect(await spillway.exited).toBe(1);
  expect(spillway.stderr).toMatch(
    new RegExp(
      `^spillway: cannot listen on 127\\.0\\.0\\.1:${port}: the address is in use by another process\\. .+\n$`,
    ),
  );
});

test("an admin port in use is told in the same way", async () => {
  const port = await takenPort();
  const spillway = new SpillwayProcess(["run", "--listen", "127.0.0.1:0", "--admin", `127.0.0.1:${port}`, anywhere]);
  expect(await spillway.exited).toBe(1);
  expect(spillway.stderr).toMatch(new RegExp(`^spillway: cannot listen on 127\\.0\\.0\\.1:${port}: .*in use.+\n$`));
});

describe.skipIf(sharing === undefined)("with two workers", () => {
  test("a second start is refused, although the port could be shared", async () => {
    const first = new SpillwayProcess([...quick, "--workers", "2", anywhere]);
    const address = `127.0.0.1:${await first.port()}`;
    const second = new SpillwayProcess(["run", "--admin", "off", "--workers", "2", "--listen", address, anywhere]);
    expect(await second.exited).toBe(1);
    expect(second.stderr).toContain(`cannot listen on ${address}: the address is in use`);
  });

  test("both carry traffic on one port, and end in order", async () => {
    const backend = await httpBackend((_, response) => response.end("hello"));
    const spillway = new SpillwayProcess([...quick, "--workers", "2", "--access-log", "json", backend.url]);
    const port = await spillway.port();
    const ask = () => rawRequest(port, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").answer;
    for (let i = 0; i < 40; i++) expect(await ask()).toMatch(/hello$/);
    spillway.child.kill("SIGTERM");
    expect(await spillway.exited).toBe(0);
    expect(spillway.stdout.trim().split("\n").length).toBe(40);
  });
});

if (sharing === undefined)
  console.warn("skipped: two workers at start: this Node.js cannot share a port, and koffi is missing");
else console.warn(`skipped: what is said where nothing can share a port: here ${sharing} can`);
test.skipIf(sharing !== undefined)(
  "two workers where nothing can share a port: what is missing, exit code 2",
  async () => {
    const spillway = new SpillwayProcess([...quick, "--workers", "2", anywhere]);
    expect(await spillway.exited).toBe(2);
    expect(spillway.stderr).toMatch(
      /^spillway: workers: 2 needs Node\.js 22\.12 .*install the optional package koffi.*\n$/,
    );
  },
);

const unprivilegedFrom = Number(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8").trim() || 0);
if (unprivilegedFrom <= 81) console.warn("skipped: a privileged port: on this machine every port is free to all");
test.skipIf(unprivilegedFrom <= 81)("a privileged port is told with the fix", async () => {
  const uid = process.getuid?.() === 0 ? { uid: 65_534 } : {};
  const spillway = new SpillwayProcess(["run", "--admin", "off", "--listen", "127.0.0.1:81", anywhere], uid);
  expect(await spillway.exited).toBe(1);
  expect(spillway.stderr).toMatch(
    /^spillway: cannot listen on 127\.0\.0\.1:81: permission denied.*privileged.*setcap.*\n$/,
  );
});

test("an address this machine does not have is told with the fix", async () => {
  const spillway = new SpillwayProcess(["run", "--admin", "off", "--listen", "192.0.2.1:8080", anywhere]);
  expect(await spillway.exited).toBe(1);
  expect(spillway.stderr).toMatch(/cannot listen on 192\.0\.2\.1:8080: no interface of this machine/);
});

test("no file left to open is told with the fix", async () => {
  const file = join(folder, "spillway.json");
  const listeners = Array.from({ length: 250 }, () => ({ listen: "127.0.0.1:0", upstream: "web" }));
  writeFileSync(file, JSON.stringify({ admin: false, listeners, upstreams: { web: { backends: [anywhere] } } }));
  const spillway = new SpillwayProcess(["run", file], { files: 200 });
  expect(await spillway.exited).toBe(1);
  expect(spillway.stderr).toMatch(/^spillway: cannot listen on 127\.0\.0\.1:0: too many open files.*ulimit -n.*\n$/);
});

test("few files are no reason not to start, but worth a word", async () => {
  const spillway = new SpillwayProcess([...quick, anywhere], { files: 1_000 });
  await spillway.port();
  expect((await spillway.entry("file_limit")).msg).toMatch(/at most 1000 files can be open/);
});

test("every mistake of a file is told in one run, exit code 2", async () => {
  const file = join(folder, "spillway.yaml");
  writeFileSync(file, "listners: []\nworkers: many\nupstreams: { web: { backends: [10.0.0.1] } }\n");
  const spillway = new SpillwayProcess(["run", file]);
  expect(await spillway.exited).toBe(2);
  for (const wrong of [`${file}:1:1`, `${file}:2:10`, `${file}:3:`]) expect(spillway.stderr).toContain(wrong);
});

test("a file that does not exist, and none where one is needed, exit code 2", async () => {
  const missing = new SpillwayProcess(["run", join(folder, "none.yaml")]);
  const none = new SpillwayProcess(["run"], { cwd: folder });
  expect([await missing.exited, await none.exited]).toEqual([2, 2]);
  expect(missing.stderr).toContain("there is no such file");
  expect(none.stderr).toContain("spillway init");
});

test("without arguments it runs spillway.yaml", async () => {
  writeFileSync(
    join(folder, "spillway.yaml"),
    `admin: false\nlisteners: [{ listen: "127.0.0.1:0", upstream: web }]\nupstreams: { web: { backends: ["${anywhere}"] } }\n`,
  );
  const spillway = new SpillwayProcess(["run"], { cwd: folder });
  expect(await spillway.port()).toBeGreaterThan(0);
});

test("an option that belongs into the file is refused beside it, exit code 2", async () => {
  const spillway = new SpillwayProcess(["run", "spillway.yaml", "--workers", "2"], { cwd: folder });
  expect(await spillway.exited).toBe(2);
  expect(spillway.stderr).toContain("--workers cannot stand beside a file. Write it in spillway.yaml.");
});

test("the quick form tells its mistakes by the names of options, exit code 2", async () => {
  const spillway = new SpillwayProcess(["run", "--listen", "8080", "--balance", "fastest", "10.0.0.1:3000"]);
  expect(await spillway.exited).toBe(2);
  expect(spillway.stderr).toMatch(/--listen: .*:8080/);
  expect(spillway.stderr).toMatch(/--balance: /);
  expect(spillway.stderr).toMatch(/Write http:\/\/10\.0\.0\.1:3000/);
});

test("an access log that cannot be opened ends the start", async () => {
  const file = join(folder, "spillway.yaml");
  writeFileSync(
    file,
    `admin: false\nlog: { access: { format: json, path: ${folder}/none/access.log } }\nlisteners: [{ listen: "127.0.0.1:0", upstream: web }]\nupstreams: { web: { backends: ["${anywhere}"] } }\n`,
  );
  const spillway = new SpillwayProcess(["run", file]);
  expect(await spillway.exited).toBe(1);
  expect(spillway.stderr).toMatch(/^spillway: cannot open the access log: ENOENT.*\n$/);
});

test("the socket file of a Spillway that was killed is taken over, a live one is not", async () => {
  const path = join(folder, "spillway.sock");
  const args = ["run", "--admin", "off", "--listen", `unix:${path}`, anywhere];
  const killed = new SpillwayProcess(args);
  await killed.entry("upstream");
  killed.child.kill("SIGKILL");
  await killed.exited;
  const next = new SpillwayProcess(args);
  await next.entry("upstream");
  expect(await rawRequest(path, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").answer).toMatch(
    /^HTTP\/1\.1 50/,
  );
  const second = new SpillwayProcess(args);
  expect(await second.exited).toBe(1);
  expect(second.stderr).toContain(`cannot listen on unix:${path}: another process listens on it`);
  next.child.kill("SIGTERM");
  expect(await next.exited).toBe(0);
});
