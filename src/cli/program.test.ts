import { describe, expect, test } from "vitest";
import { speak } from "../../test/support/terminal.ts";
import { version } from "../control/version.ts";
import type { CommandDefinition } from "./command.ts";
import { commands } from "./commands.ts";

test("--version is the package's version, on stdout", async () => {
  expect(await speak(["--version"])).toEqual({ exitCode: 0, out: `${version}\n`, err: "" });
});

test("help that was asked for is data; help for want of a command is a mistake", async () => {
  const asked = await speak(["--help"]);
  expect(asked).toMatchObject({ exitCode: 0, err: "" });
  const wanting = await speak([]);
  expect(wanting).toMatchObject({ exitCode: 2, out: "" });
  expect(wanting.err).toContain("Usage: spillway");
  expect(await speak(["help"])).toEqual(asked);
});

test("every command is listed with what it does", async () => {
  const { out } = await speak(["--help"], { width: 200 });
  for (const { name, summary } of commands)
    expect(out.replace(/\s+/g, " ")).toContain(`${name} `.concat(summary.split(" ")[0]!));
});

describe.each(commands.map(({ name, load }) => ({ name, load })))("spillway $name --help", ({ name, load }) => {
  test("shows each option, each argument and the examples", async () => {
    const { exitCode, out, err } = await speak([name, "--help"], { width: 100 });
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
    const { options, examples } = (await load()).default as unknown as CommandDefinition;
    for (const key of Object.keys(options))
      expect(out).toContain(`--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) {
      expect(example).toContain("spillway");
      expect(out).toContain(example);
    }
    expect(await speak(["help", name])).toMatchObject({ exitCode: 0, out });
  });
});

test("colours are used where the terminal has them, and only there", async () => {
  expect((await speak(["chekc"], { colors: true })).err).toContain("\x1b[31mspillway:\x1b[0m unknown command");
  expect((await speak(["chekc"])).err).not.toContain("\x1b");
});
