import { z } from "zod";
import type { BalancerOption, BalancerOptions, OptionValues } from "../policy/balance/definition.ts";
import { type BalancerName, type BalanceSettings, balancerNames, balancers } from "../policy/balance/index.ts";
import { type KeyName, keyForms, keyMistake } from "../policy/balance/key.ts";
import { choice, flag, integer, leaf, number, text } from "./leaf.ts";
import * as check from "./text-checks.ts";
import { describe, type Wrong } from "./values.ts";

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

/** Half the way around the earth is 20,015 km. */
const FARTHEST_KM = 100_000;

/** Balancers that need no other: what another may name. */
const plainNames: readonly string[] = balancerNames.filter((name) => {
  const options: BalancerOptions = balancers[name].options;
  return Object.values(options).every(({ type }) => type !== "balancer");
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
]) as unknown as z.ZodType<BalanceSettings, BalancerName | BalanceInput>;

/** {@link BalanceSettings} as people write them: a distance may be `unlimited`. */
type BalanceInput = {
  [Name in BalancerName]: { readonly policy: Name } & InputOf<(typeof balancers)[Name]["options"]>;
}[BalancerName];

type InputOf<Options extends BalancerOptions> = {
  readonly [Name in keyof Options]?:
    | OptionValues<Options>[Name]
    | (Options[Name] extends { readonly type: "kilometres" } ? "unlimited" : never);
};

function optionEntry([name, option]: [string, BalancerOption]) {
  return [name, optionSchema(option)] as const;
}

function optionSchema(option: BalancerOption): z.ZodType {
  const { about } = option;
  switch (option.type) {
    case "key":
      return keyName.prefault(option.default).describe(`${about} Write ${keyForms}.`);
    case "integer":
      return integer(option).prefault(option.default).describe(about);
    case "kilometres":
      return kilometres(option).describe(about);
    case "flag":
      return flag().prefault(option.default).describe(about);
    case "region":
      return text(regionOrNone).prefault(option.default).describe(about);
    case "regions":
      return z
        .array(text(check.name))
        .prefault([...option.default])
        .describe(about);
    case "balancer":
      return choice(plainNames).prefault(option.default).describe(about);
  }
}

function kilometres({ min, max, default: standard }: Extract<BalancerOption, { type: "kilometres" }>) {
  if (max !== Number.POSITIVE_INFINITY) return number({ min, max }).prefault(standard);
  const unlimited = standard === Number.POSITIVE_INFINITY;
  return number({ min, max: FARTHEST_KM, unlimited: true }).prefault(unlimited ? "unlimited" : standard);
}

function regionOrNone(region: string): string | Wrong {
  return region === "" ? region : check.name(region);
}
