import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { removeStaleSocket } from "./stale-socket.ts";

let folder: string;
let path: string;
let server: Server | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spillway-stale-"));
  path = join(folder, "s.sock");
});
afterEach(() => {
  server?.close();
  server = undefined;
  rmSync(folder, { recursive: true });
});

test("the socket of a process that died is removed", async () => {
  const dying =
    "require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))";
  spawnSync(process.execPath, ["-e", dying, path]);
  expect(existsSync(path)).toBe(true);
  await removeStaleSocket(path);
  expect(existsSync(path)).toBe(false);
});

test("a socket somebody listens on stays, and is an address in use", async () => {
  server = createServer();
  await new Promise<void>((resolve) => server!.listen(path, resolve));
  await expect(removeStaleSocket(path)).rejects.toMatchObject({ code: "EADDRINUSE", address: `unix:${path}` });
  expect(existsSync(path)).toBe(true);
});

test("a file that is no socket is never removed", async () => {
  writeFileSync(path, "precious");
  await expect(removeStaleSocket(path)).rejects.toMatchObject({ code: "EEXIST" });
  expect(existsSync(path)).toBe(true);
});

test("where nothing is, there is nothing to do", async () => {
  await removeStaleSocket(join(folder, "nothing.sock"));
});
