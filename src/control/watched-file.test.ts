import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { VirtualClock } from "../time/virtual-clock.ts";
import { WatchedFile } from "./watched-file.ts";

/** A file of which the version is set by hand, watched since time 0. */
function watched({ notices = true } = {}) {
  const clock = new VirtualClock();
  const file = { version: "1", folder: "", looks: 0, closed: 0, happened: () => {} };
  const changes: string[] = [];
  const work = { done: Promise.resolve() };
  const watching = new WatchedFile({
    path: "/srv/geo/city.mmdb",
    version: "1",
    clock,
    changed: () => {
      changes.push(`${file.version} at ${clock.now()}`);
      return work.done;
    },
    files: {
      version: async () => {
        file.looks++;
        return file.version;
      },
      watch: (folder, happened) => {
        file.folder = folder;
        file.happened = happened;
        return notices ? { close: () => file.closed++ } : undefined;
      },
    },
  });
  const pass = async (ms: number): Promise<void> => {
    const end = clock.now() + ms;
    while (clock.next() <= end) {
      clock.advanceTo(clock.next());
      await turn();
    }
    clock.advanceTo(end);
  };
  return { clock, file, changes, work, watching, pass };
}

test("a change is told of when the file has stayed as it is for half a second", async () => {
  const { file, changes, pass } = watched();
  await pass(5_000);
  expect([file.folder, changes]).toEqual(["/srv/geo", []]);
  file.version = "2";
  file.happened();
  await pass(999);
  expect(changes).toEqual([]);
  await pass(1);
  expect(changes).toEqual(["2 at 6000"]);
  await pass(600_000);
  expect(changes.length).toBe(1);
});

test("a file that is being written is not told of before it is whole", async () => {
  const { file, changes, pass } = watched();
  await pass(1_000);
  for (let step = 0; step < 10; step++) {
    file.version = `part ${step}`;
    file.happened();
    await pass(400);
  }
  file.version = "whole";
  file.happened();
  await pass(5_000);
  expect(changes.map((change) => change.split(" at ")[0])).toEqual(["whole"]);
});

test("a change that nobody tells of is found within half a minute", async () => {
  const { file, changes, pass } = watched({ notices: false });
  await pass(10_000);
  file.version = "2";
  await pass(30_000);
  expect(changes).toEqual(["2 at 31000"]);
});

test("a change between the reading and the watching is found at once", async () => {
  const { file, changes, pass } = watched();
  file.version = "2";
  await pass(1_000);
  expect(changes).toEqual(["2 at 1000"]);
});

test("what happens to other files in the folder is not told, nor put off for their sake", async () => {
  const { file, changes, pass } = watched();
  for (let step = 0; step < 100; step++) {
    file.happened();
    if (step === 50) file.version = "2";
    await pass(100);
  }
  expect(changes).toEqual(["2 at 6000"]);
});

test("a file that is gone for a moment is not told of, one that stays away is", async () => {
  const { file, changes, pass } = watched();
  await pass(1_000);
  file.version = "ENOENT";
  file.happened();
  await pass(500);
  file.version = "1";
  await pass(10_000);
  expect(changes).toEqual([]);
  file.version = "ENOENT";
  file.happened();
  await pass(1_000);
  expect(changes).toEqual(["ENOENT at 12500"]);
  file.version = "1";
  file.happened();
  await pass(1_000);
  expect(changes.at(-1)).toBe("1 at 13500");
});

test("a change during the work on the one before is told of after it", async () => {
  const { file, changes, work, pass } = watched();
  let finish = (): void => {};
  work.done = new Promise((resolve) => {
    finish = resolve;
  });
  file.version = "2";
  await pass(1_000);
  file.version = "3";
  file.happened();
  await pass(60_000);
  expect(changes).toEqual(["2 at 1000"]);
  finish();
  await turn();
  await pass(1_000);
  expect(changes).toEqual(["2 at 1000", "3 at 62000"]);
});

test("after the close nothing is looked at, told of or left armed", async () => {
  const { clock, file, changes, watching, pass } = watched();
  file.version = "2";
  await pass(500);
  watching.close();
  file.happened();
  await pass(120_000);
  expect([file.looks, file.closed, changes, clock.armed]).toEqual([1, 1, [], 0]);
});
