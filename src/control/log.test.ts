import { expect, test } from "vitest";
import { createLog } from "./log.ts";

function captured(options: { pretty: boolean; level?: "info" | "silent" }) {
  const out: string[] = [];
  const log = createLog({
    level: options.level ?? "info",
    pretty: options.pretty,
    destination: { write: (text) => out.push(text) },
  });
  return { log, out };
}

test("an entry is one JSON object with level, time, code, fields and message", () => {
  const { log, out } = captured({ pretty: false });
  log.write("warn", "backend_down", "backend down: a", { upstream: "web", failures: 3 });
  expect(out.length).toBe(1);
  expect(JSON.parse(out[0]!)).toEqual({
    level: "warn",
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    code: "backend_down",
    upstream: "web",
    failures: 3,
    msg: "backend down: a",
  });
});

test("for people an entry is one line, and a stack stands below it", () => {
  const { log, out } = captured({ pretty: true });
  log.write("info", "backend_up", "backend up: a", { upstream: "web" });
  log.write("error", "worker_died", "worker 0 died", { stack: "Error: x\n    at y" });
  expect(out[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} INFO {2}backend up: a\n$/);
  expect(out[1]).toMatch(/ERROR worker 0 died\nError: x\n {4}at y\n$/);
});

test("entries below the level are not written, and silent writes none", () => {
  const { log, out } = captured({ pretty: false });
  log.write("debug", "x", "x");
  expect(out).toEqual([]);
  const silent = captured({ pretty: false, level: "silent" });
  silent.log.write("error", "x", "x");
  expect(silent.out).toEqual([]);
});
