import type { Finding, KeyPath } from "./mistakes.ts";
import { DEEPEST, MOST_VALUES } from "./tree.ts";
import { describe, isWrong } from "./values.ts";
import { type Environment, putVariables } from "./variables.ts";

/** A copy of `value` as plain data with the environment put in, and what in it is not data. Never throws. */
export function plainData(value: unknown, environment: Environment): { data: unknown; findings: Finding[] } {
  const copying = new Copying(environment);
  try {
    return { data: copying.copy(value, []), findings: copying.findings };
  } catch (error) {
    // A getter or a proxy of the user's.
    const wrong = `reading the configuration failed: ${error instanceof Error ? error.message : String(error)}`;
    return { data: undefined, findings: [{ code: "CONFIG_MODULE", path: [], wrong, fix: "Write plain data" }] };
  }
}

class Copying {
  readonly findings: Finding[] = [];
  readonly #environment: Environment;
  readonly #open = new Set<object>();
  #values = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  copy(value: unknown, path: KeyPath): unknown {
    if (typeof value === "string") return this.#text(value, path);
    if (value === undefined || value === null || typeof value === "number" || typeof value === "boolean") return value;
    if (typeof value !== "object")
      return this.#refuse(
        path,
        `${typeof value === "function" ? describe(value) : `a ${typeof value}`} stands where plain data is asked for`,
      );
    if (this.#open.has(value)) return this.#refuse(path, "this block holds itself");
    if (path.length > DEEPEST) return this.#refuse(path, `this is nested more than ${DEEPEST} deep`);
    if (++this.#values > MOST_VALUES)
      return this.#values === MOST_VALUES + 1
        ? this.#refuse(path, `there are more than ${MOST_VALUES} values`)
        : undefined;
    this.#open.add(value);
    const copied = Array.isArray(value) ? this.#list(value, path) : this.#block(value, path);
    this.#open.delete(value);
    return copied;
  }

  #list(list: readonly unknown[], path: KeyPath): unknown {
    if (list.length > MOST_VALUES) return this.#refuse(path, `there are more than ${MOST_VALUES} values`);
    return Array.from(list, (item, at) => this.copy(item, [...path, at]));
  }

  #block(block: object, path: KeyPath): unknown {
    const prototype: unknown = Object.getPrototypeOf(block);
    // A plain object of another realm (a loader's) has a prototype of its own, which itself has none.
    if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
      return this.#refuse(
        path,
        `an object of class ${String((block.constructor as { name?: unknown } | undefined)?.name)} stands where plain data is asked for`,
      );
    }
    const copied: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(block)) {
      const copy = this.copy(value, [...path, key]);
      // Left out, as where `undefined` is written: an optional key that is not there.
      if (copy === undefined) continue;
      Object.defineProperty(copied, key, { value: copy, enumerable: true, configurable: true, writable: true });
    }
    return copied;
  }

  #text(text: string, path: KeyPath): string | undefined {
    const result = putVariables(text, this.#environment);
    if (!isWrong(result)) return result;
    this.findings.push({ ...result, path });
    return undefined;
  }

  #refuse(path: KeyPath, wrong: string): undefined {
    this.findings.push({
      code: "CONFIG_TYPE",
      path,
      wrong,
      fix: "Write text, numbers, true or false, lists and blocks",
    });
    return undefined;
  }
}
