import { expect, test } from "vitest";
import { VirtualClock } from "../time/virtual-clock.ts";
import { AccessLogBatch, type AccessLogLines } from "./access-log-batch.ts";

function batch() {
  const clock = new VirtualClock();
  const posts: AccessLogLines[] = [];
  const state = { dropped: 0 };
  const lines = new AccessLogBatch(
    clock,
    (post) => posts.push(post),
    (count) => {
      state.dropped += count;
    },
  );
  return { clock, posts, state, lines };
}

test("lines of one moment are posted together after 50 ms", () => {
  const { clock, posts, lines } = batch();
  lines.add("a");
  clock.advance(49);
  lines.add("b");
  expect(posts).toEqual([]);
  clock.advance(1);
  expect(posts).toEqual([{ text: "a\nb\n", lines: 2 }]);
  clock.advance(1_000);
  expect(posts.length).toBe(1);
});

test("64 KiB are posted without waiting", () => {
  const { posts, lines } = batch();
  for (let i = 0; i < 64; i++) lines.add("x".repeat(1023));
  expect(posts.map((post) => post.lines)).toEqual([64]);
});

test("while the control plane does not keep up, lines above 1 MiB are dropped and counted", () => {
  const { posts, state, lines } = batch();
  for (let i = 0; i < 2048; i++) lines.add("x".repeat(1023));
  expect(state.dropped).toBe(1024);
  for (const { text } of posts.splice(0)) lines.written(text.length);
  lines.add("again");
  lines.flush();
  expect(posts.at(-1)!.text.endsWith("again\n")).toBe(true);
});
