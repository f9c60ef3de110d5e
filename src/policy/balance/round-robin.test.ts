import { expect, test } from "vitest";
import { RoundRobin } from "./round-robin.ts";
import { sampleBackends, sampleRequest } from "./samples.ts";

const request = sampleRequest(0);

function pickNames(balancer: RoundRobin, count: number): string {
  return Array.from({ length: count }, () => balancer.pick(request, 0)?.id).join(" ");
}

test("takes turns in the order of the configuration, whatever the weights", () => {
  const balancer = new RoundRobin();
  balancer.update(sampleBackends({ a: 9, b: 1, c: 2 }));
  expect(pickNames(balancer, 7)).toBe("a b c a b c a");
});

test("goes on with the one that is due when others come and go", () => {
  const [a, b, c, d] = sampleBackends({ a: 1, b: 1, c: 1, d: 1 });
  const balancer = new RoundRobin();
  balancer.update([a!, b!, c!]);
  expect(pickNames(balancer, 1)).toBe("a");
  balancer.update([d!, a!, b!, c!]);
  expect(pickNames(balancer, 1)).toBe("b");
  balancer.update([d!, a!, b!]);
  expect(pickNames(balancer, 3)).toBe("d a b");
});

test("an exchange that moves on takes the next one's turn, and the others keep theirs", () => {
  const backends = sampleBackends({ a: 1, b: 1, c: 1 });
  const balancer = new RoundRobin();
  balancer.update(backends);
  expect(balancer.pick(request, 0, new Set([backends[0]!]))?.id).toBe("b");
  expect(pickNames(balancer, 3)).toBe("c a b");
});
