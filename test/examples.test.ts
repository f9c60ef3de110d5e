import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";

/** Every example is started as its first lines say, and does what it promises. They use the built package. */
const root = fileURLToPath(new URL("..", import.meta.url));
const LIMIT_MS = 30_000;
const started: ChildProcess[] = [];
const folders: string[] = [];

afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

interface Run {
  readonly child: ChildProcess;
  /** Resolves with all output so far, once it holds `text`. */
  until(text: string): Promise<string>;
  /** Resolves at its end, with exit code and output. */
  readonly ended: Promise<{ readonly code: number | null; readonly output: string }>;
}

function node(...args: string[]): Run {
  const child = spawn(process.execPath, args, { cwd: root, timeout: LIMIT_MS, stdio: ["ignore", "pipe", "pipe"] });
  started.push(child);
  let output = "";
  const watchers = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      for (const watch of watchers) watch();
    });
  }
  const ended = new Promise<{ code: number | null; output: string }>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
  const until = (text: string) =>
    new Promise<string>((resolve, reject) => {
      const watch = (): void => {
        if (!output.includes(text)) return;
        watchers.delete(watch);
        resolve(output);
      };
      watchers.add(watch);
      watch();
      void ended.then(({ code }) => reject(new Error(`ended with ${code} before it said "${text}":\n${output}`)));
    });
  return { child, until, ended };
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer().listen(0, "127.0.0.1", () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((closed) => server.close(closed))));
  return ports;
}

async function ask(port: number, path: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: "close" } });
  return `${response.status} ${await response.text()}`;
}

interface Ported {
  readonly listen: number;
  readonly backends: readonly number[];
  readonly admin: number;
}

/** Starts the servers and the Spillway of an example, on free ports in place of its own. */
async function startExample(
  name: string,
  servers: string,
  count: number,
): Promise<Ported & { readonly spillway: Run }> {
  const [listen, admin, ...backends] = (await freePorts(count + 2)) as [number, number, ...number[]];
  const folder = mkdtempSync(join(tmpdir(), "spillway-example-"));
  folders.push(folder);
  const file = join(folder, "spillway.yaml");
  const ports: Record<string, number> = {
    8080: listen,
    ...Object.fromEntries(backends.map((port, at) => [9001 + at, port])),
  };
  const text = readFileSync(join(root, "examples", name, "spillway.yaml"), "utf8");
  const ported = text.replace(/(?<=127\.0\.0\.1:)\d+/g, (port) => `${ports[port]}`);
  writeFileSync(file, `${ported}\nadmin: { listen: "127.0.0.1:${admin}" }\n`);

  const started = node(`examples/${name}/${servers}`, ...backends.map(String));
  await Promise.all(backends.map((port) => started.until(` on http://127.0.0.1:${port}`)));
  const spillway = node("dist/cli/main.js", "run", file);
  await spillway.until(`listening on 127.0.0.1:${listen}`);
  return { listen, backends, admin, spillway };
}

function report(admin: number): Promise<{ readonly output: string }> {
  return node("dist/cli/main.js", "report", "--admin", `http://127.0.0.1:${admin}`).ended;
}

test("quick: two backends behind a listener, with the weights of the file, until it is told to stop", async () => {
  const { listen, backends, admin, spillway } = await startExample("quick", "backends.mjs", 2);

  expect(await ask(listen, "/ping")).toBe("200 pong");
  const answers: string[] = [];
  for (let i = 0; i < 6; i++) answers.push(await ask(listen, "/hello"));
  const from = (port: number) => answers.filter((answer) => answer === `200 GET /hello answered by ${port}\n`).length;
  expect(backends.map(from), answers.join("")).toEqual([2, 4]);
  expect((await report(admin)).output).toMatch(/^Requests\n +total +7$/m);

  spillway.child.kill("SIGTERM");
  expect((await spillway.ended).code).toBe(0);
});

test("sticky-sessions: carts stay with their servers; who loses the server begins a new one, and keeps that", async () => {
  const { listen, backends, admin } = await startExample("sticky-sessions", "servers.mjs", 3);

  const { code, output } = await node("examples/sticky-sessions/customers.mjs", `${listen}`).ended;
  expect(code, output).toBe(0);
  const carts = [...output.matchAll(/^ +customer (\d): (\d+) has (.+)$/gm)].map(([, customer, port, things]) => ({
    customer: Number(customer),
    port: Number(port),
    things,
  }));
  const [before, then, after] = [carts.slice(0, 6), carts.slice(6, 12), carts.slice(12)];
  expect(before.map(({ port }) => port)).toEqual([...backends, ...backends]);
  expect(before.every(({ things }) => things === "apples bread cheese")).toBe(true);
  const [lost] = backends;
  for (const [at, { customer, port }] of before.entries()) {
    const moved = port === lost;
    if (moved) expect(then[at]!.port).not.toBe(lost);
    else expect(then[at]!.port).toBe(port);
    const kept = moved ? "" : "apples bread cheese ";
    expect(then[at]).toMatchObject({ customer, things: `${kept}dates` });
    expect(after[at]).toEqual({ customer, port: then[at]!.port, things: `${kept}dates eggs` });
  }
  expect((await report(admin)).output).toMatch(/^ +sessions +6 +begun, 2 moved$/m);
});

test("nearest-backend: each city its region, what is too much to the next, and all of it when a region is lost", async () => {
  const { listen, admin } = await startExample("nearest-backend", "servers.mjs", 3);

  const { code, output } = await node("examples/nearest-backend/clients.mjs", `${listen}`).ended;
  expect(output).toBe(
    [
      "Busan: seoul",
      "Lisbon: frankfurt",
      "Boston: virginia",
      "nowhere: frankfurt",
      "four from Busan at once: frankfurt,frankfurt,seoul,seoul",
      "Busan, without Seoul: frankfurt",
      "",
    ].join("\n"),
  );
  expect(code).toBe(0);
  expect((await report(admin)).output).toMatch(/^ +positions +9 +header: 8, default: 1$/m);
});

test("embed: the program answers through its own load balancer, and goes on without the replica it lost", async () => {
  const { code, output } = await node("examples/embed/server.mjs").ended;
  expect(output).toContain("three replicas: a b c a b c a b c\n");
  expect(output).toMatch(/without b: {5}( [ac]){9}\n/);
  expect(output).toMatch(/total +18\n +failed +0 /);
  expect(code).toBe(0);
});

test("pool: connections are opened once and used again, and no more of them than allowed", async () => {
  const { code, output } = await node("examples/pool/tcp.mjs").ended;
  const [without = 0, pooled = Number.POSITIVE_INFINITY] = [...output.matchAll(/: +(\d+) ms/g)].map(([, ms]) => +ms!);
  expect(pooled, output).toBeLessThan(without);
  expect(output).toContain("8 answers over 4 connections\n");
  expect(code).toBe(0);
});

test("policy: a balancer of one's own passes the contract that all balancers keep", async () => {
  const { code, output } = await node("--test", "--test-reporter=tap", "examples/policy/two-choices.test.mjs").ended;
  expect(output).toMatch(/^# pass 12$/m);
  expect(output).toMatch(/^# fail 0$/m);
  expect(code).toBe(0);
});

test("every example has a test here", () => {
  const tested = readFileSync(fileURLToPath(import.meta.url), "utf8");
  const examples = readdirSync(join(root, "examples"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name } of examples) expect(tested).toContain(`test("${name}: `);
});
