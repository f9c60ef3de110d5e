import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { commands } from "../src/cli/commands.ts";
import { loadConfig } from "../src/config/load.ts";
import { formatMistake } from "../src/config/mistakes.ts";
import { checkConfig, type Loaded, parseConfig } from "../src/config/parse.ts";

/**
 * What the documentation says is tried: links are followed, configurations are loaded, and the files and commands it names
 * have to exist. A block of YAML is a whole configuration (its first line is `# spillway.yaml`) or a part of one (`# under
 * upstreams.web`); other YAML does not belong in a page.
 */
const root = fileURLToPath(new URL("..", import.meta.url));
/** Where no page of ours is, and where Markdown is test data. */
const NOT_OURS = /(^|\/)(node_modules|dist|test-data|\.git|\.cache|coverage)(\/|$)/;

const pages: readonly { readonly file: string; readonly text: string }[] = markdownIn(root)
  .sort()
  .map((file) => ({ file, text: readFileSync(join(root, file), "utf8") }));

function markdownIn(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = relative(root, join(directory, entry.name));
    if (NOT_OURS.test(path)) return [];
    if (entry.isDirectory()) return markdownIn(join(directory, entry.name));
    return entry.name.endsWith(".md") ? [path] : [];
  });
}

interface Block {
  readonly file: string;
  readonly language: string;
  readonly text: string;
}

const blocks: readonly Block[] = pages.flatMap(({ file, text }) =>
  [...text.matchAll(/^( *)(`{3,})(\w*)\n([\s\S]*?)^\1\2$/gm)].map(([, , , language = "", body = ""]) => ({
    file,
    language,
    text: body,
  })),
);

/** The text that is prose: without blocks of code. */
function prose(text: string): string {
  return text.replace(/^( *)(`{3,})[\s\S]*?^\1\2$/gm, "");
}

test("there is something to look at", () => {
  const files = pages.map(({ file }) => file);
  expect(files).toEqual(
    expect.arrayContaining(["README.md", "CONTRIBUTING.md", "docs/README.md", "docs/guide/run.md"]),
  );
  expect(blocks.length).toBeGreaterThan(20);
});

describe("links", () => {
  test("lead to files that exist, and to headings that they have", () => {
    const broken = pages.flatMap(({ file, text }) =>
      [...prose(text).matchAll(/\]\(([^)\s]+)\)/g)]
        .map(([, target = ""]) => target)
        .filter((target) => !/^[a-z]+:/.test(target))
        .filter((target) => !leadsSomewhere(file, target))
        .map((target) => `${file}: ${target}`),
    );
    expect(broken).toEqual([]);
  });

  test("lead from the index to every page of the documentation", () => {
    const index = pages.find(({ file }) => file === "docs/README.md")!.text;
    const decisions = pages.find(({ file }) => file === "docs/decisions/README.md")!.text;
    const missing = pages
      .map(({ file }) => file)
      .filter((file) => file.startsWith("docs/") && file !== "docs/README.md")
      .filter((file) => {
        const [list, base] = /^docs\/decisions\/\d/.test(file) ? [decisions, "docs/decisions"] : [index, "docs"];
        return !list.includes(`(${relative(base, file)})`);
      });
    expect(missing).toEqual([]);
  });
});

function leadsSomewhere(from: string, target: string): boolean {
  const [path = "", heading] = target.split("#");
  const file = path === "" ? join(root, from) : join(root, dirname(from), path);
  if (!existsSync(file)) return false;
  return heading === undefined || headingsOf(readFileSync(file, "utf8")).has(heading);
}

/** As GitHub makes anchors: lower case, without punctuation, with dashes for spaces. */
function headingsOf(text: string): Set<string> {
  const titles = [...prose(text).matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) => title);
  return new Set(
    titles.map((title) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

describe("configurations", () => {
  const yaml = blocks.filter(({ language }) => language === "yaml");
  const modules = blocks.filter(({ text }) => text.startsWith("// spillway.config.ts\n"));
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "spillway-docs-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test.each(yaml.map((block) => [block.file, block] as const))(
    "in %s load without a mistake or a warning",
    (_, block) => {
      expect(told(loadBlock(block.text))).toEqual([]);
    },
  );

  test.each(modules.map((block) => [block.file, block] as const))("in TypeScript, in %s, load", async (_, block) => {
    const file = join(folder, "spillway.config.ts");
    writeFileSync(file, block.text);
    expect(told(await loadConfig(file, {}))).toEqual([]);
  });

  test("are found at all", () => {
    expect(yaml.length).toBeGreaterThanOrEqual(5);
    expect(modules.length).toBeGreaterThanOrEqual(1);
  });

  test("the one in README is the one in examples/quick", () => {
    const shown = blocks.find(({ file, language }) => file === "README.md" && language === "yaml");
    expect(shown?.text).toBe(readFileSync(join(root, "examples/quick/spillway.yaml"), "utf8"));
  });
});

/** Variables that pages name without a value, because theirs would be a secret. */
const environment = { SPILLWAY_AFFINITY_KEY: "sixteen characters and more" };

/** A whole configuration, or a part of one put where its first line says into a small whole one. */
function loadBlock(text: string): Loaded {
  if (text.startsWith("# spillway.yaml\n")) {
    return parseConfig(text, { file: "spillway.yaml", format: "yaml", environment });
  }
  const place = /^# under (upstreams\.web|listeners\[0\])\n/.exec(text)?.[1];
  if (place === undefined) throw new Error("its first line is neither # spillway.yaml nor # under upstreams.web");
  const part = parse(text) as object;
  const listener = { listen: "127.0.0.1:8080", upstream: "web" };
  const upstream = { backends: ["http://127.0.0.1:9001"] };
  const whole = {
    listeners: [place === "listeners[0]" ? { ...listener, ...part } : listener],
    upstreams: { web: place === "upstreams.web" ? { ...upstream, ...part } : upstream },
  };
  return checkConfig(whole, { file: "part", environment });
}

function told(loaded: Loaded): string[] {
  const mistakes = loaded.ok ? [] : loaded.mistakes;
  return [...mistakes, ...loaded.warnings].map(formatMistake);
}

describe("names", () => {
  test("of files in the repository are those of files that are there", () => {
    const missing = pages.flatMap(({ file, text }) =>
      [...text.matchAll(/(?<![\w/.-])((?:src|test|docs|examples|bench|scripts)\/[\w./-]*\w(?:\.\w+|\/)?)/g)]
        .map(([, path = ""]) => path)
        .filter((path) => !existsSync(join(root, path)) && !PLANNED.has(path))
        .map((path) => `${file}: ${path}`),
    );
    expect(missing).toEqual([]);
  });

  test("of commands are those of commands there are", () => {
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      scripts: Record<string, string>;
    };
    const known = new Set(commands.map(({ name }) => name));
    const shell = pages
      .filter(({ file }) => file !== BAD_INPUTS)
      .flatMap(({ file, text }) => [
        ...blocks.filter((block) => block.file === file && block.language === "sh").map(({ text }) => text),
        ...[...prose(text).matchAll(/`((?:npx )?spillway [^`]+|npm [^`]+)`/g)].map(([, command = ""]) => command),
      ]);
    const unknown = shell.flatMap((text) =>
      [...text.matchAll(/\b(?:spillway ([a-z][\w-]*)|npm run ([\w:-]+)|npm (start|test))\b/g)]
        .filter(([, command, script, short]) =>
          command === undefined ? !Object.hasOwn(scripts, (script ?? short)!) : !known.has(command),
        )
        .map(([command]) => command),
    );
    expect(unknown).toEqual([]);
  });
});

/** What is typed there is meant to be wrong; it has tests of its own. */
const BAD_INPUTS = "docs/reference/bad-inputs.md";
/** Named as an example of what a reader would make. */
const PLANNED = new Set(["src/policy/balance/two-choices.ts"]);

describe("decisions", () => {
  const decisions = pages.filter(({ file }) => /^docs\/decisions\/\d{4}-/.test(file));

  test("say what was asked, decided and not done, what it costs and when to look again, on one page", () => {
    for (const { file, text } of decisions) {
      for (const part of ["**Question.**", "**Decision.**", "**Not done.**", "**Cost.**", "**Look again**"]) {
        expect(text, file).toContain(part);
      }
      expect(text.split("\n").length, file).toBeLessThan(60);
    }
  });

  test("are numbered from 1 on without a gap, as their titles say", () => {
    const numbers = decisions.map(({ file }) => Number(file.slice("docs/decisions/".length).slice(0, 4)));
    expect(numbers).toEqual(numbers.map((_, at) => at + 1));
    for (const [at, { text }] of decisions.entries()) expect(text).toMatch(new RegExp(`^# ${at + 1}\\. `));
  });
});

test("README keeps the place for the performance table", () => {
  const { text } = pages.find(({ file }) => file === "README.md")!;
  expect(text).toMatch(/<!-- performance:begin -->[\s\S]+<!-- performance:end -->/);
});
