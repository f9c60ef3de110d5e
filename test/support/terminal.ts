import { runCommandLine } from "../../src/cli/program.ts";
import type { Terminal } from "../../src/cli/terminal.ts";

/** What a command line did. */
export interface Spoken {
  readonly exitCode: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line within this process, on a terminal that remembers. */
export async function speak(argv: readonly string[], rest: Partial<Terminal> = {}): Promise<Spoken> {
  const spoken = { out: "", err: "" };
  const exitCode = await runCommandLine(argv, {
    out: (text) => {
      spoken.out += text;
    },
    err: (text) => {
      spoken.err += text;
    },
    colors: false,
    environment: {},
    width: 100,
    ...rest,
  });
  return { exitCode, ...spoken };
}

/** Runs `work` in another directory. */
export async function inDirectory<T>(directory: string, work: () => Promise<T>): Promise<T> {
  const before = process.cwd();
  process.chdir(directory);
  try {
    return await work();
  } finally {
    process.chdir(before);
  }
}
