// Fetches the newest Node.js from the npm registry into .cache/node-newest, without installing it anywhere:
//   node bench/fetch-node.mjs [VERSION]
// Prints the path of its binary.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { arch, platform } from "node:os";
import { projectDir } from "./lib/machine.mjs";

const name = `node-${platform()}-${arch()}`;
const dir = `${projectDir}.cache/node-newest`;
const binary = `${dir}/bin/node`;
const version = process.argv[2] ?? execFileSync("npm", ["view", name, "version"], { encoding: "utf8" }).trim();

if (!existsSync(binary) || execFileSync(binary, ["--version"], { encoding: "utf8" }).trim() !== `v${version}`) {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  execFileSync("npm", ["pack", `${name}@${version}`, "--silent", "--pack-destination", dir], { stdio: "pipe" });
  const archive = `${dir}/${name}-${version}.tgz`;
  execFileSync("tar", ["-xzf", archive, "-C", dir, "--strip-components=1", "package/bin/node"]);
  rmSync(archive);
}
console.log(binary);
