import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { endAll, httpBackend, rawRequest, SpillwayProcess } from "./spillway-process.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spillway-process-"));
});
afterEach(async () => {
  await endAll();
  rmSync(folder, { recursive: true });
});

const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
const closing = "Connection: close\r\n";

/** A backend whose answers wait until they are let go. */
async function slowBackend() {
  const waiting: (() => void)[] = [];
  let arrived!: () => void;
  const first = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const backend = await httpBackend((request, response) => {
    if (request.url !== "/slow") return void response.end("fast");
    response.write("half ");
    waiting.push(() => response.end("done"));
    arrived();
  });
  const letGo = (): void => {
    for (const go of waiting.splice(0)) go();
  };
  return { ...backend, first, letGo };
}

test.each(["SIGTERM", "SIGINT"] as const)(
  "%s: a response that runs is completed, idle connections are closed, new ones refused, exit code 0",
  async (signal) => {
    const backend = await slowBackend();
    const spillway = new SpillwayProcess(["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", backend.url]);
    const port = await spillway.port();
    const adminPort = await spillway.adminPort();
    const idle = rawRequest(port, get("/fast"));
    await once(idle.socket, "data");
    const slow = rawRequest(port, get("/slow"));
    await backend.first;
    spillway.child.kill(signal);
    await spillway.entry("draining");
    expect(await idle.answer).toMatch(/fast$/);
    expect((await fetch(`http://127.0.0.1:${adminPort}/readyz`)).status).toBe(503);
    expect(await rawRequest(port, get("/fast")).answer).toBe("");
    backend.letGo();
    expect(await slow.answer).toMatch(/half [\s\S]*done/);
    expect(await spillway.exited).toBe(0);
    expect(spillway.entries.at(-1)!.code).toBe("stopped");
  },
);

test("a response whose head is not out yet says Connection: close while draining", async () => {
  let answer!: () => void;
  let arrived!: () => void;
  const asked = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const backend = await httpBackend((_, response) => {
    answer = () => response.end("late");
    arrived();
  });
  const spillway = new SpillwayProcess(["run", "--listen", "127.0.0.1:0", "--admin", "off", backend.url]);
  const port = await spillway.port();
  const late = rawRequest(port, get("/"));
  await asked;
  const idle = rawRequest(port, "");
  await once(idle.socket, "connect");
  spillway.child.kill("SIGTERM");
  await idle.answer; // Closed by the drain, so it has begun.
  answer();
  expect(await late.answer).toMatch(/\r\nconnection: close\r\n[\s\S]*late$/i);
  expect(await spillway.exited).toBe(0);
});

test("what does not end before the deadline is cut, and that is told, exit code 0", async () => {
  const backend = await slowBackend();
  const file = join(folder, "spillway.yaml");
  writeFileSync(
    file,
    `admin: false\nlisteners: [{ listen: "127.0.0.1:0", upstream: web, timeouts: { drain: 200ms } }]\nupstreams: { web: { backends: ["${backend.url}"] } }\n`,
  );
  const spillway = new SpillwayProcess(["run", file]);
  const slow = rawRequest(await spillway.port(), get("/slow"));
  await backend.first;
  spillway.child.kill("SIGTERM");
  expect(await slow.answer).not.toMatch(/done/);
  expect(await spillway.exited).toBe(0);
  expect((await spillway.entry("drain_cut")).cut).toBe(1);
});

test("a second signal ends at once, says what was cut, exit code 1", async () => {
  const backend = await slowBackend();
  const spillway = new SpillwayProcess(["run", "--listen", "127.0.0.1:0", "--admin", "off", backend.url]);
  const slow = rawRequest(await spillway.port(), get("/slow"));
  await backend.first;
  spillway.child.kill("SIGTERM");
  await spillway.entry("draining");
  spillway.child.kill("SIGTERM");
  expect(await spillway.exited).toBe(1);
  expect(await slow.answer).not.toMatch(/done/);
  expect((await spillway.entry("ended_at_once")).exchanges).toBe(1);
});

test("SIGHUP is answered in the log, and traffic goes on", async () => {
  const backend = await httpBackend((_, response) => response.end("hello"));
  const spillway = new SpillwayProcess(["run", "--listen", "127.0.0.1:0", "--admin", "off", backend.url]);
  const port = await spillway.port();
  spillway.child.kill("SIGHUP");
  await spillway.entry("reload_unsupported");
  expect(await rawRequest(port, get("/", closing)).answer).toMatch(/hello$/);
});

test("the admin server answers metrics, health and status", async () => {
  const backend = await httpBackend((_, response) => response.end("hello"));
  const spillway = new SpillwayProcess(["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", backend.url]);
  const port = await spillway.port();
  const admin = `http://127.0.0.1:${await spillway.adminPort()}`;
  await rawRequest(port, get("/", closing)).answer;
  expect((await fetch(`${admin}/healthz`)).status).toBe(200);
  expect((await fetch(`${admin}/readyz`)).status).toBe(200);
  expect(await (await fetch(`${admin}/metrics`)).text()).toMatch(/^spillway_requests_total\{.*\} 1$/m);
  const status = (await (await fetch(`${admin}/api/v1/status`)).json()) as object;
  expect(status).toMatchObject({ workers: 1, listeners: [`127.0.0.1:${port}`], requests: { total: 1, active: 0 } });
});

test("a backend that dies goes down once, the others carry its traffic, and it comes back", async () => {
  const steady = await httpBackend((_, response) => response.end("steady"));
  const failing = await httpBackend((_, response) => response.end("failing"));
  const file = join(folder, "spillway.json");
  const healthCheck = { interval: "50ms", timeout: "1s" };
  const web = { healthCheck, backends: [steady.url, { url: failing.url, id: "failing" }] };
  writeFileSync(
    file,
    JSON.stringify({ admin: false, listeners: [{ listen: "127.0.0.1:0", upstream: "web" }], upstreams: { web } }),
  );
  const spillway = new SpillwayProcess(["run", file]);
  const port = await spillway.port();
  const ask = async () => (await rawRequest(port, get("/", closing)).answer).split("\r\n\r\n")[1];
  const both = new Set([await ask(), await ask()]);
  expect([...both].sort()).toEqual(["failing", "steady"]);

  failing.stop();
  const down = await spillway.entry("backend_down");
  expect(down).toMatchObject({ upstream: "web", backend: "failing", reason: "connection refused", failures: 3 });
  for (let i = 0; i < 4; i++) expect(await ask()).toBe("steady");

  await httpBackend((_, response) => response.end("failing"), failing.port);
  await spillway.entry("backend_up");
  expect([await ask(), await ask()].sort()).toEqual(["failing", "steady"]);
  expect(spillway.entries.filter(({ code }) => code === "backend_down").length).toBe(1);
});

test("the access log goes to a file, which SIGUSR1 opens anew after a rotation", async () => {
  const backend = await httpBackend((_, response) => response.end("hello"));
  const path = join(folder, "access.log");
  const file = join(folder, "spillway.yaml");
  writeFileSync(
    file,
    `admin: false\nlog: { access: { format: combined, path: ${path} } }\nlisteners: [{ listen: "127.0.0.1:0", upstream: web }]\nupstreams: { web: { backends: ["${backend.url}"] } }\n`,
  );
  const spillway = new SpillwayProcess(["run", file]);
  const port = await spillway.port();
  await rawRequest(port, get("/before", closing)).answer;
  await untilTrue(() => readFileSync(path, "utf8").includes("/before"));
  renameSync(path, `${path}.1`);
  spillway.child.kill("SIGUSR1");
  await untilTrue(() => existsSync(path));
  await rawRequest(port, get("/after", closing)).answer;
  spillway.child.kill("SIGTERM");
  expect(await spillway.exited).toBe(0);
  expect(readFileSync(`${path}.1`, "utf8")).toMatch(/^127\.0\.0\.1 - - \[.+\] "GET \/before HTTP\/1\.1" 200 5 .*\n$/);
  expect(readFileSync(path, "utf8")).toMatch(/^127\.0\.0\.1 - - \[.+\] "GET \/after HTTP\/1\.1" 200 5 .*\n$/);
});

test("the access log on stdout is whole at the end, also right before it", async () => {
  const backend = await httpBackend((_, response) => response.end("hello"));
  const args = ["run", "--listen", "127.0.0.1:0", "--admin", "off", "--access-log", "json", backend.url];
  const spillway = new SpillwayProcess(args);
  const port = await spillway.port();
  for (let i = 0; i < 20; i++) await rawRequest(port, get(`/${i}`, closing)).answer;
  spillway.child.kill("SIGTERM");
  expect(await spillway.exited).toBe(0);
  const lines = spillway.stdout.trim().split("\n");
  expect(lines.length).toBe(20);
  for (const line of lines) expect(JSON.parse(line)).toMatchObject({ status: 200 });
});

test("a reader of the access log that leaves costs log lines and nothing else", async () => {
  const backend = await httpBackend((_, response) => response.end("hello"));
  const args = ["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--access-log", "json", backend.url];
  const spillway = new SpillwayProcess(args);
  const port = await spillway.port();
  spillway.child.stdout.destroy();
  await rawRequest(port, get("/", closing)).answer;
  await spillway.entry("access_log_failed");
  expect(await rawRequest(port, get("/", closing)).answer).toMatch(/hello$/);
  const metrics = await (await fetch(`http://127.0.0.1:${await spillway.adminPort()}/metrics`)).text();
  expect(metrics).toMatch(/^spillway_access_log_dropped_total [1-9]/m);
  spillway.child.kill("SIGTERM");
  expect(await spillway.exited).toBe(0);
});

test("a reader of the access log that stops reading does not keep it from ending", async () => {
  const backend = await httpBackend((_, response) => response.end("hello"));
  const args = ["run", "--listen", "127.0.0.1:0", "--admin", "off", "--access-log", "json", backend.url];
  const spillway = new SpillwayProcess(args);
  const port = await spillway.port();
  spillway.child.stdout.pause();
  const target = `/${"x".repeat(6_000)}`;
  for (let i = 0; i < 50; i++) expect(await rawRequest(port, get(target, closing)).answer).toMatch(/hello$/);
  spillway.child.kill("SIGTERM");
  await spillway.entry("stopped");
  spillway.child.stdout.resume();
  expect(await spillway.exited).toBe(0);
});

/** What another process does to a file cannot be awaited. */
async function untilTrue(seen: () => boolean): Promise<void> {
  while (!seen()) await new Promise((resolve) => setTimeout(resolve, 20));
}
