import type { Backend } from "../model/backend.ts";
import { murmur3 } from "./murmur3.ts";

// 8 MiB of points. A ring that would be larger gives every backend fewer points, in proportion.
const MAX_POINTS = 1 << 20;
// Room for the rank of a backend below a hash, in the 53 bits of a number that are exact.
const RANKS = 1 << 21;

/** The ring of {@link ConsistentHash}: points in order, and who stands there. */
export class HashRing {
  readonly #virtualNodes: number;
  #members: readonly Backend[] = [];
  #weights: readonly number[] = [];
  #hashes = new Uint32Array(0);
  /** Rank of the backend at each point. */
  #owners = new Uint32Array(0);
  /** Backends by rank, which is the order of their addresses: it decides between equal points, whatever the order. */
  #ranked: readonly Backend[] = [];
  /** By rank: 1 when it may be picked. */
  #available = new Uint8Array(0);
  #pickable: readonly Backend[] = [];

  constructor(virtualNodes: number) {
    this.#virtualNodes = virtualNodes;
  }

  /** Rebuilt only when members or weights differ; who is available is a flag. */
  update(backends: readonly Backend[], members: readonly Backend[]): void {
    if (!this.#isBuiltOf(members)) this.#build(members);
    const available = new Set(backends);
    this.#available = Uint8Array.from(this.#ranked, (backend) => (available.has(backend) ? 1 : 0));
    this.#pickable = this.#ranked.filter((backend) => available.has(backend));
  }

  /** The backend of the first point at or behind `hash` that is available and not in `exclude`. */
  find(hash: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
    if (!this.#leavesSome(exclude)) return undefined;
    const points = this.#owners.length;
    let at = this.#firstAtOrBehind(hash);
    for (let seen = 0; seen < points; seen++, at++) {
      if (at === points) at = 0;
      const rank = this.#owners[at]!;
      if (this.#available[rank] === 0) continue;
      const backend = this.#ranked[rank]!;
      if (!exclude?.has(backend)) return backend;
    }
    return undefined;
  }

  /** Spares a walk round the whole ring for nothing. */
  #leavesSome(exclude: ReadonlySet<Backend> | undefined): boolean {
    const pickable = this.#pickable;
    if (exclude === undefined || exclude.size < pickable.length) return pickable.length > 0;
    for (let i = 0; i < pickable.length; i++) if (!exclude.has(pickable[i]!)) return true;
    return false;
  }

  #firstAtOrBehind(hash: number): number {
    const hashes = this.#hashes;
    let low = 0;
    let high = hashes.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (hashes[middle]! < hash) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #isBuiltOf(members: readonly Backend[]): boolean {
    return (
      members.length === this.#members.length &&
      members.every((member, i) => member === this.#members[i] && member.weight === this.#weights[i])
    );
  }

  #build(members: readonly Backend[]): void {
    this.#members = members.slice();
    this.#weights = members.map((member) => member.weight);
    this.#ranked = members.filter((member) => member.weight > 0).sort(byAddress);
    const counts = this.#pointCounts();
    const points = new Float64Array(counts.reduce((sum, count) => sum + count, 0));
    let filled = 0;
    counts.forEach((count, rank) => {
      const prefix = `${this.#ranked[rank]!.address}#`;
      for (let j = 0; j < count; j++) points[filled++] = murmur3(prefix + j) * RANKS + rank;
    });
    points.sort();
    this.#hashes = new Uint32Array(points.length);
    this.#owners = new Uint32Array(points.length);
    for (let i = 0; i < points.length; i++) {
      const hash = Math.floor(points[i]! / RANKS);
      this.#hashes[i] = hash;
      this.#owners[i] = points[i]! - hash * RANKS;
    }
  }

  #pointCounts(): number[] {
    let total = 0;
    for (const { weight } of this.#ranked) total += weight * this.#virtualNodes;
    const scale = Math.min(1, MAX_POINTS / total) * this.#virtualNodes;
    return this.#ranked.map(({ weight }) => Math.max(1, Math.round(weight * scale)));
  }
}

function byAddress(a: Backend, b: Backend): number {
  if (a.address !== b.address) return a.address < b.address ? -1 : 1;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
