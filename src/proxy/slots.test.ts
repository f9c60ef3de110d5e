import { expect, test } from "vitest";
import type { BackendSettings, Settings } from "../config/settings.ts";
import { assignSlots } from "./slots.ts";

const backends = (...ids: string[]) => ids.map((id) => ({ id }) as BackendSettings);
const settings = { upstreams: { web: { backends: backends("a", "b") }, api: { backends: backends("a") } } };

test("slots count on over the upstreams, in the order of the configuration", () => {
  const slots = assignSlots(settings as unknown as Settings);
  expect(slots.map(({ slot, upstream, upstreamName, id }) => [slot, upstream, upstreamName, id])).toEqual([
    [0, 0, "web", "a"],
    [1, 0, "web", "b"],
    [2, 1, "api", "a"],
  ]);
});

test("a copy in another thread has the same slots", () => {
  const here = assignSlots(settings as unknown as Settings);
  expect(assignSlots(structuredClone(settings) as unknown as Settings)).toEqual(here);
});
