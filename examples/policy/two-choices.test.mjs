// The contract that every balancer keeps, and what this one promises beyond it.
//     node --test examples/policy/
// In your own project: npm install spillway, and the same imports. Any test runner will do.
import assert from "node:assert/strict";
import { test } from "node:test";
import { balancerContract, SeededRandom, sampleBackends, sampleRequest } from "spillway/testing";
import { TwoChoices } from "./two-choices.mjs";

// Weights steer it, but not in proportion: the draws know nothing of them. So: any shares, and that is said here.
balancerContract(test, "two-choices", (random) => new TwoChoices(random), { shares: "any" });

test("two-choices: no backend gets far ahead of another", () => {
  const backends = sampleBackends({ a: 1, b: 1, c: 1, d: 1 });
  const balancer = new TwoChoices(new SeededRandom(1));
  balancer.update(backends);
  for (let n = 0; n < 1_000; n++) balancer.pick(sampleRequest(n), 0).take();
  const active = backends.map((backend) => backend.active);
  assert.ok(Math.max(...active) - Math.min(...active) <= 4, active.join(" "));
});
