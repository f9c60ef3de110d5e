import { expect, test } from "vitest";
import { sampleRequest } from "../balance/samples.ts";
import type { PickRequest } from "../model/request.ts";
import type { PriorityOptions } from "./options.ts";
import { priorityOf } from "./priority.ts";

const options: PriorityOptions = { header: "x-priority", default: "low" };
const saying = (value: string | undefined): PickRequest => ({
  ...sampleRequest(0),
  header: (name) => (name === "x-priority" ? value : undefined),
});

test.each(["high", "normal", "low"] as const)("a request whose field says %s is that", (word) => {
  expect(priorityOf(options, saying(word))).toBe(word);
});

test.each([undefined, "", "HIGH", " high", "high, low", "urgent", "0"])("a field with %j says nothing", (value) => {
  expect(priorityOf(options, saying(value))).toBe("low");
});

test("where no field is named, none is believed", () => {
  expect(priorityOf({ header: undefined, default: "normal" }, saying("high"))).toBe("normal");
});
