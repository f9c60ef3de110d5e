import { compileExpression, type Expression } from "./expression.ts";
import type { PathPattern } from "./options.ts";

/** A compiled path pattern. One class for all kinds, so that the call in the matching loop has one target. */
export class PathMatcher {
  readonly pattern: PathPattern;
  readonly #kind: PathPattern["kind"];
  readonly #text: string;
  readonly #expression: Expression | undefined;

  /** Throws a TypeError for an expression that does not compile; the configuration has found those before. */
  constructor(pattern: PathPattern) {
    this.pattern = pattern;
    this.#kind = pattern.kind;
    this.#text = pattern.kind === "exact" ? pattern.path : pattern.kind === "prefix" ? pattern.prefix : "";
    if (pattern.kind !== "expression") return;
    const expression = compileExpression(pattern.source);
    if ("mistake" in expression) throw new TypeError(`${pattern.source}: ${expression.mistake}`);
    this.#expression = expression;
  }

  /** Whether the path, `target` up to `end`, is one of these. */
  matches(target: string, end: number): boolean {
    if (this.#expression !== undefined) return this.#expression.test(target, end);
    if (this.#kind === "exact" && end !== this.#text.length) return false;
    // No `?` stands in a pattern, so a target that begins with it does so within its path.
    return target.startsWith(this.#text);
  }

  /** The first segment, `/v1` of `/v1/x`, where only paths with that one can match. */
  get firstSegment(): string | undefined {
    if (this.#kind === "expression" || this.#text === "/") return this.#kind === "exact" ? "/" : undefined;
    return firstSegment(this.#text, this.#text.length);
  }
}

/** Where the path of a target ends: at `?`, or with it. */
export function pathEnd(target: string): number {
  const query = target.indexOf("?");
  return query === -1 ? target.length : query;
}

/** `/v1` of `/v1/x`, for a path that ends at `end`. */
export function firstSegment(target: string, end: number): string {
  const slash = target.indexOf("/", 1);
  return target.slice(0, slash === -1 || slash > end ? end : slash);
}
