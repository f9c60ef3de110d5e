// What the figures were measured on.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { fileURLToPath } from "node:url";

export const projectDir = fileURLToPath(new URL("../../", import.meta.url));

export function describeMachine() {
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: `${cpus().length} x ${cpus()[0]?.model.trim() ?? "unknown"}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    kernel: `Linux ${release()}`,
  };
}

/** Version and commit of the Spillway under test. */
export function spillwayVersion() {
  const { version } = JSON.parse(readFileSync(`${projectDir}package.json`, "utf8"));
  try {
    const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], {
      cwd: projectDir,
      encoding: "utf8",
      stdio: "pipe",
    });
    return `${version} (${commit.trim()})`;
  } catch {
    return String(version); // not a git checkout
  }
}
