import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { version } from "../src/control/version.ts";

const MAIN = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));

test("the built program answers, and its exit code is the command's", async () => {
  const child = spawn(process.execPath, [MAIN, "--version"], { stdio: ["ignore", "pipe", "inherit"] });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  expect(await once(child, "close")).toEqual([0, null]);
  expect(Buffer.concat(chunks).toString()).toBe(`${version}\n`);
  const wrong = spawn(process.execPath, [MAIN, "chekc"], { stdio: "ignore" });
  expect(await once(wrong, "close")).toEqual([2, null]);
});

test("a reader that has seen enough of stdout is no failure", async () => {
  const child = spawn(process.execPath, [MAIN, "schema"], { stdio: ["ignore", "pipe", "pipe"] });
  const errors: Buffer[] = [];
  child.stderr.on("data", (chunk: Buffer) => errors.push(chunk));
  child.stdout.destroy();
  expect(await once(child, "close")).toEqual([0, null]);
  expect(Buffer.concat(errors).toString()).toBe("");
});
