const NONE = -1;
const FIRST_ROOM = 64;

/**
 * A number for each of at most `max` keys; the key not seen for longest makes room for a new one. Looking up is O(1)
 * and allocates nothing; memory grows with the keys that come, up to `max`.
 */
export class RecentKeys {
  readonly #max: number;
  readonly #slots = new Map<string, number>();
  readonly #keys: string[] = [];
  #values = new Float64Array(FIRST_ROOM);
  // A list over the slots, most recently seen first.
  #newer = new Int32Array(FIRST_ROOM);
  #older = new Int32Array(FIRST_ROOM);
  #newest = NONE;
  #oldest = NONE;
  // Slots that were given back, strung together by `#older`.
  #free = NONE;
  #size = 0;

  /** `max` is 1 or more. */
  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#size;
  }

  /** The slot of a key, which is now the one seen last; -1 when it is not here. Valid until the next `add` or `remove`. */
  find(key: string): number {
    const slot = this.#slots.get(key);
    if (slot === undefined) return NONE;
    if (slot !== this.#newest) {
      this.#unlink(slot);
      this.#linkNewest(slot);
    }
    return slot;
  }

  /** As `find`, but the key is not seen by it. */
  peek(key: string): number {
    return this.#slots.get(key) ?? NONE;
  }

  get isFull(): boolean {
    return this.#size >= this.#max;
  }

  /** The slot of the key not seen for longest, the next to go; -1 when there is none. It is not seen by this. */
  get oldest(): number {
    return this.#oldest;
  }

  /** Number of the key not seen for longest; there must be one. */
  get oldestValue(): number {
    return this.#values[this.#oldest]!;
  }

  /** Adds a key that is not here, and answers its slot. Forgets the key not seen for longest when it is full. */
  add(key: string): number {
    if (this.isFull) this.remove(this.#oldest);
    let slot = this.#free;
    if (slot !== NONE) {
      this.#free = this.#older[slot]!;
    } else {
      slot = this.#keys.length;
      if (slot === this.#values.length) this.#grow();
    }
    this.#size++;
    // A string cut from a longer one keeps that alive, a whole Cookie field for a session of 20 characters. Joined, it
    // is copied.
    const copy = ` ${key}`.slice(1);
    this.#keys[slot] = copy;
    this.#slots.set(copy, slot);
    this.#linkNewest(slot);
    return slot;
  }

  /** Forgets the key in `slot`. */
  remove(slot: number): void {
    this.#slots.delete(this.#keys[slot]!);
    this.#keys[slot] = "";
    this.#unlink(slot);
    this.#older[slot] = this.#free;
    this.#free = slot;
    this.#size--;
  }

  value(slot: number): number {
    return this.#values[slot]!;
  }

  setValue(slot: number, value: number): void {
    this.#values[slot] = value;
  }

  #unlink(slot: number): void {
    const newer = this.#newer[slot]!;
    const older = this.#older[slot]!;
    if (newer === NONE) this.#newest = older;
    else this.#older[newer] = older;
    if (older === NONE) this.#oldest = newer;
    else this.#newer[older] = newer;
  }

  #linkNewest(slot: number): void {
    this.#newer[slot] = NONE;
    this.#older[slot] = this.#newest;
    if (this.#newest === NONE) this.#oldest = slot;
    else this.#newer[this.#newest] = slot;
    this.#newest = slot;
  }

  #grow(): void {
    const room = Math.min(2 * this.#values.length, this.#max);
    const values = new Float64Array(room);
    const newer = new Int32Array(room);
    const older = new Int32Array(room);
    values.set(this.#values);
    newer.set(this.#newer);
    older.set(this.#older);
    this.#values = values;
    this.#newer = newer;
    this.#older = older;
  }
}
