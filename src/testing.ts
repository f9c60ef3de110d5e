/**
 * For tests of policies of your own: the contract all balancers keep, and repeatable backends, requests and random
 * numbers, and a clock that moves when told to. Works with any test runner.
 */
export { balancerContract, type ContractOptions, type RegisterTest } from "./policy/balance/contract.ts";
export { sampleBackends, sampleRequest } from "./policy/balance/samples.ts";
export { LocalCounts } from "./policy/model/local-counts.ts";
export { SeededRandom } from "./policy/model/random.ts";
export { VirtualClock } from "./time/virtual-clock.ts";
