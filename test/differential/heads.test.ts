import { METHODS } from "node:http";
import { expect, test } from "vitest";
import { expectedFields, type Message, NodeReading, type Reading, read, valuesOf } from "./framing.ts";
import { Draw, requestTraffic, responseTraffic } from "./generator.ts";

const SEED = Number(process.env.SPILLWAY_TEST_SEED ?? 20_260_302);
const REQUESTS = 100_000;
const RESPONSES = 30_000;

/** Why Spillway refuses what Node's parser takes, by refusal code. Every other refusal must be Node's as well. */
const WE_REFUSE: Record<string, string> = {
  "no-host": "node:http looks for Host behind its parser (RFC 9112 section 3.2)",
  "two-hosts": "which of two hosts is meant depends on the reader (RFC 9112 section 3.2)",
  "bad-host": "Node's parser takes any field value as a host (RFC 9110 section 7.2)",
  "bad-target": "Node's parser takes #, bytes above 0x7f, user information and unknown schemes (RFC 9112 section 3.2)",
  "bad-method":
    "Node's parser skips any number of empty lines, ended by CR or LF alone, before a request (RFC 9112 section 2.2: at least one may be)",
  "bad-line-end": "Node's parser skips a CR without LF before a request",
  "bad-request-line":
    "Node's parser takes ICE/1.0 and RTSP/1.0, and more than one space before the target (RFC 9112 section 3)",
  "bad-version": "Node's parser takes 0.9 and 2.0, which are other protocols",
  "bad-status-line":
    "Node's parser takes a status line after empty lines, an unknown version, and any three digits (RFC 9112 section 4)",
  "method-not-allowed": "CONNECT and TRACE are not served by a gateway",
  "unknown-expectation": "node:http looks at Expect behind its parser (RFC 9110 section 10.1.1)",
  "target-too-long": "a limit of ours",
  "head-too-large": "a limit of ours",
  "too-many-fields": "a limit of ours",
  "bad-chunk-extension": "a limit of ours",
  "bad-chunk-size": "a chunk size of more than 13 digits, leading zeros among them, is refused",
  "bad-content-length": "a length above 2^53 cannot be counted exactly",
  "chunked-in-1.0": "HTTP/1.0 has no Transfer-Encoding: its framing is faulty (RFC 9112 section 6.1)",
  "unknown-transfer-coding":
    "Node's parser reads a response with another coding until the connection ends (RFC 9112 section 6.3, allowed); we would have to pass it on unread",
  "chunked-not-final": "Node's parser takes empty list members, and white space behind the value",
  "interim-with-body": "Node's parser takes the body that a 1xx declares for the next response (RFC 9110 section 15.2)",
};

interface Taken {
  /** Node's error. */
  readonly code: string;
  /** Whether it is this class; `text` begins with the message. */
  applies(message: Message, text: string, before: Message | undefined): boolean;
  readonly reason: string;
}

const trailerHas = (name: string) => (message: Message, text: string) =>
  message.chunked && new RegExp(`\\r\\n0+(;[^\\r\\n]*)?\\r\\n[^]*${name}:`, "i").test(text);

/** Why Spillway takes what Node's parser refuses. */
const WE_TAKE: readonly Taken[] = [
  {
    code: "HPE_INVALID_METHOD",
    applies: (message) => !METHODS.includes(message.kind),
    reason: "any token is a method (RFC 9110 section 9.1); the backend judges it",
  },
  {
    code: "HPE_INVALID_VERSION",
    applies: (_, text) => /^(\r\n)?\S+ \S+ HTTP\/1\.[2-9]\r\n/.test(text),
    reason: "a higher minor version is served as 1.1 (RFC 9110 section 2.5), and forwarded as 1.1",
  },
  {
    code: "HPE_INVALID_VERSION",
    applies: (message) => message.kind === "PRI",
    reason: "PRI is a method like any other outside HTTP/2's preface, which is refused by its version",
  },
  {
    code: "HPE_STRICT",
    applies: (message, text) => message.chunked && /\r\n[0-9a-f]+;/i.test(text),
    reason: "chunk extensions are left out when forwarding, so their grammar is not looked at, only their end and size",
  },
  {
    code: "HPE_INVALID_CONTENT_LENGTH",
    applies: trailerHas("content-length"),
    reason: "Content-Length in a trailer section is left out when forwarding (RFC 9110 section 6.5.1)",
  },
  {
    code: "HPE_INVALID_CONTENT_LENGTH",
    applies: (_, text) => /\r\ncontent-length:[ \t]*[0-9]+ *\t[ \t]*\r\n/i.test(text),
    reason: "a tab behind the value is white space like any other (RFC 9110 section 5.5)",
  },
  {
    code: "HPE_INVALID_TRANSFER_ENCODING",
    applies: trailerHas("transfer-encoding"),
    reason: "Transfer-Encoding in a trailer section is left out when forwarding (RFC 9110 section 6.5.1)",
  },
  {
    code: "HPE_CLOSED_CONNECTION",
    applies: (_message, _text, before) => before !== undefined && /^1..$/.test(before.kind),
    reason: "an interim response does not end its connection, whatever version or Connection it bears",
  },
];

/** Node reads on for as long as a Content-Length in a trailer section says; we leave that field out (see WE_TAKE). */
const endsLaterInNode = trailerHas("content-length");

/** What one connection's bytes came to: `undefined` when both agree, the name of a class, or a difference outside them. */
type Verdict = { readonly group: string } | { readonly difference: string } | undefined;

function sameMessage(
  ours: Message,
  node: NodeReading,
  index: number,
  responseTo: string | undefined,
): string | undefined {
  const theirs = node.messages[index];
  if (theirs === undefined) return "Node has not read its head";
  if (theirs.kind !== ours.kind) return `Node reads ${theirs.kind}, Spillway ${ours.kind}`;
  if (theirs.body !== ours.body)
    return `Node reads the body ${JSON.stringify(theirs.body)}, Spillway ${JSON.stringify(ours.body)}`;
  const fields = expectedFields(theirs, responseTo === undefined);
  if (fields !== ours.fields)
    return `Node reads the fields ${JSON.stringify(fields)}, Spillway ${JSON.stringify(ours.fields)}`;
  if (responseTo !== undefined) return undefined;
  return sameTarget(ours, theirs.url, valuesOf(theirs, "host")[0] ?? "");
}

/** The target and the host it is for: an absolute form carries both (RFC 9112 section 3.2.2). */
function sameTarget(ours: Message, url: string, host: string): string | undefined {
  const rest = /^https?:\/\//i.test(url) ? url.slice(url.indexOf("//") + 2) : undefined;
  const slash = rest?.search(/[/?]/) ?? -1;
  const authority = rest === undefined ? host : slash < 0 ? rest : rest.slice(0, slash);
  let target = rest === undefined ? url : slash < 0 ? "" : rest.slice(slash);
  if (target === "") target = ours.kind === "OPTIONS" ? "*" : "/";
  if (target.startsWith("?")) target = `/${target}`;
  if (target !== ours.target) return `Node reads the target ${url}, Spillway ${ours.target}`;
  return authority === ours.hostText ? undefined : `Node reads the host ${authority}, Spillway ${ours.hostText}`;
}

function nodeRefuses(code: string, message: Message, text: string, before: Message | undefined): Verdict {
  if (message.end < 0) return { group: "cut in its body, and refused by Node before that" };
  const known = WE_TAKE.find((taken) => taken.code === code && taken.applies(message, text, before));
  if (known === undefined) return { difference: `Node refuses it: ${code}` };
  return { group: `taken, though Node says ${code}: ${known.reason}` };
}

function compare(text: string, bytes: Buffer, ours: Reading, responseTo: string | undefined): Verdict {
  const node = new NodeReading(responseTo);
  try {
    let at = 0;
    for (const [index, message] of ours.messages.entries()) {
      const end = message.end < 0 ? bytes.length : message.end;
      const own = text.slice(at, end);
      // All but its last byte must not end it, and the last must.
      node.feed(bytes, at, end - 1);
      if (node.error === "" && node.completed > index)
        return { difference: `Node ends message ${index} before ${end}` };
      node.feed(bytes, Math.max(at, end - 1), end);
      if (node.error !== "") return nodeRefuses(node.error, message, own, ours.messages[index - 1]);
      if (node.completed !== (message.end < 0 ? index : index + 1)) {
        if (endsLaterInNode(message, own))
          return { group: "Node takes Content-Length of a trailer section for a length" };
        return { difference: `Node does not end message ${index} at ${end}` };
      }
      const difference = sameMessage(message, node, index, responseTo);
      if (difference !== undefined) return { difference: `message ${index}: ${difference}` };
      at = end;
    }
    const index = ours.messages.length;
    if (ours.end === "head" || ours.end === "refused") node.feed(bytes, at, bytes.length);
    if (ours.end === "head" && node.messages.length > index)
      return { difference: "Node reads a head where Spillway waits" };
    if (ours.end !== "refused") return undefined;
    const headTaken = !ours.refusedInBody && node.messages.length > index && node.error === "";
    if (!headTaken && node.completed <= index) return undefined;
    const { code } = ours.refusal!;
    const reason = WE_REFUSE[code];
    if (reason === undefined) return { difference: `Spillway refuses it: ${code}` };
    return { group: `refused as ${code}, though Node takes it: ${reason}` };
  } finally {
    node.close();
  }
}

/** The bytes as JavaScript that makes them again. */
function literal(text: string): string {
  const escaped = JSON.stringify(text).replace(/\\u00|[\x7f-\xff]/g, (found) =>
    found.length > 1 ? "\\x" : `\\x${found.charCodeAt(0).toString(16)}`,
  );
  return `Buffer.from(${escaped}, "latin1")`;
}

interface Run {
  readonly counts: Map<string, number>;
  /** Each difference outside the classes, with its bytes. */
  readonly failures: string[];
}

function run(
  connections: number,
  seed: number,
  draw: (draw: Draw) => string,
  methodFor: (draw: Draw) => string | undefined,
): Run {
  const source = new Draw(seed);
  const counts = new Map<string, number>();
  const failures: string[] = [];
  const count = (name: string) => counts.set(name, (counts.get(name) ?? 0) + 1);
  for (let i = 0; i < connections; i++) {
    const text = draw(source);
    const responseTo = methodFor(source);
    const bytes = Buffer.from(text, "latin1");
    const whole = read(bytes, [bytes.length], responseTo);
    for (const message of whole.messages)
      count(message.chunked ? MESSAGES.chunked : message.body === "" ? MESSAGES.bare : MESSAGES.sized);
    if (whole.end === "refused") count(MESSAGES.refused);
    const verdict = compare(text, bytes, whole, responseTo);
    if (verdict !== undefined && "group" in verdict) count(verdict.group);
    else if (verdict !== undefined) failures.push(`${verdict.difference}\n${literal(text)}`);
    const cuts = source.cuts(bytes.length, 4);
    const cut = read(bytes, cuts, responseTo);
    if (JSON.stringify(cut) !== JSON.stringify(whole))
      failures.push(`cut at ${cuts.join(", ")} it is read otherwise\n${literal(text)}`);
  }
  return { counts, failures };
}

const MESSAGES = {
  bare: "messages without a body, framed alike",
  sized: "messages with a body, framed alike",
  chunked: "messages in chunks, framed alike",
  refused: "connections that end with a refusal",
};

/** One summary of what was compared; fails on differences outside the classes, and when hardly anything was compared. */
function report(title: string, { counts, failures }: Run): void {
  const rows = [...counts].sort((a, b) => b[1] - a[1]).map(([name, times]) => `${String(times).padStart(8)}  ${name}`);
  for (const kind of Object.values(MESSAGES)) expect(counts.get(kind), kind).toBeGreaterThan(1000);
  console.log(`${title}, seed ${SEED} (SPILLWAY_TEST_SEED):\n${rows.join("\n")}`);
  expect(failures.slice(0, 3), `${failures.length} differences`).toEqual([]);
}

test("no request that Spillway takes is framed differently by Node's parser", () => {
  report(
    `${REQUESTS} connections of requests`,
    run(REQUESTS, SEED, requestTraffic, () => undefined),
  );
});

test("no response that Spillway takes is framed differently by Node's parser", () => {
  const methodFor = (draw: Draw) => (draw.chance(0.15) ? "HEAD" : "GET");
  report(`${RESPONSES} connections of responses`, run(RESPONSES, SEED + 1, responseTraffic, methodFor));
});
