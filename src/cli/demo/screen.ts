import type { ReadStream, WriteStream } from "node:tty";
import type { Size } from "./view.ts";

const ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE = "\x1b[?25h\x1b[?1049l";

/** The terminal while the demo draws on it; {@link Screen.close} gives it back as it was, whatever happens. */
export class Screen {
  readonly #input: ReadStream;
  readonly #output: WriteStream;
  readonly #onKey: (key: string) => void;
  readonly #restore = (): void => this.close();
  #open = false;

  constructor(input: ReadStream, output: WriteStream, onKey: (key: string) => void) {
    this.#input = input;
    this.#output = output;
    this.#onKey = onKey;
  }

  get size(): Size {
    return { width: this.#output.columns || 80, height: this.#output.rows || 24 };
  }

  open(): void {
    this.#open = true;
    process.once("exit", this.#restore);
    this.#output.write(ENTER);
    if (!this.#input.isTTY) return;
    this.#input.setRawMode(true);
    this.#input.setEncoding("utf8");
    this.#input.on("data", this.#onKey);
    this.#input.resume();
  }

  draw(lines: readonly string[]): void {
    // Lines are overwritten, not cleared first: nothing flickers.
    if (this.#open) this.#output.write(`\x1b[H${lines.map((line) => `${line}\x1b[K`).join("\r\n")}\x1b[J`);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    process.off("exit", this.#restore);
    if (this.#input.isTTY) {
      this.#input.setRawMode(false);
      this.#input.off("data", this.#onKey);
      this.#input.pause();
    }
    this.#output.write(LEAVE);
  }
}
