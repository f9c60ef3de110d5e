import { close, fstatSync, open, write } from "node:fs";
import { StartError } from "./start-error.ts";

const MAX_WAITING_BYTES = 8 * 1024 * 1024;

/** Where bytes of the access log end up. */
interface Target {
  /** Writes all of `bytes`, then calls `done`; never blocks the caller. */
  write(bytes: Buffer, done: (error: Error | null) => void): void;
  close(done: () => void): void;
}

/** What an access log tells its owner. */
export interface AccessLogEvents {
  /** Lines thrown away because the file, pipe or terminal did not take them in time. */
  dropped(lines: number): void;
  /** It cannot be written; repeated failures of the same kind are reported once until a write works again. */
  failed(message: string): void;
}

interface Chunk {
  readonly bytes: Buffer;
  readonly lines: number;
  readonly done: () => void;
}

/**
 * The access log: one file, or standard output. Lines are written in order, one write at a time; what waits is bounded
 * by 8 MiB, and what comes on top is dropped and counted, so that a full disk or a stopped reader costs log lines and
 * nothing else.
 */
export class AccessLog {
  readonly #path: string;
  readonly #events: AccessLogEvents;
  #target: Target | undefined;
  #waiting: Chunk[] = [];
  #waitingBytes = 0;
  #writing = false;
  #reopenAsked = false;
  #failing = false;
  #drained: (() => void)[] = [];

  private constructor(path: string, target: Target, events: AccessLogEvents) {
    this.#path = path;
    this.#target = target;
    this.#events = events;
  }

  /** Opens `path` for appending, or standard output for `stdout`. @throws StartError when the file cannot be opened. */
  static async open(path: string, events: AccessLogEvents): Promise<AccessLog> {
    try {
      return new AccessLog(path, await openTarget(path), events);
    } catch (error) {
      throw new StartError(`cannot open the access log: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Takes whole lines; `done` is called when they are written or given up. */
  write(text: string, lines: number, done: () => void = () => {}): void {
    const bytes = Buffer.from(text);
    if (this.#target === undefined || this.#waitingBytes + bytes.length > MAX_WAITING_BYTES) {
      this.#events.dropped(lines);
      done();
      return;
    }
    this.#waiting.push({ bytes, lines, done });
    this.#waitingBytes += bytes.length;
    this.#pump();
  }

  /** Closes the file and opens its name again, after the write that is running: for log rotation. */
  reopen(): void {
    if (this.#path === "stdout") return;
    this.#reopenAsked = true;
    this.#pump();
  }

  /** Resolves when everything taken so far is written, or `withinMs` passed: a stuck reader must not stop an exit. */
  async close(withinMs: number): Promise<void> {
    if (this.#writing) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, withinMs);
        this.#drained.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    const target = this.#target;
    this.#target = undefined;
    // A write that is stuck owns the descriptor; the process ends with it.
    if (target !== undefined && !this.#writing) await new Promise<void>((resolve) => target.close(resolve));
  }

  #pump(): void {
    if (this.#writing) return;
    if (this.#reopenAsked) {
      this.#reopenAsked = false;
      this.#writing = true;
      void this.#exchangeTarget();
      return;
    }
    const target = this.#target;
    if (target === undefined || this.#waiting.length === 0) {
      for (const resolve of this.#drained.splice(0)) resolve();
      return;
    }
    const chunks = this.#waiting;
    this.#waiting = [];
    this.#writing = true;
    target.write(Buffer.concat(chunks.map((chunk) => chunk.bytes)), (error) => {
      this.#writing = false;
      let lines = 0;
      for (const chunk of chunks) {
        this.#waitingBytes -= chunk.bytes.length;
        lines += chunk.lines;
        chunk.done();
      }
      if (error === null) this.#failing = false;
      else this.#fail(error, lines);
      this.#pump();
    });
  }

  async #exchangeTarget(): Promise<void> {
    try {
      const next = await openTarget(this.#path);
      const last = this.#target;
      this.#target = next;
      last?.close(() => {});
    } catch (error) {
      // The old file goes on being written: lines under the wrong name are better than none.
      this.#fail(error as Error, 0);
    }
    this.#writing = false;
    this.#pump();
  }

  #fail(error: Error, lines: number): void {
    if (lines > 0) this.#events.dropped(lines);
    if (this.#failing) return;
    this.#failing = true;
    this.#events.failed(`cannot write the access log to ${this.#path}: ${error.message}`);
  }
}

async function openTarget(path: string): Promise<Target> {
  if (path === "stdout") return fstatSync(1).isFile() ? fileTarget(1) : streamTarget(process.stdout);
  const fd = await new Promise<number>((resolve, reject) => {
    open(path, "a", 0o640, (error, opened) => (error === null ? resolve(opened) : reject(error)));
  });
  return fileTarget(fd);
}

function fileTarget(fd: number): Target {
  const writeRest = (bytes: Buffer, done: (error: Error | null) => void): void => {
    write(fd, bytes, (error, written) => {
      if (error !== null) done(error);
      else if (written < bytes.length) writeRest(bytes.subarray(written), done);
      else done(null);
    });
  };
  return { write: writeRest, close: (done) => (fd === 1 ? done() : close(fd, () => done())) };
}

/** A pipe or terminal. It reports a reader that left (EPIPE) to the write and as an event; the event must have an ear. */
function streamTarget(stream: NodeJS.WriteStream): Target {
  stream.on("error", () => {});
  return {
    write: (bytes, done) => stream.write(bytes, (error) => done(error ?? null)),
    close: (done) => done(),
  };
}
