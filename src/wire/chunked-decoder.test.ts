import { expect, test } from "vitest";
import { ChunkedDecoder } from "./chunked-decoder.ts";

const limits = { chunkExtensionBytes: 64, headBytes: 1024, headFields: 10 };

/** Feeds `text` in pieces of `size` bytes. */
function decode(text: string, size: number, dataOnly = false) {
  const decoder = new ChunkedDecoder(limits, dataOnly);
  const bytes = Buffer.from(text, "latin1");
  let passed = "";
  let at = 0;
  while (at < bytes.length && !decoder.done && decoder.refusal === undefined) {
    const to = Math.min(bytes.length, at + size);
    const end = decoder.feed(bytes, at, to);
    passed += decoder.runs.text(bytes);
    at = end;
  }
  return {
    passed: passed + decoder.trailer,
    at,
    done: decoder.done,
    code: decoder.refusal?.code,
    data: decoder.dataBytes,
  };
}

test("chunks pass as they are, without their extensions, in any cuts", () => {
  const text = '5;a=b;c="d"\r\nhello\r\n00A\r\n0123456789\r\n0;last\r\nX-Sum: 1\r\nContent-Length: 3\r\n\r\n';
  for (let size = 1; size <= text.length + 4; size++) {
    const result = decode(`${text}next`, size);
    expect(result).toEqual({
      passed: "5\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
      at: text.length,
      done: true,
      code: undefined,
      data: 15,
    });
    expect(decode(text, size, true).passed).toBe("hello0123456789");
  }
});

test.each([
  ["g\r\n", "bad-chunk-size"],
  ["\r\n", "bad-chunk-size"],
  ["5 \r\n", "bad-chunk-size"],
  ["0x5\r\n", "bad-chunk-size"],
  ["-1\r\n", "bad-chunk-size"],
  ["5\nhello", "bad-chunk-size"],
  ["fffffffffffffffff\r\n", "bad-chunk-size"],
  ["5\r\nhelloX\r\n", "bad-chunk-end"],
  ["5\r\nhello\n0\r\n\r\n", "bad-chunk-end"],
  ["5;a\nhello", "bad-chunk-extension"],
  [`5;${"a".repeat(65)}`, "bad-chunk-extension"],
  ["0\r\nX : 1\r\n\r\n", "bad-trailer"],
  ["0\r\nX: 1\n\r\n", "bad-trailer"],
  [`0\r\nX: ${"a".repeat(1100)}`, "bad-trailer"],
])("%j is refused: %s", (text, code) => {
  for (const size of [1, 2, 3, text.length]) expect(decode(text, size).code).toBe(code);
});
