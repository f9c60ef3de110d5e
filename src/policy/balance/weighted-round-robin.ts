import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";
import type { PickRequest } from "../model/request.ts";
import type { Balancer } from "./balancer.ts";
import { defineBalancer } from "./definition.ts";
import { credit, type Slot, SmoothRotation } from "./smooth-rotation.ts";

/**
 * Smooth weighted round robin: a heavy backend is spread over the cycle, not sent in a burst.
 *
 * Each pick credits every backend with its weight, takes the largest credit (the earlier on a tie)
 * and charges it the sum. Weights 5,1,1, credits before the charge:
 *     a b c    5 1 1   3 2 2   1 3 3   6 -3 4   4 -2 5   9 -1 -1   7 0 0
 *     taken    a       a       b       a        c        a         a
 *
 * After any number of picks, with n backends, a backend is at most 1 - 1/n picks ahead of its share and at most
 * 1/2 + 1/3 + ... + 1/n behind it; after as many picks as the weights add up to, every share is exact.
 *
 * What is added is the effective weight: a failed or timed out attempt brings it to 0, every pick gives 1 back.
 * Source: nginx commit 52327e0627f4 (2012). A pick is O(n) and allocates nothing.
 */
export class WeightedRoundRobin implements Balancer {
  readonly #rotation = new SmoothRotation();

  update(backends: readonly Backend[]): void {
    this.#rotation.update(backends);
  }

  pick(_request: PickRequest, _now: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
    const slots = this.#rotation.slots;
    let best: Slot | undefined;
    let total = 0;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i]!;
      if (exclude?.has(slot.backend)) continue;
      total += credit(slot);
      if (best === undefined || slot.credit > best.credit) best = slot;
    }
    if (best === undefined) return undefined;
    best.credit -= total;
    return best.backend;
  }

  peek(_request: PickRequest, _now: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
    let best: Slot | undefined;
    for (const slot of this.#rotation.slots) {
      if (exclude?.has(slot.backend)) continue;
      if (best === undefined || slot.credit + slot.effective > best.credit + best.effective) best = slot;
    }
    return best?.backend;
  }

  settled(backend: Backend, outcome: Outcome): void {
    this.#rotation.settled(backend, outcome);
  }
}

/** For the registry. */
export const weightedRoundRobin = defineBalancer({
  about: "The backends take turns in proportion to their weights, spread evenly. For unequal servers without state.",
  options: {},
  create: () => new WeightedRoundRobin(),
});
