import { z } from "zod";
import type { MistakeCode } from "./mistakes.ts";
import { suggest } from "./suggest.ts";
import { describe, isWrong, parseDuration, parseShare, parseSize, type Wrong } from "./values.ts";

/** What the JSON Schema says of a value whose meaning only its parser knows. */
export interface Shape {
  readonly type?: "string" | "integer" | "number" | "boolean" | "object";
  readonly pattern?: string;
  readonly minLength?: number;
  readonly enum?: readonly (string | number | boolean)[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly anyOf?: readonly Shape[];
  readonly const?: string | number | boolean;
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean;
  readonly examples?: readonly unknown[];
  readonly description?: string;
}

/**
 * A value with a parser of its own, which answers with the resolved value or with what is wrong.
 * The parser sees undefined where the key is required and absent.
 */
export function leaf<In, Out>(shape: Shape, parse: (value: unknown) => Out | Wrong) {
  return z
    .custom<In>()
    .meta({ ...shape } as Record<string, unknown>)
    .transform((value, context): Out => {
      const result = value === undefined ? missing() : parse(value);
      if (!isWrong(result)) return result as Out;
      context.addIssue({ code: "custom", message: result.wrong, params: { code: result.code, fix: result.fix } });
      return z.NEVER;
    });
}

function missing(): Wrong {
  return { code: "CONFIG_REQUIRED", wrong: "the key is missing", fix: "Add it" };
}

/** Limits of a number, a size or a duration, as people write them. */
interface Range {
  readonly min?: string;
  readonly max?: string;
  readonly unlimited?: boolean;
}

type Unlimited<R extends { unlimited?: boolean }> = R["unlimited"] extends true ? "unlimited" : never;

const DURATION_SHAPE: Shape = { type: "string", pattern: "^(0|[0-9]+(\\.[0-9]+)? ?(ms|s|m|h|d))$" };
const SIZE_SHAPE: Shape = { type: "string", pattern: "^(0|[0-9]+(\\.[0-9]+)? ?(B|KiB|MiB|GiB|kB|KB|MB|GB))$" };
const SHARE_SHAPE: Shape = { type: "string", pattern: "^[0-9]+(\\.[0-9]+)? ?%$", examples: ["50%"] };
const UNLIMITED_SHAPE: Shape = { const: "unlimited" };

/** A time such as `250ms`, `5s` or `1h`; resolved to milliseconds, `unlimited` to Infinity. */
export function duration<const R extends Range>(range: R) {
  return leaf<string | Unlimited<R>, number>(unlimitedShape(DURATION_SHAPE, range.unlimited), (value) =>
    ranged("CONFIG_DURATION", value, range, parseDuration),
  );
}

/** A time like {@link duration} that no timer has to wait for at one go, such as a time to live: years will do. */
export function age(range: { readonly min: string; readonly max: string }) {
  return leaf<string, number>(DURATION_SHAPE, (value) => ranged("CONFIG_DURATION", value, range, parseAge));
}

function parseAge(value: unknown): number | Wrong {
  return parseDuration(value, Number.POSITIVE_INFINITY);
}

/** A number of bytes such as `64KiB`; resolved to bytes, `unlimited` to Infinity. */
export function size<const R extends Range>(range: R) {
  return leaf<string | Unlimited<R>, number>(unlimitedShape(SIZE_SHAPE, range.unlimited), (value) =>
    ranged("CONFIG_SIZE", value, range, parseSize),
  );
}

/** A share such as `50%`; resolved to a number from 0 to 1. */
export function share(range: { readonly min: string; readonly max: string }) {
  return leaf<string, number>(SHARE_SHAPE, (value) => ranged("CONFIG_SHARE", value, range, parseShare));
}

function unlimitedShape(shape: Shape, unlimited: boolean | undefined): Shape {
  return unlimited === true ? { anyOf: [shape, UNLIMITED_SHAPE] } : shape;
}

function ranged(
  code: MistakeCode,
  value: unknown,
  range: Range,
  parse: (value: unknown) => number | Wrong,
): number | Wrong {
  if (value === "unlimited") {
    if (range.unlimited === true) return Number.POSITIVE_INFINITY;
    return { code, wrong: "this has to have a limit", fix: `Write a value of at most ${range.max ?? "1d"}` };
  }
  const parsed = parse(value);
  if (isWrong(parsed)) return parsed;
  if (range.min !== undefined && parsed < (parse(range.min) as number)) {
    return { code, wrong: `${value} is too small`, fix: `Write at least ${range.min}` };
  }
  if (range.max !== undefined && parsed > (parse(range.max) as number)) {
    return { code, wrong: `${value} is too large`, fix: `Write at most ${range.max}` };
  }
  return parsed;
}

/** A whole number; written as text too, so that a variable can stand for it. */
export function integer<const R extends { min: number; max: number; unlimited?: boolean }>(range: R) {
  const shape: Shape = { type: "integer", minimum: range.min, maximum: range.max };
  return leaf<number | Unlimited<R>, number>(unlimitedShape(shape, range.unlimited), (value) =>
    parseInteger(value, range),
  );
}

/** A whole number between the bounds, or what is wrong with it. */
export function parseInteger(value: unknown, range: { min: number; max: number; unlimited?: boolean }): number | Wrong {
  const code = "CONFIG_NUMBER";
  const fix = `Write a whole number from ${range.min} to ${range.max}${range.unlimited === true ? ", or unlimited" : ""}`;
  if (value === "unlimited" && range.unlimited === true) return Number.POSITIVE_INFINITY;
  const number = typeof value === "string" && /^-?\d{1,16}$/.test(value) ? Number(value) : value;
  if (typeof number !== "number") return { code, wrong: `${describe(value)} is no whole number`, fix };
  if (!Number.isInteger(number)) return { code, wrong: `${number} is no whole number`, fix };
  if (number < range.min) return { code, wrong: `${number} is too small`, fix };
  if (number > range.max) return { code, wrong: `${number} is too large`, fix };
  return number;
}

/** A number that need not be whole, such as a factor; written as text too, so that a variable can stand for it. */
export function number<const R extends { min: number; max: number; unlimited?: boolean }>(range: R) {
  const shape: Shape = { type: "number", minimum: range.min, maximum: range.max };
  return leaf<number | Unlimited<R>, number>(unlimitedShape(shape, range.unlimited), (value) => {
    const code = "CONFIG_NUMBER";
    const fix = `Write a number from ${range.min} to ${range.max}${range.unlimited === true ? ", or unlimited" : ""}`;
    if (value === "unlimited" && range.unlimited === true) return Number.POSITIVE_INFINITY;
    const number = typeof value === "string" && /^-?\d{1,16}(\.\d{1,16})?$/.test(value) ? Number(value) : value;
    if (typeof number !== "number" || Number.isNaN(number)) {
      return { code, wrong: `${describe(value)} is no number`, fix };
    }
    if (number < range.min) return { code, wrong: `${number} is too small`, fix };
    if (number > range.max) return { code, wrong: `${number} is too large`, fix };
    return number;
  });
}

/** One of some words. */
export function choice<const T extends string>(words: readonly T[]) {
  return leaf<T, T>({ enum: words }, (value) => parseChoice(value, words));
}

/** One of some words, or what is wrong with it. */
export function parseChoice<T extends string>(value: unknown, words: readonly T[]): T | Wrong {
  if (typeof value === "string" && (words as readonly string[]).includes(value)) return value as T;
  const near = typeof value === "string" ? suggest(value, words) : undefined;
  const fix = near === undefined ? `Write ${listOf(words)}` : `Did you mean ${near}?`;
  return { code: "CONFIG_CHOICE", wrong: `${describe(value)} is no choice here`, fix };
}

/** Yes or no; written as text too, so that a variable can stand for it. */
export function flag() {
  return leaf<boolean, boolean>({ type: "boolean" }, (value) => {
    if (value === true || value === "true") return true;
    if (value === false || value === "false") return false;
    return { code: "CONFIG_TYPE", wrong: `${describe(value)} is neither true nor false`, fix: "Write true or false" };
  });
}

/** Text that `check` finds nothing wrong with; a number is refused, because `1.0` and `0x1` would lose their spelling. */
export function text<Out = string>(check: (value: string) => Out | Wrong, shape: Shape = {}) {
  return leaf<string, Out>({ type: "string", ...shape }, (value) => parseText(value, check));
}

/** See {@link text}. */
export function parseText<Out>(value: unknown, check: (value: string) => Out | Wrong): Out | Wrong {
  if (typeof value === "number" || typeof value === "boolean") {
    return {
      code: "CONFIG_TYPE",
      wrong: `${describe(value)} stands where text is asked for`,
      fix: `Put it in quotes: "${value}"`,
    };
  }
  if (typeof value !== "string") {
    return { code: "CONFIG_TYPE", wrong: `${describe(value)} stands where text is asked for`, fix: "Write text" };
  }
  return check(value);
}

/** `a, b or c`. */
export function listOf(words: readonly string[]): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

/** A list of at least one entry, or one entry in its place. Resolved to a list. */
export function listOrOne<T extends z.ZodType>(entry: T) {
  return z.union([z.array(entry), entry]).transform((value, context): z.output<T>[] => {
    if (Array.isArray(value) && value.length === 0) {
      const params = {
        code: "CONFIG_TYPE" satisfies MistakeCode,
        fix: "Write at least one entry, or leave the key out",
      };
      context.addIssue({ code: "custom", message: "this list is empty", params });
    }
    return (Array.isArray(value) ? value : [value]) as z.output<T>[];
  });
}
