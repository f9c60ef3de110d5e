import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, expect, test } from "vitest";
import { badInputs } from "../support/bad-inputs.ts";
import { inDirectory, speak } from "../support/terminal.ts";

/** What stands beside the line of a row, where it says nothing of it: as the page has it. */
const REST = {
  listeners: 'listeners: [{ listen: ":8080", upstream: web }]',
  upstreams: 'upstreams: { web: { backends: ["http://127.0.0.1:9001"] } }',
};

const directory = mkdtempSync(`${tmpdir()}/spillway-bad-`);
afterAll(() => rmSync(directory, { recursive: true }));

test.each(badInputs("Configuration"))("$input", async ({ input, seen, result }) => {
  const rest = Object.entries(REST).filter(([key]) => !input.startsWith(`${key}:`));
  await inDirectory(directory, async () => {
    writeFileSync("spillway.yaml", `${[input, ...rest.map(([, line]) => line)].join("\n")}\n`);
    expect(await speak(["check", "spillway.yaml"])).toEqual({
      exitCode: Number(result),
      out: "",
      err: `${seen}\nspillway.yaml: 1 mistake.\n`,
    });
  });
});
