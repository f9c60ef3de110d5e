import type { Place } from "./waiting-line.ts";

/** Waiters by when they are due, the soonest on top: a binary heap. Adding and removing are O(log n). */
export class DeadlineHeap {
  readonly #places: Place[] = [];

  get soonest(): Place | undefined {
    return this.#places[0];
  }

  add(place: Place): void {
    this.#places.push(place);
    this.#rise(place, this.#places.length - 1);
  }

  /** Harmless for a place that is not in here. */
  remove(place: Place): void {
    const index = place.heapIndex;
    if (index === -1) return;
    place.heapIndex = -1;
    const last = this.#places.pop()!;
    if (last === place) return;
    if (index > 0 && before(last, this.#places[(index - 1) >> 1]!)) this.#rise(last, index);
    else this.#sink(last, index);
  }

  #rise(place: Place, from: number): void {
    const places = this.#places;
    let index = from;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = places[parentIndex]!;
      if (!before(place, parent)) break;
      places[index] = parent;
      parent.heapIndex = index;
      index = parentIndex;
    }
    places[index] = place;
    place.heapIndex = index;
  }

  #sink(place: Place, from: number): void {
    const places = this.#places;
    let index = from;
    for (;;) {
      let childIndex = 2 * index + 1;
      if (childIndex >= places.length) break;
      if (childIndex + 1 < places.length && before(places[childIndex + 1]!, places[childIndex]!)) childIndex++;
      const child = places[childIndex]!;
      if (!before(child, place)) break;
      places[index] = child;
      child.heapIndex = index;
      index = childIndex;
    }
    places[index] = place;
    place.heapIndex = index;
  }
}

function before(a: Place, b: Place): boolean {
  return a.dueMs < b.dueMs;
}
