import { describe, expect, test } from "vitest";

// The bench is plain JavaScript that runs without a build; its types are in comments.
const { buckets, failover, figures, shareBack, verdicts } = await import(
  new URL("./figures.mjs", import.meta.url).href
);
const { at, clock, marks, segments } = await import(new URL("./story.mjs", import.meta.url).href);
const { drawSvg } = await import(new URL("./picture.mjs", import.meta.url).href);
const { drawTerminal } = await import(new URL("./terminal.mjs", import.meta.url).href);
const { servers } = await import(new URL("./servers.mjs", import.meta.url).href);

const [served, shed, failed] = [1, 2, 3];

/** Answers from rows of: when, GET or POST, what became of it, after how long. */
function answers(rows: readonly (readonly [number, "GET" | "POST", number, number])[]) {
  return {
    atMs: rows.map(([at]) => at),
    post: rows.map(([, method]) => (method === "POST" ? 1 : 0)),
    outcome: rows.map(([, , outcome]) => outcome),
    latencyMs: rows.map(([, , , latency]) => latency),
    why: rows.map(([, , outcome]) => outcome - 1),
    reasons: ["200", "503 queue-full", "502"],
    lagMs: rows.map(() => 0),
    connections: 1,
    cores: 0,
  };
}

/** What was seen every 100 ms, `rate` requests to each server in between; server b also gets `extra(at)` attempts. */
function sights(endMs: number, attemptsOnB: (at: number) => number, receivedByB = attemptsOnB) {
  const list = [];
  let [others, attempts, received] = [0, 0, 0];
  for (let at = 0; at <= endMs; at += 100) {
    list.push({
      at,
      received: [others, received, others, others],
      inside: [0, 0, 0, 0],
      alive: [true, receivedByB(at) > 0 || at === 0, true, true],
      states: ["up", attemptsOnB(at) > 0 ? "up" : "down", "up", "up"],
      attempts: [others, attempts, others, others],
    });
    others += 30;
    attempts += attemptsOnB(at);
    received += receivedByB(at);
  }
  return list;
}

describe("the story", () => {
  test("has a minute and a half of normal traffic first, and ends after the eleventh minute", () => {
    expect(at(-1.5, 6000)).toBe(0);
    const total = segments(6000).reduce((sum: number, { ms }: { ms: number }) => sum + ms, 0);
    expect(total).toBe(75_000);
    expect(total).toBe(at(11, 6000));
  });

  test("marks come in the order of time", () => {
    expect(marks(1000).map(({ text }: { text: string }) => text)).toEqual([
      "10x",
      "50x",
      "100x",
      "server lost",
      "it returns",
      "normal",
    ]);
  });

  test("a minute is written as a clock shows it", () => {
    expect([-1.5, 0, 4.25, 10].map(clock)).toEqual(["-1:30", "0:00", "4:15", "10:00"]);
  });
});

describe("figures", () => {
  test("what became of a request counts when it became so, what was offered when it was to be sent", () => {
    const [first, second] = buckets(
      answers([
        [900, "GET", served, 300],
        [950, "GET", shed, 10],
      ]),
      1000,
      2000,
    );
    expect(first).toMatchObject({ offered: 2, served: 0, shed: 1, failed: 0, p99: undefined, shedP99: 10 });
    expect(second).toMatchObject({ offered: 0, served: 1, p50: 300 });
  });

  test("a failover ends with the last attempts that came more than one at a time", () => {
    const seen = sights(4000, (at) => (at < 1000 ? 30 : at < 1300 ? 5 : at % 1000 === 500 ? 1 : 0));
    expect(failover({ sights: seen, killedMs: 1000, restartedMs: 3900 })).toEqual({
      failoverMs: 300,
      attemptsLater: 2,
    });
  });

  test("a server has its share again when it gets nine tenths of it over a second", () => {
    const seen = sights(6000, (at) => (at < 3000 ? 0 : at < 4000 ? 10 : 28));
    expect(shareBack({ sights: seen, backMs: 2500 })).toBe(2400); // nine tenths of that second at 28 a turn
    expect(shareBack({ sights: sights(6000, () => 20), backMs: 2500 })).toBeUndefined();
  });

  const minuteMs = 1000;
  const [killedMs, restartedMs, backMs] = [at(5, minuteMs), at(8, minuteMs), at(8, minuteMs) + 50];
  const day = (rows: Parameters<typeof answers>[0]) => ({
    id: "spillway",
    label: "Spillway <1>",
    version: "0",
    minuteMs,
    answers: answers(rows),
    sights: sights(at(11, minuteMs), (time) => (time < killedMs || time > backMs ? 30 : 0)),
    killedMs,
    restartedMs,
    backMs,
    proxyCores: { busy: 0.1, waited: 0 },
  });

  test("failures are told apart by method and by whether the server was lost already", () => {
    const f = figures(
      day([
        [100, "GET", served, 20],
        [killedMs - 500, "GET", failed, 100],
        [killedMs - 10, "GET", failed, 60],
        [killedMs + 10, "POST", failed, 5],
        [killedMs + 400, "GET", failed, 100],
        [killedMs + 450, "GET", shed, 1],
      ]),
    );
    expect(f).toMatchObject({ failedBefore: 1, getsFailed: 2, postsFailed: 1, lastFailureMs: 500 });
    expect(f.reasons).toEqual({ "GET 502": 3, "POST 502": 1, "GET 503 queue-full": 1 });
  });

  test("a day on which a GET failed misses what it has to show, with the figure", () => {
    const [first] = verdicts(figures(day([[killedMs + 400, "GET", failed, 100]])), minuteMs);
    expect(first).toMatchObject({ passed: false, figure: "1" });
  });

  describe("pictures", () => {
    const rows = Array.from({ length: 1250 }, (_, i): Parameters<typeof answers>[0][number] => [
      i * 10,
      i % 10 === 0 ? "POST" : "GET",
      i % 7 === 0 ? shed : i === 700 ? failed : served,
      20 + (i % 5),
    ]);

    test("the terminal's fits 100 columns and has no escape codes without colours", () => {
      const text: string = drawTerminal(day(rows), { colours: false });
      expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(100);
      expect(text).not.toContain("\x1b");
      expect(text).toMatch(/█.*\n/);
      expect(text).toMatch(/server b .*x{10}/);
    });

    test("with colours it shows the same", () => {
      const plain = drawTerminal(day(rows), { colours: false });
      const coloured: string = drawTerminal(day(rows), { colours: true });
      expect(coloured.replaceAll(/\x1b\[\d+m/g, "")).toBe(plain);
      expect(coloured).toContain("\x1b[32m");
    });

    test("the SVG names its marks, escapes text and holds no number that is none", () => {
      const svg: string = drawSvg(day(rows));
      expect(svg).toMatch(/^<svg xmlns/);
      expect(svg).toContain("server lost");
      expect(svg).toContain("Spillway &lt;1&gt;");
      expect(svg).not.toMatch(/NaN|undefined|Infinity/);
      const opened = [...svg.matchAll(/<(\w+)(?=[\s>])[^>]*(?<!\/)>/g)].map(([, tag]) => tag);
      for (const tag of ["svg", "style", "text"]) {
        expect(opened.filter((each) => each === tag).length).toBe(svg.split(`</${tag}>`).length - 1);
      }
    });

    test("a lost server is drawn lost until it is back", () => {
      const [, b] = servers(day(rows), minuteMs / 2, 25);
      const states: string[] = b.cells.map(({ state }: { state: string }) => state);
      expect(states.indexOf("lost")).toBe(13);
      expect(states.lastIndexOf("lost")).toBe(18);
    });
  });
});
