import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import { cityMmdb } from "../../test/support/mmdb.ts";
import { GeoipDatabase } from "../proxy/geoip-database.ts";
import type { Clock } from "../time/clock.ts";
import { SystemClock } from "../time/system-clock.ts";
import { VirtualClock } from "../time/virtual-clock.ts";
import { GeoipFiles, type GeoipListener } from "./geoip.ts";
import { StartError } from "./start-error.ts";
import { type FileWatching, fileVersion } from "./watched-file.ts";

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spillway-geoip-"));
  path = join(folder, "city.mmdb");
});
afterEach(() => rmSync(folder, { recursive: true }));

const BERLIN = cityMmdb(
  { "192.0.2.0/24": [52.5, 13.4] },
  { type: "Berlin", builtAt: new Date("2026-05-06T07:08:09Z") },
);
const SEOUL = cityMmdb({ "192.0.2.0/24": [37.5, 127] }, { type: "Seoul", builtAt: new Date("2026-06-07T08:09:10Z") });

const listener = (geoip: string | undefined, port = 8080): GeoipListener => ({
  listen: { kind: "tcp", host: "127.0.0.1", port },
  clientPosition: { geoip },
});

/** Databases, and a promise of the next thing that is logged or handed out. */
async function keep(listeners: readonly GeoipListener[], files?: FileWatching, clock: Clock = new SystemClock()) {
  const entries: { level: string; code: string; message: string; fields: unknown }[] = [];
  let happened = (): void => {};
  const geoip = await GeoipFiles.read(listeners, {
    clock,
    log: {
      write: (level, code, message, fields) => {
        entries.push({ level, code, message, fields });
        if (code === "geoip_invalid") happened();
      },
      flush: () => {},
    },
    ...(files === undefined ? {} : { files }),
  });
  onTestFinished(() => geoip.close());
  const changes: { path: string; latitude: number | undefined; type: string }[] = [];
  const watch = (): void =>
    geoip.watch((changed, bytes) => {
      const database = new GeoipDatabase(bytes);
      changes.push({ path: changed, latitude: database.find("192.0.2.1")?.latitude, type: database.type });
      happened();
    });
  const next = async (): Promise<void> => {
    await new Promise<void>((resolve) => (happened = resolve));
    // The file is watched on only after it has been handed out.
    await turn();
  };
  return { geoip, entries, changes, watch, next };
}

/** Time and notices by hand, files as they are. */
function byHand() {
  const clock = new VirtualClock();
  const hand = { happened: () => {}, closed: 0, looks: 0 };
  let looked = (): void => {};
  const files: FileWatching = {
    version: async (file) => {
      const version = await fileVersion(file);
      hand.looks++;
      queueMicrotask(() => looked());
      return version;
    },
    watch: (_folder, happened) => {
      hand.happened = happened;
      return { close: () => hand.closed++ };
    },
  };
  /** The next look at a file, whenever it is due. */
  const look = async (): Promise<void> => {
    const done = new Promise<void>((resolve) => (looked = resolve));
    clock.advanceTo(clock.next());
    await done;
    await turn();
  };
  return { clock, files, hand, look };
}

async function refusal(listeners: readonly GeoipListener[]): Promise<string> {
  const error = await keep(listeners).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(StartError);
  return (error as StartError).message;
}

test("each file is read once, however many listeners name it, and the log says what it is", async () => {
  writeFileSync(path, BERLIN);
  const { geoip, entries } = await keep([
    listener(path),
    { listen: { kind: "unix", path: "/run/a.sock" }, clientPosition: false },
    listener(undefined),
    listener(path, 8081),
  ]);
  expect([...geoip.databases.keys()]).toEqual([path]);
  expect(Buffer.from(geoip.databases.get(path)!)).toEqual(BERLIN);
  expect(entries).toEqual([
    {
      level: "info",
      code: "geoip_loaded",
      message: `read the GeoIP database ${path}: Berlin, made on 2026-05-06`,
      fields: { path, type: "Berlin", built: "2026-05-06T07:08:09.000Z", bytes: BERLIN.length },
    },
  ]);
});

test("a relative path begins at the working directory", async () => {
  writeFileSync(path, BERLIN);
  const written = relative(process.cwd(), path);
  const { geoip } = await keep([listener(written)]);
  expect([...geoip.databases.keys()]).toEqual([written]);
});

test("a file that cannot be used stops the start, and the message names listener, file and reason", async () => {
  const start = `listener 127.0.0.1:8080: cannot use the GeoIP database ${path}: `;
  expect(await refusal([listener(path)])).toBe(`${start}there is no such file`);
  writeFileSync(path, "<!doctype html>");
  expect(await refusal([listener(path)])).toBe(`${start}it is no database in MaxMind's format, or its end is missing`);
  writeFileSync(path, "");
  expect(await refusal([listener(path)])).toBe(`${start}it is empty`);
  const other = listener(folder, 8081);
  writeFileSync(path, BERLIN);
  expect(await refusal([listener(path), other])).toBe(
    `listener 127.0.0.1:8081: cannot use the GeoIP database ${folder}: it is no file`,
  );
  const relativePath = relative(process.cwd(), join(folder, "none.mmdb"));
  expect(await refusal([listener(relativePath)])).toContain(`${relativePath} (${join(folder, "none.mmdb")})`);
});

test("a new file that is renamed over the old one is handed out, then the next one too", async () => {
  writeFileSync(path, BERLIN);
  const { geoip, entries, changes, watch, next } = await keep([listener(path)]);
  watch();
  for (const [bytes, latitude] of [
    [SEOUL, 37.5],
    [BERLIN, 52.5],
  ] as const) {
    writeFileSync(`${path}.new`, bytes);
    const changed = next();
    renameSync(`${path}.new`, path);
    await changed;
    expect(changes.at(-1)).toMatchObject({ path, latitude });
    expect(Buffer.from(geoip.databases.get(path)!)).toEqual(bytes);
  }
  expect(entries.map(({ code }) => code)).toEqual(["geoip_loaded", "geoip_loaded", "geoip_loaded"]);
});

test("a file behind a link is read anew when the link is turned to another folder", async () => {
  for (const [name, bytes] of [
    ["first", BERLIN],
    ["second", SEOUL],
  ] as const) {
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, "city.mmdb"), bytes);
  }
  symlinkSync("first", join(folder, "data"));
  symlinkSync("data/city.mmdb", path);
  const { changes, watch, next } = await keep([listener(path)]);
  watch();
  symlinkSync("second", join(folder, "data.new"));
  const changed = next();
  renameSync(join(folder, "data.new"), join(folder, "data"));
  await changed;
  expect(changes).toEqual([{ path, latitude: 37.5, type: "Seoul" }]);
});

test("a new file that is no database is reported, the old one stays, and a good one after it counts", async () => {
  writeFileSync(path, BERLIN);
  const { clock, files, hand, look } = byHand();
  const { geoip, entries, changes, watch, next } = await keep([listener(path)], files, clock);
  watch();
  await look();
  const old = geoip.databases.get(path);

  writeFileSync(path, SEOUL.subarray(0, 100));
  hand.happened();
  const reported = next();
  await look();
  await look();
  await reported;
  const reason = "it is no database in MaxMind's format, or its end is missing";
  expect(entries.at(-1)).toEqual({
    level: "warn",
    code: "geoip_invalid",
    message: `cannot use the new GeoIP database ${path}: ${reason}; the one read before stays in use`,
    fields: { path, reason },
  });
  expect([geoip.databases.get(path) === old, changes]).toEqual([true, []]);

  rmSync(path);
  const missed = next();
  await look();
  await look();
  await missed;
  expect(entries.at(-1)).toMatchObject({ code: "geoip_invalid", fields: { path, reason: "there is no such file" } });
  expect(geoip.databases.get(path)).toBe(old);

  writeFileSync(path, SEOUL);
  const changed = next();
  await look();
  await look();
  await changed;
  expect(changes).toEqual([{ path, latitude: 37.5, type: "Seoul" }]);
});

test("each of two files is read anew on its own", async () => {
  const second = join(folder, "second.mmdb");
  writeFileSync(path, BERLIN);
  copyFileSync(path, second);
  const { changes, geoip, watch, next } = await keep([listener(path), listener(second, 8081)]);
  watch();
  const changed = next();
  writeFileSync(`${second}.new`, SEOUL);
  renameSync(`${second}.new`, second);
  await changed;
  expect(changes.map((change) => change.path)).toEqual([second]);
  expect(Buffer.from(geoip.databases.get(path)!)).toEqual(BERLIN);
});

test("after the close nothing is watched any more", async () => {
  writeFileSync(path, BERLIN);
  const { clock, files, hand, look } = byHand();
  const { geoip, watch } = await keep([listener(path)], files, clock);
  watch();
  await look();
  geoip.close();
  expect([hand.closed, clock.armed, hand.looks]).toEqual([1, 0, 1]);
});
