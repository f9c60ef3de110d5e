import fc from "fast-check";
import { expect, test } from "vitest";
import { type FakeConnection, FakeWaiter, PoolBench, settled } from "../../test/support/pool-bench.ts";

const MAX = 4;
const QUEUE = 5;

/** What can happen to a pool. `pick` chooses among the connections, openings or waiters there are at that moment. */
const event = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("request" as const),
      fresh: fc.boolean(),
      timeoutMs: fc.integer({ min: 1, max: 40 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("tryAcquire" as const) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("open" as const), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("fail" as const), pick: fc.nat() }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("release" as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("discard" as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("die" as const), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("cancel" as const), pick: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("advance" as const), ms: fc.integer({ min: 0, max: 60 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("closeIdle" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("surrender" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("bound" as const), max: fc.integer({ min: 0, max: MAX }) }) },
);
type Event = typeof event extends fc.Arbitrary<infer E> ? E : never;

/** Keeps the books beside the pool: who has what, who is in line, what is open. */
class Model {
  readonly opened = new Set<FakeConnection>();
  readonly closed = new Set<FakeConnection>();
  readonly held = new Set<FakeConnection>();
  readonly line: { waiter: BookKeeper; fresh: boolean; deadlineMs: number }[] = [];
  taken = 0;
  readonly bench: PoolBench;

  constructor() {
    this.bench = new PoolBench({
      maxConnections: MAX,
      maxIdle: 2,
      maxRequests: 6,
      idleTimeoutMs: 50,
      maxAgeMs: 200,
      openTimeoutMs: 30,
      queue: { max: QUEUE },
      bound: {
        take: (limit) => this.taken < limit && ++this.taken > 0,
        give: () => {
          this.taken--;
        },
        held: () => this.taken,
      },
      destroy: (connection) => {
        expect(this.closed.has(connection), "closed twice").toBe(false);
        this.closed.add(connection);
      },
    });
  }

  async run(e: Event): Promise<void> {
    const { pool, openings, clock } = this.bench;
    switch (e.do) {
      case "request": {
        const waiter = new BookKeeper(this);
        this.line.push({ waiter, fresh: e.fresh, deadlineMs: clock.now() + e.timeoutMs });
        pool.request(waiter, e);
        break;
      }
      case "tryAcquire": {
        const connection = pool.tryAcquire();
        if (connection !== undefined) this.hold(connection);
        break;
      }
      case "open":
        if (openings.length > 0) {
          const [opening] = openings.splice(e.pick % openings.length, 1);
          this.opened.add(await opening!.open());
        }
        break;
      case "fail":
        if (openings.length > 0) await openings.splice(e.pick % openings.length, 1)[0]!.fail(new Error("refused"));
        break;
      case "release":
      case "discard": {
        const connection = [...this.held][e.pick % this.held.size];
        if (connection === undefined) break;
        this.held.delete(connection);
        pool[e.do](connection);
        break;
      }
      case "die": {
        const living = [...this.opened].filter((connection) => !this.closed.has(connection));
        living[e.pick % living.length]?.die();
        break;
      }
      case "cancel": {
        const place = this.line[e.pick % this.line.length];
        if (place === undefined) break;
        this.leave(place.waiter);
        expect(pool.cancel(place.waiter)).toBe(true);
        break;
      }
      case "advance":
        clock.advance(e.ms);
        break;
      case "closeIdle":
        pool.closeIdle("test");
        break;
      case "surrender":
        pool.surrenderIdle();
        break;
      case "bound":
        pool.setMaxConnections(e.max);
        break;
    }
    await settled();
  }

  hold(connection: FakeConnection): void {
    expect(this.held.has(connection), "handed out twice").toBe(false);
    expect(this.closed.has(connection), "handed out after it was closed").toBe(false);
    expect(connection.alive, "handed out dead").toBe(true);
    this.held.add(connection);
  }

  leave(waiter: BookKeeper): { fresh: boolean; ahead: { fresh: boolean }[] } {
    const index = this.line.findIndex((place) => place.waiter === waiter);
    expect(index, "answered twice, or after it was cancelled").toBeGreaterThanOrEqual(0);
    const ahead = this.line.slice(0, index);
    const { fresh } = this.line.splice(index, 1)[0]!;
    return { fresh, ahead };
  }

  check(): void {
    const { idle, busy, opening, waiting, created, destroyed } = this.bench.pool.stats;
    expect(idle + busy + opening).toBeLessThanOrEqual(MAX);
    expect(this.taken).toBe(idle + busy + opening);
    expect(busy).toBe(this.held.size);
    expect(waiting).toBe(this.line.length);
    expect(waiting - opening).toBeLessThanOrEqual(QUEUE);
    expect(created - destroyed).toBe(idle + busy);
    expect(destroyed).toBe(this.closed.size);
    // Nothing is lost: what is open and nobody holds is idle, and no one waits beside an idle connection he may have.
    expect([...this.opened].filter((c) => !this.closed.has(c) && !this.held.has(c))).toHaveLength(idle);
    if (idle > 0) expect(this.line.every(({ fresh }) => fresh)).toBe(true);
    expect(idle).toBeLessThanOrEqual(2);
    const now = this.bench.clock.now();
    for (const { deadlineMs } of this.line) expect(deadlineMs).toBeGreaterThan(now);
    expect(this.bench.errors).toEqual([]);
  }
}

class BookKeeper extends FakeWaiter {
  readonly #model: Model;

  constructor(model: Model) {
    super();
    this.#model = model;
  }

  override acquired(connection: FakeConnection, reused: boolean): void {
    const { fresh, ahead } = this.#model.leave(this);
    this.#model.opened.add(connection);
    this.#model.hold(connection);
    if (fresh) expect(reused).toBe(false);
    // First come, first served: only who wants a fresh one is passed over, by a connection that is not.
    expect(ahead.every((place) => reused && place.fresh)).toBe(true);
    super.acquired(connection, reused);
  }

  override failed(error: FakeWaiter["errors"][number]): void {
    const { ahead } = this.#model.leave(this);
    if (error.code === "queue-full") expect(ahead.length).toBeGreaterThanOrEqual(QUEUE);
    super.failed(error);
  }
}

test("whatever happens, in any order: the bound holds, nothing is lost or handed out twice, the line is kept", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 120 }), async (events) => {
      const model = new Model();
      for (const e of events) {
        await model.run(e);
        model.check();
      }
      // And when all is over, all counts are back at zero.
      const { pool, clock } = model.bench;
      clock.advance(1_000);
      const drained = pool.drain();
      for (const connection of [...model.held]) {
        model.held.delete(connection);
        pool.release(connection);
      }
      await drained;
      expect(model.bench.counts).toEqual([0, 0, 0, 0]);
      expect(model.line).toEqual([]);
      expect(model.taken).toBe(0);
      expect(model.closed.size).toBe(pool.stats.created);
      expect(clock.armed).toBe(0);
    }),
    { numRuns: 400 },
  );
});
