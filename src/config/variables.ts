import { quote, type Wrong } from "./values.ts";

/** The environment a configuration is read in. */
export type Environment = Readonly<Record<string, string | undefined>>;

const NAME = /^([A-Za-z_][A-Za-z0-9_]*)(:-(.*))?$/s;

/**
 * Puts the environment in: `${NAME}`, and `${NAME:-default}` for what is unset or empty. `$${` stands for `${`.
 * What comes out of a variable is not looked at again.
 */
export function putVariables(text: string, environment: Environment): string | Wrong {
  if (!text.includes("${")) return text;
  let result = "";
  let at = 0;
  for (let start = text.indexOf("${"); start !== -1; start = text.indexOf("${", at)) {
    if (start > at && text[start - 1] === "$") {
      result += `${text.slice(at, start - 1)}\${`;
      at = start + 2;
      continue;
    }
    const end = text.indexOf("}", start);
    const match = end === -1 ? null : NAME.exec(text.slice(start + 2, end));
    if (match === null) {
      const written = text.slice(start, end === -1 ? undefined : end + 1);
      return {
        code: "CONFIG_VARIABLE",
        wrong: `${quote(written)} is no variable`,
        fix: `Write \${NAME} or \${NAME:-default}, or $\${ for the characters themselves`,
      };
    }
    const [, name, , fallback] = match as unknown as [string, string, string | undefined, string | undefined];
    const value = Object.hasOwn(environment, name) ? environment[name] : undefined;
    if (value === undefined && fallback === undefined) {
      return {
        code: "CONFIG_VARIABLE",
        wrong: `the environment variable ${name} is not set`,
        fix: `Set it, or write \${${name}:-default}`,
      };
    }
    result += text.slice(at, start) + (fallback === undefined ? value : value || fallback);
    at = end + 1;
  }
  return result + text.slice(at);
}
