import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { closeFrame, WebSocketFrames } from "./websocket-frames.ts";

function fed(bytes: readonly number[] | Buffer, frames = new WebSocketFrames()): WebSocketFrames {
  frames.feed(Uint8Array.from(bytes), 0, bytes.length);
  return frames;
}

/** [at a boundary, lost] */
const state = ({ atBoundary, lost }: WebSocketFrames) => [atBoundary, lost];
const BOUNDARY = [true, false];
const WITHIN = [false, false];
const LOST = [false, true];

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");

/** RFC 6455 section 5.7. */
const HELLO = hex("81 05 48 65 6c 6c 6f");
const MASKED_HELLO = hex("81 85 37 fa 21 3d 7f 9f 4d 51 58");
const HEL = hex("01 03 48 65 6c");
const LO = hex("80 02 6c 6f");
const PING = hex("89 05 48 65 6c 6c 6f");
const MASKED_PONG = hex("8a 85 37 fa 21 3d 7f 9f 4d 51 58");
const BINARY_256 = Buffer.concat([hex("82 7e 01 00"), Buffer.alloc(256)]);
const BINARY_64K = Buffer.concat([hex("82 7f 00 00 00 00 00 01 00 00"), Buffer.alloc(65_536)]);

test("before the first frame there is a boundary", () => {
  expect(state(new WebSocketFrames())).toEqual(BOUNDARY);
});

describe("the examples of RFC 6455 section 5.7", () => {
  test.each([
    ["a single-frame unmasked text message", HELLO],
    ["a single-frame masked text message", MASKED_HELLO],
    ["an unmasked ping", PING],
    ["a masked pong", MASKED_PONG],
    ["256 bytes in a single unmasked frame", BINARY_256],
    ["64 KiB in a single unmasked frame", BINARY_64K],
    ["a fragmented unmasked text message", Buffer.concat([HEL, LO])],
    ["all of them", Buffer.concat([HELLO, MASKED_HELLO, PING, MASKED_PONG, BINARY_256, BINARY_64K, HEL, LO])],
  ])("%s: a boundary behind it, and nowhere within", (_, bytes) => {
    expect(state(fed(bytes))).toEqual(BOUNDARY);
    expect(state(fed(bytes.subarray(0, bytes.length - 1)))).toEqual(WITHIN);
  });

  test("each ends at its last byte, byte by byte", () => {
    for (const bytes of [HELLO, MASKED_HELLO, PING, MASKED_PONG, BINARY_256]) {
      const frames = new WebSocketFrames();
      for (let at = 0; at < bytes.length; at++) {
        frames.feed(bytes, at, at + 1);
        expect(frames.atBoundary).toBe(at === bytes.length - 1);
      }
    }
  });

  test("between the fragments of a message there is none, also behind a ping among them", () => {
    const frames = fed(HEL);
    expect(state(frames)).toEqual(WITHIN);
    expect(state(fed(PING, frames))).toEqual(WITHIN);
    expect(state(fed(LO, frames))).toEqual(BOUNDARY);
  });
});

test("only the bytes between the offsets count", () => {
  const frames = new WebSocketFrames();
  frames.feed(Buffer.concat([Buffer.from("GET"), HELLO, Buffer.from("xyz")]), 3, 3 + HELLO.length);
  expect(state(frames)).toEqual(BOUNDARY);
});

test.each([
  ["an empty message", "82 00"],
  ["an empty masked one", "82 80 01 02 03 04"],
  ["a compressed message, RFC 7692", "c1 07 f2 48 cd c9 c9 07 00"],
  ["125 bytes", `82 7d ${"00".repeat(125)}`],
  ["126 bytes", `82 7e 00 7e ${"00".repeat(126)}`],
  ["a pong nobody asked for, empty", "8a 00"],
])("%s is whole", (_, bytes) => {
  expect(state(fed(hex(bytes)))).toEqual(BOUNDARY);
});

test.each([
  ["a reserved opcode for data", "83 00"],
  ["a reserved opcode for control", "8b 00"],
  ["a bit of no registered extension", "a1 00"],
  ["a ping in fragments", "09 00"],
  ["a ping longer than 125 bytes", "89 7e 00 7e"],
  ["a continuation of nothing", "80 00"],
  ["a message within the fragments of another", "01 00 81 00"],
  ["125 bytes written as if they were more", "82 7e 00 7d"],
  ["65,535 bytes in eight bytes of length", "82 7f 00 00 00 00 00 00 ff ff"],
  ["a length with its first bit set", "82 7f 80 00 00 00 00 00 00 00"],
  ["a length beyond 2^53", "82 7f 00 20 00 00 00 00 00 00"],
  ["HTTP", Buffer.from("HTTP/1.1 200 OK").toString("hex")],
])("%s: lost, and no boundary ever again", (_, bytes) => {
  const frames = fed(hex(bytes));
  expect(state(frames)).toEqual(LOST);
  expect(state(fed(HELLO, frames))).toEqual(LOST);
});

test("a terabyte on its way is no fault, and no boundary", () => {
  const frames = fed(hex("82 7f 00 00 01 00 00 00 00 00"));
  expect(state(frames)).toEqual(WITHIN);
  expect(state(fed(Buffer.alloc(100_000), frames))).toEqual(WITHIN);
});

test("behind a Close comes nothing, so there is no boundary", () => {
  const frames = fed(hex("88 02 03 e8"));
  expect(state(frames)).toEqual(WITHIN);
  expect(state(fed(HELLO, frames))).toEqual(WITHIN);
});

test("however the bytes are cut, the same boundaries are found", () => {
  const message = fc
    .record({ size: fc.constantFrom(0, 1, 125, 126, 300, 65_535, 65_536), masked: fc.boolean(), parts: fc.nat(3) })
    .map(({ size, masked, parts }) => Buffer.concat(fragments(size, masked, parts)));
  fc.assert(
    fc.property(fc.array(message, { maxLength: 5 }), fc.array(fc.nat(70_000), { maxLength: 20 }), (messages, steps) => {
      const bytes = Buffer.concat(messages);
      const ends = new Set(messages.map((_, i) => Buffer.concat(messages.slice(0, i + 1)).length)).add(0);
      const frames = new WebSocketFrames();
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const to = Math.min(bytes.length, at + (steps[i] ?? bytes.length));
        frames.feed(bytes, at, to);
        expect(frames.atBoundary).toBe(ends.has(to));
        at = to;
      }
      expect(frames.lost).toBe(false);
    }),
    { numRuns: 100 },
  );
});

/** A message of `parts` fragments and a last one, each of `size` zeros. */
function fragments(size: number, masked: boolean, parts: number): Buffer[] {
  return Array.from({ length: parts + 1 }, (_, i) => {
    const opcode = (i === 0 ? 2 : 0) | (i === parts ? 0x80 : 0);
    const mask = masked ? 0x80 : 0;
    const head =
      size < 126
        ? [opcode, size | mask]
        : size < 65_536
          ? [opcode, 126 | mask, size >> 8, size & 255]
          : [opcode, 127 | mask, 0, 0, 0, 0, 0, size >> 16, (size >> 8) & 255, size & 255];
    return Buffer.concat([Buffer.from(head), Buffer.alloc(masked ? 4 : 0, 7), Buffer.alloc(size)]);
  });
}

test("a Close frame carries its code and reason, unmasked, and is one", () => {
  const frame = closeFrame(1012, "service restart");
  expect(frame.toString("hex")).toBe(`881103f4${Buffer.from("service restart").toString("hex")}`);
  expect(state(fed(frame))).toEqual(WITHIN);
  expect(closeFrame(1000, "").toString("hex")).toBe("880203e8");
  expect(closeFrame(1000, "ü").toString("hex")).toBe("880403e8c3bc");
});

test("the reason of a Close has room for 123 bytes", () => {
  expect(closeFrame(1012, "x".repeat(123))).toHaveLength(127);
  expect(() => closeFrame(1012, "ü".repeat(62))).toThrow(RangeError);
});
