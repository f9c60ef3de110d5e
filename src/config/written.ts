/** A block of keys as it was written, before the schema has looked at it. */
export type Block = Readonly<Record<string, unknown>>;

/** Whether something written is a block of keys. */
export function isBlock(value: unknown): value is Block {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The list under a key; empty where there is none, or something else. */
export function listAt(block: Block, key: string): readonly unknown[] {
  const value = block[key];
  return Array.isArray(value) ? value : [];
}
