import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";

/** A backend's place in a smooth rotation. */
export interface Slot {
  readonly backend: Backend;
  readonly weight: number;
  /** The weight it takes part with: `weight` when all is well, less after a failure. */
  effective: number;
  /** How far it is behind its share (above 0) or ahead of it, in units of the total weight. */
  credit: number;
  /** Scratch of `LeastLoaded`: its active exchanges plus one, read once per pick; Infinity when it is left out. */
  load: number;
}

/**
 * The state of smooth weighted round robin, shared by the balancers that take turns by weight:
 * credits, and effective weights that failures lower.
 */
export class SmoothRotation {
  slots: readonly Slot[] = [];
  #slotOf = new Map<Backend, Slot>();

  /**
   * Those that stay keep what they are behind or ahead, counted in picks, so a reload does not restart the cycle.
   * Credits are brought back to a sum of 0: without that, a backend that leaves each time it is owed picks would leave
   * the others in debt, and be paid with a burst when it comes back.
   */
  update(backends: readonly Backend[]): void {
    const before = this.#slotOf;
    const scale = totalShare(backends) / totalWeight(this.slots);
    const slots: Slot[] = [];
    let owed = 0;
    let stayed = 0;
    for (const backend of backends) {
      const old = before.get(backend);
      const slot = { backend, weight: backend.share, effective: backend.share, credit: 0, load: 0 };
      if (old !== undefined) {
        slot.credit = old.credit * scale;
        slot.effective = (old.effective / old.weight) * backend.share;
        owed += slot.credit;
        stayed++;
      }
      slots.push(slot);
    }
    for (const slot of slots) if (before.has(slot.backend)) slot.credit -= owed / stayed;
    this.slots = slots;
    this.#slotOf = new Map(slots.map((slot) => [slot.backend, slot]));
  }

  /** A failed attempt takes the whole effective weight, as nginx does by default (`max_fails=1`); picks give it back. */
  settled(backend: Backend, outcome: Outcome): void {
    if (outcome.kind !== "failure" && outcome.kind !== "timeout") return;
    const slot = this.#slotOf.get(backend);
    if (slot !== undefined) slot.effective = 0;
  }
}

/** Credits a slot for one pick and lets its effective weight recover by one; answers what it was credited. */
export function credit(slot: Slot): number {
  const { effective, weight } = slot;
  slot.credit += effective;
  if (effective < weight) slot.effective = Math.min(effective + 1, weight);
  return effective;
}

function totalWeight(slots: readonly Slot[]): number {
  let total = 0;
  for (const { weight } of slots) total += weight;
  return total;
}

function totalShare(backends: readonly Backend[]): number {
  let total = 0;
  for (const { share } of backends) total += share;
  return total;
}
