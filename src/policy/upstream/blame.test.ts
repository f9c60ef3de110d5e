import { expect, test } from "vitest";
import { blamesBackend, type Lateness } from "./blame.ts";

const waiting: Lateness = { ranMs: 10_000, silentMs: undefined, clientWaitedFor: false, ownLimit: true };

test.each<[boolean, string, Partial<Lateness>]>([
  [true, "it has not begun to answer", {}],
  [true, "it has not begun to answer within a short time of the route's own", { ranMs: 50 }],
  [true, "it has not begun to answer in a second that a client gave", { ranMs: 1_000, ownLimit: false }],
  [false, "a client gave less than a second", { ranMs: 999, ownLimit: false }],
  [false, "no attempt was running", { ranMs: undefined }],
  [false, "the client was waited for", { clientWaitedFor: true }],
  [false, "it was still sending", { silentMs: 999 }],
  [true, "it had stopped to send a second ago", { silentMs: 1_000 }],
  [false, "it was still sending, in a short time", { ranMs: 300, silentMs: 149 }],
  [true, "it had been silent for half of a short time", { ranMs: 300, silentMs: 150 }],
])("a backend is to blame: %s, when %s", (blamed, _when, facts) => {
  expect(blamesBackend({ ...waiting, ...facts })).toBe(blamed);
});
