import { expect, test } from "vitest";
import { cookieValue } from "./cookie.ts";

test.each([
  ["session=1", "1"],
  ["a=b; session=1", "1"],
  ["a=b;session=1; c=d", "1"],
  ["a=b; session=1 ; c=d", "1"],
  ["\tsession=1\t", "1"],
  ["session=", ""],
  ["session=; a=b", ""],
  ['session="quoted"', '"quoted"'],
  ["session=a%3Db", "a%3Db"],
  ["session=a=b", "a=b"],
  ["session=first; session=second", "first"],
  ["xsession=0; session=1", "1"],
  ["sessionx=0; session=1", "1"],
  ["a=session=0; session=1", "1"],
  ["; ;;session=1", "1"],
  ["session; session=1", "1"],
])("%j holds the session %j", (field, value) => {
  expect(cookieValue(field, "session")).toBe(value);
});

test.each(["", ";", "session", "Session=1", "a=session", "session =1", "   "])("%j holds no session", (field) => {
  expect(cookieValue(field, "session")).toBeUndefined();
});
