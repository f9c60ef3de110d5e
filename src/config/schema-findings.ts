import { z } from "zod";
import { listOf } from "./leaf.ts";
import type { Finding, KeyPath, MistakeCode } from "./mistakes.ts";
import { settingsSchema } from "./schema.ts";
import { suggest } from "./suggest.ts";
import { describe, quote } from "./values.ts";

type Issue = z.core.$ZodIssue;

/** What of JSON Schema the search for known keys goes by. */
interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: boolean | JsonSchema;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly const?: unknown;
}

/** What the schema finds wrong, in words. `data` is what it was given. */
export function schemaFindings(issues: readonly Issue[], data: unknown): Finding[] {
  return issues.flatMap((issue) => findingsOf(issue, [], data));
}

function findingsOf(issue: Issue, base: KeyPath, data: unknown): Finding[] {
  const path: KeyPath = [...base, ...(issue.path as (string | number)[])];
  const value = at(data, path);
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => unknownKey(path, key, data));
    case "invalid_union":
      return unionFindings(issue, path, data);
    case "custom":
      return [customFinding(issue, path)];
    case "invalid_key":
      return issue.issues
        .flatMap((each) => findingsOf(each, path, data))
        .map((finding) => ({ ...finding, at: "key" as const }));
    default:
      return [wrongKind(path, value, expectedWords([issue]))];
  }
}

function customFinding(issue: Extract<Issue, { code: "custom" }>, path: KeyPath): Finding {
  const { code, fix } = issue.params as { code: MistakeCode; fix: string };
  return { code, path, wrong: issue.message, fix };
}

function wrongKind(path: KeyPath, value: unknown, expected: readonly string[]): Finding {
  if (value === undefined)
    return { code: "CONFIG_REQUIRED", path, wrong: "the key is missing", fix: `Write ${listOf(expected)}` };
  return {
    code: "CONFIG_TYPE",
    path,
    wrong: `${describe(value)} stands where ${listOf(expected)} is asked for`,
    fix: kindFix(value, expected),
  };
}

function kindFix(value: unknown, expected: readonly string[]): string {
  const block = expected.includes("a block of keys");
  if (expected.includes("a list") && !block) return "Write entries that begin with a dash, or [a, b]";
  // What can be switched off is switched on by a block, which may be empty.
  if (value === true && block && expected.includes("false")) return "Write {} for its defaults, or false";
  return `Write ${listOf(expected)}`;
}

const KINDS: Readonly<Record<string, string>> = {
  array: "a list",
  object: "a block of keys",
  record: "a block of keys",
};

function expectedWords(issues: readonly Issue[]): string[] {
  const words = issues.flatMap((issue) => {
    if (issue.code === "invalid_type") return [KINDS[issue.expected] ?? issue.expected];
    if (issue.code === "invalid_value") return issue.values.map((value) => String(value));
    return [];
  });
  return [...new Set(words)].reverse();
}

function unionFindings(issue: Extract<Issue, { code: "invalid_union" }>, path: KeyPath, data: unknown): Finding[] {
  if (issue.errors.length === 0) return [noSuchKind(issue as unknown as { options?: unknown[] }, path, at(data, path))];
  // The branch that was meant is the one that got past the first look at the value.
  const meant = issue.errors.find((branch) =>
    branch.every((each) => each.path.length > 0 || each.code === "unrecognized_keys"),
  );
  if (meant !== undefined) return meant.flatMap((each) => findingsOf(each, path, data));
  const roots = issue.errors.flatMap((branch) => branch.filter((each) => each.path.length === 0));
  const custom = roots.find((each) => each.code === "custom");
  if (custom !== undefined) return [customFinding(custom, path)];
  return [wrongKind(path, at(data, path), expectedWords(roots))];
}

/** A block whose first word, such as `policy`, is none that is known. */
function noSuchKind({ options }: { options?: unknown[] }, path: KeyPath, value: unknown): Finding {
  const words = (options ?? []).map(String);
  if (value === undefined)
    return { code: "CONFIG_REQUIRED", path, wrong: "the key is missing", fix: `Write ${listOf(words)}` };
  const near = typeof value === "string" ? suggest(value, words) : undefined;
  const fix = near === undefined ? `Write ${listOf(words)}` : `Did you mean ${near}?`;
  return { code: "CONFIG_CHOICE", path, wrong: `${describe(value)} is no choice here`, fix };
}

function unknownKey(path: KeyPath, key: string, data: unknown): Finding {
  const known = knownKeys(path, data);
  const near = suggest(key, known);
  const choice =
    known.length === 1
      ? `The only key here is ${known[0]}`
      : `The keys here are ${listOf(known).replace(" or ", " and ")}`;
  const fix = near === undefined ? choice : `Did you mean ${near}?`;
  return {
    code: "CONFIG_UNKNOWN_KEY",
    path: [...path, key],
    at: "key",
    wrong: `there is no key ${quote(key)} here`,
    fix,
  };
}

let jsonSchema: JsonSchema | undefined;

/** The configuration as JSON Schema, draft 2020-12. */
export function configurationJsonSchema(): Readonly<Record<string, unknown>> {
  jsonSchema ??= z.toJSONSchema(settingsSchema, { io: "input", unrepresentable: "any" }) as JsonSchema;
  return jsonSchema as Readonly<Record<string, unknown>>;
}

/** Keys that may stand in the block at `path`. */
function knownKeys(path: KeyPath, data: unknown): string[] {
  let places: JsonSchema[] = branches(configurationJsonSchema() as JsonSchema, data);
  let value = data;
  for (const step of path) {
    value = at(value, [step]);
    places = places.flatMap((place) => {
      const inner = typeof step === "number" ? place.items : (place.properties?.[step] ?? place.additionalProperties);
      return typeof inner === "object" ? branches(inner, value) : [];
    });
  }
  return [...new Set(places.flatMap((place) => Object.keys(place.properties ?? {})))];
}

/** The schemas that `value` may be meant for: of several blocks, those whose fixed words (`policy`) it has. */
function branches(schema: JsonSchema, value: unknown): JsonSchema[] {
  const options = schema.properties === undefined ? (schema.anyOf ?? schema.oneOf) : undefined;
  if (options === undefined) return [schema];
  return options
    .flatMap((option) => branches(option, value))
    .filter(({ properties = {} }) =>
      Object.entries(properties).every(([key, { const: word }]) => word === undefined || word === at(value, [key])),
    );
}

/** The value at `path` within plain data. */
export function at(data: unknown, path: KeyPath): unknown {
  let value = data;
  for (const step of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}
