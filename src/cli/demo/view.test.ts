import { describe, expect, test } from "vitest";
import { POLICIES, type PolicyName } from "./chapter.ts";
import { Tally } from "./tally.ts";
import { clip } from "./text.ts";
import { frame, plainLine, summary, type View } from "./view.ts";

function view(): View {
  const tallies = Object.fromEntries(POLICIES.map((policy) => [policy, new Tally(3)])) as Record<PolicyName, Tally>;
  for (const [backend, ms] of [
    [0, 40],
    [0, 60],
    [1, 50],
    [2, 90],
  ] as const) {
    tallies["least-connections"].answered(backend, ms);
  }
  return {
    proxy: "http://127.0.0.1:8080",
    admin: "http://127.0.0.1:9900",
    policy: "least-connections",
    next: "B will be lost in 3 s",
    perSecond: 149.4,
    backends: [
      { running: true, state: "up", share: 57.1 },
      { running: false, state: "up", share: 0 },
      { running: false, state: "down", share: 42.9 },
    ],
    tallies,
    lost: new Tally(3),
    columns: Array.from({ length: 300 }, (_, index) => ({
      policy: "least-connections" as const,
      meanMs: index % 150,
      troubled: index % 50 === 0,
    })),
    events: Array.from({ length: 8 }, (_, index) => ({
      atMs: index * 61_000,
      text: `event ${index} ${"x".repeat(90)}`,
    })),
  };
}

const visible = (line: string) => line.replace(/\x1b\[[0-9;]*m/g, "");

describe("the frame", () => {
  test.each([
    [200, 60],
    [80, 24],
    [60, 40],
    [40, 15],
    [20, 5],
    [1, 1],
  ])("fits into %i columns and %i rows", (width, height) => {
    for (const color of [true, false]) {
      const lines = frame(view(), { width, height }, color);
      expect(lines.length).toBeLessThanOrEqual(height);
      for (const line of lines) expect(visible(line).length, line).toBeLessThanOrEqual(width);
    }
  });

  test("says the same with and without colours", () => {
    const size = { width: 100, height: 40 };
    const plain = frame(view(), size, false).join("\n");
    expect(plain).not.toContain("\x1b");
    const colored = visible(frame(view(), size, true).join("\n"));
    for (const word of ["least connections", "57.1 %", "stopped", "down", "1.20 s", "q quit"]) {
      expect(plain).toContain(word);
      expect(colored).toContain(word);
    }
  });

  test("shows the newest events when there is no room for all", () => {
    const lines = frame(view(), { width: 80, height: 24 }, false).join("\n");
    expect(lines).toContain("07:07  event 7");
    expect(lines).not.toContain("event 0");
  });
});

test.each([
  [true, "up", "up"],
  [false, "up", "stopped"],
  [false, "ejected", "ejected"],
  [true, "half-open", "half-open"],
] as const)("a server that runs: %s, in state %s, is shown as %s", (running, state, word) => {
  const shown = frame({ ...view(), backends: [{ running, state, share: 0 }] }, { width: 80, height: 40 }, false);
  expect(shown.find((line) => line.startsWith(" A "))?.split(/\s+/)[4]).toBe(word);
});

test("the summary puts shares and times beside the textbook's", () => {
  expect(summary(view(), 100, false).join("\n")).toMatchInlineSnapshot(`
    " policy                   A %   B %   C %    mean     p50     p99  failed        textbook
     round robin                                                              33/33/33  2.5 s
     weighted round robin                                                     57/29/14  1.2 s
     least connections       50.0  25.0  25.0  1.20 s  1.02 s  1.81 s       0   adapts  1.1 s
     one server lost"
  `);
});

test("a plain line has the shares of the last seconds and the policy's times", () => {
  expect(plainLine(view(), 83_000)).toBe(
    "01:23  least-connections     149/s  A 57.1 %  B 0.0 %  C 42.9 %  mean 1.20 s  p99 1.81 s",
  );
});

test("clipping counts what is seen and ends every colour", () => {
  expect(clip("\x1b[31mabcdef\x1b[0mgh", 3)).toBe("\x1b[31mabc\x1b[0m");
});
