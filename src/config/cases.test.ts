import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { formatMistake, mistakeCodes } from "./mistakes.ts";
import { parseConfig } from "./parse.ts";

// A case is a file in test-data: a configuration, a line `---expect`, and what is said of it. To add one, write the
// configuration and the line, and run `npx vitest run src/config -u`: it fills in the rest, to be read and committed.

const directory = fileURLToPath(new URL("test-data/", import.meta.url));
const DIVIDER = "---expect\n";
const environment = { HOST: "10.0.0.1", PORT: "8080", WORKERS: "2", FALSE: "false", EMPTY: "" };

test.each(readdirSync(directory))("%s", async (name) => {
  const [text] = readFileSync(directory + name, "utf8").split(DIVIDER) as [string];
  const format = name.endsWith(".json.txt") ? "json" : "yaml";
  const loaded = parseConfig(text, { file: "file", format, environment });
  const said = [
    ...loaded.warnings.map((warning) => `warning ${formatMistake(warning)}`),
    ...(loaded.ok ? ["fine"] : loaded.mistakes.map(formatMistake)),
  ];
  await expect(`${text}${DIVIDER}${said.join("\n")}\n`).toMatchFileSnapshot(directory + name);
});

test("every code is shown by a case or, where it comes from a file and not its text, by a test of loading", () => {
  const shown = readdirSync(directory)
    .map((name) => readFileSync(directory + name, "utf8").split(DIVIDER)[1])
    .concat(readFileSync(fileURLToPath(new URL("load.test.ts", import.meta.url)), "utf8"))
    .join("\n");
  expect(Object.keys(mistakeCodes).filter((code) => !shown.includes(code))).toEqual([]);
});
