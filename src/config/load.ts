import { open } from "node:fs/promises";
import { extname, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { createJiti } from "jiti";
import type { Finding } from "./mistakes.ts";
import { checkConfig, type Loaded, parseConfig } from "./parse.ts";
import type { Environment } from "./variables.ts";

/** Largest file that is read. */
const LARGEST = 8 * 1024 * 1024;

const FORMATS: Readonly<Record<string, "yaml" | "json" | "module">> = {
  ".yaml": "yaml",
  ".yml": "yaml",
  ".json": "json",
  ".ts": "module",
  ".mts": "module",
  ".js": "module",
  ".mjs": "module",
};

/** Files that are looked for where none is named, in this order. */
export const DEFAULT_FILES = [
  "spillway.yaml",
  "spillway.yml",
  "spillway.json",
  "spillway.config.ts",
  "spillway.config.mts",
  "spillway.config.js",
  "spillway.config.mjs",
] as const;

/**
 * Loads a configuration from a file: YAML, JSON, or TypeScript or JavaScript with a default export, which is run.
 * Whatever the file is, the answer says what is wrong with it; nothing is thrown.
 */
export async function loadConfig(file: string, environment: Environment = process.env): Promise<Loaded> {
  const format = FORMATS[extname(file).toLowerCase()];
  const text = await readConfig(file);
  if (typeof text !== "string") return refused(file, text);
  if (format === undefined) {
    return refused(file, {
      code: "CONFIG_FORMAT",
      path: [],
      wrong: `${extname(file) || "no ending"} stands for no format of configuration`,
      fix: "Name it .yaml, .yml, .json, .ts, .mts, .js or .mjs",
    });
  }
  return format === "module" ? loadModule(file, environment) : parseConfig(text, { file, format, environment });
}

async function readConfig(file: string): Promise<string | Finding> {
  const unreadable = (wrong: string, fix: string): Finding => ({ code: "CONFIG_FILE", path: [], wrong, fix });
  try {
    const handle = await open(file, "r");
    try {
      const status = await handle.stat();
      if (status.isDirectory()) return unreadable("this is a directory", "Name a file in it");
      if (!status.isFile()) return unreadable("this is not a regular file", "Name a file");
      if (status.size > LARGEST)
        return unreadable(`the file has ${status.size} bytes, and at most ${LARGEST} are read`, "Write less into it");
      const bytes = await handle.readFile();
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } finally {
      await handle.close();
    }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR")
      return unreadable("there is no such file", "Check the path, or write one with spillway init");
    if (code === "EACCES" || code === "EPERM")
      return unreadable("the file may not be read by this user", "Change its permissions");
    if (error instanceof TypeError) return unreadable("the file is not UTF-8", "Save it as UTF-8");
    return unreadable(`the file cannot be read: ${(error as Error).message}`, "Check the path");
  }
}

async function loadModule(file: string, environment: Environment): Promise<Loaded> {
  // No cache on disk: a configuration may be read where nothing may be written.
  const jiti = createJiti(pathToFileURL(resolve(file)).href, {
    fsCache: false,
    moduleCache: false,
    interopDefault: false,
    alias: ownModules(),
  });
  try {
    const loaded = await jiti.import<unknown>(resolve(file));
    const value = await (loaded as { default?: unknown }).default;
    if (typeof value !== "object" || value === null) {
      return refused(file, {
        code: "CONFIG_MODULE",
        path: [],
        wrong: "the file has no default export that is a configuration",
        fix: "Write export default defineConfig({ ... })",
      });
    }
    return checkConfig(value, { file, environment });
  } catch (error) {
    const reason = error instanceof Error ? `${error.name}: ${error.message.split("\n")[0]}` : String(error);
    return refused(file, {
      code: "CONFIG_MODULE",
      path: [],
      wrong: `running the file failed: ${reason}`,
      fix: "Run it by itself to find out more",
    });
  }
}

/** `import ... from "spillway"` in a configuration means this very Spillway, also where none is installed beside it. */
function ownModules(): Record<string, string> {
  const ending = extname(fileURLToPath(import.meta.url));
  const path = (name: string): string => fileURLToPath(new URL(`../${name}${ending}`, import.meta.url));
  return {
    "spillway/balance": path("policy/balance/index"),
    "spillway/pool": path("pool/index"),
    "spillway/testing": path("testing"),
    spillway: path("index"),
  };
}

function refused(file: string, { code, wrong, fix }: Finding): Loaded {
  return { ok: false, file, mistakes: [{ code, file, position: undefined, key: "", wrong, fix }], warnings: [] };
}
