import type { Finding } from "./mistakes.ts";
import { DEEPEST, type Parsed, type Tree, type TreeEntry } from "./tree.ts";
import { quote } from "./values.ts";

/** Reads JSON as RFC 8259 has it: no comments, no trailing commas, no single quotes. Never throws. */
export function parseJson(text: string): Parsed {
  const reader = new Reader(text);
  try {
    const tree = reader.document();
    return { tree, findings: reader.findings };
  } catch (error) {
    if (!(error instanceof NotJson)) throw error;
    const { offset, message, fix } = error;
    const wrong = `this is not valid JSON: ${message}`;
    return { tree: undefined, findings: [{ code: "CONFIG_SYNTAX", path: [], offset, wrong, fix }] };
  }
}

class NotJson extends Error {
  readonly offset: number;
  readonly fix: string;

  constructor(offset: number, message: string, fix: string) {
    super(message);
    this.offset = offset;
    this.fix = fix;
  }
}

const BLANK = /[ \t\r\n]*/y;
const NUMBER = /-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const STRING = /"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const WORD = /[A-Za-z_$][\w$]*/y;

class Reader {
  readonly findings: (Finding & { offset: number })[] = [];
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): Tree {
    this.#skipBlank();
    const tree = this.#value(0);
    this.#skipBlank();
    if (this.#at < this.#text.length) throw this.#unexpected("the end of the file", "Keep one value to a file");
    return tree;
  }

  #value(depth: number): Tree {
    if (depth > DEEPEST) throw new NotJson(this.#at, `it is nested more than ${DEEPEST} deep`, "Write it flatter");
    const offset = this.#at;
    const char = this.#text.charAt(offset);
    if (char === "{") return { kind: "block", offset, entries: this.#entries(depth) };
    if (char === "[") return { kind: "list", offset, items: this.#items(depth) };
    if (char === '"') return { kind: "value", offset, value: this.#string() };
    const number = this.#match(NUMBER);
    if (number !== undefined) return { kind: "value", offset, value: Number(number) };
    const word = this.#match(WORD);
    if (word === "true" || word === "false") return { kind: "value", offset, value: word === "true" };
    if (word === "null") return { kind: "value", offset, value: null };
    this.#at = offset;
    throw this.#unexpected(
      "a value",
      word === undefined ? "Write a value, without comments and trailing commas" : "Put text in double quotes",
    );
  }

  #entries(depth: number): TreeEntry[] {
    const entries: TreeEntry[] = [];
    const seen = new Set<string>();
    this.#each("}", () => {
      const keyOffset = this.#at;
      if (this.#text.charAt(keyOffset) !== '"')
        throw this.#unexpected("a key", "Write it in double quotes, without comments and trailing commas");
      const key = this.#string();
      if (seen.has(key)) {
        this.findings.push({
          code: "CONFIG_DUPLICATE_KEY",
          path: [],
          offset: keyOffset,
          wrong: `the key ${quote(key)} stands here twice`,
          fix: "Keep one",
        });
      }
      seen.add(key);
      this.#skipBlank();
      if (this.#text.charAt(this.#at) !== ":") throw this.#unexpected("a colon", "Write a colon between key and value");
      this.#at++;
      this.#skipBlank();
      entries.push({ key, keyOffset, value: this.#value(depth + 1) });
    });
    return entries;
  }

  #items(depth: number): Tree[] {
    const items: Tree[] = [];
    this.#each("]", () => items.push(this.#value(depth + 1)));
    return items;
  }

  /** Reads entries separated by commas up to `close`; the opening sign is next. */
  #each(close: string, read: () => void): void {
    this.#at++;
    this.#skipBlank();
    if (this.#text.charAt(this.#at) === close) {
      this.#at++;
      return;
    }
    for (;;) {
      read();
      this.#skipBlank();
      const char = this.#text.charAt(this.#at);
      if (char !== "," && char !== close)
        throw this.#unexpected(
          `a comma or ${close}`,
          `Write a comma before the next entry, or ${close} after the last`,
        );
      this.#at++;
      if (char === close) return;
      this.#skipBlank();
    }
  }

  #string(): string {
    const written = this.#match(STRING);
    if (written !== undefined) return JSON.parse(written) as string;
    throw new NotJson(
      this.#at,
      "a text is not closed, or holds a line break, a tab or an unknown escape",
      "Close it with a double quote; write \\n and \\t for line break and tab",
    );
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #skipBlank(): void {
    this.#match(BLANK);
  }

  #unexpected(wanted: string, fix: string): NotJson {
    const char = this.#text.charAt(this.#at);
    const found = char === "" ? "the end of the file" : quote(char);
    return new NotJson(this.#at, `${found} stands where ${wanted} is asked for`, fix);
  }
}
