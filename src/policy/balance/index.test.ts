import { expect, expectTypeOf, test } from "vitest";
import { SeededRandom } from "../model/random.ts";
import {
  type BalanceSettings,
  balancerNames,
  balancers,
  ConsistentHash,
  createBalancer,
  defaultBalancer,
  keyMistake,
  WeightedRoundRobin,
} from "./index.ts";
import { sampleBackends, sampleRequest } from "./samples.ts";

test("every name makes a balancer that works, with its defaults", () => {
  expect(balancerNames).toContain(defaultBalancer);
  for (const policy of balancerNames) {
    const balancer = createBalancer({ policy }, new SeededRandom(1));
    balancer.update(sampleBackends({ a: 1 }));
    expect(balancer.pick(sampleRequest(1), 0)?.id, policy).toBe("a");
  }
  expect(createBalancer({ policy: defaultBalancer }, new SeededRandom(1))).toBeInstanceOf(WeightedRoundRobin);
});

test("options reach the balancer, and those left out or undefined take their default", () => {
  const pickWith = (settings: BalanceSettings) => {
    const balancer = createBalancer(settings, new SeededRandom(1));
    balancer.update(sampleBackends({ a: 1, b: 1, c: 1 }));
    return Array.from({ length: 50 }, (_, n) => balancer.pick(sampleRequest(n), 0)?.id).join("");
  };
  const byUri = pickWith({ policy: "consistent-hash" });
  expect(pickWith({ policy: "consistent-hash", key: undefined, virtualNodes: 150 })).toBe(byUri);
  expect(pickWith({ policy: "consistent-hash", virtualNodes: 1 })).not.toBe(byUri);
  expect(pickWith({ policy: "consistent-hash", key: "header:x-user" })).not.toBe(byUri);
  expect(pickWith({ policy: "consistent-hash", key: "host" })).toMatch(/^(a+|b+|c+)$/);
  expect(pickWith({ policy: "ip-hash", key: "host" })).toMatch(/^(a+|b+|c+)$/);
});

test("random numbers come from the source it is given", () => {
  const balancer = createBalancer({ policy: "random" }, { next: () => 0.99 });
  balancer.update(sampleBackends({ a: 1, b: 1 }));
  expect(balancer.pick(sampleRequest(1), 0)?.id).toBe("b");
});

test("an option that names a balancer has it made, which may not be the same again", () => {
  const balancer = createBalancer({ policy: "nearest", fallback: "random" }, { next: () => 0.99 });
  balancer.update(sampleBackends({ a: 1, b: 1 }));
  expect(balancer.pick(sampleRequest(1), 0)?.id).toBe("b");
  const create = (fallback: string) => () => createBalancer({ policy: "nearest", fallback }, new SeededRandom(1));
  expect(create("nearest")).toThrow(TypeError);
  expect(create("farthest")).toThrow('"farthest" is not a balancer');
});

test("a name that does not exist is refused with those that do", () => {
  for (const policy of ["fastest", "toString"]) {
    const create = () => createBalancer({ policy } as unknown as BalanceSettings, new SeededRandom(1));
    expect(create).toThrow(`"${policy}" is not a balancer: write weighted-round-robin, round-robin,`);
  }
});

test("every default is a value its own option takes", () => {
  for (const { options } of Object.values(balancers)) {
    for (const option of Object.values(options)) {
      if (option.type === "key") expect(keyMistake(option.default)).toBeUndefined();
      else if (option.type === "balancer") expect(balancerNames).toContain(option.default);
      else if (option.type === "integer" || option.type === "kilometres") {
        expect(option.default >= option.min && option.default <= option.max).toBe(true);
      }
    }
  }
});

test("settings are typed by policy", () => {
  expectTypeOf<{ policy: "consistent-hash"; key: "header:x"; virtualNodes: 3 }>().toExtend<BalanceSettings>();
  expectTypeOf<{ policy: "consistent-hash"; virtualNodes: "3" }>().not.toExtend<BalanceSettings>();
  expectTypeOf<{ policy: "consistent-hash"; key: "body" }>().not.toExtend<BalanceSettings>();
  expectTypeOf<{ policy: "nearest"; maxKm: 500; regions: ["seoul"] }>().toExtend<BalanceSettings>();
  expectTypeOf<{ policy: "nearest"; spillover: "no" }>().not.toExtend<BalanceSettings>();
  expectTypeOf<{ policy: "fastest" }>().not.toExtend<BalanceSettings>();
  expect(new ConsistentHash().pick(sampleRequest(1), 0)).toBeUndefined();
});
