import { writeFile } from "node:fs/promises";
import { CommandError, defineCommand, flagOption } from "./command.ts";
import { STARTER } from "./starter.ts";

export default defineCommand({
  args: "[file]",
  argsAbout: { file: "where to write it (default: spillway.yaml)" },
  details: "The file works as it is, once its two backends run, and explains what can be changed.",
  options: { force: flagOption("write over a file that is there", "f") },
  examples: ["spillway init", "spillway init deploy/spillway.yaml --force"],
  async run({ args: [file = "spillway.yaml"], options, terminal }) {
    if (!/\.ya?ml$/i.test(file)) throw new CommandError(`${file}: the file is YAML. Name it with .yaml at the end.`, 2);
    try {
      await writeFile(file, STARTER, { flag: options.force ? "w" : "wx" });
    } catch (error) {
      throw new CommandError(`${file}: ${reason(error as NodeJS.ErrnoException)}`);
    }
    terminal.err(`Wrote ${file}. Next: spillway check ${file}, then spillway run ${file}.\n`);
    return 0;
  },
});

function reason(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case "EEXIST":
      return "there is such a file already. Use --force to write over it.";
    case "ENOENT":
      return "there is no such directory. Make it first.";
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return "this user may not write there.";
    case "EISDIR":
      return "this is a directory. Name a file in it.";
    default:
      return error.message;
  }
}
