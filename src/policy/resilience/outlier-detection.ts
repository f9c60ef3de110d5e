import { LatencyHistogram } from "./latency-histogram.ts";
import type { OutlierDetectionOptions } from "./options.ts";
import { highFailureShares, highLatencies, lowSuccessRates, type Outlier, type Tally } from "./outlier-statistics.ts";

/** A host that is taken out of picking. */
export interface Ejection {
  /** When it ends, by `advance`. */
  readonly untilMs: number;
  /** In a few words, for people. */
  readonly reason: string;
  /** For failures in a row, which a good check contradicts; not for doing worse than others on the whole. */
  readonly forRow: boolean;
}

/**
 * How an attempt ended. `success`: a response below 500; `gateway`: one of 502, 503 or 504, or no whole response at all
 * (connect, reset, malformed, truncated, timeout); `error`: any other response from 500 on.
 */
export type AttemptKind = "success" | "error" | "gateway";

interface Member<H> extends Tally {
  readonly host: H;
  requests: number;
  failures: number;
  errorsInARow: number;
  gatewayErrorsInARow: number;
  ejection: Ejection | undefined;
  /** How many times `ejectFor` the last ejection lasts; less for each interval spent healthy since. */
  multiplier: number;
  /** Whether it was out at some time of the interval. */
  wasOut: boolean;
}

/**
 * Ejects the hosts of an upstream that stand out by how their attempts end:
 *
 * 1. At each attempt: errors in a row, gateway errors in a row. A success ends both rows, an error that is not a
 *    gateway's the second.
 * 2. Every `interval`, over what was counted in it, of the hosts that are in: success rate, share of failures, latency
 *    (see `outlier-statistics.ts`). Then counting begins anew. The first interval begins with the first attempt; when
 *    one has passed without any, and no multiplier is left, the next one begins with the next attempt.
 * 3. Before each ejection: so many may be out at a time, this one included (envoyproxy/envoy#27066), as `maxEjected`
 *    allows; at least one of two or more (of two, a share of 10 % must not come to nothing: envoyproxy/envoy#34796), none
 *    of one. A row that could not eject goes on, and ejects at its next error once there is room. If members go and too
 *    many are out, `advance` takes back those that would be back first.
 * 4. The n-th ejection lasts n times `ejectFor`, up to `maxEjectFor`. Each whole interval that a host has been in, and is
 *    not ejected at the end of, takes one off its n (envoyproxy/envoy#26758).
 * 5. An ejection ends at its time, to the millisecond and not at the next interval, or with a good check. What was
 *    counted before it is forgotten and what ends during it is not counted: the host starts afresh, or late outcomes
 *    would decide when it is ejected next (envoyproxy/envoy#18950, #40697).
 *
 * Generic over the host, of which it knows nothing but its identity.
 * Sources: gRPC A50 (https://github.com/grpc/proposal/blob/master/A50-xds-outlier-detection.md) for 2 to 4, Envoy for 1.
 * `settled` is a look-up and a few additions and allocates nothing unless it ejects.
 */
export class OutlierDetector<H extends object> {
  readonly #options: OutlierDetectionOptions;
  readonly #changed: (host: H, ejection: Ejection | undefined, now: number) => void;
  readonly #maySpare: (host: H) => boolean;
  #members = new Map<H, Member<H>>();
  #ejected = 0;
  #ejections = 0;
  /** When the interval ends; Infinity before the first attempt. */
  #intervalEndsMs = Number.POSITIVE_INFINITY;
  #wakeAtMs = Number.POSITIVE_INFINITY;

  /**
   * `changed` is called when a host is ejected, and with undefined when that ends. `maySpare` is asked before: whether
   * others are there to do its work.
   */
  constructor(
    options: OutlierDetectionOptions,
    changed: (host: H, ejection: Ejection | undefined, now: number) => void,
    maySpare: (host: H) => boolean = () => true,
  ) {
    this.#options = options;
    this.#changed = changed;
    this.#maySpare = maySpare;
  }

  /**
   * The hosts to watch. Those that stay keep their counts and their ejection; those that go are forgotten, an ejection
   * of theirs ends without a call. May change `wakeAtMs`.
   */
  update(hosts: readonly H[]): void {
    const members = new Map<H, Member<H>>();
    for (const host of hosts) members.set(host, this.#members.get(host) ?? this.#newMember(host));
    this.#members = members;
    this.#ejected = 0;
    for (const member of members.values()) if (member.ejection !== undefined) this.#ejected++;
    this.#schedule();
  }

  /**
   * An attempt ended. `durationMs` is how long it took to respond; below 0 when there is nothing to learn from it. Of an
   * ejected host, and of one that is no member (any more), it is ignored. May change `wakeAtMs`.
   */
  settled(host: H, kind: AttemptKind, durationMs: number, now: number): void {
    const member = this.#members.get(host);
    if (member === undefined || member.ejection !== undefined) return;
    if (this.#intervalEndsMs === Number.POSITIVE_INFINITY) this.#beginInterval(now);
    member.requests++;
    if (durationMs >= 0) member.latencies?.add(durationMs);
    if (kind === "success") {
      member.errorsInARow = 0;
      member.gatewayErrorsInARow = 0;
      return;
    }
    member.failures++;
    member.errorsInARow++;
    if (kind === "gateway") member.gatewayErrorsInARow++;
    else member.gatewayErrorsInARow = 0;
    if (member.errorsInARow >= this.#options.consecutiveFailures) {
      this.#eject(member, `${member.errorsInARow} failures in a row`, true, now);
    } else if (member.gatewayErrorsInARow >= this.#options.consecutiveGatewayFailures) {
      this.#eject(member, `${member.gatewayErrorsInARow} gateway failures in a row`, true, now);
    }
  }

  /** When `advance` has something to do next; Infinity when nothing. Changes by any call. */
  get wakeAtMs(): number {
    return this.#wakeAtMs;
  }

  /** Ends ejections whose time has come, and looks at the statistics at the end of an interval. */
  advance(now: number): void {
    if (now < this.#wakeAtMs) return;
    for (const member of this.#members.values()) {
      if (member.ejection !== undefined && now >= member.ejection.untilMs) this.#restore(member, now);
    }
    while (this.#ejected > this.#mostEjected()) this.#restore(this.#nextBack(), now);
    if (now >= this.#intervalEndsMs) this.#endInterval(now);
    this.#schedule();
  }

  /**
   * An active check of the host passed: an ejection ends and nothing is held against the host, but for how often it was
   * ejected. Without an ejection nothing happens: checks that pass while requests fail must not hide the failures. May
   * change `wakeAtMs`.
   */
  checkPassed(host: H, now: number): void {
    const member = this.#members.get(host);
    if (member?.ejection === undefined) return;
    this.#restore(member, now);
    this.#schedule();
  }

  /** Forgets what is counted of a host that is in: somebody else has judged it. */
  startAfresh(host: H): void {
    const member = this.#members.get(host);
    if (member === undefined || member.ejection !== undefined) return;
    member.errorsInARow = 0;
    member.gatewayErrorsInARow = 0;
    clearTally(member);
  }

  /** The ejection of a host that is out; undefined for one that is in. */
  ejection(host: H): Ejection | undefined {
    return this.#members.get(host)?.ejection;
  }

  /** How many times a host was ejected so far. */
  get ejections(): number {
    return this.#ejections;
  }

  #newMember(host: H): Member<H> {
    return {
      host,
      requests: 0,
      failures: 0,
      latencies: this.#options.latency === false ? undefined : new LatencyHistogram(),
      errorsInARow: 0,
      gatewayErrorsInARow: 0,
      ejection: undefined,
      multiplier: 0,
      wasOut: false,
    };
  }

  #beginInterval(now: number): void {
    this.#intervalEndsMs = now + this.#options.interval;
    this.#schedule();
  }

  #endInterval(now: number): void {
    const members = [...this.#members.values()];
    const inside = members.filter((member) => member.ejection === undefined);
    const { successRate, failureShare, latency } = this.#options;
    if (successRate !== false) this.#ejectAll(lowSuccessRates(inside, successRate), now);
    if (failureShare !== false) this.#ejectAll(highFailureShares(inside, failureShare), now);
    if (latency !== false) this.#ejectAll(highLatencies(inside, latency), now);
    let goesOn = false;
    for (const member of members) {
      if (!member.wasOut && member.multiplier > 0) member.multiplier--;
      member.wasOut = member.ejection !== undefined;
      goesOn ||= member.requests > 0 || member.multiplier > 0;
      clearTally(member);
    }
    this.#intervalEndsMs = goesOn ? now + this.#options.interval : Number.POSITIVE_INFINITY;
  }

  #ejectAll(outliers: readonly Outlier<Member<H>>[], now: number): void {
    for (const { tally, reason } of outliers) if (tally.ejection === undefined) this.#eject(tally, reason, false, now);
  }

  #eject(member: Member<H>, reason: string, forRow: boolean, now: number): void {
    if (this.#ejected >= this.#mostEjected() || !this.#maySpare(member.host)) return;
    const { ejectFor, maxEjectFor } = this.#options;
    member.multiplier++;
    member.wasOut = true;
    const lasts = Math.min(ejectFor * member.multiplier, Math.max(ejectFor, maxEjectFor));
    member.ejection = { untilMs: now + lasts, reason, forRow };
    this.#ejected++;
    this.#ejections++;
    this.#schedule();
    this.#changed(member.host, member.ejection, now);
  }

  #restore(member: Member<H>, now: number): void {
    member.ejection = undefined;
    member.errorsInARow = 0;
    member.gatewayErrorsInARow = 0;
    clearTally(member);
    this.#ejected--;
    this.#changed(member.host, undefined, now);
  }

  #mostEjected(): number {
    const hosts = this.#members.size;
    // A share such as 0.29 of 100 comes out a rounding below 29.
    return hosts < 2 ? 0 : Math.max(1, Math.floor(this.#options.maxEjected * hosts + 1e-9));
  }

  /** The ejected member whose time comes first. There must be one. */
  #nextBack(): Member<H> {
    const out = [...this.#members.values()].filter((member) => member.ejection !== undefined);
    return out.reduce((first, member) => (member.ejection!.untilMs < first.ejection!.untilMs ? member : first));
  }

  #schedule(): void {
    let wakeAtMs = this.#intervalEndsMs;
    if (this.#ejected > this.#mostEjected()) wakeAtMs = Number.NEGATIVE_INFINITY;
    else if (this.#ejected > 0) {
      for (const { ejection } of this.#members.values()) {
        if (ejection !== undefined && ejection.untilMs < wakeAtMs) wakeAtMs = ejection.untilMs;
      }
    }
    this.#wakeAtMs = wakeAtMs;
  }
}

function clearTally<H>(member: Member<H>): void {
  member.requests = 0;
  member.failures = 0;
  member.latencies?.clear();
}
