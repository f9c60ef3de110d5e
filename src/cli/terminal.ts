/** Where a command writes, and what it knows of its surroundings. Tests put buffers in its place. */
export interface Terminal {
  /** Data: stdout. */
  out(text: string): void;
  /** Words for people: stderr. */
  err(text: string): void;
  /** Whether people's words may have colours. */
  readonly colors: boolean;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Columns of the terminal. */
  readonly width: number;
}

/** The terminal of this process. Colours where stderr is one and NO_COLOR (https://no-color.org) is not set. */
export function processTerminal(): Terminal {
  const { NO_COLOR, TERM } = process.env;
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    colors: process.stderr.isTTY === true && (NO_COLOR === undefined || NO_COLOR === "") && TERM !== "dumb",
    environment: process.env,
    width: process.stdout.columns ?? 80,
  };
}

/** Text in a colour, where the terminal has colours. */
export function paint(terminal: Terminal, color: keyof typeof COLORS, text: string): string {
  return terminal.colors ? `\x1b[${COLORS[color]}m${text}\x1b[0m` : text;
}

const COLORS = { red: 31, green: 32, yellow: 33 } as const;
