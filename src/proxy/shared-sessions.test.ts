import { expect, test } from "vitest";
import { SharedSessions } from "./shared-sessions.ts";

test("only upstreams whose sessions are shared have a store, and are asked for", () => {
  const asked: string[] = [];
  const shared = new SharedSessions(new Set(["web"]), {
    sessionWanted: (id, upstream, key) => asked.push(`${id} ${upstream} ${key}`),
    sessionPlaced: () => {},
  });
  expect(shared.storeOf("own", 60_000, 50)).toBeUndefined();
  const answers: (string | undefined)[] = [];
  expect(shared.storeOf("web", 60_000, 50)?.find("s", { found: (address) => answers.push(address) }, 0)).toBe(true);
  shared.found(1, "a:1", 0);
  shared.found(1, "b:1", 0);
  expect([asked, answers]).toEqual([["1 web s"], ["a:1"]]);
});
