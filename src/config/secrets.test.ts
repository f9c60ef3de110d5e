import { expect, test } from "vitest";
import { checkConfig } from "./parse.ts";
import { hidePassword, hideSecrets } from "./secrets.ts";

test("no secret is left in what is shown, and all else is", () => {
  const loaded = checkConfig(
    {
      listeners: [{ listen: ":8080", upstream: "web" }],
      upstreams: {
        web: { backends: ["http://a"], affinity: { cookie: "a", key: "a secret of 24 characters" } },
        api: { backends: ["http://a"], affinity: { header: "a", store: "redis://user:a%20secret@host" } },
        open: { backends: ["http://a"], affinity: "client-ip" },
        none: { backends: ["http://a"] },
      },
    },
    { file: "config", environment: {} },
  );
  if (!loaded.ok) throw new Error("refused");
  const shown = hideSecrets(loaded.settings);
  expect(JSON.stringify(loaded.settings).match(/secret/g)).toHaveLength(2);
  expect(JSON.stringify(shown)).not.toContain("secret");
  expect(shown).toMatchObject({
    listeners: loaded.settings.listeners,
    upstreams: {
      web: { affinity: { by: { kind: "cookie" }, key: "***", store: false } },
      api: { affinity: { key: undefined, store: { url: "redis://user:***@host", prefix: "spillway:", timeout: 50 } } },
      open: loaded.settings.upstreams.open,
      none: loaded.settings.upstreams.none,
    },
  });
});

test.each([
  ["redis://host", "redis://host"],
  ["redis://user@host:1/2", "redis://user@host:1/2"],
  ["redis://:p@host:1", "redis://:***@host:1"],
  ["rediss://user:a@b:c@[::1]/2", "rediss://user:***@[::1]/2"],
])("of %s is shown %s", (url, shown) => {
  expect(hidePassword(url)).toBe(shown);
});
