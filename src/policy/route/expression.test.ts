import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileExpression, Expression, LONGEST_EXPRESSION } from "./expression.ts";

function compiled(source: string): Expression {
  const result = compileExpression(source);
  if (!(result instanceof Expression)) throw new Error(`${source}: ${result.mistake}`);
  return result;
}

/** Expressions over few characters, so that texts often match. */
const source = fc.letrec<{ either: string; sequence: string; term: string; atom: string }>((tie) => ({
  either: fc.array(tie("sequence"), { minLength: 1, maxLength: 2 }).map((options) => options.join("|")),
  sequence: fc.array(tie("term"), { maxLength: 3 }).map((terms) => terms.join("")),
  term: fc.oneof(
    {
      weight: 6,
      arbitrary: fc
        .tuple(tie("atom"), fc.constantFrom("", "", "*", "+", "?", "*?", "{2}", "{1,}", "{0,2}"))
        .map((parts) => parts.join("")),
    },
    { weight: 1, arbitrary: fc.constantFrom("^", "$") },
  ),
  atom: fc.oneof(
    { maxDepth: 2 },
    fc.constantFrom("a", "b", "/", ".", "\\d", "\\W", "[ab]", "[^a]", "[a-c1]", "\\.", "[\\d/]", "[a-]"),
    tie("either").map((inner) => `(${inner})`),
    tie("either").map((inner) => `(?:${inner})`),
  ),
})).either;

test("what matches is what JavaScript's own engine matches", () => {
  const short = source.filter((expression) => expression.length < 60);
  const text = fc.string({ unit: fc.constantFrom("a", "b", "c", "1", "/", ".", "-", "\u00e9"), maxLength: 8 });
  fc.assert(
    fc.property(short, fc.array(text, { minLength: 1, maxLength: 8 }), (expression, texts) => {
      const theirs = new RegExp(expression);
      const ours = compiled(expression);
      for (const each of texts)
        expect([expression, each, ours.test(each)]).toEqual([expression, each, theirs.test(each)]);
    }),
    { numRuns: 1500, seed: 1 },
  );
});

test("expressions that make a backtracking engine hang take one look at each character", () => {
  const text = `${"a".repeat(8000)}!`;
  for (const hostile of ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "^.*a.*a.*a.*a.*b$", "^(.*)*x", "(a*)*b"]) {
    expect([hostile, compiled(hostile).test(text)]).toEqual([hostile, false]);
  }
});

test("sets of states beyond what is remembered are found anew, with the same answers", () => {
  // Whether the 12th character from the end is an a takes 2^12 sets.
  const expression = compiled("a[ab]{11}$");
  const random = fc.sample(fc.string({ unit: fc.constantFrom("a", "b"), minLength: 500, maxLength: 500 }), {
    numRuns: 20,
    seed: 1,
  });
  for (const text of random) expect(expression.test(text)).toBe(text.at(-12) === "a");
});

test("only the part before the end is looked at", () => {
  expect(compiled("^/u/[0-9]+$").test("/u/12?x=1", 5)).toBe(true);
  expect(compiled("x").test("/u/12?x=1", 5)).toBe(false);
  expect(compiled("^$").test("abc", 0)).toBe(true);
});

test("groups may have names, and characters classes", () => {
  expect(compiled("^/(?<version>v\\d+)/[\\w-]+$").test("/v12/a-b_c")).toBe(true);
  expect(compiled("^\\S+$").test("/a b")).toBe(false);
  expect(compiled("^[^\\s\\d]+$").test("/ab")).toBe(true);
});

describe("what cannot be matched in linear time, or means nothing, is refused with a reason", () => {
  test.each([
    ["(?=a)", "look-around"],
    ["a(?!b)", "look-around"],
    ["(?<=a)b", "look-around"],
    ["(?<!a)b", "look-around"],
    ["(a)\\1", "back-references"],
    ["(?<x>a)\\k<x>", "back-references"],
    ["\\bword", "\\b is not known"],
    ["\\q", "\\q is not known"],
    ["(?i)a", "(? is not followed"],
    ["(a", "never closed"],
    ["a)", "never opened"],
    ["[a", "never closed"],
    ["[a-", "never closed"],
    ["[]", "matches nothing"],
    ["[z-a]", "ends before it begins"],
    ["[\\d-z]", "begins or ends with a class"],
    ["*a", "nothing for * to repeat"],
    ["a**", "repetition is repeated"],
    ["^*", "cannot be repeated"],
    ["a{2,1}", "ends before it begins"],
    ["a{x}", "begins no repetition"],
    ["a{5000}", "more than 1000 times"],
    ["a}", "has no meaning"],
    ["]", "has no meaning"],
    ["a\\", "backslash ends"],
    ["((a{100}){100}){100}", "too large"],
    ["\u00e9", "no path is sent with"],
    ["(".repeat(60), "nested more than"],
    ["a".repeat(LONGEST_EXPRESSION + 1), "longer than"],
  ])("%.40s", (expression, reason) => {
    const result = compileExpression(expression);
    expect("mistake" in result && result.mistake).toContain(reason);
    expect("mistake" in result && result.fix.length).toBeGreaterThan(0);
  });
});

test("no text at all makes the compiler throw or hang", () => {
  const hostile = fc.string({ unit: fc.constantFrom(..."ab(){}[]^$*+?|\\.-,0159:<=!dDwWk"), maxLength: 40 });
  fc.assert(
    fc.property(fc.oneof(hostile, fc.string()), (text) => {
      const result = compileExpression(text);
      if ("mistake" in result) expect(result.mistake).not.toBe("");
      else {
        expect(() => new RegExp(text)).not.toThrow();
        result.test("/ab/a0159");
      }
    }),
    { numRuns: 5000, seed: 1 },
  );
});
