import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";
import { type Random, SeededRandom } from "../model/random.ts";
import type { Balancer } from "./balancer.ts";
import { sampleBackends, sampleRequest } from "./samples.ts";

/** What a balancer promises beyond the contract that all keep. */
export interface ContractOptions {
  /**
   * How requests are shared when every exchange runs on: in proportion to the `weight` (the default), `equal`, or
   * as the balancer likes (`any`: then only that each backend gets some).
   */
  readonly shares?: "weight" | "equal" | "any";
  /** How far a share may be off, relative to what it should be. The default, 0, means by one request. */
  readonly tolerance?: number;
}

/** Registers a test: `test` of vitest, of node:test, or of any runner that takes a name and a function. */
export type RegisterTest = (name: string, run: () => void) => unknown;

const REQUESTS = 7_000;
const PICKS = 500;

/**
 * What every balancer keeps, as tests: it answers with one of the backends it was told of and with none that is
 * unavailable or excluded, reaches all the others, follows every change, and does the same again for the same seed.
 * One that can peek answers what it picks next, and picks what it would have picked without.
 *
 * @example balancerContract(test, "cheapest", (random) => new Cheapest(random), { shares: "any" });
 */
export function balancerContract(
  test: RegisterTest,
  name: string,
  make: (random: Random) => Balancer,
  options: ContractOptions = {},
): void {
  const { shares = "weight", tolerance = 0 } = options;
  const promise = (what: string, run: () => void) => test(`${name}: ${what}`, run);

  promise("has no backend for a request before it is told of any, and after it is told of none", () => {
    const balancer = make(new SeededRandom(1));
    expectNone(balancer, undefined);
    balancer.update(sampleBackends({ a: 1 }));
    balancer.update([]);
    expectNone(balancer, undefined);
  });

  promise("sends everything to the only backend, and nothing when that is excluded", () => {
    const backends = sampleBackends({ a: 3 });
    const balancer = balancerOf(make, backends);
    expectAll(balancer, backends);
    expectNone(balancer, new Set(backends));
    expectAll(balancer, backends);
  });

  promise("has no backend for a request that has tried them all", () => {
    for (const weights of [
      { a: 1, b: 1 },
      { a: 4, b: 2, c: 1 },
      { a: 1, b: 1, c: 1, d: 256 },
    ]) {
      const backends = sampleBackends(weights);
      const balancer = balancerOf(make, backends);
      expectNone(balancer, new Set(backends));
      expectAll(balancer, backends);
    }
  });

  promise("never picks an excluded backend, and reaches all others", () => {
    const backends = sampleBackends({ a: 4, b: 2, c: 1, d: 1 });
    const balancer = balancerOf(make, backends);
    for (let excluded = 0; excluded < 15; excluded++) {
      const exclude = new Set(backends.filter((_, i) => excluded & (1 << i)));
      expectAll(balancer, without(backends, exclude), exclude);
    }
  });

  promise("never picks a member that is unavailable, and reaches all others", () => {
    const members = sampleBackends({ a: 4, b: 2, c: 1, d: 1 });
    const balancer = make(new SeededRandom(1));
    for (let away = 0; away < 15; away++) {
      const available = members.filter((_, i) => (away & (1 << i)) === 0);
      balancer.update(available, members);
      expectAll(balancer, available);
      const [first] = available;
      expectAll(balancer, available.slice(1), new Set([first!]));
    }
    balancer.update([], members);
    expectNone(balancer, undefined);
  });

  promise("forgets a backend that is removed, and takes it in again when it is added", () => {
    const backends = sampleBackends({ a: 1, b: 2, c: 3 });
    const balancer = balancerOf(make, backends);
    expectAll(balancer, backends);
    for (const removed of backends) {
      const rest = without(backends, new Set([removed]));
      balancer.update(rest);
      expectAll(balancer, rest);
      balancer.update(backends);
      expectAll(balancer, backends);
    }
  });

  promise("sends requests to backends that are added", () => {
    const backends = sampleBackends({ a: 1, b: 1, c: 1, d: 1, e: 1 });
    const balancer = make(new SeededRandom(1));
    for (let count = 1; count <= backends.length; count++) {
      balancer.update(backends.slice(0, count));
      expectAll(balancer, backends.slice(0, count));
    }
  });

  promise("goes on with other weights after a change of weight", () => {
    const backends = sampleBackends({ a: 1, b: 1, c: 256 });
    const balancer = balancerOf(make, backends);
    expectAll(balancer, backends.slice(2), undefined, "among others");
    backends[2]!.weight = 1;
    balancer.update(backends);
    expectAll(balancer, backends);
  });

  promise("leaves the lists and sets it is given as they are", () => {
    const members = sampleBackends({ b: 1, a: 2, c: 3 });
    const available = members.slice(1);
    const exclude = new Set([available[0]!]);
    const balancer = make(new SeededRandom(1));
    balancer.update(Object.freeze(available), Object.freeze(members));
    take(balancer, 0, exclude);
    check(exclude.size === 1, "it changed the set of excluded backends");
  });

  promise("takes every kind of outcome, also of a backend it does not know any more", () => {
    const backends = sampleBackends({ a: 4, b: 2, c: 1 });
    const balancer = balancerOf(make, backends);
    const [gone] = sampleBackends({ gone: 1 });
    for (const backend of [...backends, gone!]) {
      for (const outcome of outcomes) balancer.settled?.(backend, outcome, 10);
    }
    expectAll(balancer, backends);
  });

  promise("picks the same again with the same seed", () => {
    const weights = { a: 4, b: 2, c: 1, d: 8 };
    const runs = [1, 2].map(() => {
      const balancer = balancerOf(make, sampleBackends(weights));
      return Array.from({ length: PICKS }, (_, n) => take(balancer, n)?.id).join(" ");
    });
    check(runs[0] === runs[1], "two runs with the same seed differ");
  });

  if (make(new SeededRandom(1)).peek !== undefined) expectPeeks(promise, make);
  if (shares === "any") return;
  promise(`shares requests ${shares === "equal" ? "equally" : "by weight"}`, () => {
    for (const weights of [
      { a: 1, b: 1, c: 1 },
      { a: 4, b: 2, c: 1 },
      { a: 5, b: 1, c: 1, d: 7 },
    ]) {
      expectShares(make, sampleBackends(weights), shares, tolerance);
    }
  });
}

const outcomes: readonly Outcome[] = [
  { kind: "success", status: 200, durationMs: 5 },
  { kind: "success", status: 503, durationMs: 1 },
  { kind: "failure", reason: "connect", durationMs: 1 },
  { kind: "failure", reason: "reset", durationMs: 1 },
  { kind: "timeout", phase: "response", durationMs: 30_000 },
  { kind: "cancelled", durationMs: 0 },
];

function balancerOf(make: (random: Random) => Balancer, backends: readonly Backend[]): Balancer {
  const balancer = make(new SeededRandom(1));
  balancer.update(backends);
  return balancer;
}

/** Picks for request `n`, and lets the exchange run on. */
function take(balancer: Balancer, n: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
  const backend = balancer.pick(sampleRequest(n), n, exclude);
  backend?.take();
  return backend;
}

function expectNone(balancer: Balancer, exclude: ReadonlySet<Backend> | undefined): void {
  for (let n = 0; n < 10; n++) {
    const backend = take(balancer, n, exclude);
    check(backend === undefined, `picked ${backend?.id} where there is none to pick`);
  }
}

function expectPeeks(promise: (what: string, run: () => void) => unknown, make: (random: Random) => Balancer): void {
  promise("peeks at what it picks next", () => {
    const backends = sampleBackends({ a: 4, b: 2, c: 1, d: 1 });
    const balancer = balancerOf(make, backends);
    let n = 0;
    for (let excluded = 0; excluded < 16; excluded++) {
      const exclude = excluded === 0 ? undefined : new Set(backends.filter((_, i) => excluded & (1 << i)));
      for (let picks = 0; picks < 50; picks++, n++) {
        const peeked = balancer.peek?.(sampleRequest(n), n, exclude);
        const picked = pickAndLearn(balancer, n, exclude);
        check(peeked === picked, `peeked at ${peeked?.id}, and then picked ${picked?.id}`);
      }
    }
    balancer.update([]);
    const peeked = balancer.peek?.(sampleRequest(n), n);
    check(peeked === undefined, `peeked at ${peeked?.id} where there is none to pick`);
  });

  promise("picks the same, however often somebody peeks", () => {
    const runs = [0, 1, 3].map((peeks) => {
      const backends = sampleBackends({ a: 4, b: 2, c: 1, d: 8 });
      const balancer = balancerOf(make, backends);
      const exclude = new Set(backends.slice(0, 2));
      return Array.from({ length: PICKS }, (_, n) => {
        for (let i = 0; i < peeks; i++) balancer.peek?.(sampleRequest(n + i), n, i % 2 === 0 ? undefined : exclude);
        return pickAndLearn(balancer, n)?.id;
      }).join(" ");
    });
    check(runs[0] === runs[1] && runs[0] === runs[2], "it picks otherwise when somebody peeks");
  });
}

/** As `take`; now and then an attempt fails, or an exchange ends. */
function pickAndLearn(balancer: Balancer, n: number, exclude?: ReadonlySet<Backend>): Backend | undefined {
  const backend = take(balancer, n, exclude);
  if (backend === undefined) return undefined;
  if (n % 3 === 0) backend.give();
  if (n % 7 === 0) balancer.settled?.(backend, { kind: "failure", reason: "reset", durationMs: 1 }, n);
  return backend;
}

/** Each pick is one of `allowed`, and each of those is picked. All exchanges run until the end of it. */
function expectAll(
  balancer: Balancer,
  allowed: readonly Backend[],
  exclude?: ReadonlySet<Backend>,
  others: "among others" | "and no other" = "and no other",
): void {
  const seen = new Set<Backend>();
  for (let n = 0; n < PICKS; n++) {
    const backend = take(balancer, n, exclude);
    if (allowed.length === 0) check(backend === undefined, `picked ${backend?.id} where there is none to pick`);
    else check(backend !== undefined, `picked none, where ${names(allowed)} can be picked`);
    if (backend === undefined) continue;
    check(others === "among others" || allowed.includes(backend), `picked ${backend.id}, not of ${names(allowed)}`);
    seen.add(backend);
  }
  for (const backend of seen) while (backend.active > 0) backend.give();
  for (const backend of allowed) check(seen.has(backend), `did not pick ${backend.id} in ${PICKS} requests`);
}

function expectShares(
  make: (random: Random) => Balancer,
  backends: readonly Backend[],
  shares: "weight" | "equal",
  tolerance: number,
): void {
  const balancer = balancerOf(make, backends);
  const counts = new Map(backends.map((backend) => [backend, 0]));
  for (let n = 0; n < REQUESTS; n++) {
    const backend = take(balancer, n);
    if (backend !== undefined) counts.set(backend, counts.get(backend)! + 1);
  }
  const total = backends.reduce((sum, { weight }) => sum + weight, 0);
  for (const [{ id, weight }, count] of counts) {
    const ideal = REQUESTS * (shares === "equal" ? 1 / backends.length : weight / total);
    const slack = Math.max(1, ideal * tolerance);
    check(Math.abs(count - ideal) <= slack, `${id} got ${count} of ${REQUESTS}, not ${ideal.toFixed(1)}`);
  }
}

function without(backends: readonly Backend[], exclude: ReadonlySet<Backend>): Backend[] {
  return backends.filter((backend) => !exclude.has(backend));
}

function names(backends: readonly Backend[]): string {
  return backends.map(({ id }) => id).join(", ");
}

function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}
