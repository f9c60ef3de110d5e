/**
 * The balancers by name, and what a policy of your own needs. A new balancer is a file of its own and a line here.
 */
import type { Random } from "../model/random.ts";
import type { Balancer } from "./balancer.ts";
import { consistentHash } from "./consistent-hash.ts";
import type { BalancerDefinition, BalancerOptions, OptionValues } from "./definition.ts";
import { ipHash } from "./ip-hash.ts";
import { leastConnections } from "./least-connections.ts";
import { nearest } from "./nearest.ts";
import { random } from "./random.ts";
import { roundRobin } from "./round-robin.ts";
import { weightedRoundRobin } from "./weighted-round-robin.ts";

/** Every balancer by its name in the configuration, in the order of the reference page. */
export const balancers = {
  "weighted-round-robin": weightedRoundRobin,
  "round-robin": roundRobin,
  "least-connections": leastConnections,
  "ip-hash": ipHash,
  "consistent-hash": consistentHash,
  nearest,
  random,
};

/** Name of a balancer. */
export type BalancerName = keyof typeof balancers;

/** The names of all balancers. */
export const balancerNames = Object.keys(balancers) as BalancerName[];

/** The balancer of an upstream that names none. */
export const defaultBalancer: BalancerName = "weighted-round-robin";

type OptionsOf<Name extends BalancerName> =
  (typeof balancers)[Name] extends BalancerDefinition<infer Options> ? OptionValues<Options> : never;

/** A balancer and its options: `{ policy: "consistent-hash", key: "header:x-user" }`; what is left out is the default. */
export type BalanceSettings = {
  [Name in BalancerName]: { readonly policy: Name } & OptionsOf<Name>;
}[BalancerName];

/**
 * A balancer without backends. `settings` have been checked (see {@link balancers} for what each takes);
 * a name that does not exist is a TypeError.
 */
export function createBalancer(settings: BalanceSettings, source: Random): Balancer {
  const definition: BalancerDefinition | undefined = Object.hasOwn(balancers, settings.policy)
    ? (balancers[settings.policy] as unknown as BalancerDefinition)
    : undefined;
  if (definition === undefined) {
    throw new TypeError(`"${settings.policy}" is not a balancer: write ${balancerNames.join(", ")}`);
  }
  return definition.create(withDefaults(definition.options, settings), source, (name) =>
    createBalancer({ policy: name } as BalanceSettings, source),
  );
}

function withDefaults(
  options: BalancerOptions,
  settings: Readonly<Record<string, unknown>>,
): Parameters<BalancerDefinition["create"]>[0] {
  const values: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(options)) values[name] = settings[name] ?? option.default;
  return values as Parameters<BalancerDefinition["create"]>[0];
}

export { Backend, type BackendCounts, type BackendInit } from "../model/backend.ts";
export { distanceKm } from "../model/great-circle.ts";
export type { FailureReason, Outcome, TimeoutPhase } from "../model/outcome.ts";
export type { Position } from "../model/position.ts";
export type { Random } from "../model/random.ts";
export type { PickRequest } from "../model/request.ts";
export type { Balancer } from "./balancer.ts";
export { ConsistentHash, type ConsistentHashInit } from "./consistent-hash.ts";
export type { BalancerDefinition, BalancerOption, BalancerOptions } from "./definition.ts";
export { IpHash } from "./ip-hash.ts";
export { isKeyName, type KeyName, type KeySource, keyForms, keyMistake, keySource } from "./key.ts";
export { LeastConnections } from "./least-connections.ts";
export { murmur3 } from "./murmur3.ts";
export { Nearest, type NearestInit } from "./nearest.ts";
export { RandomChoice } from "./random.ts";
export { RoundRobin } from "./round-robin.ts";
export { WeightedRoundRobin } from "./weighted-round-robin.ts";
