import type { KeyPath } from "./mistakes.ts";
import { configurationJsonSchema } from "./schema-findings.ts";

/** A key that was not written, with what it comes to. */
export interface TakenDefault {
  readonly path: KeyPath;
  readonly value: string | number | boolean;
}

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly default?: unknown;
}

/** The defaults a configuration takes: of every block there is, the keys with a default that were left out. */
export function defaultsTaken(written: unknown): TakenDefault[] {
  const taken: TakenDefault[] = [];
  collect(configurationJsonSchema() as Schema, written, [], taken);
  return taken;
}

function collect(schema: Schema, written: unknown, path: KeyPath, taken: TakenDefault[]): void {
  if (Array.isArray(written)) {
    const { items } = schema;
    if (items !== undefined) for (const [at, item] of written.entries()) collect(items, item, [...path, at], taken);
    return;
  }
  const block = blockOf(schema);
  if (block === undefined || typeof written !== "object" || written === null) return;
  for (const [key, inner] of Object.entries(block.properties ?? {})) {
    const value = (written as Record<string, unknown>)[key];
    const standard = inner.default;
    if (value !== undefined) collect(inner, value, [...path, key], taken);
    else if (["string", "number", "boolean"].includes(typeof standard))
      taken.push({ path: [...path, key], value: standard as string });
    else if (isWords(standard)) taken.push({ path: [...path, key], value: `[${standard.join(", ")}]` });
    else if (standard !== undefined) collect(inner, standard, [...path, key], taken);
  }
  if (typeof block.additionalProperties !== "object") return;
  for (const [key, value] of Object.entries(written)) collect(block.additionalProperties, value, [...path, key], taken);
}

function isWords(standard: unknown): standard is readonly unknown[] {
  return Array.isArray(standard) && standard.length > 0;
}

/** What the key at `path` comes to where it is left out; undefined where it has no default of its own. */
export function standardAt(path: KeyPath): unknown {
  let schema: Schema | undefined = configurationJsonSchema() as Schema;
  for (const step of path) schema = schema && innerOf(schema, step);
  return schema?.default;
}

function innerOf(schema: Schema, step: string | number): Schema | undefined {
  if (typeof step === "number") return schema.items;
  const { properties, additionalProperties } = blockOf(schema) ?? {};
  return properties?.[step] ?? (typeof additionalProperties === "object" ? additionalProperties : undefined);
}

/** The block among what may stand somewhere; of several, none: what its keys are depends on what was written. */
function blockOf(schema: Schema): Schema | undefined {
  if (schema.properties !== undefined || typeof schema.additionalProperties === "object") return schema;
  const blocks = (schema.anyOf ?? []).flatMap((option) => blockOf(option) ?? []);
  return blocks.length === 1 ? blocks[0] : undefined;
}
