import { expect, test } from "vitest";
import { speak } from "../../test/support/terminal.ts";

test("spillway schema prints JSON Schema, draft 2020-12, and nothing else", async () => {
  const { exitCode, out, err } = await speak(["schema"]);
  expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
  const schema = JSON.parse(out) as Record<string, unknown>;
  expect(schema).toMatchObject({
    $schema: "https://json-schema.org/draft/2020-12/schema",
    additionalProperties: false,
    required: ["listeners", "upstreams"],
    properties: {
      workers: { default: 1 },
      listeners: { items: { properties: { timeouts: { properties: { head: { default: "10s" } } } } } },
    },
  });
});
