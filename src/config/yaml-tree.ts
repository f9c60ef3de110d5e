import { type Document, isAlias, isMap, isScalar, isSeq, type Node, type ParsedNode, parseDocument } from "yaml";
import type { Parsed, Tree, TreeEntry } from "./tree.ts";
import { describe, quote } from "./values.ts";

/** Syntax mistakes told in one run; the later ones mostly follow from the first. */
const MOST_SYNTAX_MISTAKES = 5;

/** Reads YAML 1.2 with its core schema. Never throws. */
export function parseYaml(text: string): Parsed {
  let document: Document.Parsed;
  try {
    document = parseDocument(text, { prettyErrors: false, logLevel: "error", uniqueKeys: false, schema: "core" });
  } catch {
    // The parser calls itself for each level of nesting.
    return only(0, "the file is nested too deeply to be read", "Write it flatter");
  }
  const syntax = [...document.errors, ...document.warnings];
  if (syntax.length > 0) {
    const findings = syntax.slice(0, MOST_SYNTAX_MISTAKES).map((error) => ({
      code: "CONFIG_SYNTAX" as const,
      path: [],
      offset: error.pos[0],
      wrong: `this is not valid YAML: ${reason(error.code, error.message)}`,
      fix: HINTS[error.code] ?? "Correct the line, or the one before it",
    }));
    return { tree: undefined, findings };
  }
  return new Converting(document).parsed();
}

/** What the parser says, without what only makes sense to a programmer. */
function reason(code: string, message: string): string {
  if (code === "MULTIPLE_DOCS") return "a second document begins here";
  if (message.includes("call stack")) return "it is nested too deeply";
  return message.replace(/\s+/g, " ").replace(/\.$/, "");
}

const HINTS: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: "Indent with spaces",
  BAD_INDENT: "Close what is open, and indent all keys of a block alike",
  MULTIPLE_DOCS: "Keep one document to a file: remove the second ---",
  TAG_RESOLVE_FAILED: "Leave the tag (!...) out",
  MISSING_CHAR: "Close what is open: a quote, a bracket or a brace",
  BLOCK_AS_IMPLICIT_KEY: "Put text that holds a colon in quotes",
  BAD_ALIAS: "Define the anchor (&name) before the alias (*name)",
};

function only(offset: number, wrong: string, fix: string): Parsed {
  return { tree: undefined, findings: [{ code: "CONFIG_SYNTAX", path: [], offset, wrong, fix }] };
}

class Converting {
  readonly #document: Document.Parsed;
  readonly #done = new Map<Node, Tree>();
  readonly #running = new Set<Node>();
  readonly #findings: Parsed["findings"][number][] = [];

  constructor(document: Document.Parsed) {
    this.#document = document;
  }

  parsed(): Parsed {
    const tree = this.#tree(this.#document.contents, 0);
    // What an alias within itself stands for cannot be said, so nothing else can be told either.
    const readable = this.#findings.every(({ code }) => code !== "CONFIG_ALIASES");
    return { tree: readable ? tree : undefined, findings: this.#findings };
  }

  #tree(node: Node | null, fallback: number): Tree {
    const offset = node?.range?.[0] ?? fallback;
    if (node === null) return { kind: "value", offset, value: null };
    if (isAlias(node)) return this.#alias(node.resolve(this.#document), offset);
    const done = this.#done.get(node);
    if (done !== undefined) return done;
    this.#running.add(node);
    const tree = this.#convert(node, offset);
    this.#running.delete(node);
    this.#done.set(node, tree);
    return tree;
  }

  #alias(target: Node | undefined, offset: number): Tree {
    if (target !== undefined && !this.#running.has(target)) return this.#tree(target, offset);
    this.#findings.push({
      code: "CONFIG_ALIASES",
      path: [],
      offset,
      wrong: "this alias stands within what it stands for",
      fix: "Write out what is meant",
    });
    return { kind: "value", offset, value: null };
  }

  #convert(node: Node, offset: number): Tree {
    if (isSeq<ParsedNode>(node))
      return { kind: "list", offset, items: node.items.map((item) => this.#tree(item, offset)) };
    if (isMap<ParsedNode, ParsedNode | null>(node))
      return { kind: "block", offset, entries: this.#entries(node.items, offset) };
    const value = isScalar(node) ? node.value : undefined;
    const plain = value === null || ["string", "number", "boolean"].includes(typeof value);
    return { kind: "value", offset, value: plain ? (value as string) : String(value) };
  }

  #entries(pairs: readonly { key: ParsedNode; value: ParsedNode | null }[], offset: number): TreeEntry[] {
    const entries: TreeEntry[] = [];
    const seen = new Set<string>();
    for (const pair of pairs) {
      const keyOffset = pair.key?.range?.[0] ?? offset;
      const target = isAlias(pair.key) ? pair.key.resolve(this.#document) : pair.key;
      if (!isScalar(target)) {
        this.#findings.push({
          code: "CONFIG_TYPE",
          path: [],
          offset: keyOffset,
          wrong: `${describe([])} or block stands where a key is asked for`,
          fix: "Write a word",
        });
        continue;
      }
      const key = String(target.value);
      if (seen.has(key)) {
        this.#findings.push({
          code: "CONFIG_DUPLICATE_KEY",
          path: [],
          offset: keyOffset,
          wrong: `the key ${quote(key)} stands here twice`,
          fix: "Keep one",
        });
      }
      seen.add(key);
      entries.push({ key, keyOffset, value: this.#tree(pair.value, keyOffset) });
    }
    return entries;
  }
}
