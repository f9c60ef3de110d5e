import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AccessLog } from "./access-log.ts";
import { StartError } from "./start-error.ts";

let folder: string;
let path: string;
const told = { dropped: 0, failed: [] as string[] };
const events = {
  dropped: (lines: number) => {
    told.dropped += lines;
  },
  failed: (message: string) => {
    told.failed.push(message);
  },
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spillway-access-log-"));
  path = join(folder, "access.log");
  told.dropped = 0;
  told.failed = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

const written = (log: AccessLog, text: string): Promise<void> => new Promise((done) => log.write(text, 1, done));

test("lines are added to the file in the order they came", async () => {
  const log = await AccessLog.open(path, events);
  await written(log, "a\n");
  for (const line of ["b\n", "c\n", "d\n"]) log.write(line, 1);
  await log.close(5_000);
  const again = await AccessLog.open(path, events);
  again.write("e\n", 1);
  await again.close(5_000);
  expect(readFileSync(path, "utf8")).toBe("a\nb\nc\nd\ne\n");
});

test("after a rotation lines go to the new file and none is lost", async () => {
  const log = await AccessLog.open(path, events);
  await written(log, "old\n");
  renameSync(path, `${path}.1`);
  log.reopen();
  log.write("new\n", 1);
  await log.close(5_000);
  expect(readFileSync(`${path}.1`, "utf8")).toBe("old\n");
  expect(readFileSync(path, "utf8")).toBe("new\n");
});

test("a rotation that cannot open the new file goes on with the old one, and says so", async () => {
  const log = await AccessLog.open(path, events);
  renameSync(folder, `${folder}.moved`);
  log.reopen();
  await written(log, "kept\n");
  await log.close(5_000);
  renameSync(`${folder}.moved`, folder);
  expect(readFileSync(path, "utf8")).toBe("kept\n");
  expect(told.failed).toEqual([expect.stringContaining(`cannot write the access log to ${path}: ENOENT`)]);
});

test("what waits is bounded by 8 MiB, and what is dropped is counted and answered", async () => {
  const log = await AccessLog.open(path, events);
  const megabyte = `${"x".repeat(1024 * 1024 - 1)}\n`;
  const answers = Array.from({ length: 12 }, () => written(log, megabyte));
  expect(told.dropped).toBe(4);
  await Promise.all(answers);
  await written(log, "after\n");
  await log.close(5_000);
  expect(readFileSync(path, "utf8").length).toBe(8 * 1024 * 1024 + "after\n".length);
});

test.skipIf(!existsSync("/dev/full"))("a full disk costs lines, is reported once", async () => {
  const log = await AccessLog.open("/dev/full", events);
  await written(log, "a\n");
  await written(log, "b\n");
  await log.close(5_000);
  expect(told.dropped).toBe(2);
  expect(told.failed.length).toBe(1);
});

test("a file that cannot be opened is a mistake of the start, with its path", async () => {
  const open = AccessLog.open(join(folder, "missing", "access.log"), events);
  await expect(open).rejects.toThrow(StartError);
  await expect(open).rejects.toThrow(/cannot open the access log: .*missing/);
});
