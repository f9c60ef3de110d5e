import type { Checked } from "./checks.ts";
import { standardAt } from "./defaults.ts";
import type { Finding, KeyPath } from "./mistakes.ts";
import { at } from "./schema-findings.ts";
import * as check from "./text-checks.ts";
import { isWrong, parseDuration } from "./values.ts";
import { type Block, isBlock, listAt } from "./written.ts";

// How the keys fit together that say what an upstream does about failing backends and too much traffic.

/** Pairs of keys of an upstream of which the first may not be more than the second. */
const BOUNDS: readonly (readonly [KeyPath, KeyPath])[] = [
  [
    ["circuitBreaker", "openFor"],
    ["circuitBreaker", "maxOpenFor"],
  ],
  [
    ["outlierDetection", "ejectFor"],
    ["outlierDetection", "maxEjectFor"],
  ],
  [
    ["retry", "backoff", "base"],
    ["retry", "backoff", "max"],
  ],
  [
    ["concurrencyLimit", "min"],
    ["concurrencyLimit", "initial"],
  ],
  [
    ["concurrencyLimit", "initial"],
    ["concurrencyLimit", "max"],
  ],
];

/** Pairs of time limits of an upstream of which the first has no effect when it is more than the second. */
const LIMITS: readonly (readonly [KeyPath, KeyPath])[] = [
  [
    ["retry", "perTryTimeout"],
    ["timeouts", "response"],
  ],
  [
    ["pool", "queue", "target"],
    ["pool", "queue", "timeout"],
  ],
];

/** Checks one upstream by itself. */
export function checkIsolation(upstream: Block, path: KeyPath, { mistakes, warnings }: Checked): void {
  for (const [low, high] of BOUNDS) checkBound(upstream, path, low, high, mistakes);
  for (const [first, second] of LIMITS) checkLimit(upstream, path, first, second, warnings);
  const backends = listAt(upstream, "backends");
  if (backends.length > 0 && backends.every((backend) => isBlock(backend) && isBackup(backend.backup))) {
    warnings.push({
      code: "CONFIG_BACKUP_ONLY",
      path: [...path, "backends"],
      wrong: "every backend is a backup, so there is none that they stand in for",
      fix: "Leave backup out where it is meant to take traffic at all times",
    });
  }
}

function isBackup(value: unknown): boolean {
  const tier = check.backupTier(value);
  return typeof tier === "number" && tier > 0;
}

function checkBound(upstream: Block, path: KeyPath, low: KeyPath, high: KeyPath, mistakes: Finding[]): void {
  const block = low.slice(0, -1);
  const lowKey = String(low.at(-1));
  const highKey = String(high.at(-1));
  // A block that is left out has the defaults, which fit together.
  if (!isBlock(at(upstream, block)) || numberAt(upstream, low) <= numberAt(upstream, high)) return;
  if (Number.isNaN(numberAt(upstream, low)) || Number.isNaN(numberAt(upstream, high))) return;
  mistakes.push({
    code: "CONFIG_BOUNDS",
    path: [...path, ...(at(upstream, high) === undefined ? low : high)],
    wrong: `${lowKey} (${words(upstream, low)}) is more than ${highKey} (${words(upstream, high)})`,
    fix: `Lower ${lowKey}, or raise ${highKey}`,
  });
}

function checkLimit(upstream: Block, path: KeyPath, first: KeyPath, second: KeyPath, warnings: Finding[]): void {
  const limit = numberAt(upstream, first);
  if (limit === Number.POSITIVE_INFINITY || !(limit > numberAt(upstream, second))) return;
  const name = second.join(".");
  warnings.push({
    code: "CONFIG_LIMIT_UNREACHED",
    path: [...path, ...first],
    wrong: `${name} (${words(upstream, second)}) always comes first`,
    fix: `Write less than ${name}, or leave it out`,
  });
}

/** The number or time at `path`, by default if need be; NaN for what is neither, which the schema tells. */
function numberAt(upstream: Block, path: KeyPath): number {
  const value = at(upstream, path) ?? standard(path);
  if (value === "unlimited") return Number.POSITIVE_INFINITY;
  if (typeof value === "number" || (typeof value === "string" && /^\d+$/.test(value))) return Number(value);
  const duration = parseDuration(value);
  return isWrong(duration) ? Number.NaN : duration;
}

function words(upstream: Block, path: KeyPath): string {
  const value = at(upstream, path);
  return value === undefined ? `${String(standard(path))} by default` : String(value);
}

function standard(path: KeyPath): unknown {
  return standardAt(["upstreams", "", ...path]);
}

const FALLBACK: KeyPath = ["circuitBreaker", "fallback"];

/** Checks what the fallbacks of all upstreams lead to. `use` is told each upstream that one names. */
export function checkFallbacks(
  upstreams: Block,
  { mistakes }: Checked,
  use: (name: unknown, path: KeyPath) => void,
): void {
  for (const [name, upstream] of Object.entries(upstreams)) {
    const fallback = at(upstream, FALLBACK);
    if (!isBlock(fallback)) continue;
    const path = ["upstreams", name, ...FALLBACK];
    if (fallback.upstream !== undefined) use(fallback.upstream, [...path, "upstream"]);
    else if (fallback.respond === undefined) {
      mistakes.push({
        code: "CONFIG_FALLBACK",
        path,
        wrong: "this fallback does nothing",
        fix: "Write upstream, respond or both",
      });
    }
  }
  for (const circle of circles(upstreams)) {
    mistakes.push({
      code: "CONFIG_FALLBACK",
      path: ["upstreams", circle[0]!, ...FALLBACK, "upstream"],
      wrong:
        circle.length === 1
          ? "an upstream cannot stand in for itself"
          : `the fallbacks lead in a circle: ${[...circle, circle[0]].join(" -> ")}`,
      fix: "Name another upstream, or answer with respond",
    });
  }
}

/** The circles that fallbacks lead in, each once. */
function circles(upstreams: Block): string[][] {
  const found: string[][] = [];
  const done = new Set<string>();
  for (const start of Object.keys(upstreams)) {
    const chain: string[] = [];
    let name: unknown = start;
    while (typeof name === "string" && Object.hasOwn(upstreams, name) && !done.has(name)) {
      done.add(name);
      chain.push(name);
      name = at(upstreams, [name, ...FALLBACK, "upstream"]);
    }
    const from = chain.indexOf(name as string);
    if (from !== -1) found.push(chain.slice(from));
  }
  return found;
}
