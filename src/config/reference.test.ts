import { expect, test } from "vitest";
import { configurationReference, mistakesReference } from "./reference.ts";
import { configurationJsonSchema } from "./schema-findings.ts";

test("docs/reference/configuration.md says what the schema says; npx vitest run src/config -u writes it anew", async () => {
  await expect(configurationReference()).toMatchFileSnapshot("../../docs/reference/configuration.md");
});

test("docs/reference/mistakes.md lists every code; npx vitest run src/config -u writes it anew", async () => {
  await expect(mistakesReference()).toMatchFileSnapshot("../../docs/reference/mistakes.md");
});

test("every key of the configuration says what it does", () => {
  interface Schema {
    readonly description?: string;
    readonly properties?: Record<string, Schema>;
    readonly items?: Schema;
    readonly additionalProperties?: boolean | Schema;
    readonly anyOf?: Schema[];
    readonly oneOf?: Schema[];
    readonly const?: unknown;
  }
  const silent: string[] = [];
  const visit = (schema: Schema, path: string): void => {
    for (const [key, value] of Object.entries(schema.properties ?? {})) {
      // The word that chooses a policy is told where it belongs.
      if (value.description === undefined && value.const === undefined) silent.push(`${path}.${key}`);
      visit(value, `${path}.${key}`);
    }
    if (schema.items !== undefined) visit(schema.items, `${path}[]`);
    if (typeof schema.additionalProperties === "object") visit(schema.additionalProperties, `${path}.NAME`);
    for (const option of [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]) visit(option, path);
  };
  visit(configurationJsonSchema() as Schema, "");
  expect(silent).toEqual([]);
});
