import { mistakeCodes } from "./mistakes.ts";
import { configurationJsonSchema } from "./schema-findings.ts";

/** What of JSON Schema the page shows. */
interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly pattern?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
}

/** `docs/reference/configuration.md`, made from the schema. */
export function configurationReference(): string {
  const sections: string[] = [];
  addSection(sections, "", configurationJsonSchema() as Schema);
  return `${HEAD}\n${sections.join("\n")}`;
}

const HEAD = `# Configuration

A configuration is YAML (\`.yaml\`, \`.yml\`), JSON (\`.json\`), or TypeScript or JavaScript with a default export
(\`.ts\`, \`.mts\`, \`.js\`, \`.mjs\`). \`spillway init\` writes one to start from, \`spillway check\` says what one means.

- **Times** are written \`250ms\`, \`5s\`, \`1m\`, \`1h\`, \`1d\`; **sizes** \`512B\`, \`64KiB\`, \`10MiB\` (or \`kB\`, \`MB\`, by thousands);
  **shares** \`50%\`, \`12.5%\`.
- **Variables**: \`\${NAME}\` in any value is replaced by the environment variable, \`\${NAME:-default}\` has a default for
  one that is unset or empty, \`$\${\` stands for the characters themselves. An unset variable without a default is a mistake.
- **Off**: a feature that can be switched off is written \`false\`.
- **Unknown keys** are mistakes. All mistakes of a file are told in one run, each with its place; [mistakes](mistakes.md)
  explains them.

This page is made from the schema; \`spillway schema\` prints it as JSON Schema for editors.
`;

function addSection(sections: string[], path: string, schema: Schema): void {
  const entries = Object.entries(schema.properties ?? {});
  const title = path === "" ? "Top level" : `\`${path}\``;
  const rows = entries.map(([key, value]) => {
    const required = schema.required?.includes(key) === true;
    return `| \`${key}\` | ${kindOf(value)} | ${required ? "required" : defaultOf(value)} | ${cell(value.description ?? "")} |`;
  });
  sections.push(
    [
      `## ${title}`,
      "",
      ...paragraphs(schema, path),
      "| key | value | default | what it does |",
      "|---|---|---|---|",
      ...rows,
      "",
    ].join("\n"),
  );
  for (const [key, value] of entries) {
    for (const [innerPath, block] of blocksOf(value, path === "" ? key : `${path}.${key}`))
      addSection(sections, innerPath, block);
  }
}

function paragraphs(schema: Schema, path: string): string[] {
  return schema.description === undefined || path === "" ? [] : [schema.description, ""];
}

/** The blocks of keys a value may be, each with the path to it. */
function blocksOf(schema: Schema, path: string): [string, Schema][] {
  if (schema.properties !== undefined) {
    const word = Object.entries(schema.properties).find(([, { const: fixed }]) => fixed !== undefined);
    // A block with nothing but its fixed word has nothing to say beyond it.
    if (word === undefined) return [[path, schema]];
    const properties = Object.fromEntries(Object.entries(schema.properties).filter(([key]) => key !== word[0]));
    const name = `${path}, with ${word[0]}: ${String(word[1].const)}`;
    return Object.keys(properties).length === 0 ? [] : [[name, { ...schema, properties }]];
  }
  if (schema.items !== undefined) return blocksOf(schema.items, `${path}[]`);
  if (typeof schema.additionalProperties === "object") return blocksOf(schema.additionalProperties, `${path}.NAME`);
  return (schema.anyOf ?? schema.oneOf ?? []).flatMap((option) => blocksOf(describedBy(option, schema), path));
}

function describedBy(option: Schema, outer: Schema): Schema {
  return option.description === undefined && outer.description !== undefined
    ? { ...option, description: outer.description }
    : option;
}

function kindOf(schema: Schema): string {
  const options = schema.properties === undefined ? (schema.anyOf ?? schema.oneOf) : undefined;
  if (options !== undefined) return [...new Set(options.map(kindOf))].join(" or ");
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  if (schema.enum !== undefined) return schema.enum.map((word) => `\`${String(word)}\``).join(", ");
  if (schema.pattern?.includes("ms|s|m") === true) return "time";
  if (schema.pattern?.includes("KiB") === true) return "size";
  if (schema.pattern?.includes("%") === true) return "share";
  if (schema.type === "integer" || schema.type === "number")
    return schema.maximum === undefined ? schema.type : `${schema.type} ${schema.minimum} to ${schema.maximum}`;
  if (schema.type === "boolean") return "`true` or `false`";
  if (schema.items !== undefined) return `list of ${plural(kindOf(schema.items))}`;
  if (typeof schema.additionalProperties === "object")
    return `block of names, each with ${withArticle(kindOf(schema.additionalProperties))}`;
  if (schema.properties !== undefined) return "block";
  return schema.type === "string" ? "text" : "text, number or list";
}

function plural(kind: string): string {
  return kind
    .split(" or ")
    .map((word) => (word === "text" ? "texts" : word === "block" ? "blocks" : word))
    .join(" or ");
}

function withArticle(kind: string): string {
  return kind === "block" ? "a block" : kind;
}

function defaultOf(schema: Schema): string {
  const { default: value } = schema;
  if (value === undefined) return "";
  if (Array.isArray(value)) return value.length === 0 ? "none" : `\`[${value.join(", ")}]\``;
  // What is in a block by default is told in the block's own table.
  if (value === "") return "empty";
  return typeof value === "object" ? "" : `\`${String(value)}\``;
}

/** Text within a table. */
function cell(text: string): string {
  return text.replace(/\|/g, "\\|").replace(/\n/g, " ");
}

/** `docs/reference/mistakes.md`, made from the list of codes. */
export function mistakesReference(): string {
  const rows = Object.entries(mistakeCodes).map(
    ([code, { means, cure }]) => `| \`${code}\` | ${cell(means)} | ${cell(cure)} |`,
  );
  return `# Mistakes in a configuration

Spillway tells every mistake of a configuration in one run, each on a line of its own:

    spillway.yaml:7:23 listeners[0].timeouts.head: "5" has no unit. Write 5s, 5ms or 5m.   [CONFIG_DURATION]

File, line and column, the key, what is wrong, what would be right, and a code that stays the same from version to
version. A configuration in TypeScript or on the command line has no lines, so there the key says where. With a mistake
nothing starts and the exit code is 2; warnings stop nothing.

| code | what it means | what to do |
|---|---|---|
${rows.join("\n")}
`;
}
