import type { Terminal } from "./terminal.ts";

/** 0: fine. 1: failed. 2: wrong usage or configuration. */
export type ExitCode = 0 | 1 | 2;

/** An option as data: `--help` and the command line reference are made from it. Make one with the functions below. */
export interface CommandOption<Value> {
  readonly kind: "flag" | "text" | "list";
  /** A letter that stands for it. */
  readonly short?: string;
  /** What stands for the value in help, such as `address`. */
  readonly value?: string;
  readonly about: string;
  /** Never there: carries the type of the value. */
  readonly type?: Value;
}

type Options = Readonly<Record<string, CommandOption<unknown>>>;

/** What the options of a command come to. */
export type OptionValues<O extends Options> = {
  readonly [Name in keyof O]: O[Name] extends CommandOption<infer Value> ? Value : never;
};

/** What a command is called with. */
export interface Call<O extends Options> {
  /** Arguments in order; a last one with dots takes all the rest. */
  readonly args: readonly string[];
  readonly options: OptionValues<O>;
  readonly terminal: Terminal;
}

/** A command: data first, then one function. */
export interface CommandDefinition<O extends Options = Options> {
  /** `[file]`, `<upstream> <backend>`, `[address...]`. */
  readonly args: string;
  /** What each argument is, by its name. */
  readonly argsAbout: Readonly<Record<string, string>>;
  /** More than the summary in the list of commands says; shown by `--help`. */
  readonly details: string;
  /** By name: `logLevel` is written `--log-level`. */
  readonly options: O;
  /** Whole command lines, with a comment behind a `#` if one is needed. */
  readonly examples: readonly string[];
  run(call: Call<O>): Promise<ExitCode>;
}

/** States a command, keeping the exact types of its options. */
export function defineCommand<const O extends Options>(command: CommandDefinition<O>): CommandDefinition<O> {
  return command;
}

/** An option that is there or not. `--no-NAME` where its name begins with `no`. */
export function flagOption(about: string, short?: string): CommandOption<boolean> {
  return { kind: "flag", about, ...(short === undefined ? {} : { short }) };
}

/** An option with a value. */
export function textOption(value: string, about: string, short?: string): CommandOption<string | undefined> {
  return { kind: "text", value, about, ...(short === undefined ? {} : { short }) };
}

/** An option that may be given again and again. */
export function listOption(value: string, about: string, short?: string): CommandOption<readonly string[]> {
  return { kind: "list", value, about, ...(short === undefined ? {} : { short }) };
}

/** `--json`, the same for every command that prints data. */
export const jsonOption = flagOption("print JSON on stdout");

/** A failure with a message of its own: nothing that a stack trace would help with. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly exitCode: ExitCode;

  /** `exitCode` 2 for wrong usage, 1 for all else. */
  constructor(message: string, exitCode: ExitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}
