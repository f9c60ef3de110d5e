import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SeededRandom } from "../model/random.ts";
import type { RebalanceOptions } from "./options.ts";
import { Rebalance, type TunnelLoad } from "./rebalance.ts";

/** Where the client of a closed tunnel opens a new one; undefined: it does not come back. */
type Return = (from: string, closed: number) => string | undefined;

interface BackendOfTest {
  tunnels: number;
  weight: number;
  /** Tunnels that cannot be closed. Default: none. */
  busy?: number;
  /** Default: 1. */
  ramp?: number;
}

/** Tunnels on backends, a rebalance over them, and its closings in time. */
class Stage {
  readonly rebalance: Rebalance<string>;
  readonly backends: Map<string, BackendOfTest>;
  readonly closings: { readonly atMs: number; readonly backend: string }[] = [];
  returns: Return = () => undefined;
  now = 0;

  constructor(backends: Record<string, BackendOfTest>, options: Partial<RebalanceOptions> = {}, seed = 1) {
    this.rebalance = new Rebalance({ rate: 10, jitter: 0, ...options }, new SeededRandom(seed));
    this.backends = new Map(Object.entries(backends));
  }

  get loads(): TunnelLoad<string>[] {
    return [...this.backends].map(([backend, { tunnels, weight, ramp = 1 }]) => ({
      backend,
      tunnels,
      weight,
      share: weight * ramp,
    }));
  }

  /** How many tunnels each has. */
  get tunnels(): Record<string, number> {
    return Object.fromEntries([...this.backends].map(([name, { tunnels }]) => [name, tunnels]));
  }

  get closed(): number {
    return this.closings.length;
  }

  grow(backends: Record<string, BackendOfTest> = {}): this {
    for (const [name, backend] of Object.entries(backends)) this.backends.set(name, backend);
    this.rebalance.grown(this.loads, this.now);
    return this;
  }

  /** Goes on from wake-up to wake-up, for so long or until it is over. */
  run(untilMs = Number.POSITIVE_INFINITY): this {
    const { rebalance } = this;
    for (let asked = 0; rebalance.wakeAtMs <= untilMs && rebalance.wakeAtMs < Number.POSITIVE_INFINITY; asked++) {
      if (asked > 100_000) throw new Error("it does not end");
      this.now = Math.max(this.now, rebalance.wakeAtMs);
      for (let name = rebalance.next(this.loads, this.now); name !== undefined; ) {
        this.#close(name);
        name = rebalance.next(this.loads, this.now);
      }
    }
    if (untilMs < Number.POSITIVE_INFINITY) this.now = Math.max(this.now, untilMs);
    return this;
  }

  #close(name: string): void {
    const backend = this.backends.get(name)!;
    if (backend.tunnels <= (backend.busy ?? 0)) return this.rebalance.hasNoneToGive(name, this.now);
    backend.tunnels--;
    this.closings.push({ atMs: this.now, backend: name });
    this.rebalance.gave(name, this.now);
    const to = this.returns(name, this.closed);
    if (to !== undefined) this.backends.get(to)!.tunnels++;
  }
}

const toTheEmptiest =
  (stage: Stage): Return =>
  () =>
    [...stage.backends].reduce((best, each) => (each[1].tunnels < best[1].tunnels ? each : best))[0];

test("40 tunnels on one, when a second comes back: every tenth of a second one goes, until 21 are left", () => {
  const stage = new Stage({ a: { tunnels: 40, weight: 1 } }).grow({ b: { tunnels: 0, weight: 1 } });
  stage.returns = () => "b";
  stage.run();
  expect(stage.tunnels).toEqual({ a: 21, b: 19 });
  expect(stage.closings.map(({ atMs }) => Math.round(atMs))).toEqual(Array.from({ length: 19 }, (_, i) => i * 100));
});

test("shares go by weight: as in the doc comment, a third stays", () => {
  const stage = new Stage({ a: { tunnels: 40, weight: 1 } }).grow({ b: { tunnels: 0, weight: 2 } });
  stage.returns = () => "b";
  expect(stage.run().tunnels).toEqual({ a: 14, b: 26 });
});

test("of several the one with the most too many gives first", () => {
  const stage = new Stage({ a: { tunnels: 10, weight: 1 }, b: { tunnels: 14, weight: 1 } });
  stage.grow({ c: { tunnels: 0, weight: 1 } }).returns = () => "c";
  stage.run();
  expect(stage.closings.map(({ backend }) => backend).join("")).toBe("bbbbab");
  expect(stage.tunnels).toEqual({ a: 9, b: 9, c: 6 });
});

test("one too many is fair enough", () => {
  const stage = new Stage({ a: { tunnels: 2, weight: 1 } }).grow({ b: { tunnels: 0, weight: 1 } });
  expect(stage.rebalance.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
});

test("before it has been told of a growth there is nothing to wake for", () => {
  const stage = new Stage({ a: { tunnels: 100, weight: 1 }, b: { tunnels: 0, weight: 1 } });
  expect(stage.rebalance.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
  expect(stage.rebalance.next(stage.loads, 1e9)).toBeUndefined();
});

test("asked before its time it answers with nobody", () => {
  const stage = new Stage({ a: { tunnels: 40, weight: 1 } }).grow({ b: { tunnels: 0, weight: 1 } }).run(0);
  expect(stage.closed).toBe(1);
  expect(stage.rebalance.next(stage.loads, 99)).toBeUndefined();
  expect(stage.rebalance.next(stage.loads, 100)).toBe("a");
});

describe("how many go", () => {
  test("clients that come back to where they were are not closed in circles", () => {
    const stage = new Stage({ a: { tunnels: 40, weight: 1 } }).grow({ b: { tunnels: 0, weight: 1 } });
    stage.returns = () => "a";
    stage.run();
    expect(stage.closed).toBe(19);
  });

  test("clients that stay away do not make others go in their place", () => {
    const stage = new Stage({ a: { tunnels: 40, weight: 1 } }).grow({ b: { tunnels: 0, weight: 1 } }).run();
    expect(stage.tunnels).toEqual({ a: 21, b: 0 });
  });

  test("those that leave on their own count: it stops where shares are fair", () => {
    const stage = new Stage({ a: { tunnels: 40, weight: 1 } }).grow({ b: { tunnels: 0, weight: 1 } });
    stage.returns = () => "b";
    stage.run(450); // five have gone
    stage.backends.get("a")!.tunnels -= 20;
    stage.run();
    expect(stage.tunnels).toEqual({ a: 11, b: 9 });
  });

  test("a further growth goes on with more, and does not forget who is still on their way back", () => {
    const stage = new Stage({ a: { tunnels: 60, weight: 1 } }).grow({ b: { tunnels: 0, weight: 1 } }).run(950);
    expect(stage.closed).toBe(10);
    // 50 tunnels are open, but 60 clients want one: 20 each, so `a` may keep 21.
    stage.grow({ c: { tunnels: 0, weight: 1 } }).run();
    expect(stage.tunnels).toEqual({ a: 21, b: 0, c: 0 });
  });

  test("a further growth does not bring a closing forward", () => {
    const stage = new Stage({ a: { tunnels: 60, weight: 1 } }).grow({ b: { tunnels: 0, weight: 1 } }).run(0);
    stage.now = 50;
    stage.grow({ c: { tunnels: 0, weight: 1 } });
    expect(stage.rebalance.wakeAtMs).toBe(100);
  });

  test("a growth that leaves nothing to do ends what was going on", () => {
    const stage = new Stage({ a: { tunnels: 40, weight: 1 } }).grow({ b: { tunnels: 0, weight: 1 } }).run(0);
    stage.grow({ b: { tunnels: 38, weight: 1 } });
    expect(stage.rebalance.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("pace", () => {
  test("each is put off by up to the jitter, and not all by the same", () => {
    const stage = new Stage({ a: { tunnels: 400, weight: 1 } }, { jitter: 1_000 }).grow({
      b: { tunnels: 0, weight: 1 },
    });
    stage.returns = () => "b";
    stage.run();
    const gaps = stage.closings.slice(1).map(({ atMs }, i) => atMs - stage.closings[i]!.atMs);
    expect(new Set(gaps.map(Math.round)).size).toBeGreaterThan(20);
    // 199 at ten a second, and the last one put off by no more than a second.
    expect(stage.closed).toBe(199);
    expect(stage.closings.at(-1)!.atMs).toBeGreaterThan(19_000);
    expect(stage.closings.at(-1)!.atMs).toBeLessThan(20_900);
  });

  test("two workers with the same growth do not close at the same times", () => {
    const [one, two] = [1, 2].map((seed) =>
      new Stage({ a: { tunnels: 40, weight: 1 } }, { jitter: 1_000 }, seed)
        .grow({ b: { tunnels: 0, weight: 1 } })
        .run(),
    );
    expect(one!.closings.map(({ atMs }) => atMs)).not.toEqual(two!.closings.map(({ atMs }) => atMs));
  });

  test("a rate below one is one in the time that it takes", () => {
    const stage = new Stage({ a: { tunnels: 8, weight: 1 } }, { rate: 0.25 })
      .grow({ b: { tunnels: 0, weight: 1 } })
      .run();
    expect(stage.closings.map(({ atMs }) => atMs)).toEqual([0, 4_000, 8_000]);
  });

  test("a growth right behind the end of the last one does not double the rate", () => {
    const stage = new Stage({ a: { tunnels: 22, weight: 1 } }, { rate: 5 }).grow({ b: { tunnels: 0, weight: 1 } });
    stage.run();
    const before = stage.closed;
    stage.grow({ c: { tunnels: 0, weight: 1 } }).run(stage.now);
    expect(stage.closed).toBe(before);
  });
});

describe("backends with nothing to give", () => {
  test("one none of whose tunnels can be closed is asked again every second, and given up after ten", () => {
    const stage = new Stage({ a: { tunnels: 40, weight: 1, busy: 40 } }).grow({ b: { tunnels: 0, weight: 1 } });
    const wakes: number[] = [];
    for (let atMs = stage.rebalance.wakeAtMs; atMs < Infinity; atMs = stage.rebalance.wakeAtMs) {
      wakes.push(atMs);
      stage.run(atMs);
    }
    expect(wakes).toEqual([0, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000, 10_000]);
    expect(stage.closed).toBe(0);
  });

  test("meanwhile another one gives", () => {
    const stage = new Stage({ a: { tunnels: 40, weight: 1, busy: 40 }, b: { tunnels: 30, weight: 1 } });
    stage.grow({ c: { tunnels: 0, weight: 1 } }).run(0);
    expect(stage.closings).toEqual([{ atMs: 0, backend: "b" }]);
  });

  test("what becomes free later goes at the rate, and not at once for the time it was waited for", () => {
    const stage = new Stage({ a: { tunnels: 40, weight: 1, busy: 40 } })
      .grow({ b: { tunnels: 0, weight: 1 } })
      .run(2_500);
    stage.backends.get("a")!.busy = 30;
    stage.run(3_250);
    expect(stage.closings.map(({ atMs }) => atMs)).toEqual([3_000, 3_100, 3_200]);
    expect(stage.run().tunnels).toEqual({ a: 30, b: 0 });
  });
});

describe("with a slow start", () => {
  test("the others keep theirs until the new one has its share of new ones", () => {
    const stage = new Stage({ a: { tunnels: 40, weight: 1 } }).grow({ b: { tunnels: 0, weight: 1, ramp: 0.1 } });
    stage.returns = () => "b";
    stage.run(30_000);
    // Fair for b now: 40 x 0.1 / 1.1 = 3.6.
    expect(stage.tunnels).toEqual({ a: 37, b: 3 });
    stage.backends.get("b")!.ramp = 0.5;
    stage.run(60_000);
    expect(stage.tunnels).toEqual({ a: 27, b: 13 });
    stage.backends.get("b")!.ramp = 1;
    expect(stage.run().tunnels).toEqual({ a: 21, b: 19 });
  });
});

test("where nobody has a share, nobody has too many", () => {
  const stage = new Stage({ a: { tunnels: 40, weight: 0 } }).grow({ b: { tunnels: 0, weight: 0 } });
  expect(stage.rebalance.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
});

test("a backend that should have none gives up all but one", () => {
  const stage = new Stage({ spare: { tunnels: 10, weight: 0 } }).grow({ a: { tunnels: 0, weight: 1 } });
  stage.returns = () => "a";
  expect(stage.run().tunnels).toEqual({ spare: 1, a: 9 });
});

const backend = fc.record({
  tunnels: fc.nat(60),
  weight: fc.constantFrom(0, 0.5, 1, 2, 5),
  busy: fc.nat(20),
});
const plan = fc.record({
  backends: fc.dictionary(fc.constantFrom("a", "b", "c", "d"), backend, { minKeys: 1 }),
  options: fc.record({ rate: fc.constantFrom(0.5, 1, 2.5, 10, 100), jitter: fc.constantFrom(0, 50, 1_000, 5_000) }),
  seed: fc.nat(),
  growths: fc.array(fc.record({ name: fc.constantFrom("a", "b", "e", "f"), backend, afterMs: fc.nat(3_000) }), {
    minLength: 1,
    maxLength: 4,
  }),
  returns: fc.constantFrom("away", "same", "emptiest", "first"),
});

test("ends, never closes more than the rate in any second, and takes no backend below its fair share", () => {
  fc.assert(
    fc.property(plan, ({ backends, options, seed, growths, returns }) => {
      const stage = new Stage(backends, options, seed);
      const emptiest = toTheEmptiest(stage);
      stage.returns = (from, closed) => {
        const { tunnels, weight } = stage.backends.get(from)!;
        const all = [...stage.backends.values()];
        const total = all.reduce((sum, each) => sum + each.tunnels, 1);
        const fair = (total * weight) / all.reduce((sum, each) => sum + each.weight, 0);
        expect(tunnels).toBeGreaterThan(fair - 1e-9);
        if (returns === "away") return undefined;
        if (returns === "same") return from;
        return returns === "first" ? [...stage.backends.keys()][0] : emptiest(from, closed);
      };
      for (const growth of growths) stage.grow({ [growth.name]: growth.backend }).run(stage.now + growth.afterMs);
      stage.run();
      expect(stage.rebalance.wakeAtMs).toBe(Number.POSITIVE_INFINITY);
      const { rate } = options;
      const most = Math.max(1, Math.floor(rate));
      for (let i = most; i < stage.closed; i++) {
        const gapMs = stage.closings[i]!.atMs - stage.closings[i - most]!.atMs;
        expect(gapMs).toBeGreaterThanOrEqual(Math.max(1_000, 1_000 / rate) - 1e-6);
      }
    }),
    { numRuns: 300 },
  );
});

test("where everything can be closed and clients go where the fewest are, shares of equal backends end up fair", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(60), { minLength: 1, maxLength: 5 }), fc.nat(), (tunnels, seed) => {
      const backends = tunnels.map((count, i) => [`b${i}`, { tunnels: count, weight: 1 }] as const);
      const stage = new Stage(Object.fromEntries(backends), { rate: 50, jitter: 500 }, seed);
      stage.returns = toTheEmptiest(stage);
      stage.grow({ fresh: { tunnels: 0, weight: 1 } }).run();
      const fair = tunnels.reduce((sum, count) => sum + count, 0) / (tunnels.length + 1);
      for (const count of Object.values(stage.tunnels)) expect(count).toBeLessThanOrEqual(fair + 1 + 1e-9);
    }),
    { numRuns: 100 },
  );
});
