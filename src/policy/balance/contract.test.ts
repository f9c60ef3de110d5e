import { describe, expect, test } from "vitest";
import type { Backend } from "../model/backend.ts";
import type { PickRequest } from "../model/request.ts";
import type { Balancer } from "./balancer.ts";
import { ConsistentHash } from "./consistent-hash.ts";
import { balancerContract } from "./contract.ts";
import { IpHash } from "./ip-hash.ts";
import { LeastConnections } from "./least-connections.ts";
import { Nearest } from "./nearest.ts";
import { RandomChoice } from "./random.ts";
import { RoundRobin } from "./round-robin.ts";
import { WeightedRoundRobin } from "./weighted-round-robin.ts";

describe("every balancer keeps the contract", () => {
  balancerContract(test, "round-robin", () => new RoundRobin(), { shares: "equal" });
  balancerContract(test, "weighted-round-robin", () => new WeightedRoundRobin());
  balancerContract(test, "least-connections", () => new LeastConnections());
  balancerContract(test, "random", (random) => new RandomChoice(random), { tolerance: 0.1 });
  balancerContract(test, "ip-hash", () => new IpHash(), { tolerance: 0.1 });
  balancerContract(test, "consistent-hash", () => new ConsistentHash(), { tolerance: 0.25 });
  balancerContract(test, "nearest", () => new Nearest());
  balancerContract(test, "nearest of equal regions", () => new Nearest({ region: "here" }));
  balancerContract(test, "nearest, full ones waited for", () => new Nearest({ region: "here", spillover: false }));
  balancerContract(test, "nearest, else any", (random) => new Nearest({ fallback: new RandomChoice(random) }), {
    tolerance: 0.1,
  });
});

/** Round robin with one fault each. */
class Faulty extends RoundRobin {
  protected backends: readonly Backend[] = [];
  override update(backends: readonly Backend[]): void {
    this.backends = backends;
    super.update(backends);
  }
}
const faults: Record<string, { broken: () => Balancer; caught: RegExp }> = {
  "that ignores what is excluded": {
    broken: () =>
      new (class extends Faulty {
        override pick(request: PickRequest, now: number) {
          return super.pick(request, now);
        }
      })(),
    caught: /never picks an excluded backend/,
  },
  "that keeps to the first backend": {
    broken: () =>
      new (class extends Faulty {
        override pick(_request: PickRequest, _now: number, exclude?: ReadonlySet<Backend>) {
          return this.backends.find((backend) => !exclude?.has(backend));
        }
      })(),
    caught: /reaches all others/,
  },
  "that picks from all members": {
    broken: () =>
      new (class extends Faulty {
        override update(backends: readonly Backend[], members = backends): void {
          super.update(members);
        }
      })(),
    caught: /never picks a member that is unavailable/,
  },
  "that never drops a backend": {
    broken: () =>
      new (class extends Faulty {
        override update(backends: readonly Backend[]): void {
          super.update([...new Set([...this.backends, ...backends])]);
        }
      })(),
    caught: /forgets a backend that is removed/,
  },
  "that only hears of the first list": {
    broken: () =>
      new (class extends Faulty {
        override update(backends: readonly Backend[]): void {
          if (this.backends.length === 0) super.update(backends);
        }
      })(),
    caught: /sends requests to backends that are added/,
  },
  "that has randomness of its own": {
    broken: () => {
      const skip = faultyRuns++;
      const balancer = new Faulty();
      const update = balancer.update.bind(balancer);
      balancer.update = (backends) => {
        update(backends);
        for (let i = 0; i < skip; i++) balancer.pick({} as PickRequest, 0);
      };
      return balancer;
    },
    caught: /picks the same again with the same seed/,
  },
  "that sorts the list it is given": {
    broken: () =>
      new (class extends Faulty {
        override update(backends: readonly Backend[]): void {
          super.update((backends as Backend[]).sort((a, b) => (a.id < b.id ? -1 : 1)));
        }
      })(),
    caught: /leaves the lists and sets it is given as they are/,
  },
  "that takes the turn at which it peeks": {
    broken: () =>
      new (class extends Faulty {
        override peek(request: PickRequest, now: number, exclude?: ReadonlySet<Backend>) {
          return this.pick(request, now, exclude);
        }
      })(),
    caught: /picks the same, however often somebody peeks/,
  },
  "that does not pick what it peeked at": {
    broken: () =>
      new (class extends Faulty {
        override peek(_request: PickRequest, _now: number, exclude?: ReadonlySet<Backend>) {
          return this.backends.find((backend) => !exclude?.has(backend));
        }
      })(),
    caught: /peeks at what it picks next/,
  },
  "that ignores weights": { broken: () => new RoundRobin(), caught: /shares requests by weight/ },
};
let faultyRuns = 0;

describe("the contract finds a balancer", () => {
  for (const [fault, { broken, caught }] of Object.entries(faults)) {
    test(fault, () => {
      const failed: string[] = [];
      const collect = (name: string, run: () => void) => {
        try {
          run();
        } catch {
          failed.push(name);
        }
      };
      balancerContract(collect, "faulty", broken);
      expect(failed.join("\n")).toMatch(caught);
    });
  }
});
