import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ChunkedDecoder } from "./chunked-decoder.ts";
import { INCOMPLETE, knownNames, REFUSED } from "./fields.ts";
import { REFUSALS } from "./refusal.ts";
import { CHUNKED, RequestHead, UNTIL_CLOSE } from "./request-head.ts";
import { ResponseHead } from "./response-head.ts";

/**
 * The cases in `test-data/*.md`. A case is a heading, a block of bytes, and a block that says what comes of them:
 *
 * - bytes (` ```http `): a line of text ends with an escape, `\r\n` or what the case is about; the line break behind it
 *   is not part of the bytes, so that a message can be shown line by line. Escapes: `\r \n \t \0 \\ \xHH`, and
 *   `\{text*N}` for N times `text`.
 * - outcome (` ```outcome `): `refused CODE`, `incomplete`, or `accepted` with lines `name: value` for what is checked.
 *   A value is written with the same escapes. `rest` is what follows the message.
 */
interface Case {
  readonly title: string;
  readonly bytes: string;
  readonly outcome: string;
  readonly facts: ReadonlyMap<string, string>;
}

const LIMITS = { headBytes: 1024, headFields: 20, targetBytes: 256, chunkExtensionBytes: 32 };

const ESCAPES: Record<string, string> = { r: "\r", n: "\n", t: "\t", "0": "\0", "\\": "\\" };

function unescaped(text: string): string {
  return text.replace(
    /\\(?:x([0-9a-f]{2})|\{(.*?)\*(\d+)\}|(.))/gi,
    (_, hex?: string, repeated?: string, times?: string, letter?: string) => {
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
      if (repeated !== undefined) return unescaped(repeated).repeat(Number(times));
      const meant = ESCAPES[letter!];
      if (meant === undefined) throw new Error(`unknown escape \\${letter} in ${text}`);
      return meant;
    },
  );
}

function factOf(line: string): [name: string, value: string] {
  const colon = line.indexOf(":");
  return [line.slice(0, colon), unescaped(line.slice(colon + 1).replace(/^ /, ""))];
}

function casesIn(file: string): Case[] {
  const text = readFileSync(new URL(`test-data/${file}`, import.meta.url), "utf8");
  const cases: Case[] = [];
  for (const section of text.split(/^### /m).slice(1)) {
    const title = section.slice(0, section.indexOf("\n"));
    const blocks = [...section.matchAll(/^```(http|outcome)\n([\s\S]*?)^```$/gm)];
    if (blocks.length !== 2 || blocks[0]![1] !== "http" || blocks[1]![1] !== "outcome") {
      throw new Error(`${file}, "${title}": one http block and one outcome block are needed`);
    }
    const [outcome = "", ...facts] = blocks[1]![2]!.trimEnd().split("\n");
    cases.push({
      title,
      bytes: unescaped(blocks[0]![2]!.replaceAll("\n", "")),
      outcome,
      facts: new Map(facts.map(factOf)),
    });
  }
  return cases;
}

/** What came of a case: its outcome, and everything that a case may ask about. */
interface Result {
  readonly outcome: string;
  readonly facts: Record<string, string>;
}

const framingText = (framing: number) =>
  framing === CHUNKED ? "chunked" : framing === UNTIL_CLOSE ? "until close" : String(framing);

function outcomeOf(end: number, code: string | undefined): string {
  if (end === INCOMPLETE) return "incomplete";
  return end === REFUSED ? `refused ${code}` : "accepted";
}

function request(bytes: Buffer): Result {
  const head = new RequestHead(LIMITS, knownNames("x-request-id"));
  const end = head.parse(bytes, 0, bytes.length);
  const { method, target, host, keepAlive, upgrade, kept, forwardedFor, expectsContinue } = head;
  return {
    outcome: outcomeOf(end, head.refusal?.code),
    facts: {
      ...{ method, target, host, upgrade, kept, "forwarded for": forwardedFor, version: `1.${head.minor}` },
      ...{
        framing: framingText(head.framing),
        "keep alive": String(keepAlive),
        "expects continue": String(expectsContinue),
      },
      rest: bytes.toString("latin1", Math.max(0, end)),
    },
  };
}

const responseTo =
  (method: string) =>
  (bytes: Buffer): Result => {
    const head = new ResponseHead(LIMITS);
    const end = head.parse(bytes, 0, bytes.length, method);
    const { status, reason, keepAlive, upgrade, kept, length } = head;
    return {
      outcome: outcomeOf(end, head.refusal?.code),
      facts: {
        ...{ status: String(status), reason, upgrade, kept, version: `1.${head.minor}`, length: String(length) },
        ...{ framing: framingText(head.framing), "keep alive": String(keepAlive) },
        rest: bytes.toString("latin1", Math.max(0, end)),
      },
    };
  };

function chunked(bytes: Buffer): Result {
  const decoder = new ChunkedDecoder(LIMITS);
  const end = decoder.feed(bytes, 0, bytes.length);
  const forwarded = decoder.runs.text(bytes) + decoder.trailer;
  const data = new ChunkedDecoder(LIMITS, true);
  data.feed(bytes, 0, bytes.length);
  const { refusal, done, dataBytes } = decoder;
  return {
    outcome: refusal !== undefined ? `refused ${refusal.code}` : done ? "accepted" : "incomplete",
    facts: {
      ...{ forwarded, data: data.runs.text(bytes), "data bytes": String(dataBytes) },
      rest: bytes.toString("latin1", end),
    },
  };
}

const FILES: Record<string, (bytes: Buffer) => Result> = {
  "requests.md": request,
  "responses.md": responseTo("GET"),
  "responses-to-head.md": responseTo("HEAD"),
  "chunked.md": chunked,
};

for (const [file, run] of Object.entries(FILES)) {
  test.each(casesIn(file))(`${file}: $title`, ({ bytes, outcome, facts }) => {
    const result = run(Buffer.from(bytes, "latin1"));
    expect(result.outcome).toBe(outcome);
    for (const [name, value] of facts) expect({ [name]: result.facts[name] }).toEqual({ [name]: value });
  });
}

/** Refused by the exchange, which alone knows how much of a body has passed: see test/http. */
const NOT_OF_A_PARSER = new Set([REFUSALS.bodyBytes.code]);

test("every refusal has a case", () => {
  const outcomes = new Set(Object.keys(FILES).flatMap((file) => casesIn(file).map(({ outcome }) => outcome)));
  const missing = Object.values(REFUSALS)
    .map(({ code }) => code)
    .filter((code) => !NOT_OF_A_PARSER.has(code) && !outcomes.has(`refused ${code}`));
  expect(missing).toEqual([]);
});

test("every title is used once", () => {
  const titles = Object.keys(FILES).flatMap((file) => casesIn(file).map(({ title }) => `${file}: ${title}`));
  expect(titles.filter((title, i) => titles.indexOf(title) !== i)).toEqual([]);
});
