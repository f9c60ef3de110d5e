import { expect, test } from "vitest";
import { POLICIES } from "./chapter.ts";
import { Schedule } from "./schedule.ts";

test("every policy has its ten seconds, then a server is lost, and it begins again with another", () => {
  const schedule = new Schedule({ policies: POLICIES, backends: 3, outage: true });
  const phases = Array.from({ length: 9 }, (_, step) => schedule.at(step * 10_000 + 1).phase);
  expect(phases.map(({ policy, lost }) => (lost === undefined ? policy : `lost ${lost}`))).toEqual([
    "round-robin",
    "weighted-round-robin",
    "least-connections",
    "lost 1",
    "round-robin",
    "weighted-round-robin",
    "least-connections",
    "lost 2",
    "round-robin",
  ]);
});

test("a short run has all of it, only shorter", () => {
  const schedule = new Schedule({ policies: POLICIES, backends: 3, outage: true, totalMs: 6000 });
  expect([0, 1500, 3000, 4500].map((ms) => schedule.at(ms).phase.lost)).toEqual([undefined, undefined, undefined, 1]);
  expect(schedule.at(5999).number).toBe(3);
});

test("one policy without an outage goes on for ever", () => {
  const schedule = new Schedule({ policies: ["least-connections"], backends: 3, outage: false });
  expect(schedule.at(1_000_000).phase).toEqual({ policy: "least-connections", lengthMs: 10_000 });
});

test("skipping goes to the start of the next phase", () => {
  const schedule = new Schedule({ policies: POLICIES, backends: 3, outage: true });
  schedule.skip(4_000);
  expect(schedule.at(4_000)).toMatchObject({ number: 1, elapsedMs: 0, phase: { policy: "weighted-round-robin" } });
  expect(schedule.at(14_000)).toMatchObject({ number: 2, elapsedMs: 0 });
});
