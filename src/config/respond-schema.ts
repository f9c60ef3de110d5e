import { z } from "zod";
import type { HeaderOption } from "../policy/route/options.ts";
import { integer, text } from "./leaf.ts";
import * as check from "./text-checks.ts";
import type { Wrong } from "./values.ts";

/** A block of names, each with a value; what is wrong with a name is told beside what is wrong with the values. */
export function named<V extends z.ZodType>(value: V, checkName: (name: string) => string | Wrong) {
  return z.record(text(checkName), value);
}

function responseBody(value: string): string | Wrong {
  if (value.length <= 65_536) return value;
  return { code: "CONFIG_TEXT", wrong: "the body is longer than 65536 characters", fix: "Let a backend answer" };
}

/** An answer that needs no backend. */
export function respond(usualStatus: number) {
  return z.strictObject({
    status: integer({ min: 200, max: 599 }).prefault(usualStatus).describe("Status of the answer."),
    body: text(responseBody).prefault("").describe("Body of the answer, sent as UTF-8."),
    headers: named(text(check.headerValue), check.changeableHeader)
      .transform((record): HeaderOption[] => Object.entries(record).map(([name, value]) => ({ name, value })))
      .prefault({})
      .describe("Fields of the answer. Without a content-type, a body is text/plain."),
  });
}
