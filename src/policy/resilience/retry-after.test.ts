import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { retryAfterMs } from "./retry-after.ts";

const NOW = Date.UTC(1994, 10, 6, 8, 49, 30);

test.each([
  ["0", 0],
  ["1", 1_000],
  ["120", 120_000],
  ["007", 7_000],
  ["-1", 0],
  ["-0", 0],
  ["99999999", 99_999_999_000],
])("%j is %i ms", (value, ms) => {
  expect(retryAfterMs(value, NOW)).toBe(ms);
});

describe("a date", () => {
  test.each(["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"])(
    "is understood in every form of RFC 9110: %s",
    (value) => {
      expect(retryAfterMs(value, NOW)).toBe(7_000);
    },
  );

  test.each([
    "Sun, 06 Nov 1994 08:49:30 GMT",
    "Sun, 06 Nov 1994 08:49:29 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Fri, 01 Jan 0001 00:00:00 GMT",
  ])("that has come is 0: %s", (value) => {
    expect(retryAfterMs(value, NOW)).toBe(0);
  });

  test.each([
    ["Wed, 29 Feb 2040 00:00:00 GMT", Date.UTC(2040, 1, 29)],
    ["Thu, 31 Dec 2026 23:59:60 GMT", Date.UTC(2027, 0, 1)],
    ["Thu Dec 31 23:59:59 2026", Date.UTC(2026, 11, 31, 23, 59, 59)],
  ])("may be a leap day or a leap second: %s", (value, date) => {
    expect(retryAfterMs(value, NOW)).toBe(date - NOW);
  });

  test.each([
    ["27", 2027],
    ["75", 2075],
    ["76", 2076],
  ])("with two digits for the year, %s, is at most 50 years ahead", (digits, year) => {
    const now = Date.UTC(2026, 0, 1);
    expect(retryAfterMs(`Friday, 01-May-${digits} 00:00:00 GMT`, now)).toBe(Date.UTC(year, 4, 1) - now);
  });

  test("with two digits that would be more than 50 years ahead is in the past", () => {
    expect(retryAfterMs("Friday, 01-May-77 00:00:00 GMT", Date.UTC(2026, 0, 1))).toBe(0);
  });

  test("is read as it is written by everybody today", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_000_000_000 }), (seconds) => {
        const date = new Date(NOW + seconds * 1_000).toUTCString();
        expect(retryAfterMs(date, NOW)).toBe(seconds * 1_000);
      }),
      { seed: 20 },
    );
  });
});

test.each([
  "",
  " ",
  "soon",
  "1.5",
  "1e3",
  "+1",
  "--1",
  "0x10",
  "5s",
  "1, 2",
  "Infinity",
  "NaN",
  "٣",
  "Sun, 6 Nov 1994 08:49:37 GMT",
  "Sun, 06 Nov 94 08:49:37 GMT",
  "Sun, 06 Nov 1994 08:49:37",
  "Sun, 06 Nov 1994 08:49:37 PST",
  "Sun, 06 Nov 1994 24:00:00 GMT",
  "Sun, 06 Nov 1994 08:60:00 GMT",
  "Sun, 06 Nov 1994 08:49:61 GMT",
  "Sun, 31 Feb 1994 08:49:37 GMT",
  "Sun, 00 Nov 1994 08:49:37 GMT",
  "Sun, 06 Nox 1994 08:49:37 GMT",
  "sun, 06 nov 1994 08:49:37 gmt",
  "Sun, 06-Nov-94 08:49:37 GMT",
  "1994-11-06T08:49:37Z",
  "x Sun, 06 Nov 1994 08:49:37 GMT x",
])("%j says nothing", (value) => {
  expect(retryAfterMs(value, NOW)).toBeUndefined();
});

test("whatever a backend sends, the answer is undefined or a number from 0 on", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^-?[0-9]{1,400}$/)), (value) => {
      const wait = retryAfterMs(value, NOW);
      expect(wait === undefined || wait >= 0).toBe(true);
    }),
    { seed: 20 },
  );
});
