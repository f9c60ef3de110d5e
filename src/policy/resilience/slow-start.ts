import type { SlowStartOptions } from "./options.ts";

/** The first second counts as whole, or a backend that is brand new would begin with next to nothing. */
const SHORTEST_MS = 1000;

/**
 * Share of its weight that a backend has `sinceMs` after it came back: caches are cold and code is not yet compiled, so
 * it takes its part of the traffic step by step.
 *
 *     max(minimumWeight, (max(sinceMs, 1 s) / window) ^ (1 / aggression)), and 1 from `window` on
 *
 * With a window of 1 min: 15 s after, 0.25 with aggression 1 and 0.5 with 2; after 30 s, 0.5 and 0.707.
 * A window of 1 s or less has no effect: the whole weight from the start.
 *
 * Source: Envoy, "Slow start mode". For whoever is slow to start alone: where all backends are new, nobody is spared.
 */
export function weightFactor(sinceMs: number, { window, aggression, minimumWeight }: SlowStartOptions): number {
  const passed = Math.max(sinceMs, SHORTEST_MS);
  if (passed >= window) return 1;
  return Math.max(minimumWeight, (passed / window) ** (1 / aggression));
}
