import { watch } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock, Timer } from "../time/clock.ts";

/** How often a file is looked at when the system tells of no change: network file systems tell of none. */
const POLL_MS = 30_000;
/** How long a file has to stay as it is before it is read: who copies a file over another writes it in many steps. */
const SETTLE_MS = 500;

/** What a watched file needs of the file system. */
export interface FileWatching {
  /** Another text whenever the file, or the reason why it cannot be reached, is another. */
  version(path: string): Promise<string>;
  /** Calls `happened` when something changes in a folder; undefined where the system cannot tell. */
  watch(folder: string, happened: () => void): { close(): void } | undefined;
}

/** What a file is watched with. */
export interface WatchedFileInit {
  readonly path: string;
  /** The version that its owner has read. */
  readonly version: string;
  readonly clock: Clock;
  /** The file has become another, or cannot be reached, and has stayed so. Called for each version once, one at a time. */
  changed(): Promise<void>;
  /** Default: the real ones. */
  readonly files?: FileWatching;
}

/**
 * Watches a file, however it is replaced: written over, renamed over, or reached by a link that is turned to another
 * folder. The folder is watched and not the file, because a watched file that is renamed over is watched no more.
 */
export class WatchedFile {
  readonly #init: WatchedFileInit;
  readonly #files: FileWatching;
  readonly #timer: Timer;
  readonly #folder: { close(): void } | undefined;
  #known: string;
  /** What it was at the last look, while that is not known. */
  #candidate: string | undefined;
  /** A look is due within `SETTLE_MS`. */
  #soon = false;
  #looking = false;
  #closed = false;

  constructor(init: WatchedFileInit) {
    this.#init = init;
    this.#files = init.files ?? FILES;
    this.#known = init.version;
    this.#timer = init.clock.timer(() => void this.#look());
    this.#folder = this.#files.watch(dirname(init.path), () => this.#lookSoon());
    // It may have changed since it was read.
    this.#lookSoon();
  }

  close(): void {
    this.#closed = true;
    this.#timer.clear();
    this.#folder?.close();
  }

  #lookSoon(): void {
    // In a folder where something happens all the time, a look that is put off again and again would never come.
    if (this.#soon || this.#closed) return;
    this.#soon = true;
    if (!this.#looking) this.#timer.set(SETTLE_MS);
  }

  async #look(): Promise<void> {
    this.#soon = false;
    this.#looking = true;
    const version = await this.#files.version(this.#init.path);
    if (version === this.#known) {
      this.#candidate = undefined;
    } else if (version !== this.#candidate) {
      this.#candidate = version;
      this.#soon = true;
    } else if (!this.#closed) {
      this.#known = version;
      this.#candidate = undefined;
      await this.#init.changed();
    }
    this.#looking = false;
    if (!this.#closed) this.#timer.set(this.#soon ? SETTLE_MS : POLL_MS);
  }
}

const FILES: FileWatching = {
  version: fileVersion,
  watch: (folder, happened) => {
    try {
      const watcher = watch(folder, { persistent: false }, happened);
      watcher.on("error", () => watcher.close());
      return watcher;
    } catch {
      return undefined;
    }
  },
};

/** The version of a file as `FileWatching` means it. */
export async function fileVersion(path: string): Promise<string> {
  try {
    return versionOf(await stat(path));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "error";
  }
}

/** The version of a file that has been looked at. */
export function versionOf(stats: { readonly ino: number; readonly size: number; readonly mtimeMs: number }): string {
  return `${stats.ino} ${stats.size} ${stats.mtimeMs}`;
}
