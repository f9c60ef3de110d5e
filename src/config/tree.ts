import type { Finding, KeyPath } from "./mistakes.ts";
import { isWrong } from "./values.ts";
import { type Environment, putVariables } from "./variables.ts";

/** What was written, with the place of each part: an offset into the text. */
export type Tree =
  | { readonly kind: "value"; readonly offset: number; readonly value: string | number | boolean | null }
  | { readonly kind: "list"; readonly offset: number; readonly items: readonly Tree[] }
  | { readonly kind: "block"; readonly offset: number; readonly entries: readonly TreeEntry[] };

/** A key with its value. */
export interface TreeEntry {
  readonly key: string;
  readonly keyOffset: number;
  readonly value: Tree;
}

/** What reading a text gave: a tree where it could be understood, and what is wrong with it. */
export interface Parsed {
  readonly tree: Tree | undefined;
  readonly findings: readonly (Finding & { readonly offset: number })[];
}

/** Values a configuration may unfold into: some lines of aliases can stand for billions. */
export const MOST_VALUES = 200_000;
/** Blocks and lists within each other. */
export const DEEPEST = 32;

/** Where the value at `path` stands, or its key; what is missing stands where it should have been written. */
export function offsetOf(tree: Tree, path: KeyPath, at: "key" | "value"): number {
  let place = tree;
  let offset = tree.offset;
  for (const [index, step] of path.entries()) {
    if (place.kind === "list" && typeof step === "number" && place.items[step] !== undefined) {
      place = place.items[step];
      offset = place.offset;
    } else if (place.kind === "block") {
      const entry = place.entries.findLast(({ key }) => key === String(step));
      if (entry === undefined) return offset;
      place = entry.value;
      // A block of its own begins on the next line: its key is what people look for.
      const stays = at === "key" || (place.kind !== "value" && index === path.length - 1);
      offset = stays ? entry.keyOffset : place.offset;
    } else return offset;
  }
  return offset;
}

/** The plain data a tree stands for, with the environment put into its texts. */
export function dataOf(tree: Tree, environment: Environment): { data: unknown; findings: Finding[] } {
  const unfolding = new Unfolding(environment);
  return { data: unfolding.unfold(tree, []), findings: unfolding.findings };
}

class Unfolding {
  readonly findings: Finding[] = [];
  readonly #environment: Environment;
  #values = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  unfold(tree: Tree, path: KeyPath): unknown {
    if (++this.#values > MOST_VALUES || path.length > DEEPEST) return this.#tooMuch(path);
    if (tree.kind === "list") return tree.items.map((item, at) => this.unfold(item, [...path, at]));
    if (tree.kind === "value") return typeof tree.value === "string" ? this.#text(tree.value, path) : tree.value;
    const block: Record<string, unknown> = {};
    for (const { key, value } of tree.entries) {
      const unfolded = this.unfold(value, [...path, key]);
      // An assignment to __proto__ would change the block instead of filling it.
      Object.defineProperty(block, key, { value: unfolded, enumerable: true, configurable: true, writable: true });
    }
    return block;
  }

  #tooMuch(path: KeyPath): undefined {
    const deep = path.length > DEEPEST;
    if (deep ? this.findings.some(({ code }) => code === "CONFIG_ALIASES") : this.#values > MOST_VALUES + 1)
      return undefined;
    const wrong = deep
      ? `this is nested more than ${DEEPEST} deep`
      : `the file unfolds into more than ${MOST_VALUES} values`;
    this.findings.push({
      code: "CONFIG_ALIASES",
      path: path.slice(0, 2),
      wrong,
      fix: "Write it flatter, with fewer aliases",
    });
    return undefined;
  }

  #text(text: string, path: KeyPath): string | undefined {
    const result = putVariables(text, this.#environment);
    if (!isWrong(result)) return result;
    this.findings.push({ ...result, path });
    return undefined;
  }
}
