import type { HeaderRules } from "../policy/route/route.ts";
import { renderTemplate, type TemplateValues } from "../policy/route/template.ts";
import { withoutFields } from "../wire/fields.ts";

/**
 * Applies a route's rules to checked field lines: remove, set, add.
 * A value that would break out of its line (a variable can hold what a client sent) is left empty.
 */
export function applyRules(fields: string, rules: HeaderRules, values: TemplateValues): string {
  const dropped = new Set(rules.remove);
  for (const rule of rules.set) dropped.add(rule.lower);
  let text = dropped.size === 0 ? fields : withoutFields(fields, dropped);
  for (const rule of [...rules.set, ...rules.add]) {
    const value = renderTemplate(rule.value, values);
    text += `${rule.name}: ${/[\r\n\0]/.test(value) ? "" : value}\r\n`;
  }
  return text;
}
