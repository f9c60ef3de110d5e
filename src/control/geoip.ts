import { open, stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { ListenAddress } from "../config/settings.ts";
import { formatAddress } from "../config/values.ts";
import { GeoipDatabase } from "../proxy/geoip-database.ts";
import type { Clock } from "../time/clock.ts";
import type { Log } from "./log.ts";
import { StartError } from "./start-error.ts";
import { type FileWatching, versionOf, WatchedFile } from "./watched-file.ts";

/** The part of a listener's settings that names a database. */
export interface GeoipListener {
  readonly listen: ListenAddress;
  readonly clientPosition: false | { readonly geoip: string | undefined };
}

/** What databases are kept with. */
export interface GeoipFilesInit {
  readonly clock: Clock;
  readonly log: Log;
  /** Default: the real ones. */
  readonly files?: FileWatching;
}

/** A file as it was read. */
interface ReadFile {
  readonly version: string;
  readonly bytes: SharedArrayBuffer;
}

/**
 * The GeoIP databases that the listeners name: each is read once into memory that all threads share, and read anew when
 * its file changes. A new file that is no database is reported, and the old one goes on being used. Relative paths are
 * relative to the working directory.
 */
export class GeoipFiles {
  readonly #init: GeoipFilesInit;
  readonly #databases = new Map<string, SharedArrayBuffer>();
  readonly #versions: ReadonlyMap<string, string>;
  #watched: readonly WatchedFile[] = [];
  #closed = false;

  private constructor(init: GeoipFilesInit, files: ReadonlyMap<string, ReadFile>) {
    this.#init = init;
    for (const [path, { bytes }] of files) this.#databases.set(path, bytes);
    this.#versions = new Map([...files].map(([path, { version }]) => [path, version]));
  }

  /** Reads all of them. @throws StartError that names listener, file and reason when one cannot be used. */
  static async read(listeners: readonly GeoipListener[], init: GeoipFilesInit): Promise<GeoipFiles> {
    const files = new Map<string, ReadFile>();
    for (const { listen, clientPosition } of listeners) {
      if (clientPosition === false || clientPosition.geoip === undefined || files.has(clientPosition.geoip)) continue;
      const path = clientPosition.geoip;
      try {
        const file = await readFile(path);
        report(init.log, path, file.bytes, checked(file.bytes));
        files.set(path, file);
      } catch (error) {
        const message = `listener ${formatAddress(listen)}: cannot use the GeoIP database ${named(path)}: ${reasonOf(error)}`;
        throw new StartError(message, { cause: error });
      }
    }
    return new GeoipFiles(init, files);
  }

  /** The newest of each, by its path in the configuration. */
  get databases(): ReadonlyMap<string, SharedArrayBuffer> {
    return this.#databases;
  }

  /** Watches the files until `close`; `changed` is told of each new database, after `databases` has it. */
  watch(changed: (path: string, database: SharedArrayBuffer) => void): void {
    const { clock, files } = this.#init;
    this.#watched = [...this.#versions].map(
      ([path, version]) =>
        new WatchedFile({
          path: resolve(path),
          version,
          clock,
          changed: () => this.#readAnew(path, changed),
          ...(files === undefined ? {} : { files }),
        }),
    );
  }

  close(): void {
    this.#closed = true;
    for (const file of this.#watched) file.close();
  }

  async #readAnew(path: string, changed: (path: string, database: SharedArrayBuffer) => void): Promise<void> {
    const { log } = this.#init;
    try {
      const { bytes } = await readFile(path);
      const database = checked(bytes);
      if (this.#closed) return;
      this.#databases.set(path, bytes);
      report(log, path, bytes, database);
    } catch (error) {
      if (this.#closed || error instanceof ChangedMeanwhile) return;
      const reason = reasonOf(error);
      const message = `cannot use the new GeoIP database ${named(path)}: ${reason}; the one read before stays in use`;
      log.write("warn", "geoip_invalid", message, { path, reason });
      return;
    }
    changed(path, this.#databases.get(path)!);
  }
}

/** Somebody wrote to the file while it was read. It will be another version at the next look, and read then. */
class ChangedMeanwhile extends Error {
  override readonly name = "ChangedMeanwhile";
}

/** @throws Error of the system, or one that says in words why not. */
async function readFile(path: string): Promise<ReadFile> {
  // Asked before it is opened: opening a pipe waits for who writes to it.
  if (!(await stat(path)).isFile()) throw new Error("it is no file");
  const handle = await open(path);
  try {
    const stats = await handle.stat();
    const bytes = new SharedArrayBuffer(stats.size);
    const view = new Uint8Array(bytes);
    let filled = 0;
    while (filled < view.length) {
      const { bytesRead } = await handle.read(view, filled, view.length - filled, filled);
      if (bytesRead === 0) throw new ChangedMeanwhile("it became shorter while it was read");
      filled += bytesRead;
    }
    const version = versionOf(stats);
    if (versionOf(await handle.stat()) !== version) throw new ChangedMeanwhile("it was written to while it was read");
    return { version, bytes };
  } finally {
    await handle.close();
  }
}

function checked(bytes: SharedArrayBuffer): GeoipDatabase {
  const database = new GeoipDatabase(bytes);
  database.check();
  return database;
}

function report(log: Log, path: string, bytes: SharedArrayBuffer, { type, builtAt }: GeoipDatabase): void {
  const built = builtAt?.toISOString() ?? "unknown";
  const message = `read the GeoIP database ${path}: ${type}, made on ${builtAt === undefined ? "an unknown day" : built.slice(0, 10)}`;
  log.write("info", "geoip_loaded", message, { path, type, built, bytes: bytes.byteLength });
}

/** The path as written, and where that is when it does not say so itself. */
function named(path: string): string {
  const full = resolve(path);
  return full === path ? path : `${path} (${full})`;
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ENOTDIR") return "there is no such file";
  if (code === "EACCES" || code === "EPERM") return "it may not be read by this user";
  return message;
}
