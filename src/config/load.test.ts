import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { loadConfig } from "./load.ts";
import { formatMistake } from "./mistakes.ts";

const directory = mkdtempSync(join(tmpdir(), "spillway-config-"));
afterAll(() => rmSync(directory, { recursive: true }));

const GOOD = 'listeners: [{ listen: ":8080", upstream: web }]\nupstreams: { web: { backends: ["http://10.0.0.1"] } }\n';
const environment = { ACCESS_LOG: "/var/log/access.log" };

function file(name: string, content: string | Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

/** What is said of a file, with its directory left out. */
async function said(path: string): Promise<string[]> {
  const loaded = await loadConfig(path, environment);
  const lines = loaded.ok ? ["fine"] : loaded.mistakes.map(formatMistake);
  return lines.map((line) => line.replaceAll(`${directory}/`, ""));
}

describe("a file that cannot be read is told as such", () => {
  test("missing", async () => {
    expect(await said(join(directory, "missing.yaml"))).toEqual([
      "missing.yaml: there is no such file. Check the path, or write one with spillway init.   [CONFIG_FILE]",
    ]);
    expect(await said(join(file("plain.yaml", GOOD), "below.yaml"))).toEqual([
      expect.stringContaining("there is no such file"),
    ]);
  });

  test("a directory", async () => {
    mkdirSync(join(directory, "dir.yaml"));
    expect(await said(join(directory, "dir.yaml"))).toEqual([
      "dir.yaml: this is a directory. Name a file in it.   [CONFIG_FILE]",
    ]);
  });

  test("not a regular file", async () => {
    symlinkSync("/dev/null", join(directory, "null.yaml"));
    expect(await said(join(directory, "null.yaml"))).toEqual([
      "null.yaml: this is not a regular file. Name a file.   [CONFIG_FILE]",
    ]);
  });

  // Root may read everything.
  if (process.getuid?.() === 0) console.warn("skipped: a file that may not be read: root may read all");
  test.skipIf(process.getuid?.() === 0)("not allowed", async () => {
    const path = file("secret.yaml", GOOD);
    chmodSync(path, 0);
    expect(await said(path)).toEqual([
      "secret.yaml: the file may not be read by this user. Change its permissions.   [CONFIG_FILE]",
    ]);
  });

  test("too large", async () => {
    const path = file("large.yaml", GOOD);
    truncateSync(path, 9 * 1024 * 1024);
    expect(await said(path)).toEqual([
      "large.yaml: the file has 9437184 bytes, and at most 8388608 are read. Write less into it.   [CONFIG_FILE]",
    ]);
  });

  test("not text", async () => {
    expect(await said(file("latin.yaml", Uint8Array.of(0x61, 0xe9, 0x0a)))).toEqual([
      "latin.yaml: the file is not UTF-8. Save it as UTF-8.   [CONFIG_FILE]",
    ]);
    expect(await said(file("nul.yaml", "workers: 1\nadmin: \0"))).toEqual([
      "nul.yaml:2:8: the file holds a NUL byte, so it is not text. Save it as UTF-8.   [CONFIG_FILE]",
    ]);
  });

  test("of no known format", async () => {
    expect(await said(file("spillway.toml", GOOD))).toEqual([
      "spillway.toml: .toml stands for no format of configuration. Name it .yaml, .yml, .json, .ts, .mts, .js or .mjs.   [CONFIG_FORMAT]",
    ]);
    expect(await said(file("Spillwayfile", GOOD))).toEqual([expect.stringContaining("no ending stands for no format")]);
  });
});

test("a byte order mark and line ends of another system are no mistake", async () => {
  expect(await said(file("bom.yaml", `\ufeff${GOOD.replaceAll("\n", "\r\n")}`))).toEqual(["fine"]);
  expect(await said(file("crlf.yaml", GOOD.replace(":8080", "8080").replaceAll("\n", "\r\n")))).toEqual([
    expect.stringMatching(/^crlf\.yaml:1:23 listeners\[0\]\.listen/),
  ]);
});

describe("a configuration in TypeScript", () => {
  const exported =
    '{ listeners: [{ listen: ":8080", upstream: "web" }], upstreams: { web: { backends: ["http://10.0.0.1"] } } }';

  test("is loaded with its types stripped, and its imports", async () => {
    file("backends.ts", 'export const backends: readonly string[] = ["http://10.0.0.1", "http://10.0.0.2"];');
    const path = file(
      "imports.config.ts",
      'import { backends } from "./backends.ts";\nexport default { listeners: [{ listen: ":8080", upstream: "web" }], upstreams: { web: { backends: [...backends] } } } as const;',
    );
    const loaded = await loadConfig(path, environment);
    expect(loaded.ok && loaded.settings.upstreams.web?.backends.map(({ id }) => id)).toEqual([
      "10.0.0.1:80",
      "10.0.0.2:80",
    ]);
  });

  test("may be a promise, JavaScript, or put the environment in", async () => {
    expect(await said(file("promise.mts", `export default Promise.resolve(${exported});`))).toEqual(["fine"]);
    expect(await said(file("script.mjs", `export default ${exported};`))).toEqual(["fine"]);
    const loaded = await loadConfig(
      file(
        "variable.ts",
        `export default { log: { access: { format: "json", path: "\${ACCESS_LOG}" } }, ...${exported} };`,
      ),
      environment,
    );
    expect(loaded.ok && loaded.settings.log.access.path).toBe("/var/log/access.log");
  });

  test("has its mistakes told by key", async () => {
    expect(
      await said(file("wrong.ts", `export default { workers: 0, extra: undefined, plugin: () => 1, ...${exported} };`)),
    ).toEqual([
      expect.stringMatching(/^wrong\.ts plugin: a function stands where plain data is asked for\..* \[CONFIG_TYPE\]$/),
      "wrong.ts workers: 0 is too small. Write a whole number from 1 to 256, or auto.   [CONFIG_NUMBER]",
    ]);
  });

  test("that fails while it runs says why", async () => {
    expect(await said(file("throws.ts", 'throw new Error("no such tenant");'))).toEqual([
      "throws.ts: running the file failed: Error: no such tenant. Run it by itself to find out more.   [CONFIG_MODULE]",
    ]);
    expect(await said(file("syntax.ts", "export default {"))).toEqual([
      expect.stringMatching(/^syntax\.ts: running the file failed: .*\[CONFIG_MODULE\]$/),
    ]);
    expect(await said(file("import.ts", 'import "./nowhere.ts"; export default {};'))).toEqual([
      expect.stringContaining("running the file failed"),
    ]);
  });

  test("that exports nothing is told what to export", async () => {
    const none =
      "the file has no default export that is a configuration. Write export default defineConfig({ ... }).   [CONFIG_MODULE]";
    expect(await said(file("none.ts", "export const config = {};"))).toEqual([`none.ts: ${none}`]);
    expect(await said(file("text.ts", 'export default "listeners";'))).toEqual([`text.ts: ${none}`]);
  });

  test("leaves no file behind", async () => {
    const before = readdirSync(directory);
    await said(join(directory, "script.mjs"));
    expect(readdirSync(directory)).toEqual(before);
  });
});
