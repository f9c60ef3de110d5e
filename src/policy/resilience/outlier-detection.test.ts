import fc from "fast-check";
import { expect, test } from "vitest";
import type { OutlierDetectionOptions } from "./options.ts";
import { type AttemptKind, type Ejection, OutlierDetector } from "./outlier-detection.ts";

const NEVER = Number.POSITIVE_INFINITY;

const defaults: OutlierDetectionOptions = {
  consecutiveFailures: 5,
  consecutiveGatewayFailures: NEVER,
  interval: 10_000,
  ejectFor: 30_000,
  maxEjectFor: 300_000,
  maxEjected: 0.1,
  successRate: { deviations: 1.9, minimumBackends: 5, minimumRequests: 100 },
  failureShare: false,
  latency: false,
};

interface Host {
  readonly name: string;
}

/** A detector over hosts with one-letter names, a log of its calls, and a clock that wakes it when it asks. */
class Bench {
  readonly detector: OutlierDetector<Host>;
  readonly log: string[] = [];
  now = 0;
  readonly #hosts = new Map<string, Host>();

  constructor(hosts: string, options: Partial<OutlierDetectionOptions> = {}) {
    this.detector = new OutlierDetector<Host>({ ...defaults, ...options }, (host, ejection, now) => {
      this.log.push(`${host.name} ${ejection === undefined ? "back" : "out"} ${now}`);
    });
    this.members(hosts);
  }

  host(name: string): Host {
    const host = this.#hosts.get(name) ?? { name };
    this.#hosts.set(name, host);
    return host;
  }

  members(names: string): void {
    this.detector.update([...names].map((name) => this.host(name)));
  }

  /** Attempts on one host: `+` succeeds, `5` is an error, `-` a gateway error without a response. */
  attempts(name: string, outcomes: string, durationMs = 10): void {
    for (const outcome of outcomes) {
      const kind = outcome === "+" ? "success" : outcome === "5" ? "error" : "gateway";
      this.detector.settled(this.host(name), kind, kind === "gateway" ? -1 : durationMs, this.now);
    }
  }

  /** So many attempts on one host of which a share fails, never five in a row while it is at most 4/5. */
  traffic(name: string, requests: number, failureShare: number): void {
    let failed = 0;
    for (let request = 1; request <= requests; request++) {
      const fails = Math.floor(request * failureShare + 1e-9) > failed;
      if (fails) failed++;
      this.attempts(name, fails ? "5" : "+");
    }
  }

  until(time: number): void {
    while (this.detector.wakeAtMs <= time) {
      this.now = Math.max(this.now, this.detector.wakeAtMs);
      this.detector.advance(this.now);
    }
    this.now = time;
    this.detector.advance(time);
  }

  out(names: string): string {
    return [...names].filter((name) => this.detector.ejection(this.host(name)) !== undefined).join("");
  }
}

test("five failures of any kind in a row eject for half a minute", () => {
  const bench = new Bench("abc");
  bench.attempts("a", "5-5-");
  expect(bench.log).toEqual([]);
  bench.attempts("a", "5");
  expect(bench.log).toEqual(["a out 0"]);
  expect(bench.detector.ejection(bench.host("a"))).toEqual({
    untilMs: 30_000,
    reason: "5 failures in a row",
    forRow: true,
  });
  expect(bench.detector.ejections).toBe(1);
  bench.until(29_999);
  expect(bench.out("abc")).toBe("a");
  bench.until(30_000);
  expect(bench.log).toEqual(["a out 0", "a back 30000"]);
});

test("a success starts the row again", () => {
  const bench = new Bench("abc");
  bench.attempts("a", "----+----+----");
  expect(bench.out("abc")).toBe("");
});

test("the rows of two hosts are two rows, and an interval does not end one", () => {
  const bench = new Bench("abc");
  for (const name of "ababab") bench.attempts(name, "-");
  bench.until(10_000);
  bench.attempts("a", "-");
  expect(bench.out("abc")).toBe("");
  bench.attempts("a", "-");
  expect(bench.out("abc")).toBe("a");
});

test("gateway failures have a row of their own, which another error ends", () => {
  const bench = new Bench("abc", { consecutiveFailures: NEVER, consecutiveGatewayFailures: 3 });
  bench.attempts("a", "--5--+--5555555--");
  expect(bench.out("abc")).toBe("");
  bench.attempts("a", "-");
  expect(bench.detector.ejection(bench.host("a"))!.reason).toBe("3 gateway failures in a row");
});

test("of two hosts one may be ejected, although 10 % of two is nothing (envoy#34796)", () => {
  const bench = new Bench("ab");
  bench.attempts("a", "-----");
  bench.attempts("b", "-----");
  expect(bench.out("ab")).toBe("a");
});

test("the only host is never ejected", () => {
  const bench = new Bench("a", { maxEjected: 1 });
  bench.attempts("a", "-".repeat(100));
  expect(bench.out("a")).toBe("");
});

test.each([
  [2, 0.1, 1],
  [9, 0, 1],
  [10, 0.1, 1],
  [19, 0.1, 1],
  [20, 0.1, 2],
  [3, 0.67, 2], // not all three: envoy#27066
  [3, 0.5, 1], // envoy#26877
  [100, 0.29, 29], // 0.29 * 100 is a rounding below 29
  [4, 1, 4],
])("of %i hosts, at most %d at a time: %i", (hosts, maxEjected, expected) => {
  const bench = new Bench(String.fromCodePoint(...Array.from({ length: hosts }, (_, index) => 0x4e00 + index)), {
    maxEjected,
  });
  for (let index = 0; index < hosts; index++) bench.attempts(String.fromCodePoint(0x4e00 + index), "-----");
  expect(bench.detector.ejections).toBe(expected);
});

test("a row that found no room ejects at its next failure once there is room", () => {
  const bench = new Bench("ab");
  bench.attempts("a", "-----");
  bench.attempts("b", "-------");
  bench.until(30_000);
  expect(bench.out("ab")).toBe("");
  bench.attempts("b", "-");
  expect(bench.out("ab")).toBe("b");
});

test("late outcomes of an ejected host neither eject it twice nor count when it is back (envoy#18950, #40697)", () => {
  const bench = new Bench("abc");
  bench.attempts("a", "-----");
  bench.attempts("a", "--------");
  expect(bench.detector.ejections).toBe(1);
  bench.until(30_000);
  bench.attempts("a", "----");
  expect(bench.out("abc")).toBe("");
  bench.attempts("a", "-");
  expect(bench.out("abc")).toBe("a");
});

test("the n-th ejection lasts n times as long, up to the most", () => {
  const bench = new Bench("ab", { maxEjectFor: 100_000 });
  const lasted: number[] = [];
  for (let time = 0; time < 5; time++) {
    bench.attempts("a", "-----");
    const { untilMs } = bench.detector.ejection(bench.host("a"))!;
    lasted.push(untilMs - bench.now);
    bench.until(untilMs);
  }
  expect(lasted).toEqual([30_000, 60_000, 90_000, 100_000, 100_000]);
});

test("an ejection lasts as long as configured, although the most is less", () => {
  const bench = new Bench("ab", { maxEjectFor: 1_000 });
  bench.attempts("a", "-----");
  expect(bench.detector.ejection(bench.host("a"))!.untilMs).toBe(30_000);
});

test("each whole interval in good health takes one off, one that was cut short does not", () => {
  const bench = new Bench("ab", { ejectFor: 15_000 });
  bench.attempts("a", "-----"); // 1: out until 15 s
  bench.until(15_000);
  bench.attempts("a", "-----"); // 2: out until 45 s
  bench.until(45_000);
  bench.attempts("a", "-----"); // 3: out until 90 s, in the midst of which no interval is whole
  bench.until(109_999); // one whole interval, 90 to 100 s
  bench.attempts("a", "-----");
  expect(bench.detector.ejection(bench.host("a"))!.untilMs).toBe(109_999 + 3 * 15_000);
});

test("a long time in good health forgets all ejections", () => {
  const bench = new Bench("ab");
  for (let time = 0; time < 3; time++) {
    bench.attempts("a", "-----");
    bench.until(bench.detector.ejection(bench.host("a"))!.untilMs);
  }
  bench.until(1_000_000);
  bench.attempts("a", "-----");
  expect(bench.detector.ejection(bench.host("a"))!.untilMs).toBe(1_030_000);
});

test("ejections by statistics grow as well (envoy#26758)", () => {
  const bench = new Bench("ab", {
    successRate: false,
    failureShare: { threshold: 0.5, minimumBackends: 1, minimumRequests: 50 },
    ejectFor: 20_000,
  });
  const lasted: number[] = [];
  for (let time = 0; time < 3; time++) {
    bench.traffic("a", 100, 0.6);
    while (bench.out("a") === "") bench.until(bench.detector.wakeAtMs);
    const { untilMs } = bench.detector.ejection(bench.host("a"))!;
    lasted.push(untilMs - bench.now);
    bench.until(untilMs);
  }
  expect(lasted).toEqual([20_000, 40_000, 60_000]);
});

test("the statistics are looked at an interval after the first attempt, and begin anew", () => {
  const bench = new Bench("abcde");
  bench.now = 5_000;
  for (const name of "abcd") bench.traffic(name, 100, 0);
  bench.traffic("e", 100, 0.5);
  bench.until(14_999);
  expect(bench.out("abcde")).toBe("");
  bench.until(15_000);
  expect(bench.log).toEqual(["e out 15000"]);
  expect(bench.detector.ejection(bench.host("e"))!.reason).toBe("50 % of 100 attempts succeeded, 90 % on average");
  bench.detector.checkPassed(bench.host("e"), 15_000);
  bench.until(25_000); // nothing of the first interval counts in the second
  expect(bench.detector.ejections).toBe(1);
});

test("an ejected host is not among those it is measured against", () => {
  const bench = new Bench("abcde", { maxEjected: 0.5 });
  for (const name of "abcd") bench.traffic(name, 100, 0);
  bench.traffic("e", 100, 0.5);
  bench.attempts("e", "-----");
  bench.until(10_000);
  expect(bench.log).toEqual(["e out 0"]); // four are left, too few for statistics
});

test("the statistics eject the worst first when there is no room for all", () => {
  const bench = new Bench("abcde", {
    successRate: false,
    failureShare: { threshold: 0.5, minimumBackends: 5, minimumRequests: 50 },
    maxEjected: 0.4,
  });
  bench.traffic("a", 100, 0.5);
  bench.traffic("b", 100, 0.7);
  bench.traffic("c", 100, 0.6);
  for (const name of "de") bench.traffic(name, 100, 0);
  bench.until(10_000);
  expect(bench.log).toEqual(["b out 10000", "c out 10000"]);
});

test("a host that two detectors point at is ejected once", () => {
  const bench = new Bench("abcde", {
    failureShare: { threshold: 0.5, minimumBackends: 5, minimumRequests: 50 },
    maxEjected: 1,
  });
  for (const name of "abcd") bench.traffic(name, 100, 0);
  bench.traffic("e", 100, 0.7);
  bench.until(10_000);
  expect(bench.log).toEqual(["e out 10000"]);
});

test("a host ten times slower than the others is ejected for its latency", () => {
  const bench = new Bench("abc", { latency: { factor: 3, minimumBackends: 3, minimumRequests: 50 } });
  for (const name of "ab") bench.attempts(name, "+".repeat(50), 20);
  bench.attempts("c", "+".repeat(50), 200);
  bench.until(10_000);
  expect(bench.log).toEqual(["c out 10000"]);
  expect(bench.detector.ejection(bench.host("c"))!.reason).toMatch(/^p90 of \d+ ms, the median of all is \d+ ms$/);
});

test("attempts without a response neither hide that the responses are slow nor make up the volume", () => {
  const options = { consecutiveFailures: NEVER, latency: { factor: 3, minimumBackends: 3, minimumRequests: 50 } };
  for (const [responses, expected] of [
    [50, ["c out 10000"]],
    [49, []],
  ] as const) {
    const bench = new Bench("abcd", options);
    for (const name of "abd") bench.attempts(name, "+".repeat(50), 20);
    bench.attempts("c", "+".repeat(responses), 200);
    bench.attempts("c", "-".repeat(500));
    bench.until(10_000);
    expect(bench.log, `${responses} responses`).toEqual(expected);
  }
});

test("a good check ends an ejection at once, and nothing is held against the host but how often", () => {
  const bench = new Bench("ab");
  bench.attempts("a", "-----");
  bench.now = 1_000;
  bench.detector.checkPassed(bench.host("a"), 1_000);
  expect(bench.log).toEqual(["a out 0", "a back 1000"]);
  bench.attempts("a", "----");
  expect(bench.out("ab")).toBe("");
  bench.attempts("a", "-");
  expect(bench.detector.ejection(bench.host("a"))!.untilMs).toBe(1_000 + 60_000);
});

test("good checks of a host that is in do not hide that its requests fail", () => {
  const bench = new Bench("ab");
  for (let time = 0; time < 4; time++) {
    bench.attempts("a", "-");
    bench.detector.checkPassed(bench.host("a"), bench.now);
  }
  bench.attempts("a", "-");
  expect(bench.log).toEqual(["a out 0"]);
});

test("those that stay keep their row and their ejection when members change", () => {
  const bench = new Bench("abc");
  bench.attempts("a", "-----");
  bench.members("ad");
  expect(bench.out("abcd")).toBe("a");
  const other = new Bench("abc");
  other.attempts("a", "----");
  other.members("ad");
  other.attempts("a", "-");
  expect(other.out("ad")).toBe("a");
});

test("one that goes is forgotten without a call, and makes room", () => {
  const bench = new Bench("abc");
  bench.attempts("a", "-----");
  bench.members("bc");
  expect(bench.out("abc")).toBe("");
  bench.attempts("b", "-----");
  expect(bench.log).toEqual(["a out 0", "b out 0"]);
  bench.members("abc");
  bench.attempts("a", "----");
  expect(bench.out("abc")).toBe("b");
});

test("outcomes of one that has gone, or never was, are ignored", () => {
  const bench = new Bench("ab");
  bench.members("b");
  bench.attempts("a", "-----");
  bench.attempts("z", "-----");
  bench.detector.checkPassed(bench.host("a"), 0);
  expect(bench.log).toEqual([]);
  expect(bench.detector.wakeAtMs).toBe(NEVER);
});

test("when too many are out after members went, those that would be back first come back", () => {
  const bench = new Bench("abcd", { maxEjected: 0.5 });
  bench.attempts("a", "-----");
  bench.now = 1;
  bench.attempts("b", "-----");
  bench.members("ab");
  expect(bench.detector.wakeAtMs).toBeLessThanOrEqual(bench.now);
  bench.detector.advance(bench.now);
  expect(bench.log).toEqual(["a out 0", "b out 1", "a back 1"]);
  bench.members("b");
  bench.detector.advance(2);
  expect(bench.out("b")).toBe("");
});

test("nothing is to be done before the first attempt, nor once traffic has stopped and all is well", () => {
  const bench = new Bench("abc");
  expect(bench.detector.wakeAtMs).toBe(NEVER);
  bench.now = 3_000;
  bench.attempts("a", "+");
  expect(bench.detector.wakeAtMs).toBe(13_000);
  bench.until(13_000);
  expect(bench.detector.wakeAtMs).toBe(23_000);
  bench.until(23_000);
  expect(bench.detector.wakeAtMs).toBe(NEVER);
  bench.now = 50_000;
  bench.attempts("a", "-----");
  expect(bench.detector.wakeAtMs).toBe(60_000);
});

test("an ejection that ends before the interval does wakes in time", () => {
  const bench = new Bench("ab", { ejectFor: 1_000 });
  bench.attempts("a", "-----");
  expect(bench.detector.wakeAtMs).toBe(1_000);
  bench.detector.advance(1_000);
  expect(bench.log).toEqual(["a out 0", "a back 1000"]);
  expect(bench.detector.wakeAtMs).toBe(10_000);
});

/** The detector written the obvious way: what happened in lists, and the rules read off them. */
class Model {
  readonly options: OutlierDetectionOptions;
  members: Host[] = [];
  /** What was settled of a host since it came in or came back, oldest first. */
  readonly history = new Map<Host, AttemptKind[]>();
  /** The same since the interval began. */
  readonly recent = new Map<Host, AttemptKind[]>();
  /** Those that are out, and until when. */
  readonly out = new Map<Host, number>();
  /** Those that were out at some time of the interval. */
  wereOut = new Set<Host>();
  readonly times = new Map<Host, number>();
  intervalEnd = NEVER;
  ejections = 0;

  constructor(options: OutlierDetectionOptions) {
    this.options = options;
  }

  get most(): number {
    const { length } = this.members;
    if (length < 2) return 0;
    for (let most = length; most > 1; most--) if (most / length <= this.options.maxEjected) return most;
    return 1;
  }

  get wakeAt(): number {
    return this.out.size > this.most ? Number.NEGATIVE_INFINITY : Math.min(this.intervalEnd, ...this.out.values());
  }

  update(members: Host[]): void {
    for (const gone of this.members.filter((host) => !members.includes(host))) {
      for (const facts of [this.history, this.recent, this.out, this.times, this.wereOut]) facts.delete(gone);
    }
    this.members = members;
  }

  settled(host: Host, kind: AttemptKind, now: number): void {
    if (!this.members.includes(host) || this.out.has(host)) return;
    if (this.intervalEnd === NEVER) this.intervalEnd = now + this.options.interval;
    const history = [...(this.history.get(host) ?? []), kind];
    this.history.set(host, history);
    this.recent.set(host, [...(this.recent.get(host) ?? []), kind]);
    const row = history.length - 1 - history.lastIndexOf("success");
    const gatewayRow = history.length - 1 - history.findLastIndex((other) => other !== "gateway");
    if (kind === "success") return;
    if (row >= this.options.consecutiveFailures || gatewayRow >= this.options.consecutiveGatewayFailures) {
      this.eject(host, now);
    }
  }

  eject(host: Host, now: number): void {
    if (this.out.has(host) || this.out.size + 1 > this.most) return;
    const times = (this.times.get(host) ?? 0) + 1;
    this.times.set(host, times);
    this.out.set(host, now + Math.min(this.options.ejectFor * times, this.options.maxEjectFor));
    this.wereOut.add(host);
    this.ejections++;
  }

  restore(host: Host): void {
    for (const facts of [this.out, this.history, this.recent]) facts.delete(host);
  }

  advance(now: number): void {
    for (const [host, untilMs] of [...this.out]) if (untilMs <= now) this.restore(host);
    const soonest = this.members
      .filter((host) => this.out.has(host))
      .sort((a, b) => this.out.get(a)! - this.out.get(b)!);
    for (const host of soonest) if (this.out.size > this.most) this.restore(host);
    if (now >= this.intervalEnd) this.endInterval(now);
  }

  endInterval(now: number): void {
    const share = (host: Host) => {
      const kinds = this.recent.get(host)!;
      return kinds.filter((kind) => kind !== "success").length / kinds.length;
    };
    const { threshold, minimumBackends, minimumRequests } = this.options.failureShare as FailureShare;
    const withVolume = this.members.filter(
      (host) => !this.out.has(host) && (this.recent.get(host)?.length ?? 0) >= minimumRequests,
    );
    if (withVolume.length >= minimumBackends) {
      const bad = withVolume.filter((host) => share(host) >= threshold);
      for (const host of bad.sort((a, b) => share(b) - share(a))) this.eject(host, now);
    }
    for (const host of this.members.filter((host) => !this.wereOut.has(host))) {
      this.times.set(host, Math.max(0, (this.times.get(host) ?? 0) - 1));
    }
    const goesOn = this.recent.size > 0 || [...this.times.values()].some((times) => times > 0);
    this.intervalEnd = goesOn ? now + this.options.interval : NEVER;
    this.recent.clear();
    this.wereOut = new Set(this.out.keys());
  }
}

type FailureShare = Exclude<OutlierDetectionOptions["failureShare"], false>;

const operation = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant("settle" as const),
      host: fc.nat(7),
      kinds: fc.array(fc.constantFrom<AttemptKind>("success", "error", "error", "gateway", "gateway"), {
        minLength: 1,
        maxLength: 6,
      }),
      durationMs: fc.constantFrom(-1, 10, 11, 12, 200),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1, 10, 60, 130) }) },
  { weight: 3, arbitrary: fc.constant({ do: "wait for the next" } as const) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("check" as const), host: fc.nat(7) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("update" as const), hosts: fc.subarray([0, 1, 2, 3, 4, 5, 6, 7]) }),
  },
);

const everyHost: readonly Host[] = [..."abcdefgh"].map((name) => ({ name }));

/** Fails on a host that is ejected twice without coming back between, or comes back without having been out. */
function alternating(): (host: Host, ejection: Ejection | undefined) => void {
  const out = new Set<Host>();
  return (host, ejection) => {
    expect(out.has(host)).toBe(ejection === undefined);
    if (ejection === undefined) out.delete(host);
    else out.add(host);
  };
}

/** Lets time pass until there is nothing left to do; nobody may be out then. */
function expectAllBack(detector: OutlierDetector<Host>, passes: (now: number) => void): void {
  for (let wakes = 0; detector.wakeAtMs < NEVER; wakes++) {
    expect(wakes).toBeLessThan(1_000);
    passes(detector.wakeAtMs);
    detector.advance(detector.wakeAtMs);
  }
  for (const host of everyHost) expect(detector.ejection(host)).toBeUndefined();
}

test("it ejects and takes back whom the rules, read off lists of all that happened, say", () => {
  const options = fc.record({
    consecutiveFailures: fc.constantFrom(3, 5, NEVER),
    consecutiveGatewayFailures: fc.constantFrom(2, 4, NEVER),
    interval: fc.constantFrom(50, 100),
    ejectFor: fc.constantFrom(30, 120),
    maxEjectFor: fc.constantFrom(120, 400),
    maxEjected: fc.constantFrom(0.1, 0.25, 0.5, 1),
    successRate: fc.constant(false as const),
    failureShare: fc.record({
      threshold: fc.constantFrom(0.5, 0.8),
      minimumBackends: fc.constantFrom(1, 3),
      minimumRequests: fc.constantFrom(4, 8),
    }),
    latency: fc.constant(false as const),
  });
  let ejectedByStatistics = 0;
  let ejectedInARow = 0;
  fc.assert(
    fc.property(options, fc.array(operation, { maxLength: 120, size: "max" }), (settings, operations) => {
      const calls: string[] = [];
      const alternate = alternating();
      const detector = new OutlierDetector<Host>(settings, (host, ejection) => {
        alternate(host, ejection);
        if (ejection !== undefined) calls.push(ejection.reason);
      });
      const model = new Model(settings);
      let now = 0;
      detector.update(everyHost);
      model.update([...everyHost]);
      for (const step of operations) {
        switch (step.do) {
          case "settle":
            for (const kind of step.kinds) {
              detector.settled(everyHost[step.host]!, kind, step.durationMs, now);
              model.settled(everyHost[step.host]!, kind, now);
            }
            break;
          case "check":
            detector.checkPassed(everyHost[step.host]!, now);
            if (model.out.has(everyHost[step.host]!)) model.restore(everyHost[step.host]!);
            break;
          case "update": {
            // One that is out stays: it would go without a call, which `alternating` could not know.
            const hosts = everyHost.filter((host, index) => step.hosts.includes(index) || model.out.has(host));
            detector.update(hosts);
            model.update(hosts);
            expect(detector.wakeAtMs).toBe(model.wakeAt);
            detector.advance(now);
            model.advance(now);
            break;
          }
          default:
            if (step.do === "wait") now += step.ms;
            else if (detector.wakeAtMs < NEVER) now = Math.max(now, detector.wakeAtMs);
            detector.advance(now);
            model.advance(now);
            expect([...model.out.values()].every((untilMs) => untilMs > now)).toBe(true);
        }
        const differing = everyHost.filter((host) => detector.ejection(host)?.untilMs !== model.out.get(host));
        expect(differing).toEqual([]);
        expect(detector.wakeAtMs).toBe(model.wakeAt);
        expect(detector.ejections).toBe(model.ejections);
        expect(model.out.size).toBeLessThanOrEqual(model.most);
      }
      ejectedInARow += calls.filter((reason) => reason.endsWith("in a row")).length;
      ejectedByStatistics += calls.filter((reason) => reason.endsWith("attempts failed")).length;
      expectAllBack(detector, () => {});
    }),
    { numRuns: 150, seed: 4 },
  );
  // Both kinds of rules were at work, or the sequences would prove little.
  expect(ejectedInARow).toBeGreaterThan(100);
  expect(ejectedByStatistics).toBeGreaterThan(100);
});

test("with every detector on: never more out than allowed, never one twice, and every ejection ends in time", () => {
  const settings: OutlierDetectionOptions = {
    consecutiveFailures: 5,
    consecutiveGatewayFailures: 3,
    interval: 100,
    ejectFor: 120,
    maxEjectFor: 400,
    maxEjected: 0.3,
    successRate: { deviations: 1, minimumBackends: 2, minimumRequests: 3 },
    failureShare: { threshold: 0.9, minimumBackends: 1, minimumRequests: 5 },
    latency: { factor: 2, minimumBackends: 2, minimumRequests: 3 },
  };
  const reasons = new Set<string>();
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 150, size: "max" }), (operations) => {
      let members: readonly Host[] = everyHost;
      let now = 0;
      const detector = new OutlierDetector<Host>(settings, (host, ejection, at) => {
        expect(members).toContain(host);
        expect(at).toBe(now);
        if (ejection === undefined) return;
        expect(ejection.untilMs).toBeGreaterThan(now);
        expect(ejection.untilMs).toBeLessThanOrEqual(now + settings.maxEjectFor);
        reasons.add(ejection.reason.replaceAll(/[\d.]+/g, "#"));
      });
      detector.update(members);
      for (const step of operations) {
        if (step.do === "settle") {
          for (const kind of step.kinds) detector.settled(everyHost[step.host]!, kind, step.durationMs, now);
        } else if (step.do === "check") {
          detector.checkPassed(everyHost[step.host]!, now);
        } else if (step.do === "update") {
          members = step.hosts.map((index) => everyHost[index]!);
          detector.update(members);
        } else {
          now += step.do === "wait" ? step.ms : 50;
        }
        detector.advance(now);
        const out = everyHost.filter((host) => detector.ejection(host) !== undefined);
        expect(out.length).toBeLessThanOrEqual(
          members.length < 2 ? 0 : Math.max(1, Math.floor(members.length * settings.maxEjected)),
        );
        expect(out.every((host) => members.includes(host) && detector.ejection(host)!.untilMs > now)).toBe(true);
      }
      expectAllBack(detector, (time) => {
        now = time;
      });
    }),
    { numRuns: 100, seed: 4 },
  );
  expect([...reasons].sort()).toEqual([
    "# % of # attempts failed",
    "# % of # attempts succeeded, # % on average",
    "# failures in a row",
    "# gateway failures in a row",
    "p# of # ms, the median of all is # ms",
  ]);
});

test("a host that others cannot spare is not ejected, and is at its next failure once they can", () => {
  let spare = false;
  const log: string[] = [];
  const [a, b] = [{ name: "a" }, { name: "b" }];
  const detector = new OutlierDetector<Host>(
    defaults,
    (host, ejection) => log.push(`${host.name} ${ejection?.reason}`),
    (host) => {
      expect(host).toBe(a);
      return spare;
    },
  );
  detector.update([a, b]);
  for (let n = 0; n < 7; n++) detector.settled(a, "error", 1, 0);
  expect([log, detector.ejections]).toEqual([[], 0]);
  spare = true;
  detector.settled(a, "error", 1, 0);
  expect(log).toEqual(["a 8 failures in a row"]);
});

test("a host that starts afresh has no failures behind it, neither in a row nor in the statistics", () => {
  const failureShare = { threshold: 0.5, minimumBackends: 3, minimumRequests: 10 };
  const bench = new Bench("abc", { successRate: false, failureShare });
  for (const name of "abc") bench.traffic(name, 20, name === "a" ? 0.6 : 0);
  bench.attempts("a", "+5555");
  bench.detector.startAfresh(bench.host("a"));
  bench.attempts("a", "5555");
  bench.until(10_000);
  expect(bench.log).toEqual([]);
  bench.attempts("a", "5");
  expect(bench.log).toEqual(["a out 10000"]);
});

test("a host that is out, or nobody knows, does not start afresh: its ejection runs on", () => {
  const bench = new Bench("abc");
  bench.attempts("a", "55555");
  bench.detector.startAfresh(bench.host("a"));
  bench.detector.startAfresh(bench.host("z"));
  expect(bench.detector.ejection(bench.host("a"))?.untilMs).toBe(30_000);
});
