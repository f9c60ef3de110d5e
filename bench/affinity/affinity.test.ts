import { describe, expect, test } from "vitest";

// The bench is plain JavaScript that runs without a build; its types are in comments.
const { rowsOf, together, verdict } = await import(new URL("./figures.mjs", import.meta.url).href);
const { choose, fieldsOf, groupsOf } = await import(new URL("./groups.mjs", import.meta.url).href);

const round = (cpuUs: number) => ({ cpuUs, userUs: 1, waited: 0, perSecond: 1000, p50Us: 1, p99Us: 1 });
const taken = (...cpu: (number | undefined)[]) => ({
  rounds: cpu.map((us) => (us === undefined ? undefined : round(us))),
  requests: 10,
  errors: 0,
  reasons: {},
});

describe("the figures of a group", () => {
  const variants = [
    { id: "off", label: "off", extras: {} },
    { id: "on", label: "on", extras: {}, most: 1.05 },
  ];

  test("are ratios to the first within the same round, however fast the machine was in it", () => {
    const [off, on] = rowsOf(variants, [taken(10, 20, 40), taken(11, 21, 41)]);
    expect(off.toOff).toEqual({ median: 1, min: 1, max: 1 });
    expect(on.toOff).toEqual({ median: 1.05, min: 1.025, max: 1.1 });
    expect(on.cpuUs).toEqual({ median: 21, min: 11, max: 41 });
  });

  test("leave out the rounds in which one of the two was not answered", () => {
    const [, on] = rowsOf(variants, [taken(10, undefined, 10), taken(undefined, 50, 12)]);
    expect(on.toOff).toEqual({ median: 1.2, min: 1.2, max: 1.2 });
  });

  test("keep rounds of the same number side by side over several starts, and add up what failed", () => {
    const failed = { ...taken(5), errors: 2, reasons: { "status 503": 2 } };
    const off = together([taken(10, 20), taken(40)]);
    const on = together([taken(20, 40), { ...taken(80), ...failed, rounds: [round(80)] }]);
    expect(rowsOf(variants, [off, on])[1]).toMatchObject({
      toOff: { median: 2, min: 2, max: 2 },
      requests: 20,
      errors: 2,
      reasons: { "status 503": 2 },
    });
  });

  test("say whether what was promised holds, where something was", () => {
    const [off, within] = rowsOf(variants, [taken(100), taken(105)]);
    const [, more] = rowsOf(variants, [taken(100), taken(106)]);
    expect(verdict(off)).toBeUndefined();
    expect(verdict(within)).toBe("on: 5.0 %, within 5 %");
    expect(verdict(more)).toBe("on: 6.0 %, MORE than 5 %");
    expect(verdict({ ...within, toOff: undefined })).toBeUndefined();
  });
});

describe("the groups", () => {
  const groups = groupsOf({ geoip: "/places.mmdb", redis: "redis://127.0.0.1:1" });
  const ids = (of: { variants: { id: string }[] }[]) => of.map(({ variants }) => variants.map(({ id }) => id));

  test("a variant that is asked for brings what it is compared with, and nothing else", () => {
    const { chosen, unknown } = choose(groups, ["cookie", "nearest-geoip"]);
    expect(ids(chosen)).toEqual([
      ["off", "nearest-geoip"],
      ["cookie-off", "cookie"],
    ]);
    expect(unknown).toEqual([]);
    expect(choose(groups, undefined).chosen).toBe(groups);
  });

  test("a name that nothing has is told", () => {
    expect(choose(groups, ["cookie", "cake"]).unknown).toEqual(["cake"]);
    expect(choose(groupsOf({ geoip: "", redis: undefined }), ["redis"]).unknown).toEqual(["redis"]);
  });

  test("a browser's cookies are one field; a request without any gets one", () => {
    const browser = "Accept: */*\r\nCookie: a=1; b=2\r\nUser-Agent: x\r\n";
    expect(fieldsOf(browser, { cookie: "SID=7" })).toBe("Accept: */*\r\nCookie: a=1; b=2; SID=7\r\nUser-Agent: x\r\n");
    expect(fieldsOf("", { cookie: "SID=7" })).toBe("Cookie: SID=7\r\n");
    expect(fieldsOf(browser, { lines: "X-Session: 7\r\n" })).toBe(`${browser}X-Session: 7\r\n`);
    expect(fieldsOf("", {})).toBe("");
  });
});
