// A real PostgreSQL on a loopback port of its own, with passwords (scram-sha-256), gone with this process.

import { execFile, spawn } from "node:child_process";
import {
  accessSync,
  chownSync,
  constants,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** @typedef {{ uid: number, gid: number }} Account */
/** @typedef {{ postgres: string, initdb: string, account: Account | undefined }} Installation */
/** @typedef {{ host: string, port: number, user: string, password: string, database: string }} Address */

const user = "spillway";
const password = "a password of this test";
const startTimeoutMs = 30_000;

/**
 * Where PostgreSQL is installed, or why it cannot be used, as a sentence for people.
 *
 * @returns {Installation | string}
 */
export function findPostgres() {
  const directories = [...(process.env.PATH ?? "").split(":"), "/usr/local/bin", ...debianDirectories()];
  const found = directories.find((dir) => executable(join(dir, "postgres")) && executable(join(dir, "initdb")));
  if (found === undefined) return "PostgreSQL is not installed (no postgres and initdb on the PATH)";
  // PostgreSQL refuses to run as root.
  const account = process.getuid?.() === 0 ? unprivilegedAccount() : undefined;
  if (account === null) return "PostgreSQL does not run as root, and there is no user postgres or nobody to run it as";
  return { postgres: join(found, "postgres"), initdb: join(found, "initdb"), account };
}

/** A server that can be stopped and started again, on the same port and with the same data. */
export class Postgres {
  /** @type {Address} */
  address;
  /** @type {Installation} */
  #installation;
  /** @type {string} */
  #dir;
  /** @type {import("node:child_process").ChildProcess | undefined} */
  #child;
  #removeAtExit = () => this.#remove();

  /** @param {Installation} installation @param {string} dir @param {number} port */
  constructor(installation, dir, port) {
    this.#installation = installation;
    this.#dir = dir;
    this.address = { host: "127.0.0.1", port, user, password, database: "postgres" };
    process.on("exit", this.#removeAtExit);
  }

  /**
   * A new server with an empty database, running.
   *
   * @param {Installation} installation
   */
  static async start(installation) {
    const dir = mkdtempSync(join(tmpdir(), "spillway-postgres-"));
    const server = new Postgres(installation, dir, await freePort());
    const passwordFile = join(dir, "password");
    writeFileSync(passwordFile, `${password}\n`);
    const { account } = installation;
    if (account !== undefined) {
      for (const path of [dir, passwordFile]) chownSync(path, account.uid, account.gid);
    }
    const args = [
      "--username",
      user,
      "--pwfile",
      passwordFile,
      "--auth",
      "scram-sha-256",
      "--no-sync",
      "--locale",
      "C",
    ];
    await promisify(execFile)(installation.initdb, [...args, "--pgdata", join(dir, "data")], { ...account, cwd: dir });
    await server.start();
    return server;
  }

  /** Resolves when it takes connections. */
  async start() {
    const { host, port } = this.address;
    const settings = {
      unix_socket_directories: "",
      listen_addresses: host,
      port,
      fsync: "off",
      shared_buffers: "16MB",
    };
    const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const child = spawn(this.#installation.postgres, ["-D", join(this.#dir, "data"), ...args], {
      ...this.#installation.account,
      cwd: this.#dir,
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, LC_ALL: "C" },
    });
    this.#child = child;
    let log = "";
    await new Promise((resolve, reject) => {
      const patience = setTimeout(() => reject(new Error(`PostgreSQL is not up yet: ${log}`)), startTimeoutMs);
      child.once("error", reject);
      child.once("exit", () => {
        clearTimeout(patience);
        reject(new Error(`PostgreSQL ended: ${log}`));
      });
      child.stderr.setEncoding("utf8").on("data", (text) => {
        log = (log + text).slice(-8192);
        if (!log.includes("ready to accept connections")) return;
        clearTimeout(patience);
        resolve(undefined);
      });
    });
  }

  /** Breaks all connections and ends the server; resolves when its port is closed. */
  async stop() {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGINT"); // "fast shutdown"
    await gone;
  }

  /** Ends the server and removes its data. */
  async remove() {
    await this.stop();
    process.off("exit", this.#removeAtExit);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #remove() {
    this.#child?.kill("SIGQUIT"); // "immediate shutdown": nobody is left to wait for it
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

function debianDirectories() {
  try {
    const versions = readdirSync("/usr/lib/postgresql").sort((a, b) => Number(b) - Number(a));
    return versions.map((version) => `/usr/lib/postgresql/${version}/bin`);
  } catch {
    return [];
  }
}

/** @param {string} path */
function executable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** @returns {Account | null} */
function unprivilegedAccount() {
  const lines = readFileSync("/etc/passwd", "utf8").split("\n");
  for (const name of ["postgres", "nobody"]) {
    const [, , uid, gid] = lines.find((line) => line.startsWith(`${name}:`))?.split(":") ?? [];
    if (uid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  return null;
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
      server.close(() => resolve(port));
    });
  });
}
