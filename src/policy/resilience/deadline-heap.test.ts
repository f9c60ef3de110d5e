import fc from "fast-check";
import { expect, test } from "vitest";
import { DeadlineHeap } from "./deadline-heap.ts";
import { Place, WaitingLine } from "./waiting-line.ts";

function place(dueMs: number): Place {
  return new Place(
    { priority: "normal", deadlineMs: Number.POSITIVE_INFINITY, place: undefined },
    new WaitingLine(1),
    0,
    dueMs,
  );
}

test("the soonest is on top, whoever was added or removed before", () => {
  const step = fc.oneof(
    fc.record({ add: fc.integer({ min: 0, max: 20 }) }),
    fc.record({ remove: fc.nat() }),
    fc.constant("remove the soonest" as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const heap = new DeadlineHeap();
      const all: Place[] = [];
      for (const step of steps) {
        if (step === "remove the soonest") {
          const soonest = heap.soonest;
          if (soonest === undefined) continue;
          heap.remove(soonest);
          all.splice(all.indexOf(soonest), 1);
        } else if ("add" in step) {
          const added = place(step.add);
          heap.add(added);
          all.push(added);
        } else if (all.length > 0) {
          const [removed] = all.splice(step.remove % all.length, 1);
          heap.remove(removed!);
        }
        const soonest = Math.min(...all.map((one) => one.dueMs));
        expect(heap.soonest?.dueMs ?? Number.POSITIVE_INFINITY).toBe(soonest);
        if (heap.soonest !== undefined) expect(all).toContain(heap.soonest);
      }
    }),
  );
});

test("who was removed may be removed again, and nobody else goes", () => {
  const heap = new DeadlineHeap();
  const [first, second] = [place(1), place(2)];
  heap.add(first);
  heap.add(second);
  heap.remove(first);
  heap.remove(first);
  expect(heap.soonest).toBe(second);
});
