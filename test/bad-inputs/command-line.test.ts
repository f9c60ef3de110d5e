import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { badInputs } from "../support/bad-inputs.ts";
import { inDirectory, speak } from "../support/terminal.ts";

const directory = mkdtempSync(`${tmpdir()}/spillway-bad-`);
afterAll(() => rmSync(directory, { recursive: true }));

const FILES = {
  "good.yaml":
    'listeners: [{ listen: ":8080", upstream: web }]\nupstreams: { web: { backends: ["http://127.0.0.1:9001"] } }\n',
  "empty.yaml": "",
  "binary.yaml": "workers: \0\n",
  "spillway.toml": "workers = 1\n",
  "throws.ts": 'throw new Error("no such tenant");\n',
  "exports-nothing.ts": "export const config = {};\n",
};
for (const [name, content] of Object.entries(FILES)) writeFileSync(join(directory, name), content);
mkdirSync(join(directory, "directory.yaml"));

/** Words as a shell would split them. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2]!);
}

test.each(badInputs("Command line"))("$input", async ({ input, seen, result }) => {
  const [program, ...argv] = words(input);
  expect(program).toBe("spillway");
  const { exitCode, out, err } = await inDirectory(directory, () => speak(argv));
  expect({ exitCode, out, seen: err.split("\n")[0] }).toEqual({ exitCode: Number(result), out: "", seen });
});
