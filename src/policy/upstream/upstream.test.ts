import { describe, expect, test } from "vitest";
import type { Balancer } from "../balance/balancer.ts";
import { ConsistentHash } from "../balance/consistent-hash.ts";
import { RoundRobin } from "../balance/round-robin.ts";
import { sampleBackends, sampleRequest } from "../balance/samples.ts";
import { WeightedRoundRobin } from "../balance/weighted-round-robin.ts";
import type { Backend } from "../model/backend.ts";
import type { Outcome } from "../model/outcome.ts";
import { success, tell } from "./samples.ts";
import { Upstream } from "./upstream.ts";

const request = sampleRequest(0);

/** An upstream over a and b, and what was told of it since. */
function started(balancer: Balancer = new RoundRobin()) {
  const [a, b] = sampleBackends({ a: 1, b: 1 }) as [Backend, Backend];
  const upstream = new Upstream({ name: "web", balancer });
  upstream.update([a, b], 0);
  const changes: string[] = [];
  upstream.onChange((change) => {
    if (change.kind !== "condition") changes.push(tell(change));
  });
  return { upstream, a, b, changes };
}

/** A balancer that notes what it is told. */
class Recorder extends RoundRobin {
  readonly heard: string[] = [];
  override update(backends: readonly Backend[], members: readonly Backend[] = backends): void {
    this.heard.push(`${names(backends)} of ${names(members)}`);
    super.update(backends);
  }
  settled(backend: Backend, outcome: Outcome, now: number): void {
    this.heard.push(`${backend.id} ${outcome.kind} at ${now}`);
  }
}

const names = (backends: readonly Backend[]) => backends.map(({ id }) => id).join("");

describe("who may be picked", () => {
  test("backends start up, before any check", () => {
    const { upstream, a, b } = started();
    expect(upstream.available).toEqual([a, b]);
    expect(upstream.stateOf(a)).toEqual({ state: "up", reason: "new", since: 0 });
  });

  test("a backend whose checks fail gets nothing until they pass", () => {
    const { upstream, a, b, changes } = started();
    upstream.setHealth(a, false, "connection refused", 100);
    expect(upstream.available).toEqual([b]);
    expect([1, 2, 3].map(() => (upstream.pick(request, 0) as Backend).id)).toEqual(["b", "b", "b"]);
    expect(upstream.stateOf(a)).toEqual({ state: "down", reason: "connection refused", since: 100 });
    upstream.setHealth(a, true, "check passed", 200);
    expect(upstream.available).toEqual([a, b]);
    expect(upstream.stateOf(a)).toEqual({ state: "up", reason: "check passed", since: 200 });
    expect(changes).toEqual(["a up -> down: connection refused", "a down -> up: check passed"]);
  });

  test("a backend set down by hand stays down whatever the checks say", () => {
    const { upstream, a, b, changes } = started();
    upstream.setAdminState(a, "down", "set by an operator", 10);
    upstream.setHealth(a, false, "connection refused", 20);
    upstream.setHealth(a, true, "check passed", 30);
    expect(upstream.available).toEqual([b]);
    expect(upstream.stateOf(a)).toEqual({ state: "down", reason: "set by an operator", since: 10 });
    upstream.setAdminState(a, "up", "set by an operator", 40);
    expect(upstream.available).toEqual([a, b]);
    expect(changes).toEqual(["a up -> down: set by an operator", "a down -> up: set by an operator"]);
  });

  test("a backend let go by hand is up only if its checks pass", () => {
    const { upstream, a, b } = started();
    upstream.setAdminState(a, "down", "set by an operator", 10);
    upstream.setHealth(a, false, "connection refused", 20);
    upstream.setAdminState(a, "up", "set by an operator", 30);
    expect(upstream.available).toEqual([b]);
    expect(upstream.stateOf(a)).toEqual({ state: "down", reason: "connection refused", since: 10 });
  });

  test("a draining backend gets no new exchange, keeps its running ones, and is down when its checks fail", () => {
    const { upstream, a, b, changes } = started();
    expect(upstream.pick(request, 0)).toBe(a);
    upstream.setAdminState(a, "drain", "deploy", 10);
    expect(upstream.available).toEqual([b]);
    expect(a.active).toBe(1);
    upstream.settle(a, success(), 15);
    expect(a.active).toBe(0);
    upstream.setHealth(a, false, "timed out", 20);
    upstream.setHealth(a, true, "check passed", 30);
    expect(upstream.stateOf(a)).toEqual({ state: "draining", reason: "deploy", since: 30 });
    expect(changes).toEqual([
      "a up -> draining: deploy",
      "a drained",
      "a draining -> down: timed out",
      "a down -> draining: deploy",
    ]);
  });

  test("a weight of 0 takes no new traffic, and says so without being down", () => {
    const { upstream, a, b, changes } = started();
    upstream.setWeight(a, 0, 0);
    expect(upstream.available).toEqual([b]);
    expect(upstream.stateOf(a)?.state).toBe("up");
    upstream.setWeight(a, 3, 0);
    expect(upstream.available).toEqual([a, b]);
    expect(changes).toEqual(["a weighs 0, not 1", "a weighs 3, not 0"]);
  });

  test("a weight that is not a number from 0 on is refused, and changes nothing", () => {
    const { upstream, a, changes } = started();
    for (const weight of [-1, Number.NaN, Infinity]) {
      expect(() => upstream.setWeight(a, weight, 0)).toThrow(
        new RangeError(`a weight is a number from 0 on, not ${weight}`),
      );
    }
    expect(a.weight).toBe(1);
    expect(changes).toEqual([]);
  });

  test("nothing is left when all are away, and it is back when one is", () => {
    const { upstream, a, b } = started();
    for (const backend of [a, b]) upstream.setHealth(backend, false, "connection refused", 0);
    expect(upstream.pick(request, 0)).toBe("none");
    upstream.setHealth(b, true, "check passed", 0);
    expect(upstream.pick(request, 0)).toBe(b);
  });
});

describe("membership", () => {
  test("those that stay keep their state, and the others are told of", () => {
    const { upstream, a, b, changes } = started();
    const [c] = sampleBackends({ c: 1 }) as [Backend];
    upstream.setHealth(b, false, "connection refused", 10);
    upstream.setAdminState(a, "drain", "deploy", 20);
    upstream.update([c, b], 30);
    expect(upstream.backends).toEqual([c, b]);
    expect(upstream.available).toEqual([c]);
    expect(upstream.stateOf(b)).toEqual({ state: "down", reason: "connection refused", since: 10 });
    expect(upstream.stateOf(a)).toBeUndefined();
    expect(changes.slice(3)).toEqual(["a removed", "c added"]);
  });

  test("one that was removed and is added again starts anew", () => {
    const { upstream, a, b } = started();
    upstream.setAdminState(a, "down", "set by an operator", 10);
    upstream.update([b], 20);
    upstream.update([a, b], 30);
    expect(upstream.stateOf(a)).toEqual({ state: "up", reason: "new", since: 30 });
  });

  test("news of a backend that is no member any more change nothing", () => {
    const { upstream, a, b, changes } = started();
    upstream.update([b], 10);
    upstream.setHealth(a, false, "connection refused", 20);
    upstream.setAdminState(a, "down", "set by an operator", 20);
    upstream.setWeight(a, 9, 0);
    expect(upstream.available).toEqual([b]);
    expect(a.weight).toBe(1);
    expect(changes).toEqual(["a removed"]);
  });

  test("an exchange that outlives its backend's membership is still counted off", () => {
    const { upstream, a, b } = started(new WeightedRoundRobin());
    expect(upstream.pick(request, 0)).toBe(a);
    upstream.update([b], 10);
    upstream.settle(a, { kind: "failure", reason: "reset", durationMs: 5 }, 20);
    expect(a.active).toBe(0);
  });

  test("a member named twice is a member once", () => {
    const { upstream, a, b } = started();
    upstream.update([a, b, a], 10);
    expect(upstream.backends).toEqual([a, b]);
  });
});

describe("the balancer", () => {
  test("hears of changes of membership, weight and availability, with all members, and of nothing else", () => {
    const recorder = new Recorder();
    const { upstream, a, b } = started(recorder);
    upstream.setHealth(a, true, "check passed", 1);
    upstream.setAdminState(a, "up", "set by an operator", 1);
    upstream.setWeight(a, 1, 0);
    expect(recorder.heard).toEqual(["ab of ab"]);
    upstream.setHealth(a, false, "connection refused", 2);
    upstream.setHealth(a, false, "connection refused", 3);
    upstream.setAdminState(a, "down", "set by an operator", 4);
    upstream.setAdminState(a, "drain", "deploy", 5);
    upstream.setHealth(a, true, "check passed", 5);
    upstream.setAdminState(a, "down", "set by an operator", 5);
    expect(recorder.heard).toEqual(["ab of ab", "b of ab"]);
    upstream.setWeight(b, 4, 0);
    upstream.update([a, b], 6);
    expect(recorder.heard.slice(2)).toEqual(["b of ab", "b of ab"]);
  });

  test("moves only the keys of a backend that is away", () => {
    const { upstream, a } = started(new ConsistentHash());
    const owners = () => Array.from({ length: 100 }, (_, n) => upstream.pick(sampleRequest(n), 0));
    const before = owners();
    upstream.setHealth(a, false, "connection refused", 1);
    expect(owners().filter((_, n) => before[n] !== a)).toEqual(before.filter((owner) => owner !== a));
    upstream.setHealth(a, true, "check passed", 2);
    expect(owners()).toEqual(before);
  });

  test("hears each outcome after the exchange was counted off", () => {
    const recorder = new Recorder();
    const { upstream, a } = started(recorder);
    upstream.pick(request, 0);
    expect(a.active).toBe(1);
    upstream.settle(a, success(), 7);
    expect(recorder.heard.at(-1)).toBe("a success at 7");
    expect(a.active).toBe(0);
  });

  test("that throws leaves the counts right", () => {
    class Broken extends RoundRobin {
      broken = false;
      override pick() {
        if (this.broken) throw new Error("broken");
        return super.pick(request, 0);
      }
      settled() {
        throw new Error("broken");
      }
    }
    const balancer = new Broken();
    const { upstream, a } = started(balancer);
    expect(upstream.pick(request, 0)).toBe(a);
    expect(() => upstream.settle(a, success(), 0)).toThrow("broken");
    expect(a.active).toBe(0);
    balancer.broken = true;
    expect(() => upstream.pick(request, 0)).toThrow("broken");
    expect(a.active).toBe(0);
  });

  test("that throws at feedback is reported where somebody listens, and costs nobody anything", () => {
    class Deaf extends RoundRobin {
      settled() {
        throw new Error("broken feedback");
      }
    }
    const [a] = sampleBackends({ a: 1 }) as [Backend];
    const errors: unknown[] = [];
    const upstream = new Upstream({ name: "web", balancer: new Deaf(), onError: (error) => errors.push(error) });
    upstream.update([a], 0);
    upstream.pick(request, 0);
    upstream.settle(a, success(), 1);
    expect(errors).toEqual([new Error("broken feedback")]);
    expect([a.active, upstream.running]).toEqual([0, 0]);
  });

  test("that forgets what is excluded is not followed", () => {
    class Forgetful extends RoundRobin {
      override pick() {
        return super.pick(request, 0);
      }
    }
    const { upstream, a } = started(new Forgetful());
    expect(upstream.pick(request, 0, new Set([a]))).toBe("none");
    expect(a.active).toBe(0);
  });
});

test("a listener hears nothing more once it has taken its leave", () => {
  const { upstream, a } = started();
  const heard: string[] = [];
  const leave = upstream.onChange((change) => heard.push(tell(change)));
  upstream.setWeight(a, 2, 0);
  leave();
  upstream.setWeight(a, 3, 0);
  expect(heard).toEqual(["a weighs 2, not 1"]);
});

test("a listener finds the change done", () => {
  const { upstream, a, b } = started();
  let seen: readonly Backend[] = [];
  upstream.onChange(() => {
    seen = upstream.available;
  });
  upstream.setHealth(a, false, "connection refused", 1);
  expect(seen).toEqual([b]);
});
