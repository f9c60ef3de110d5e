import { z } from "zod";
import type { BalancerOption, BalancerOptions } from "../policy/balance/definition.ts";
import { type BalancerName, type BalanceSettings, balancerNames, balancers } from "../policy/balance/index.ts";
import { type KeyName, keyForms, keyMistake } from "../policy/balance/key.ts";
import { choice, integer, leaf } from "./leaf.ts";
import { describe } from "./values.ts";

/** What of a request a hash goes by, or a rate limit counts by: `client-ip`, `header:x-user` and so on. */
export const keyName = leaf<KeyName, KeyName>({ type: "string", examples: ["client-ip", "header:x-user"] }, (value) => {
  if (typeof value !== "string") {
    return { code: "CONFIG_HASH_KEY", wrong: `${describe(value)} is no key`, fix: `Write ${keyForms}` };
  }
  const mistake = keyMistake(value);
  if (mistake === undefined) return value as KeyName;
  const [wrong, fix] = mistake.split(": write ");
  return {
    code: "CONFIG_HASH_KEY",
    wrong: wrong!,
    fix: fix === undefined ? "Write a name without spaces and separators" : `Write ${fix}`,
  };
});

const shorthand = choice(balancerNames).transform((policy): BalanceSettings => ({ policy }));

const blocks = balancerNames.map((name) => {
  const options: BalancerOptions = balancers[name].options;
  return z
    .strictObject({ policy: z.literal(name), ...Object.fromEntries(Object.entries(options).map(optionEntry)) })
    .describe(balancers[name].about);
});

/** `balance`: the registry of balancers says which names there are and what options each takes. */
export const balance = z.union([
  shorthand,
  z.discriminatedUnion("policy", blocks as [(typeof blocks)[number], ...typeof blocks]),
]) as unknown as z.ZodType<BalanceSettings, BalancerName | BalanceSettings>;

function optionEntry([name, option]: [string, BalancerOption]) {
  return [name, optionSchema(option)] as const;
}

function optionSchema(option: BalancerOption): z.ZodType {
  if (option.type === "integer") return integer(option).prefault(option.default).describe(option.about);
  return keyName.prefault(option.default).describe(`${option.about} Write ${keyForms}.`);
}
