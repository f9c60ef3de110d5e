import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { expect, test } from "vitest";

/** A unit test over the sources: which room may know which, and what pure rooms never touch. */
const root = new URL("../src/", import.meta.url).pathname;

interface Source {
  /** Below src/, for example `policy/balance/random.ts`. */
  readonly file: string;
  readonly room: string;
  readonly text: string;
  /** What it imports from src/, below src/. */
  readonly imports: readonly string[];
  /** What it imports from elsewhere. */
  readonly modules: readonly string[];
}

const sources: readonly Source[] = readdirSync(root, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
  .map((file) => {
    const text = readFileSync(join(root, file), "utf8");
    const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => match[1]!);
    const own = specifiers.filter((specifier) => specifier.startsWith("."));
    return {
      file,
      room: file.includes("/") ? file.slice(0, file.indexOf("/")) : "",
      text,
      imports: own.map((specifier) => normalize(join(dirname(file), specifier))),
      modules: specifiers.filter((specifier) => !specifier.startsWith(".")),
    };
  });

/** Which rooms each room may import from, besides itself. The root files are the package's doors. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  policy: [],
  time: [],
  metrics: ["policy"],
  wire: [],
  pool: ["policy", "time"],
  config: ["policy"],
  proxy: ["policy", "metrics", "wire", "pool", "time", "config"],
  admin: ["policy", "metrics", "config", "proxy"],
  control: ["policy", "metrics", "pool", "time", "config", "proxy", "admin"],
  cli: ["policy", "metrics", "time", "config", "proxy", "control", "admin"],
};

const PURE = new Set(["policy", "metrics", "wire", "pool"]);

/** What a pure room never calls, and what to use instead. */
const BANNED: readonly (readonly [RegExp, string])[] = [
  [/\bDate\.now\b|\bnew Date\(\)/, "take `now` as an argument"],
  [/\bperformance\.now\b|\bhrtime\b/, "take `now` as an argument"],
  [/\bMath\.random\b/, "take a Random (policy/model/random.ts) as a constructor argument"],
  [/\bset(?:Timeout|Interval|Immediate)\b/, "answer when to be woken, or take a Clock (time/clock.ts)"],
];

test("every room imports only from the rooms below it", () => {
  const wrong = sources.flatMap(({ file, room, imports }) =>
    imports
      .map((target) => target.slice(0, Math.max(0, target.indexOf("/"))))
      .filter((target) => room !== "" && target !== room && !MAY_IMPORT[room]?.includes(target))
      .map((target) => `${file}: ${room}/ may not import from ${target === "" ? "the package's doors" : `${target}/`}`),
  );
  expect(wrong).toEqual([]);
});

test("no file imports itself in a circle", () => {
  const imports = new Map(sources.map((source) => [source.file, runTimeImports(source)]));
  const done = new Set<string>();
  const circles: string[] = [];
  const walk = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) {
      circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      return;
    }
    if (done.has(file)) return;
    for (const next of imports.get(file) ?? []) walk(next, [...path, file]);
    done.add(file);
  };
  for (const file of imports.keys()) walk(file, []);
  expect(circles).toEqual([]);
});

/** Imports that exist at run time: types may point back at who uses them. */
function runTimeImports({ file, text }: Source): string[] {
  return [...text.matchAll(/(?:^|\n)(?:import|export)\s+(?!type\b)([^;]*?)from\s+"(\.[^"]+)"/g)]
    .filter((match) => !/^\{\s*(?:type [\w$]+(?: as \w+)?,?\s*)+\}\s*$/.test(match[1]!))
    .map((match) => normalize(join(dirname(file), match[2]!)));
}

test("pure rooms read no clock, no random source, no timer and no I/O", () => {
  const wrong = sources
    .filter(({ room }) => PURE.has(room))
    .flatMap(({ file, text, modules }) => [
      ...BANNED.filter(([pattern]) => pattern.test(code(text))).map(
        ([pattern, instead]) => `${file}: ${pattern.source}: ${instead}`,
      ),
      ...modules.filter((module) => module.startsWith("node:")).map((module) => `${file}: imports ${module}`),
    ]);
  expect(wrong).toEqual([]);
});

/** The text without its comments, which may name what the code does not use. */
function code(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
}

test("nothing is left over: no markers, and no file that nothing imports", () => {
  const marked = sources.filter(({ text }) => /\b(?:TODO|FIXME|XXX|HACK)\b/.test(text)).map(({ file }) => file);
  expect(marked).toEqual([]);
  const imported = new Set(sources.flatMap(({ imports }) => imports));
  const { exports } = JSON.parse(readFileSync(join(root, "../package.json"), "utf8")) as {
    exports: Record<string, { default: string } | string>;
  };
  const doors = Object.values(exports).map((door) => (typeof door === "string" ? door : door.default));
  const started = new Set(
    [...doors, "./dist/cli/main.js"].map((door) => relative("dist", door).replace(/\.js$/, ".ts")),
  );
  const threads = sources.flatMap(({ file, text }) =>
    [...text.matchAll(/new URL\("(\.[^"]+)", import\.meta\.url\)/g)].map((match) =>
      normalize(join(dirname(file), match[1]!)).replace(/\.js$/, ".ts"),
    ),
  );
  const tests = readdirSync(join(root, ".."), { recursive: true, encoding: "utf8" })
    .filter((file) => /^(?:src|test)\/.*\.test\.ts$|^test\/support\/.*\.ts$/.test(file))
    .map((file) => readFileSync(join(root, "..", file), "utf8"))
    .join("\n");
  const dead = sources
    .map(({ file }) => file)
    .filter((file) => !imported.has(file) && !started.has(file) && !threads.includes(file))
    .filter((file) => !tests.includes(file.slice(file.lastIndexOf("/") + 1)));
  expect(dead).toEqual([]);
});
