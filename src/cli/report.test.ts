import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { bench } from "../../test/support/metrics-bench.ts";
import { type Admin, type AdminSource, createAdmin } from "../admin/index.ts";
import { formatAddress } from "../config/values.ts";
import type { BoundAddress } from "../proxy/data-plane-api.ts";
import { parseAdmin } from "./admin-client.ts";
import { runCommandLine } from "./program.ts";

let directory: string;
let admin: Admin;
let address: string;

function adminOn(listen: BoundAddress): Admin {
  const counted = bench();
  const source: AdminSource = {
    version: "1.2.3",
    startedAt: 0,
    snapshot: () => counted.snapshot(),
    status: () => ({ workers: 1, listeners: [] }),
    ready: () => ({ ready: true, reason: "" }),
    explain: async () => undefined,
  };
  return createAdmin(source, { listen });
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "spillway-report-"));
  admin = adminOn({ kind: "tcp", host: "127.0.0.1", port: 0 });
  address = formatAddress(await admin.start());
});

afterEach(async () => {
  await admin.stop();
  await rm(directory, { recursive: true });
});

async function report(...options: string[]) {
  let [out, err] = ["", ""];
  const code = await runCommandLine(["report", ...options], {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    colors: false,
    environment: {},
    width: 80,
  });
  return { code, out, err };
}

async function configured(adminSection: unknown): Promise<string> {
  const file = join(directory, "spillway.json");
  const listeners = [{ listen: "127.0.0.1:8080", upstream: "web" }];
  const upstreams = { web: { backends: ["http://127.0.0.1:9001"] } };
  await writeFile(file, JSON.stringify({ admin: adminSection, listeners, upstreams }));
  return file;
}

describe("spillway report", () => {
  test("prints the report of the instance on stdout, and nothing else", async () => {
    const { code, out, err } = await report("--admin", `http://${address}`);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(/^Requests\n {2}total/);
    expect(out).toContain("Upstream web");
  });

  test("with --json prints the status as data", async () => {
    const { code, out } = await report("--admin", `http://${address}`, "--json");
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ version: "1.2.3", upstreams: [{ name: "web" }, { name: "api" }] });
  });

  test("finds the address in a configuration", async () => {
    const { code, out } = await report("--config", await configured({ listen: address }));
    expect(code).toBe(0);
    expect(out).toContain("Upstream web");
  });

  test("asks a Unix socket", async () => {
    const path = join(directory, "admin.sock");
    const onSocket = adminOn({ kind: "unix", path });
    await onSocket.start();
    expect(await report("--admin", `unix:${path}`)).toMatchObject({ code: 0, err: "" });
    await onSocket.stop();
  });

  test("where nobody answers it says where it asked and what to do, exit code 1", async () => {
    await admin.stop();
    const { code, out, err } = await report("--admin", `http://${address}`);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toBe(
      `spillway: no Spillway answers at ${address}: connection refused. Start one with spillway run, or name its admin API with --admin.\n`,
    );
  });

  test("an answer of something else is not printed as a report", async () => {
    const other = createServer((_request, response) => response.writeHead(404).end("<h1>not here</h1>"));
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { code, out, err } = await report("--admin", `http://127.0.0.1:${(other.address() as AddressInfo).port}`);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toContain("status 404: it is no Spillway");
    other.close();
  });

  test.each([
    [["--admin", "localhost"], '--admin "localhost" is no address'],
    [["--admin", "http://127.0.0.1:9900/metrics"], "is no address"],
    [["--admin", "http://127.0.0.1:9900", "--config", "x.yaml"], "Give one of them"],
    [["--config", "/nowhere.yaml"], "/nowhere.yaml"],
    [["--verbose"], "unknown option"],
  ])("%j is wrong usage: exit code 2", async (options, message) => {
    const { code, out, err } = await report(...options);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain(message);
  });

  test("a configuration without an admin API is told so", async () => {
    const { code, err } = await report("--config", await configured(false));
    expect(code).toBe(2);
    expect(err).toContain("admin API is switched off");
  });
});

test.each([
  ["http://127.0.0.1:9900", { kind: "tcp", host: "127.0.0.1", port: 9900 }],
  ["http://[::1]:9900/", { kind: "tcp", host: "::1", port: 9900 }],
  ["http://spillway.test", { kind: "tcp", host: "spillway.test", port: 80 }],
  ["unix:/run/spillway.sock", { kind: "unix", path: "/run/spillway.sock" }],
  ["https://127.0.0.1:9900", undefined],
  ["http://user:secret@127.0.0.1:9900", undefined],
  ["unix:relative", undefined],
  ["", undefined],
])("--admin %s", (text, address) => {
  expect(parseAdmin(text)).toEqual(address);
});
