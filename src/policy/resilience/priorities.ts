/** How the tiers of an upstream share its traffic; both arrays have one entry for each tier, the first tier first. */
export interface TierLoads {
  /** Percent of the traffic, whole numbers that add up to 100; all 0 when nobody can take any. */
  readonly loads: number[];
  /** Whether the tier sends its traffic to all of its backends, whatever their health. */
  readonly panic: boolean[];
}

/** A tier takes all that is meant for it as long as 100/140 of its backends, about 71 %, are healthy. */
const OVERPROVISIONING = 140;

/**
 * Spreads traffic over tiers: the first takes what its healthy backends can carry, what is left spills to the next.
 *
 *     health = min(100, floor(140 * healthy / total))             of each tier, in percent
 *     T      = min(100, sum of health)
 *     load   = min(100 - loads before, floor(health * 100 / T))   the first with a load takes what rounding left
 *
 * As healthy percent of each tier, and the loads: 71/71: 99/1, 50/50: 70/30, 25/100: 35/65, 25/25/100: 35/35/30.
 * When T is below 100 all tiers together are short, and the loads are scaled up to 100.
 *
 * Panic: where T is below 100, a tier with a smaller healthy share than `panicThreshold` (0 to 1) uses all of its
 * backends, since the few healthy ones would be overrun. When no backend of any tier is healthy, the first tier that
 * has backends takes everything. With a threshold of 0 there is no panic, and no traffic then.
 *
 * Source: Envoy, "Priority levels". Unlike there, one healthy backend among more than 140 counts as 1 %, not as 0.
 */
export function tierLoads(healthy: readonly number[], total: readonly number[], panicThreshold: number): TierLoads {
  const health = total.map((backends, tier) => healthOf(healthy[tier]!, backends));
  const capacity = Math.min(
    100,
    health.reduce((sum, percent) => sum + percent, 0),
  );
  const loads = share(health, capacity);
  const panic = total.map((backends, tier) => capacity < 100 && healthy[tier]! < panicThreshold * backends);
  const firstInPanic = panic.indexOf(true);
  if (capacity === 0 && firstInPanic !== -1) loads[firstInPanic] = 100;
  return { loads, panic };
}

function healthOf(healthy: number, total: number): number {
  return healthy === 0 ? 0 : Math.max(1, Math.min(100, Math.floor((OVERPROVISIONING * healthy) / total)));
}

function share(health: readonly number[], capacity: number): number[] {
  if (capacity === 0) return health.map(() => 0);
  let left = 100;
  const loads = health.map((percent) => {
    const load = Math.min(left, Math.floor((percent * 100) / capacity));
    left -= load;
    return load;
  });
  loads[loads.findIndex((load) => load > 0)]! += left;
  return loads;
}

/**
 * Deals tiers out in proportion to their loads, spread evenly, without a random draw: smooth weighted round robin.
 * From the start on, of every 100 answers with the same loads each tier has exactly as many as its load says.
 */
export class TierRotation {
  #loads: number[] = [];
  /** How far each tier is behind its share (above 0) or ahead of it, in percent. */
  #credits: number[] = [];
  /** The one that has all of the load, which is so nearly always; -1 when they share it, or none has any. */
  #only = -1;

  /** Sets the {@link TierLoads.loads}. Every tier keeps what it is owed, also while it has no load. */
  update(loads: readonly number[]): void {
    this.#loads = loads.slice();
    this.#credits = loads.map((_, tier) => this.#credits[tier] ?? 0);
    const sharing = loads.filter((load) => load > 0).length;
    this.#only = sharing === 1 ? loads.findIndex((load) => load > 0) : -1;
  }

  /** Number of the tier that takes the next attempt, from 0; -1 when no tier has a load. O(tiers). */
  next(): number {
    if (this.#only !== -1) return this.#only;
    const loads = this.#loads;
    const credits = this.#credits;
    let best = -1;
    let total = 0;
    for (let tier = 0; tier < loads.length; tier++) {
      const load = loads[tier]!;
      if (load === 0) continue;
      total += load;
      credits[tier]! += load;
      if (best === -1 || credits[tier]! > credits[best]!) best = tier;
    }
    if (best !== -1) credits[best]! -= total;
    return best;
  }

  /** What {@link next} would answer, changing nothing. */
  peek(): number {
    if (this.#only !== -1) return this.#only;
    const owed = this.#loads.map((load, tier) => (load === 0 ? Number.NEGATIVE_INFINITY : this.#credits[tier]! + load));
    const most = Math.max(...owed);
    return most === Number.NEGATIVE_INFINITY ? -1 : owed.indexOf(most);
  }
}
