import { expect, test } from "vitest";
import { parseTemplate, renderTemplate, type Template } from "./template.ts";

const values = { backend: "b1", client: "192.0.2.1", requestId: "r-7", route: "shop" };

function template(text: string): Template {
  const parsed = parseTemplate(text);
  if ("unknown" in parsed) throw new Error(parsed.unknown);
  return parsed;
}

test("variables are replaced by what they stand for", () => {
  expect(renderTemplate(template("{backend} for {client}, {request-id} by {route}"), values)).toBe(
    "b1 for 192.0.2.1, r-7 by shop",
  );
  expect(renderTemplate(template("{route}{route}"), values)).toBe("shopshop");
});

test("text without variables is there as it is", () => {
  expect(template("plain").constant).toBe("plain");
  expect(renderTemplate(template('{"a": 1} {} { x }'), values)).toBe('{"a": 1} {} { x }');
});

test("only a template that mentions the backend differs from attempt to attempt", () => {
  expect(template("x {backend}").perBackend).toBe(true);
  expect(template("backend {client}").perBackend).toBe(false);
});

test("a variable that does not exist is named", () => {
  expect(parseTemplate("{client} {clinet}")).toEqual({ unknown: "clinet" });
  expect(parseTemplate("{Client}")).toEqual({ unknown: "Client" });
});
