import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";

const MAIN = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));

interface Demo {
  readonly child: ChildProcess;
  /** What it has written to stdout and stderr. */
  output(): string;
  /** Exit code, once it has ended. */
  readonly exit: Promise<number | null>;
  /** Processes that belong to this run, its own included. Linux alone tells. */
  processes(): number[];
}

const started: Demo[] = [];

afterEach(() => {
  for (const demo of started.splice(0)) for (const pid of demo.processes()) process.kill(pid, "SIGKILL");
});

function demo(...options: string[]): Demo {
  const marker = `SPILLWAY_TEST_RUN=${randomUUID()}`;
  const [name, value] = marker.split("=") as [string, string];
  const child = spawn(process.execPath, [MAIN, "demo", ...options], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, [name]: value },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const run: Demo = {
    child,
    output: () => output,
    exit: once(child, "close").then(([code]) => code as number | null),
    processes: () => processesWith(marker),
  };
  started.push(run);
  return run;
}

function processesWith(marker: string): number[] {
  if (!existsSync("/proc/self/environ")) return [];
  return readdirSync("/proc").flatMap((name) => {
    const pid = Number(name);
    if (!Number.isInteger(pid)) return [];
    try {
      return readFileSync(`/proc/${pid}/environ`, "utf8").includes(marker) ? [pid] : [];
    } catch {
      return []; // It has ended meanwhile, or is not ours to read.
    }
  });
}

/** Waits for a condition that a run brings about, as long as the run lasts. */
async function until(condition: () => boolean, run: Demo): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!condition()) {
    const over = run.child.exitCode !== null || performance.now() > deadline;
    if (over) throw new Error(`waited in vain; processes ${run.processes()}; output:\n${run.output()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe("spillway demo", () => {
  test("a run with an end shows every policy's shares and leaves no process behind", async () => {
    const run = demo("--seconds", "6");
    expect(await run.exit, run.output()).toBe(0);
    const output = run.output();
    for (const policy of ["round robin", "weighted round robin", "least connections"]) {
      const [, a, b, c] = new RegExp(`^ ${policy} +([\\d.]+) +([\\d.]+) +([\\d.]+) +[\\d.]+ s`, "m").exec(output) ?? [];
      expect(Number(a) + Number(b) + Number(c), `${policy} in\n${output}`).toBeCloseTo(100, 0);
    }
    expect(output).toMatch(/B is stopped[\s\S]*B runs again/);
    expect(output).toMatch(/admin http:\/\/127\.0\.0\.1:\d+/);
    expect(output).not.toContain("\x1b");
    expect(run.processes()).toEqual([]);
  });

  test("one policy without an outage keeps to it", async () => {
    const run = demo("--policy", "least-connections", "--seconds", "2", "--no-outage");
    expect(await run.exit, run.output()).toBe(0);
    expect(run.output()).toMatch(/least-connections +\d+\/s/);
    expect(run.output()).not.toMatch(/round-robin +\d+\/s|stopped/);
  });

  test("Ctrl-C ends it in order: exit code 0, a summary, no process left", async () => {
    const run = demo();
    await until(() => run.output().includes("mean"), run);
    run.child.kill("SIGINT");
    expect(await run.exit, run.output()).toBe(0);
    expect(run.output()).toContain("textbook");
    expect(run.processes()).toEqual([]);
  });

  test("killed outright, it takes its proxy with it", async (context) => {
    if (!existsSync("/proc/self/environ")) return context.skip("no /proc to see the processes of a run");
    const run = demo();
    await until(() => run.output().includes("mean"), run);
    expect(run.processes().length).toBeGreaterThan(1);
    run.child.kill("SIGKILL");
    await run.exit;
    await until(() => run.processes().length === 0, run);
  });

  test.each([
    [["--policy", "fastest"], "fastest"],
    [["--seconds", "soon"], "soon"],
    [["--seconds", "0"], "0"],
  ])("%j is a usage mistake: exit code 2 and a line that says what", async (options, word) => {
    const run = demo(...options);
    expect(await run.exit).toBe(2);
    expect(run.output()).toContain(word);
  });
});
