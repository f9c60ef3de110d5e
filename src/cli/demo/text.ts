/** Colours a terminal of any theme shows legibly. */
export type Paint = "red" | "green" | "yellow" | "cyan";

const CODES: Readonly<Record<Paint, number>> = { red: 31, green: 32, yellow: 33, cyan: 36 };

export function paint(text: string, color: Paint, on: boolean, inverse = false): string {
  return on ? `\x1b[${inverse ? "7;" : ""}${CODES[color]}m${text}\x1b[0m` : inverse ? `[${text.trim()}]` : text;
}

export function bold(text: string, on: boolean): string {
  return on ? `\x1b[1m${text}\x1b[0m` : text;
}

export function dim(text: string, on: boolean): string {
  return on ? `\x1b[2m${text}\x1b[0m` : text;
}

/** The first `width` visible characters; colours do not count and are always ended. */
export function clip(text: string, width: number): string {
  let visible = 0;
  let clipped = "";
  for (const part of text.split(/(\x1b\[[0-9;]*m)/)) {
    if (part.startsWith("\x1b")) clipped += part;
    else {
      clipped += part.slice(0, Math.max(0, width - visible));
      visible += part.length;
    }
  }
  return clipped;
}
