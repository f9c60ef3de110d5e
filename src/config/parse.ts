import { checkTogether } from "./checks.ts";
import { parseJson } from "./json-tree.ts";
import { type Finding, formatKey, type KeyPath, type Mistake, type Position } from "./mistakes.ts";
import { plainData } from "./plain.ts";
import { settingsSchema } from "./schema.ts";
import { schemaFindings } from "./schema-findings.ts";
import type { Settings } from "./settings.ts";
import { dataOf, offsetOf, type Parsed } from "./tree.ts";
import type { Environment } from "./variables.ts";
import { parseYaml } from "./yaml-tree.ts";

/** A configuration that can be run, or every mistake that keeps it from being one. */
export type Loaded =
  | {
      readonly ok: true;
      readonly file: string;
      readonly settings: Settings;
      readonly written: unknown;
      readonly warnings: readonly Mistake[];
    }
  | {
      readonly ok: false;
      readonly file: string;
      readonly mistakes: readonly Mistake[];
      readonly warnings: readonly Mistake[];
    };

/** How text is to be read. */
export interface ParseOptions {
  /** What the file is called in messages. */
  readonly file: string;
  readonly format: "yaml" | "json";
  /** Where `${NAME}` is looked up. */
  readonly environment: Environment;
}

/** Reads a configuration in YAML or JSON. Never throws: whatever the text is, the answer says what is wrong with it. */
export function parseConfig(text: string, { file, format, environment }: ParseOptions): Loaded {
  const nul = text.indexOf("\0");
  if (nul !== -1) {
    const finding: Finding = {
      code: "CONFIG_FILE",
      path: [],
      wrong: "the file holds a NUL byte, so it is not text",
      fix: "Save it as UTF-8",
    };
    return refused(file, [finding], () => positionIn(text)(nul));
  }
  const parsed: Parsed = format === "json" && text.trim() !== "" ? parseJson(text) : parseYaml(text);
  const position = positionIn(text);
  const syntax = parsed.findings.map((finding) => mistakeOf(finding, file, position(finding.offset)));
  const { tree } = parsed;
  if (tree === undefined) return { ok: false, file, mistakes: syntax, warnings: [] };
  const { data, findings } = dataOf(tree, environment);
  if (data === null) {
    return refused(
      file,
      [
        {
          code: "CONFIG_EMPTY",
          path: [],
          wrong: "the file holds nothing",
          fix: "Start with what spillway init writes",
        },
      ],
      () => undefined,
    );
  }
  const locate: Locate = (path, at) => position(offsetOf(tree, path, at));
  const tooMuch = findings.filter(({ code }) => code === "CONFIG_ALIASES");
  if (tooMuch.length > 0) return refused(file, tooMuch, locate);
  return resolve(data, findings, file, locate, syntax);
}

/** How data is to be named. */
export interface CheckOptions {
  /** What stands in the file's place in messages. */
  readonly file: string;
  readonly environment: Environment;
  /** What a key is called where nobody wrote it, such as `--listen`. */
  readonly nameKey?: (path: KeyPath) => string;
}

/** Checks a configuration that is there as a value. Never throws. */
export function checkConfig(value: unknown, { file, environment, nameKey = formatKey }: CheckOptions): Loaded {
  const { data, findings } = plainData(value, environment);
  return resolve(data, findings, file, () => undefined, [], nameKey);
}

type Locate = (path: KeyPath, at: "key" | "value") => Position | undefined;

function resolve(
  data: unknown,
  reading: readonly Finding[],
  file: string,
  locate: Locate,
  syntax: readonly Mistake[],
  nameKey: (path: KeyPath) => string = formatKey,
): Loaded {
  const result = settingsSchema.safeParse(data);
  const together = checkTogether(data);
  // The checks between the parts say more of what the schema only finds missing, so theirs come first.
  const findings = [...together.mistakes, ...(result.success ? [] : schemaFindings(result.error.issues, data))];
  // What could not be read is missing to the schema, which would say so once more.
  const fresh = findings.filter(({ path }) => !reading.some((each) => startsWith(path, each.path)));
  const place = (finding: Finding): Mistake =>
    mistakeOf(finding, file, locate(finding.path, finding.at ?? "value"), nameKey);
  const mistakes = inOrder([...syntax, ...[...reading, ...fresh].map(place)]);
  const warnings = inOrder(together.warnings.map(place));
  if (mistakes.length > 0 || !result.success) return { ok: false, file, mistakes, warnings };
  return { ok: true, file, settings: result.data, written: data, warnings };
}

function startsWith(path: KeyPath, start: KeyPath): boolean {
  return start.every((step, at) => path[at] === step);
}

function refused(file: string, findings: readonly Finding[], locate: Locate): Loaded {
  return {
    ok: false,
    file,
    mistakes: findings.map((finding) => mistakeOf(finding, file, locate(finding.path, "value"))),
    warnings: [],
  };
}

function mistakeOf(
  { code, path, wrong, fix }: Finding,
  file: string,
  position: Position | undefined,
  nameKey: (path: KeyPath) => string = formatKey,
): Mistake {
  return { code, file, position, key: nameKey(path), wrong, fix };
}

/** By place, each once. */
function inOrder(mistakes: readonly Mistake[]): Mistake[] {
  const seen = new Set<string>();
  return mistakes
    .filter(({ code, key, position }) => {
      const same = `${code} ${key} ${key === "" ? position?.line : ""}`;
      if (seen.has(same)) return false;
      seen.add(same);
      return true;
    })
    .sort(
      (a, b) =>
        (a.position?.line ?? 0) - (b.position?.line ?? 0) || (a.position?.column ?? 0) - (b.position?.column ?? 0),
    );
}

/** Finds lines and columns in `text`, after one pass over it. */
function positionIn(text: string): (offset: number) => Position {
  let starts: number[] | undefined;
  return (offset) => {
    if (starts === undefined) {
      starts = [0];
      for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
    }
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - starts[low]! + 1 };
  };
}
