import { expect, test } from "vitest";
import { settingsOf } from "../../test/support/fake-plane.ts";
import { explainFileLimit, filesNeeded } from "./file-limit.ts";

test("every client and every backend connection may need a file", () => {
  const settings = settingsOf({
    listeners: [{ listen: "127.0.0.1:0", upstream: "web", limits: { connections: 1_000 } }],
    upstreams: { web: { pool: { maxConnections: 50 }, backends: ["http://127.0.0.1:9001", "http://127.0.0.1:9002"] } },
  });
  expect(filesNeeded(settings, 2)).toBe(2 * 1_000 + 2 * 50 + 128);
});

test("a limit that is enough is not worth a word, nor is one that is not known", () => {
  expect(explainFileLimit(20_000, 10_000)).toBeUndefined();
  expect(explainFileLimit(undefined, 10_000)).toBeUndefined();
});

test("a low limit is told with the fix", () => {
  expect(explainFileLimit(1_024, 10_768)).toMatch(/at most 1024 files .* up to 10768: raise the limit \(ulimit -n/);
  expect(explainFileLimit(1_024, Number.POSITIVE_INFINITY)).toMatch(/an unlimited number/);
});
