/** The comparison the demo repeats: three unequal servers under three policies, and what the textbook says of them. */

export const POLICIES = ["round-robin", "weighted-round-robin", "least-connections"] as const;
export type PolicyName = (typeof POLICIES)[number];

/** A sample backend: its share of the strongest one's capacity, and how long it works on a request on average. */
export interface Capacity {
  readonly id: string;
  readonly percent: number;
  /** Weight under weighted round robin: what somebody who knows the capacities would configure. */
  readonly weight: number;
  readonly meanServiceMs: number;
}

/** Everything runs this many times faster than in the textbook, so that there is something to see. */
export const SPEED = 20;

/** Clients that send their next request when the last one has ended. */
export const CLIENTS = 8;

export const CAPACITIES: readonly Capacity[] = [
  { id: "A", percent: 100, weight: 4, meanServiceMs: 234.375 / SPEED },
  { id: "B", percent: 50, weight: 2, meanServiceMs: 468.75 / SPEED },
  { id: "C", percent: 25, weight: 1, meanServiceMs: 937.5 / SPEED },
];

/** The textbook's figures: share of each backend in percent, where it gives one, and mean response time in seconds. */
export const TEXTBOOK: Readonly<
  Record<PolicyName, { readonly shares: readonly number[]; readonly meanSeconds: number }>
> = {
  "round-robin": { shares: [33.3, 33.3, 33.3], meanSeconds: 2.5 },
  "weighted-round-robin": { shares: [57.1, 28.6, 14.3], meanSeconds: 1.2 },
  "least-connections": { shares: [], meanSeconds: 1.1 },
};
