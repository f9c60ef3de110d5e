import { expect, test } from "vitest";
import type { Backend } from "../model/backend.ts";
import { IpHash } from "./ip-hash.ts";
import { sampleBackends, sampleRequest } from "./samples.ts";

const CLIENTS = 2_000;

function owners(balancer: IpHash, exclude?: ReadonlySet<Backend>): (string | undefined)[] {
  return Array.from({ length: CLIENTS }, (_, n) => balancer.pick(sampleRequest(n), 0, exclude)?.id);
}

function share(all: readonly unknown[], id: string): number {
  return all.filter((owner) => owner === id).length / all.length;
}

test("a client keeps its backend, whatever it asks for", () => {
  const balancer = new IpHash();
  balancer.update(sampleBackends({ a: 1, b: 1, c: 1 }));
  for (let n = 0; n < 100; n++) {
    const { client } = sampleRequest(n);
    const picks = [1, 2, 3].map((other) => balancer.pick({ ...sampleRequest(other), client }, 0));
    expect(new Set(picks).size).toBe(1);
  }
});

test("a member that is away moves only its own clients, to all others by weight, and gets them back", () => {
  const members = sampleBackends({ a: 2, b: 1, c: 3 });
  const balancer = new IpHash();
  balancer.update(members);
  const before = owners(balancer);
  balancer.update(members.slice(1), members);
  const meanwhile = owners(balancer);
  const moved = meanwhile.filter((_, n) => before[n] === "a");
  expect(meanwhile.filter((owner, n) => before[n] !== "a" && owner !== before[n])).toEqual([]);
  expect(share(moved, "b")).toBeCloseTo(0.25, 1);
  expect(share(moved, "c")).toBeCloseTo(0.75, 1);
  balancer.update(members);
  expect(owners(balancer)).toEqual(before);
});

test("an exchange that moves on goes where its client would go without that backend", () => {
  const members = sampleBackends({ a: 1, b: 1, c: 1 });
  const balancer = new IpHash();
  balancer.update(members);
  const excluded = owners(balancer, new Set([members[0]!]));
  balancer.update(members.slice(1), members);
  expect(owners(balancer)).toEqual(excluded);
});

test("a client keeps its backend while only one of a hundred is there, and moves on when that was tried", () => {
  const members = sampleBackends(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`b${i}`, 1])));
  const balancer = new IpHash();
  balancer.update([members[7]!], members);
  expect(new Set(owners(balancer))).toEqual(new Set(["b7"]));
  balancer.update([members[7]!, members[8]!, members[9]!], members);
  const three = owners(balancer);
  for (const id of ["b7", "b8", "b9"]) expect(share(three, id)).toBeCloseTo(1 / 3, 1);
  const others = owners(balancer, new Set([members[8]!]));
  expect(new Set(others)).toEqual(new Set(["b7", "b9"]));
  expect(owners(balancer)).toEqual(three);
});

test("clients without an address take turns by weight", () => {
  const balancer = new IpHash();
  balancer.update(sampleBackends({ a: 4, b: 2, c: 1 }));
  const request = { ...sampleRequest(0), client: "" };
  const picks = Array.from({ length: 7 }, () => balancer.pick(request, 0)?.id);
  expect(picks.join(" ")).toBe("a b a c a b a");
});

test("a member of weight 0 has no clients", () => {
  const members = sampleBackends({ a: 0, b: 1 });
  const balancer = new IpHash();
  balancer.update(members.slice(1), members);
  expect(share(owners(balancer), "b")).toBe(1);
});
