// Packs Spillway as it would be published, installs the package in an empty folder and starts it there.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = new URL("..", import.meta.url).pathname;
const dir = mkdtempSync(join(tmpdir(), "spillway-package-"));
const run = (/** @type {string} */ command, /** @type {string[]} */ ...args) =>
  execFileSync(command, args, { cwd: dir, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }).trim();

try {
  // The build has run before: its output would stand in the way of the JSON.
  const pack = ["pack", "--json", "--ignore-scripts", "--pack-destination", dir];
  const packed = JSON.parse(execFileSync("npm", pack, { cwd: root, encoding: "utf8" }));
  const { filename } = Array.isArray(packed) ? packed[0] : Object.values(packed)[0];
  writeFileSync(join(dir, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }));
  run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", `./${filename}`);
  const { version, exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const printed = run("npx", "--no-install", "spillway", "--version");
  if (printed !== version) throw new Error(`spillway --version printed ${printed}, not ${version}`);
  for (const door of Object.keys(exports)) {
    if (door === "./package.json") continue;
    run("node", "-e", `import(${JSON.stringify(`spillway${door.slice(1)}`)})`);
  }
  console.log(`spillway ${version} installs in an empty folder, starts, and all its doors open`);
} finally {
  rmSync(dir, { recursive: true, force: true });
}
