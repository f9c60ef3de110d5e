import { Argument, Command, CommanderError, Option } from "commander";
import { TOO_MANY_FILES } from "../control/listen-advice.ts";
import { version } from "../control/version.ts";
import { type CommandDefinition, CommandError, type CommandOption, type ExitCode } from "./command.ts";
import { commands, type ListedCommand } from "./commands.ts";
import { paint, type Terminal } from "./terminal.ts";

/**
 * Runs a command line (without the program's name) and answers with its exit code. Nothing it is given makes it throw:
 * a failure nobody foresaw is printed with its stack and is exit code 1.
 */
export async function runCommandLine(argv: readonly string[], terminal: Terminal): Promise<ExitCode> {
  let exitCode: ExitCode = 0;
  try {
    const program = await buildProgram(argv, terminal, (code) => {
      exitCode = code;
    });
    await program.parseAsync(argv, { from: "user" });
  } catch (error) {
    return failed(error, terminal);
  }
  return exitCode;
}

function failed(error: unknown, terminal: Terminal): ExitCode {
  // Commander has written its message already. Help that was asked for is no failure; help for want of a command is.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const problem = paint(terminal, "red", "spillway:");
  if (error instanceof CommandError) {
    terminal.err(`${problem} ${error.message}\n`);
    return error.exitCode;
  }
  if ((error as NodeJS.ErrnoException | undefined)?.code === "EMFILE") {
    terminal.err(`${problem} ${TOO_MANY_FILES}\n`);
    return 1;
  }
  terminal.err(`${problem} ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return 1;
}

async function buildProgram(
  argv: readonly string[],
  terminal: Terminal,
  done: (code: ExitCode) => void,
): Promise<Command> {
  const program = new Command("spillway")
    .description("A load balancer you can run, program, prove and embed.")
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand("help [command]", "print help for a command")
    .showSuggestionAfterError()
    .showHelpAfterError("(spillway --help lists commands and options)")
    .addHelpText("after", "\nExit codes: 0 fine, 1 failed, 2 wrong usage or configuration.");
  prepare(program, terminal);
  const asked = argv.find((word) => !word.startsWith("-") && word !== "help");
  for (const listed of commands) program.addCommand(await buildCommand(listed, listed.name === asked, terminal, done));
  return program;
}

function prepare(command: Command, terminal: Terminal): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => terminal.out(text),
    writeErr: (text) => terminal.err(text),
    outputError: (text, write) => write(text.replace(/^error:/, paint(terminal, "red", "spillway:"))),
    getOutHelpWidth: () => Math.min(terminal.width, 100),
    getErrHelpWidth: () => Math.min(terminal.width, 100),
    getOutHasColors: () => false,
    getErrHasColors: () => false,
  });
}

/** Only the command that is asked for is loaded; of the others help needs no more than name and summary. */
async function buildCommand(
  { name, summary, load }: ListedCommand,
  asked: boolean,
  terminal: Terminal,
  done: (code: ExitCode) => void,
): Promise<Command> {
  const command = new Command(name).summary(summary).description(summary).helpOption("-h, --help", "print help");
  prepare(command, terminal);
  if (!asked) return command;
  const definition = (await load()).default as unknown as CommandDefinition;
  if (definition.details !== "") command.description(`${summary}.\n\n${definition.details}`);
  command.showSuggestionAfterError().showHelpAfterError(`(spillway ${name} --help shows how it is used)`);
  for (const text of definition.args.split(" ").filter((word) => word !== "")) {
    const bare = text.replace(/[<>[\].]/g, "");
    command.addArgument(new Argument(text, definition.argsAbout[bare] ?? ""));
  }
  for (const [key, option] of Object.entries(definition.options)) command.addOption(commanderOption(key, option));
  const examples = definition.examples.map((example) => `  ${example}`).join("\n");
  command.addHelpText("after", `\nExamples:\n${examples}`);
  command.action(async (...parts: unknown[]) => {
    const values = command.opts<Record<string, unknown>>();
    const options = Object.fromEntries(
      Object.entries(definition.options).map(([key, option]) => [key, optionValue(key, option, values)]),
    );
    const args = parts
      .slice(0, -2)
      .flat()
      .filter((arg): arg is string => typeof arg === "string");
    done(await definition.run({ args, options, terminal }));
  });
  return command;
}

/** Commander takes `--no-outage` for the end of an option `outage`; for us it is the option `noOutage`. */
function optionValue(
  key: string,
  { kind }: CommandOption<unknown>,
  values: Readonly<Record<string, unknown>>,
): unknown {
  const negated = kind === "flag" && /^no[A-Z]/.test(key);
  if (negated) return values[key.charAt(2).toLowerCase() + key.slice(3)] === false;
  return values[key] ?? EMPTY[kind];
}

const EMPTY = { flag: false, text: undefined, list: [] } as const;

function commanderOption(key: string, { kind, short, value, about }: CommandOption<unknown>): Option {
  const name = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const flags = `${short === undefined ? "" : `-${short}, `}--${name}${kind === "flag" ? "" : ` <${value}>`}`;
  const option = new Option(flags, kind === "list" ? `${about} (may be repeated)` : about);
  if (kind === "list") option.argParser((text: string, before: string[] | undefined) => [...(before ?? []), text]);
  return option;
}
