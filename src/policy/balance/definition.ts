import type { Random } from "../model/random.ts";
import type { Balancer } from "./balancer.ts";
import type { KeyName } from "./key.ts";

/** An option of a balancer, as data: the configuration schema and the reference page are made from it. */
export type BalancerOption =
  | { readonly type: "key"; readonly default: KeyName; readonly about: string }
  | {
      readonly type: "integer";
      readonly default: number;
      readonly min: number;
      readonly max: number;
      readonly about: string;
    }
  /** A distance; Infinity as `max` lets `unlimited` be written. */
  | {
      readonly type: "kilometres";
      readonly default: number;
      readonly min: number;
      readonly max: number;
      readonly about: string;
    }
  | { readonly type: "flag"; readonly default: boolean; readonly about: string }
  /** The name of a region; empty for none. */
  | { readonly type: "region"; readonly default: string; readonly about: string }
  | { readonly type: "regions"; readonly default: readonly string[]; readonly about: string }
  /** The name of another balancer, which takes its own defaults. */
  | { readonly type: "balancer"; readonly default: string; readonly about: string };

/** The options of a balancer by name. */
export type BalancerOptions = Readonly<Record<string, BalancerOption>>;

interface Values {
  key: KeyName;
  integer: number;
  kilometres: number;
  flag: boolean;
  region: string;
  regions: readonly string[];
  balancer: string;
}

type ValueOf<O extends BalancerOption> = Values[O["type"]];

/** What a user may write for these options; what is left out takes its default. */
export type OptionValues<Options extends BalancerOptions> = {
  readonly [Name in keyof Options]?: ValueOf<Options[Name]> | undefined;
};

/** What the registry knows of a balancer: one per file, named there by the word of the configuration. */
export interface BalancerDefinition<Options extends BalancerOptions = BalancerOptions> {
  /** One sentence for `--help` and the reference page. */
  readonly about: string;
  readonly options: Options;
  /**
   * A balancer without backends; `random` is all the randomness it will ever use, `createOther` makes the balancer that
   * an option of type `balancer` names.
   */
  create(
    options: Required<{ readonly [Name in keyof Options]: ValueOf<Options[Name]> }>,
    random: Random,
    createOther: (name: string) => Balancer,
  ): Balancer;
}

/** States a definition, keeping the exact type of its options. */
export function defineBalancer<const Options extends BalancerOptions>(
  definition: BalancerDefinition<Options>,
): BalancerDefinition<Options> {
  return definition;
}
