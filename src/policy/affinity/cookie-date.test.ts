import { expect, test } from "vitest";
import { cookieDate } from "./cookie-date.ts";

const NOVEMBER = Date.UTC(1994, 10, 6, 8, 49, 37);

test.each([
  ["Sun, 06 Nov 1994 08:49:37 GMT", NOVEMBER],
  ["Sun, 06-Nov-1994 08:49:37 GMT", NOVEMBER],
  ["Sunday, 06-Nov-94 08:49:37 GMT", NOVEMBER],
  ["Sun Nov  6 08:49:37 1994", NOVEMBER],
  ["1994 november 6 8:49:37", NOVEMBER],
  ["6 NOVEMBER 1994 8:49:37 whatever", NOVEMBER],
  // Time zones are passed over.
  ["Sun, 06 Nov 1994 08:49:37 +0200", NOVEMBER],
  ["Thu, 01 Jan 1970 00:00:00 GMT", 0],
  ["Thu, 01-Jan-70 00:00:01 GMT", 1000],
  ["Wed, 31-Dec-69 23:59:59 GMT", Date.UTC(2069, 11, 31, 23, 59, 59)],
  ["Fri, 31 Dec 9999 23:59:59 GMT", Date.UTC(9999, 11, 31, 23, 59, 59)],
  ["29 Feb 2040 00:00:00", Date.UTC(2040, 1, 29)],
  ["29 Feb 2041 00:00:00", Number.NaN],
  ["1 Jan 1600 00:00:00", Number.NaN],
  ["1 Jan 2040 24:00:00", Number.NaN],
  ["1 Jan 2040 00:60:00", Number.NaN],
  ["1 Jan 2040 00:00:60", Number.NaN],
  ["0 Jan 2040 00:00:00", Number.NaN],
  ["1 Jan 2040", Number.NaN],
  ["Jan 2040 00:00:00", Number.NaN],
  ["1 2040 00:00:00", Number.NaN],
  ["1 Jan 00:00:00", Number.NaN],
  ["0", Number.NaN],
  ["-1", Number.NaN],
  ["", Number.NaN],
])("%j is read as browsers do", (text, time) => {
  expect(cookieDate(text)).toBe(time);
});
