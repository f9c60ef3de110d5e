import { expect, test } from "vitest";
import { settingsSchema } from "../config/schema.ts";
import type { SettingsInput } from "../config/settings.ts";
import { affinityRows, assignSlots } from "./slots.ts";

type UpstreamInput = SettingsInput["upstreams"][string];

const settingsOf = (upstreams: SettingsInput["upstreams"]) =>
  settingsSchema.parse({ listeners: [{ listen: "127.0.0.1:0", upstream: "web" }], upstreams });

const backends = ["http://127.0.0.1:9001"];

test("slots are numbered through all upstreams, and carry where a backend stands", () => {
  const location = { latitude: 37.5, longitude: 127, region: "seoul" };
  const settings = settingsOf({
    web: { backends: [{ url: "http://127.0.0.1:9001", location }, "http://127.0.0.1:9002"] },
    api: { backends: [{ url: "http://127.0.0.1:9003", location: { region: "tokyo" } }] },
  });
  expect(assignSlots(settings)).toMatchObject([
    {
      slot: 0,
      upstream: 0,
      id: "127.0.0.1:9001",
      region: "seoul",
      position: { latitude: 37.5, longitude: 127 },
    },
    { slot: 1, upstream: 0, id: "127.0.0.1:9002", region: "", position: undefined },
    { slot: 2, upstream: 1, id: "127.0.0.1:9003", region: "tokyo", position: undefined },
  ]);
});

test.each<[string, UpstreamInput["affinity"], object]>([
  [
    "a cookie of ours, which nobody has to remember",
    "cookie:spill",
    { by: "cookie:spill", store: "none", maxSessions: undefined, ttlMs: 3_600_000, strict: false },
  ],
  [
    "an id of the application's",
    { learned: { cookie: "SID" }, ttl: "10m", strict: true },
    { by: "learned cookie:SID", store: "memory", maxSessions: 100_000, ttlMs: 600_000, strict: true },
  ],
  [
    "a field, shared by Redis, whose address and password are left out",
    { header: "X-Session", maxSessions: 10, store: "redis://:secret@127.0.0.1:6379" },
    { by: "header:x-session", store: "redis", maxSessions: 10, ttlMs: 3_600_000, strict: false },
  ],
])("the row of sessions told by %s", (_what, affinity, row) => {
  expect(affinityRows(settingsOf({ api: { backends }, web: { backends, affinity } }))).toEqual([undefined, row]);
});
