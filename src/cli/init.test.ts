import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { inDirectory, speak } from "../../test/support/terminal.ts";
import { STARTER } from "./starter.ts";

const directory = mkdtempSync(join(tmpdir(), "spillway-init-"));
afterAll(() => rmSync(directory, { recursive: true }));

test("what init.ts writes passes check, without a warning", async () => {
  await inDirectory(directory, async () => {
    expect(await speak(["init"])).toMatchObject({ exitCode: 0, out: "" });
    expect(readFileSync("spillway.yaml", "utf8")).toBe(STARTER);
    expect(await speak(["check"])).toMatchObject({ exitCode: 0, err: "spillway.yaml is fine.\n" });
  });
});

test("what is commented out in it would pass too", async () => {
  const path = join(directory, "all.yaml");
  // Comments that hold configuration begin with a key, a dash or what belongs to the dash before.
  const open = STARTER.replace(/^( *)# (?=- | {2}|[a-z][a-zA-Z]+: )/gm, "$1");
  expect(open).not.toBe(STARTER);
  writeFileSync(
    path,
    `${open}  api: { backends: [http://127.0.0.1:9003] }\n`.replace(
      /(.*)(\nadmin:[\s\S]*\n)( {2}api: .*\n)$/,
      "$1\n$3$2",
    ),
  );
  const { exitCode, err } = await speak(["check", path]);
  expect({ exitCode, err }).toEqual({ exitCode: 0, err: `${path} is fine.\n` });
});

test("a file that is there stays, unless --force is written", async () => {
  const path = join(directory, "mine.yaml");
  writeFileSync(path, "mine");
  expect(await speak(["init", path])).toMatchObject({ exitCode: 1 });
  expect(readFileSync(path, "utf8")).toBe("mine");
  expect(await speak(["init", path, "--force"])).toMatchObject({ exitCode: 0 });
  expect(readFileSync(path, "utf8")).toBe(STARTER);
});
