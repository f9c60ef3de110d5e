import type { Backend } from "../model/backend.ts";
import { credit, type Slot, SmoothRotation } from "./smooth-rotation.ts";

/**
 * A smooth rotation that goes by load first. Whoever picks writes the `load` of every slot, Infinity to leave it out;
 * the least for its weight is chosen, and among equals the rotation decides. Fractions are compared by cross
 * multiplication, so equal is equal. O(n), allocates nothing.
 */
export class LeastLoaded extends SmoothRotation {
  /** Place of the first slot with the least load for its weight; -1: all are left out. */
  #first = -1;
  #tied = false;

  /** The backend that is due, and its turn is taken. */
  take(): Backend | undefined {
    this.#find();
    if (this.#first === -1) return undefined;
    const { slots } = this;
    const least = slots[this.#first]!;
    if (!this.#tied) return least.backend;
    let best = least;
    let total = 0;
    for (let i = this.#first; i < slots.length; i++) {
      const slot = slots[i]!;
      if (!equallyLoaded(slot, least)) continue;
      total += credit(slot);
      if (slot.credit > best.credit) best = slot;
    }
    best.credit -= total;
    return best.backend;
  }

  /** What {@link take} would answer now. */
  peek(): Backend | undefined {
    this.#find();
    if (this.#first === -1) return undefined;
    const least = this.slots[this.#first]!;
    let best = least;
    for (const slot of this.slots) {
      if (equallyLoaded(slot, least) && slot.credit + slot.effective > best.credit + best.effective) best = slot;
    }
    return best.backend;
  }

  #find(): void {
    const { slots } = this;
    let least: Slot | undefined;
    let first = -1;
    let tied = false;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i]!;
      if (slot.load === Infinity) continue;
      const difference = least === undefined ? -1 : slot.load * least.weight - least.load * slot.weight;
      if (difference < 0) {
        least = slot;
        first = i;
        tied = false;
      } else if (difference === 0) tied = true;
    }
    this.#first = first;
    this.#tied = tied;
  }
}

function equallyLoaded(a: Slot, b: Slot): boolean {
  return a.load * b.weight === b.load * a.weight;
}
