import { describe, expect, test } from "vitest";
import { LeastConnections } from "../policy/balance/least-connections.ts";
import { Backend } from "../policy/model/backend.ts";
import { LocalCounts } from "../policy/model/local-counts.ts";
import { SeededRandom } from "../policy/model/random.ts";
import { Upstream } from "../policy/upstream/upstream.ts";
import { VirtualClock } from "../time/virtual-clock.ts";
import { type MovableTunnel, Rebalancer } from "./rebalancer.ts";

interface BackendOfTest {
  readonly weight?: number;
  readonly tier?: number;
  readonly tunnels?: number;
}

/** A rebalancer at ten a second over backends named a, b, c and so on. */
function stage(backends: readonly BackendOfTest[]) {
  const clock = new VirtualClock();
  const counts = new LocalCounts();
  const random = new SeededRandom(1);
  const makeBalancer = () => new LeastConnections();
  const upstream = new Upstream({ name: "web", balancer: makeBalancer(), makeBalancer, random });
  const make = (slot: number, { weight = 1, tier = 0 }: BackendOfTest) =>
    new Backend({ id: "abcdef"[slot]!, address: `10.0.0.${slot}:80`, weight, tier, slot }, counts);
  const members = backends.map((backend, slot) => make(slot, backend));
  upstream.update(members, 0);
  let counted = 0;
  const rebalancer = new Rebalancer({
    upstream,
    options: { rate: 10, jitter: 0 },
    services: { clock, random },
    closed: () => counted++,
  });
  const gone: string[] = [];
  /** A tunnel of the backend in `slot`, that has been idle since it is named. */
  const open = (slot: number, name: string, { lastActiveMs = 0, mayClose = true } = {}) => {
    const held = rebalancer.tunnelsAt(slot)!;
    const tunnel: MovableTunnel & { mayClose: boolean } = {
      who: name,
      lastActiveMs,
      mayClose,
      closeGently() {
        if (!tunnel.mayClose) return false;
        gone.push(name);
        return held.delete(tunnel);
      },
    };
    held.add(tunnel);
    return tunnel;
  };
  backends.forEach(({ tunnels = 0 }, slot) => {
    for (let i = 0; i < tunnels; i++) open(slot, members[slot]!.id);
  });
  const health = (slot: number, up: boolean) => upstream.setHealth(members[slot]!, up, "checked", clock.now());
  const add = (backend: BackendOfTest) => upstream.update([...members, make(members.length, backend)], clock.now());
  const goneOf = (name: string) => gone.filter((each) => each === name).length;
  return { clock, upstream, members, rebalancer, gone, goneOf, open, health, add, counted: () => counted };
}

test("a backend that comes back: the others give up what they have too many, at the rate, and it is counted", () => {
  const { clock, health, gone, counted } = stage([{ tunnels: 20 }, {}]);
  health(1, false);
  clock.advance(1_000);
  expect(gone).toEqual([]);
  health(1, true);
  clock.advance(450);
  expect(gone).toHaveLength(5);
  clock.advance(60_000);
  expect(gone).toHaveLength(9);
  expect(counted()).toBe(9);
  expect(clock.armed).toBe(0);
});

test("a backend that is added is a growth, one that is lost or removed is none", () => {
  const { clock, upstream, members, gone, add, health } = stage([{ tunnels: 20 }, { tunnels: 2 }, {}]);
  health(2, false);
  upstream.update(members.slice(0, 2), clock.now());
  upstream.setAdminState(members[1]!, "drain", "by hand", clock.now());
  upstream.setWeight(members[0]!, 5, clock.now());
  expect(clock.armed).toBe(0);
  upstream.setWeight(members[0]!, 1, clock.now());
  add({});
  clock.advance(60_000);
  // 20 for `a`, `c` and the new one: the two of `b`, which drains, are no part of it.
  expect(gone).toEqual(Array(13).fill("a"));
});

test("the longest idle goes first, and those that may not are passed over", () => {
  const { clock, open, gone, add } = stage([{}]);
  open(0, "third", { lastActiveMs: 30 });
  open(0, "busy", { lastActiveMs: 5, mayClose: false });
  open(0, "second", { lastActiveMs: 20 });
  open(0, "first", { lastActiveMs: 10 });
  for (let i = 0; i < 4; i++) open(0, "young", { lastActiveMs: 40 });
  add({});
  clock.advance(60_000);
  expect(gone).toEqual(["first", "second", "third"]);
});

test("one that becomes busy after it was found idle is left alone", () => {
  const { clock, open, gone, add } = stage([{}]);
  const tunnels = ["1", "2", "3", "4", "5", "6", "7", "8"].map((name, i) => open(0, name, { lastActiveMs: i }));
  add({});
  clock.advance(0);
  tunnels[1]!.mayClose = false;
  clock.advance(60_000);
  expect(gone).toEqual(["1", "3", "4"]);
});

test("one that becomes idle while it is waited for goes then", () => {
  const { clock, open, gone, add } = stage([{}]);
  const tunnels = Array.from({ length: 8 }, (_, i) => open(0, String(i), { mayClose: false }));
  add({});
  clock.advance(2_500);
  tunnels[7]!.mayClose = true;
  clock.advance(500);
  expect(gone).toEqual(["7"]);
});

describe("whose tunnels are too many", () => {
  test("draining, empty and lost backends keep theirs", () => {
    const { clock, upstream, members, health, gone, add } = stage([
      { tunnels: 20 },
      { tunnels: 20, weight: 0 },
      { tunnels: 20 },
      { tunnels: 2 },
    ]);
    upstream.setAdminState(members[0]!, "drain", "by hand", 0);
    health(2, false);
    add({});
    clock.advance(60_000);
    expect(gone).toEqual([]);
  });

  test("backups give theirs up when all are back that they stood in for", () => {
    const { clock, health, gone } = stage([{}, {}, { tier: 1, tunnels: 12 }]);
    health(0, false);
    health(1, false);
    health(0, true);
    clock.advance(60_000);
    expect(gone).toEqual([]);
    health(1, true);
    clock.advance(60_000);
    expect(gone).toEqual(Array(11).fill("c"));
  });
});

test("when it is closed, nothing more is", () => {
  const { clock, health, rebalancer, gone } = stage([{ tunnels: 20 }, {}]);
  health(1, false);
  health(1, true);
  clock.advance(0);
  expect(gone).toHaveLength(1);
  rebalancer.close();
  expect(clock.armed).toBe(0);
  health(1, false);
  health(1, true);
  expect(clock.armed).toBe(0);
});

test("a backend of another upstream has no tunnels here", () => {
  expect(stage([{}]).rebalancer.tunnelsAt(7)).toBeUndefined();
});
