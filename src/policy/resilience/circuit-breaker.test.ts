import fc from "fast-check";
import { expect, test } from "vitest";
import type { FailureReason, Outcome, TimeoutPhase } from "../model/outcome.ts";
import type { Random } from "../model/random.ts";
import { CircuitBreaker, type Permit, type Verdict, verdictOf } from "./circuit-breaker.ts";
import { FailureKinds } from "./failure-kinds.ts";
import type { CircuitBreakerOptions } from "./options.ts";
import { sampleBreaker } from "./samples.ts";

const noJitter: Random = { next: () => 0 };

function breakerWith(options: Partial<CircuitBreakerOptions> = {}, random = noJitter): CircuitBreaker {
  return new CircuitBreaker({ ...sampleBreaker, ...options }, random);
}

/** One attempt after the other at `now`: `+` succeeds, `-` fails, `4` is answered 429, `0` says nothing. */
function run(breaker: CircuitBreaker, attempts: string, now = 0, durationMs = 10): void {
  const verdicts: Record<string, Verdict> = { "+": "success", "-": "failure", "4": "share", "0": "none" };
  for (const attempt of attempts) {
    const permit = breaker.admit(now);
    expect(permit, `no permit for ${attempt}`).toBeDefined();
    breaker.settle(permit!, verdicts[attempt]!, durationMs, now);
  }
}

test("five failures in a row open the circuit, four do not", () => {
  const breaker = breakerWith();
  run(breaker, "----");
  expect(breaker.state).toBe("closed");
  run(breaker, "-");
  expect(breaker.state).toBe("open");
  expect(breaker.reason).toBe("5 failures in a row");
  expect(breaker.trips).toBe(1);
  expect(breaker.untilMs).toBe(5_000);
  expect(breaker.admit(4_999)).toBeUndefined();
});

test("a success starts the row again; a cancelled attempt and a 429 do not, and do not lengthen it", () => {
  const breaker = breakerWith();
  run(breaker, "----+----");
  expect(breaker.state).toBe("closed");
  run(breaker, "+----0000444");
  expect(breaker.state).toBe("closed");
  run(breaker, "-");
  expect(breaker.state).toBe("open");
});

test("half of twenty attempts failed opens it, half of nineteen does not", () => {
  const breaker = breakerWith();
  run(breaker, "+-+-+-+-+-+-+-+-+-+");
  expect(breaker.state).toBe("closed");
  run(breaker, "-");
  expect(breaker.state).toBe("open");
  expect(breaker.reason).toBe("50 % of 20 attempts failed");
});

test("429 alone opens it by its share", () => {
  const breaker = breakerWith();
  run(breaker, "4444444444444444444");
  expect(breaker.state).toBe("closed");
  run(breaker, "4");
  expect(breaker.state).toBe("open");
  expect(breaker.reason).toBe("100 % of 20 attempts failed");
});

test("a success never opens it, though it brings the attempts up to the minimum", () => {
  const breaker = breakerWith();
  run(breaker, "----+----+----++++++++");
  expect(breaker.state).toBe("closed");
  run(breaker, "-");
  expect(breaker.state).toBe("open");
});

test("failures that have left the window do not count", () => {
  const breaker = breakerWith();
  run(breaker, "+----+----+----");
  run(breaker, "++++----+", 10_000);
  expect(breaker.state).toBe("closed");
});

test("a slow success is a failure; a slow attempt that was cancelled says nothing", () => {
  const breaker = breakerWith({ slowerThan: 100 });
  run(breaker, "++++0", 0, 101);
  expect(breaker.state).toBe("closed");
  run(breaker, "+", 0, 101);
  expect(breaker.state).toBe("open");
  const patient = breakerWith({ slowerThan: 100 });
  run(patient, "+++++", 0, 100);
  expect(patient.state).toBe("closed");
});

test("a slow 429 counts in the row too", () => {
  const breaker = breakerWith({ slowerThan: 100 });
  run(breaker, "44444", 0, 101);
  expect(breaker.reason).toBe("5 failures in a row");
});

test("a slow trial opens it again and says so", () => {
  const breaker = breakerWith({ slowerThan: 100 });
  run(breaker, "-----");
  run(breaker, "+", 5_000, 101);
  expect(breaker.state).toBe("open");
  expect(breaker.reason).toBe("a trial was too slow");
});

test("once its time has come it lets one attempt through, and closes when that succeeds", () => {
  const breaker = breakerWith();
  run(breaker, "-----");
  const permit = breaker.admit(5_000);
  expect(permit).toBeDefined();
  expect(breaker.state).toBe("half-open");
  expect(breaker.admits).toBe(false);
  expect(breaker.admit(5_000)).toBeUndefined();
  expect(breaker.settle(permit!, "success", 10, 5_010)).toBe(true);
  expect(breaker.state).toBe("closed");
  expect(breaker.reason).toBe("");
  expect(breaker.trips).toBe(1);
});

test("advance makes it half-open once, at its time", () => {
  const breaker = breakerWith();
  expect(breaker.advance(1e9)).toBe(false);
  run(breaker, "-----");
  expect(breaker.admits).toBe(false);
  expect(breaker.advance(4_999)).toBe(false);
  expect(breaker.advance(5_000)).toBe(true);
  expect(breaker.admits).toBe(true);
  expect(breaker.untilMs).toBe(Number.POSITIVE_INFINITY);
  expect(breaker.reason).toBe("5 failures in a row");
  expect(breaker.advance(5_000)).toBe(false);
});

test("all trials must succeed to close it", () => {
  const breaker = breakerWith({ halfOpenRequests: 3 });
  run(breaker, "-----");
  const permits = [breaker.admit(5_000)!, breaker.admit(5_000)!, breaker.admit(5_000)!];
  expect(breaker.admit(5_000)).toBeUndefined();
  expect(breaker.settle(permits[0]!, "success", 1, 5_001)).toBe(false);
  expect(breaker.settle(permits[1]!, "success", 1, 5_001)).toBe(false);
  expect(breaker.state).toBe("half-open");
  expect(breaker.admit(5_001)).toBeUndefined();
  expect(breaker.settle(permits[2]!, "success", 1, 5_001)).toBe(true);
  expect(breaker.state).toBe("closed");
});

test("one trial that fails opens it again at once, and what the others say is too late", () => {
  const breaker = breakerWith({ halfOpenRequests: 2 });
  run(breaker, "-----");
  const first = breaker.admit(5_000)!;
  const second = breaker.admit(5_000)!;
  expect(breaker.settle(second, "failure", 1, 5_001)).toBe(true);
  expect(breaker.reason).toBe("a trial failed");
  expect(breaker.settle(first, "success", 1, 5_002)).toBe(false);
  expect(breaker.state).toBe("open");
  expect(breaker.untilMs).toBe(5_001 + 10_000);
});

test("a trial that is answered 429 opens it again", () => {
  const breaker = breakerWith();
  run(breaker, "-----");
  run(breaker, "4", 5_000);
  expect(breaker.state).toBe("open");
  expect(breaker.reason).toBe("a trial was refused");
  expect(breaker.trips).toBe(2);
});

test("a trial that was cancelled gives its permit back", () => {
  const breaker = breakerWith();
  run(breaker, "-----");
  const cancelled = breaker.admit(5_000)!;
  expect(breaker.settle(cancelled, "none", 1, 5_001)).toBe(true);
  expect(breaker.admits).toBe(true);
  run(breaker, "+", 5_002);
  expect(breaker.state).toBe("closed");
});

test("a permit that comes back beside another changes nothing that can be seen", () => {
  const breaker = breakerWith({ halfOpenRequests: 2 });
  run(breaker, "-----");
  const permit = breaker.admit(5_000)!;
  expect(breaker.admits).toBe(true);
  expect(breaker.settle(permit, "none", 1, 5_001)).toBe(false);
});

test("a failure from before the trip does not fail the trial, and a success does not pass it", () => {
  for (const verdict of ["failure", "success", "none"] as const) {
    const breaker = breakerWith();
    const slow = breaker.admit(0)!; // still running while the circuit trips
    run(breaker, "-----");
    const trial = breaker.admit(5_000)!;
    expect(breaker.settle(slow, verdict, 5_001, 5_001), verdict).toBe(false);
    expect(breaker.state, verdict).toBe("half-open");
    expect(breaker.admits, verdict).toBe(false);
    breaker.settle(trial, "success", 1, 5_002);
    expect(breaker.state, verdict).toBe("closed");
  }
});

test("nothing of before the trip counts after it closed", () => {
  const breaker = breakerWith();
  const slow = breaker.admit(0)!;
  run(breaker, "++++-----");
  run(breaker, "+", 5_000);
  breaker.settle(slow, "failure", 5_001, 5_001);
  run(breaker, "----", 5_002);
  expect(breaker.state).toBe("closed");
  run(breaker, "+----+----+---+-", 5_003); // 20 with the four before, and none from before the trip
  expect(breaker.state).toBe("open");
  expect(breaker.reason).toBe("80 % of 20 attempts failed");
});

test("it stays open twice as long after each failed trial, up to the most", () => {
  const breaker = breakerWith();
  run(breaker, "-----");
  const lasted: number[] = [];
  let now = 0;
  for (let trial = 0; trial < 6; trial++) {
    lasted.push(breaker.untilMs - now);
    now = breaker.untilMs;
    run(breaker, "-", now);
  }
  expect(lasted).toEqual([5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
  expect(breaker.trips).toBe(7);
});

test("once it closed, the back-off starts from its beginning", () => {
  const breaker = breakerWith();
  run(breaker, "-----");
  run(breaker, "-", 5_000);
  run(breaker, "+", 15_000);
  run(breaker, "-----", 15_001);
  expect(breaker.untilMs).toBe(15_001 + 5_000);
});

test("jitter lengthens the time by a tenth at most, and never shortens it", () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.nat(12), (random, failedTrials) => {
      const breaker = breakerWith({}, { next: () => random });
      run(breaker, "-----");
      let now = 0;
      for (let trial = 0; trial < failedTrials; trial++) {
        now = breaker.untilMs;
        run(breaker, "-", now);
      }
      const lasts = Math.min(5_000 * 2 ** failedTrials, 60_000);
      expect(breaker.untilMs - now).toBeGreaterThanOrEqual(lasts - 1e-6);
      expect(breaker.untilMs - now).toBeLessThan(lasts * 1.1 + 1e-6);
    }),
  );
});

test("it is open for openFor at least, although the most is less", () => {
  const breaker = breakerWith({ openFor: 5_000, maxOpenFor: 1_000 });
  run(breaker, "-----");
  expect(breaker.untilMs).toBe(5_000);
  run(breaker, "-", 5_000);
  expect(breaker.untilMs).toBe(10_000);
});

test("reset closes it at once and forgets the back-off and what is still running", () => {
  const breaker = breakerWith();
  const slow = breaker.admit(0)!;
  run(breaker, "-----");
  run(breaker, "-", 5_000);
  expect(breaker.reset()).toBe(true);
  expect(breaker.state).toBe("closed");
  expect(breaker.reason).toBe("");
  breaker.settle(slow, "failure", 1, 5_001);
  run(breaker, "----", 5_001);
  expect(breaker.state).toBe("closed");
  run(breaker, "-", 5_001);
  expect(breaker.untilMs).toBe(10_001);
});

test("reset of a closed one forgets its counts, and says that nothing changed", () => {
  const breaker = breakerWith();
  run(breaker, "----");
  expect(breaker.reset()).toBe(false);
  run(breaker, "----");
  expect(breaker.state).toBe("closed");
});

test("rules that are switched off never trip", () => {
  const never = Number.POSITIVE_INFINITY;
  const breaker = breakerWith({ consecutiveFailures: never, minimumRequests: never });
  run(breaker, "-".repeat(1_000));
  expect(breaker.state).toBe("closed");
});

/** The breaker written the obvious way: everything that happened, in lists, and the rules read off them. */
class Model {
  readonly options: CircuitBreakerOptions;
  state: "closed" | "open" | "half-open" = "closed";
  /** What was settled since it closed last. */
  history: { at: number; failed: boolean; inARow: boolean }[] = [];
  trials = { issued: 0, succeeded: 0 };
  era = {};
  openings = 0;
  untilMs = Number.POSITIVE_INFINITY;
  trips = 0;

  constructor(options: CircuitBreakerOptions) {
    this.options = options;
  }

  get admits(): boolean {
    if (this.state === "half-open") return this.trials.issued < this.options.halfOpenRequests;
    return this.state === "closed";
  }

  advance(now: number): void {
    if (this.state !== "open" || now < this.untilMs) return;
    this.become("half-open");
    this.trials = { issued: 0, succeeded: 0 };
  }

  admit(now: number): object | undefined {
    this.advance(now);
    if (!this.admits) return undefined;
    if (this.state === "half-open") this.trials.issued++;
    return this.era;
  }

  settle(era: object, verdict: Verdict, durationMs: number, now: number): void {
    if (era !== this.era) return;
    const failed = verdict !== "success" || durationMs > this.options.slowerThan;
    if (this.state === "half-open") {
      if (verdict === "none") this.trials.issued--;
      else if (failed) this.open(now);
      else if (++this.trials.succeeded === this.options.halfOpenRequests) this.close();
    } else if (verdict !== "none") {
      const inARow = verdict === "failure" || durationMs > this.options.slowerThan;
      this.history.push({ at: now, failed, inARow });
      if (failed && (this.rowIsFull() || this.shareIsHigh(now))) this.open(now);
    }
  }

  rowIsFull(): boolean {
    const lastSuccess = this.history.findLastIndex(({ failed }) => !failed);
    const row = this.history.slice(lastSuccess + 1).filter(({ inARow }) => inARow);
    return row.length >= this.options.consecutiveFailures;
  }

  shareIsHigh(now: number): boolean {
    const bucketOf = (time: number) => Math.floor(time / (this.options.window / 10));
    const recent = this.history.filter(({ at }) => bucketOf(at) > bucketOf(now) - 10);
    const failures = recent.filter(({ failed }) => failed).length;
    return recent.length >= this.options.minimumRequests && failures / recent.length >= this.options.errorThreshold;
  }

  open(now: number): void {
    this.become("open");
    this.untilMs = now + Math.min(this.options.openFor * 2 ** this.openings, this.options.maxOpenFor);
    this.openings++;
    this.trips++;
  }

  close(): void {
    this.become("closed");
    this.history = [];
    this.openings = 0;
  }

  become(state: Model["state"]): void {
    this.state = state;
    this.era = {};
    this.untilMs = Number.POSITIVE_INFINITY;
  }
}

const operation = fc.oneof(
  { weight: 6, arbitrary: fc.constant({ do: "admit" } as const) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("settle" as const),
      which: fc.nat(),
      verdict: fc.constantFrom<Verdict>("success", "success", "failure", "failure", "failure", "share", "none"),
      durationMs: fc.constantFrom(10, 10, 10, 100, 101),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(0, 1, 50, 100, 400) }) },
  { weight: 2, arbitrary: fc.constant({ do: "wait until it may try" } as const) },
  { weight: 1, arbitrary: fc.constant({ do: "advance" } as const) },
  {
    weight: 1,
    arbitrary: fc.integer({ min: 0, max: 4 }).map((roll) => ({ do: roll === 0 ? "reset" : "advance" }) as const),
  },
);

test("it does what the rules, read off a list of all events, say", () => {
  const options = fc.record({
    on: fc.constant([]),
    consecutiveFailures: fc.constantFrom(1, 2, 5, Number.POSITIVE_INFINITY),
    errorThreshold: fc.constantFrom(0.1, 0.5, 0.9, 1),
    minimumRequests: fc.constantFrom(1, 4, 8),
    window: fc.constantFrom(500, 1_000),
    slowerThan: fc.constantFrom(100, Number.POSITIVE_INFINITY),
    openFor: fc.constantFrom(100, 250),
    maxOpenFor: fc.constantFrom(250, 1_000),
    halfOpenRequests: fc.integer({ min: 1, max: 3 }),
  });
  const seen = new Set<string>();
  fc.assert(
    fc.property(options, fc.array(operation, { maxLength: 120, size: "max" }), (settings, operations) => {
      const breaker = new CircuitBreaker(settings, noJitter);
      const model = new Model(settings);
      const running: { permit: Permit; era: object }[] = [];
      let now = 0;
      for (const step of operations) {
        const before = { state: breaker.state, admits: breaker.admits };
        const differs = () => breaker.state !== before.state || breaker.admits !== before.admits;
        switch (step.do) {
          case "wait":
            now += step.ms;
            break;
          case "wait until it may try":
            if (breaker.state === "open") now = Math.max(now, breaker.untilMs);
            break;
          case "advance":
            model.advance(now);
            expect(breaker.advance(now)).toBe(breaker.state !== before.state);
            break;
          case "reset":
            model.close();
            expect(breaker.reset()).toBe(before.state !== "closed");
            break;
          case "admit": {
            const permit = breaker.admit(now);
            const era = model.admit(now);
            expect(permit !== undefined).toBe(era !== undefined);
            if (permit !== undefined) running.push({ permit, era: era! });
            break;
          }
          case "settle": {
            if (running.length === 0) break;
            const [{ permit, era }] = running.splice(step.which % running.length, 1) as [(typeof running)[0]];
            if (era !== model.era) seen.add(`late in ${model.state}`);
            model.settle(era, step.verdict, step.durationMs, now);
            expect(breaker.settle(permit, step.verdict, step.durationMs, now)).toBe(differs());
          }
        }
        seen.add(`${before.state} to ${breaker.state}`);
        expect(breaker.state).toBe(model.state);
        expect(breaker.admits).toBe(model.admits);
        expect(breaker.untilMs).toBe(model.untilMs);
        expect(breaker.trips).toBe(model.trips);
        expect(breaker.reason === "").toBe(breaker.state === "closed");
      }
    }),
    { numRuns: 250, seed: 4 },
  );
  // The sequences went everywhere, or they would prove little.
  expect([...seen].sort()).toEqual([
    "closed to closed",
    "closed to open",
    "half-open to closed",
    "half-open to half-open",
    "half-open to open",
    "late in closed",
    "late in half-open",
    "late in open",
    "open to closed",
    "open to half-open",
    "open to open",
  ]);
});

const on = new FailureKinds([...sampleBreaker.on, 429]);
const success = (status: number): Outcome => ({ kind: "success", status, durationMs: 1 });
const failure = (reason: FailureReason): Outcome => ({ kind: "failure", reason, durationMs: 1 });
const timeout = (phase: TimeoutPhase): Outcome => ({ kind: "timeout", phase, durationMs: 1 });

test.each<[Verdict, Outcome[]]>([
  ["success", [success(200), success(404), success(499)]],
  ["failure", [success(500), success(503), failure("connect"), failure("reset"), failure("malformed")]],
  ["failure", [failure("truncated"), timeout("connect"), timeout("response"), timeout("body"), timeout("route")]],
  ["share", [success(429)]],
  ["none", [failure("exhausted"), timeout("queue"), { kind: "cancelled", durationMs: 1 }]],
])("%s is what is said by each of its outcomes", (verdict, outcomes) => {
  for (const outcome of outcomes) expect(verdictOf(outcome, on), JSON.stringify(outcome)).toBe(verdict);
});

test("what the configuration does not list is a success, but for what is never the backend's doing", () => {
  const nothing = new FailureKinds([]);
  for (const outcome of [success(503), success(429), failure("connect"), timeout("response")]) {
    expect(verdictOf(outcome, nothing), JSON.stringify(outcome)).toBe("success");
  }
  for (const outcome of [failure("exhausted"), timeout("queue")]) {
    expect(verdictOf(outcome, nothing), JSON.stringify(outcome)).toBe("none");
  }
});
