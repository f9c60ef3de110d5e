import { SeededRandom } from "../../src/policy/model/random.ts";

/** Draws from lists, repeatably. */
export class Draw {
  readonly #random: SeededRandom;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  below(bound: number): number {
    return Math.floor(this.#random.next() * bound);
  }

  chance(probability: number): boolean {
    return this.#random.next() < probability;
  }

  one<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** One of `usual`, or now and then (`odds`) one of `odd`. */
  mostly(usual: readonly string[], odd: readonly string[], odds: number): string {
    return this.chance(odds) ? this.one(odd) : this.one(usual);
  }

  /** `[0, length]` cut at up to `most` places: the ends of the pieces, the last one `length`. */
  cuts(length: number, most: number): number[] {
    const places = new Set<number>([length]);
    for (let i = length === 0 ? 0 : this.below(most + 1); i > 0; i--) places.add(1 + this.below(length));
    return [...places].sort((a, b) => a - b);
  }
}

const METHODS = ["GET", "GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH", "PROPFIND"];
const ODD_METHODS = [
  "CONNECT",
  "TRACE",
  "get",
  "GE",
  "GETT",
  "PRI",
  "SOURCE",
  "FOO",
  "M-SEARCH",
  "G@T",
  "G\tT",
  "G\xc9T",
  "",
  "X".repeat(40),
];
const TARGETS = ["/", "/a", "/a/b?c=d&e=%20", "//a//b", "/a;p=1", "/%7Euser", "/?", "/a/../b", "/~!$&'()*+,;=:@"];
const ODD_TARGETS = [
  "*",
  "http://a.test/x",
  "http://b.test:8080?x=1",
  "HTTP://A.TEST",
  "https://[::1]:443/",
  "http://u:p@a.test/",
  "http://a.test:99999/",
  "http://",
  "http:///x",
  "ftp://a/b",
  "a.test:443",
  "x",
  "?x",
  "/a#b",
  "/é",
  "/\xc3\xa9",
  "/a\tb",
  "/a\x0bb",
  "/a\x7f",
  "/a\0b",
  '/"<>',
  "/a|b^c`d{e}\\f",
  "/%",
  "/%zz",
  "",
];
const ODD_VERSIONS = [
  "HTTP/1.0",
  "HTTP/1.0",
  "HTTP/1.2",
  "HTTP/1.9",
  "HTTP/0.9",
  "HTTP/2.0",
  "HTTP/2",
  "HTTP/1.10",
  "HTTP/01.1",
  "HTTP/1,1",
  "HTTP/1",
  "http/1.1",
  "HTTPS/1.1",
  "ICE/1.0",
  "RTSP/1.0",
  "HTTP/1.1 ",
  "HTTP/1.1\t",
  "HTTP /1.1",
  "",
];
const ODD_SPACES = ["  ", "\t", "\x0b", "\xa0", "", " \t", "\r", "\n"];
const ODD_LINE_ENDS = ["\n", "\r", "\r\r\n", "\n\r", "\r\n ", " \r\n", "\0\r\n", "\r\n\t", ""];

const HOSTS = ["a.test", "a.test:80", "A.Test", "127.0.0.1:8080", "[::1]", "[::1]:80", "a.test:"];
const ODD_HOSTS = [
  "",
  " ",
  "a b",
  "a@b",
  "u:p@a.test",
  "a/b",
  "a,b",
  "a;b",
  "a, b",
  "a:b",
  "a:80:80",
  "a:99999",
  "[::1",
  "[zz]",
  "a\tb",
  "\xe9.test",
  "a?b",
  "a#b",
  "a\\b",
  "http://a",
  "*",
  "-",
  "%41",
  ".",
];
const ODD_LENGTHS = [
  "+5",
  "-5",
  "0x5",
  "5 5",
  "5,5",
  "5, 5",
  "5;5",
  "05",
  "0000000000000000000005",
  "5.0",
  "5e0",
  "",
  " ",
  "five",
  "\x0b5",
  "5\x0b",
  "\xb2",
  "18446744073709551616",
  "18446744073709551621",
  "9007199254740993",
  "4294967301",
  '"5"',
  "5\t",
  "\t5",
];
const ODD_CODINGS = [
  "xchunked",
  "chunkedx",
  "chunked, chunked",
  "chunked, gzip",
  "gzip, chunked",
  "gzip",
  "identity",
  "identity, chunked",
  "chunked, identity",
  "",
  ",",
  ",chunked",
  "chunked,",
  " chunked",
  "\tchunked",
  "chunked\t",
  "\x0bchunked",
  "chunked\x0b",
  "chun ked",
  "chunked;a=b",
  "chunked chunked",
  '"chunked"',
  "CHUNKED",
  "chunKed",
  "\x00chunked",
  "chunked\xa0",
  "c\x68unked",
];
const NAME_SPOILERS = [" ", "\t", "\x0b", "\0", "\xa0", "(", "\r", "\n", "\xe9", "_"];
const CONNECTIONS = ["keep-alive", "close", "Close", "keep-alive, X-A", "x-b", "te", ""];
const ODD_CONNECTIONS = [
  "Content-Length",
  "Transfer-Encoding, close",
  "Host",
  "upgrade",
  "Upgrade, HTTP2-Settings",
  "close, keep-alive",
  "keep-alive,close",
  ",,",
  "closed",
  "x-a x-b",
  '"close"',
];
const UPGRADES = ["websocket", "h2c", "h2c, websocket", "foo/1", ""];
const EXPECTS = ["100-continue", "100-Continue", "a-miracle", "100-continue, x", ""];
const PLAIN_FIELDS = [
  "Accept: */*",
  "User-Agent: x/1.0 (a; b)",
  "X-A: 1",
  "X-a: 2",
  "x-b: ",
  "X-C:no-space",
  "X-D: \t padded \t ",
  "X-E: \xe9\xff\x80 text",
  "Cookie: a=b; c=d",
  "Cookie: e=f",
  "X-Forwarded-For: 192.0.2.1",
  "X-Forwarded-Proto: https",
  "Forwarded: for=192.0.2.1",
  "Keep-Alive: timeout=5",
  "Proxy-Connection: keep-alive",
  "TE: trailers",
  "Trailer: X-Sum",
  'X-Quoted: "a\\"b, c"',
  "Content-Type: text/plain",
  "Via: 1.1 x",
  "X-Colon: a:b::c",
  "!#$%&'*+-.^_`|~: odd name",
];
const ODD_FIELDS = [
  ": no name",
  "no colon",
  "X-Fold: a\r\n b",
  "X-Fold: a\r\n\tb",
  "X-Nul: a\0b",
  "X-Cr: a\rb",
  "X-Lf: a\nb",
  "X-Vt: a\x0bb",
  "X-Del: a\x7fb",
  "X-Esc: \x1b[0m",
  "X Y: 1",
  "Content_Length: 7",
  "Transfer_Encoding: chunked",
  "Content-Length\xa0: 5",
  "Transfer-Encoding\0: chunked",
  " Leading: 1",
  "",
];
const BODIES = ["", "x", "hello", "a=b&c=d", "0\r\n\r\n", "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", "\0\xff\r\n"];

function chunkedBody(draw: Draw, odds: number): string {
  let body = "";
  for (let chunks = draw.below(4); chunks > 0; chunks--) {
    const data = draw.one(BODIES);
    if (data === "") continue;
    const size = data.length.toString(16);
    body += draw.mostly(
      [size, size, size.toUpperCase(), `0${size}`, `000${size}`],
      [
        `0x${size}`,
        `+${size}`,
        `-${size}`,
        ` ${size}`,
        `${size} `,
        `${size}\t`,
        "",
        "g",
        `${"0".repeat(20)}${size}`,
        `ffffffffffffffff${size}`,
        "8000000000000000",
        `${size},`,
      ],
      odds,
    );
    body += draw.mostly(
      ["", "", ";a=b", ';a="b;c"'],
      [";", ";a\0", ";a\n", " ;a", ";\r\r\n", `;${"e".repeat(80)}`, ";a=b\x7f", ";a b"],
      odds,
    );
    body += draw.mostly(["\r\n"], ODD_LINE_ENDS, odds);
    body += draw.mostly([data], [`${data}x`, data.slice(1)], odds);
    body += draw.mostly(["\r\n"], ODD_LINE_ENDS, odds);
  }
  body += draw.mostly(["0", "0", "00", "0;last"], ["", "0 ", "0x0", "-0", "1", "000000000000000000000"], odds);
  body += draw.mostly(["\r\n"], ODD_LINE_ENDS, odds);
  body += draw.mostly(
    ["", "", "X-Sum: 1\r\n", "A: b\r\nC: d\r\n", "Content-Length: 9\r\n"],
    ["X : 1\r\n", "X: 1\n", "X: a\r\n b\r\n", "nothing\r\n", ": x\r\n", "X: \0\r\n", "Transfer-Encoding: chunked\r\n"],
    odds,
  );
  return body + draw.mostly(["\r\n"], ODD_LINE_ENDS, odds);
}

function field(draw: Draw, name: string, value: string, odds: number): string {
  const spelled = draw.chance(0.3) ? name.toLowerCase() : draw.chance(0.1) ? name.toUpperCase() : name;
  const spoiled = draw.chance(odds) ? spelled + draw.one(NAME_SPOILERS) : spelled;
  return `${spoiled}:${draw.mostly([" ", " ", "", "\t", "  "], ["\x0b", "\r\n ", "\n "], odds / 2)}${value}`;
}

function shuffled(draw: Draw, list: string[]): string[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = draw.below(i + 1);
    [list[i], list[j]] = [list[j]!, list[i]!];
  }
  return list;
}

/** Framing fields and the body that goes with them, or does not. */
function framing(draw: Draw, fields: string[], odds: number, bodyLikely: boolean): string {
  const data = draw.one(BODIES);
  if (!bodyLikely && draw.chance(0.8)) return draw.chance(odds) ? data : "";
  let body = data;
  if (draw.chance(0.5)) {
    fields.push(field(draw, "Transfer-Encoding", draw.mostly(["chunked"], ODD_CODINGS, odds * 2), odds));
    body = chunkedBody(draw, odds);
    if (draw.chance(odds)) fields.push(field(draw, "Content-Length", `${draw.chance(0.5) ? body.length : 0}`, odds));
  } else {
    fields.push(field(draw, "Content-Length", draw.mostly([`${data.length}`], ODD_LENGTHS, odds * 2), odds));
  }
  if (draw.chance(odds)) fields.push(field(draw, "Content-Length", `${data.length}`, odds));
  if (draw.chance(odds)) fields.push(field(draw, "Transfer-Encoding", draw.one(["chunked", ...ODD_CODINGS]), odds));
  return body;
}

function plainFields(draw: Draw, fields: string[], odds: number): void {
  for (let more = draw.below(6); more > 0; more--) fields.push(draw.mostly(PLAIN_FIELDS, ODD_FIELDS, odds));
  if (draw.chance(0.3)) fields.push(field(draw, "Connection", draw.mostly(CONNECTIONS, ODD_CONNECTIONS, 0.3), odds));
  if (draw.chance(0.05)) fields.push(field(draw, "Upgrade", draw.one(UPGRADES), odds));
  if (draw.chance(0.002)) for (let i = 0; i < 101; i++) fields.push(`X-Many-${i}: ${i}`);
  if (draw.chance(0.002)) fields.push(`X-Long: ${"v".repeat(33_000)}`);
}

function block(draw: Draw, fields: string[], odds: number): string {
  let text = "";
  for (const line of shuffled(draw, fields)) text += line + draw.mostly(["\r\n"], ODD_LINE_ENDS, odds / 4);
  return text + draw.mostly(["\r\n"], ODD_LINE_ENDS, odds / 2);
}

function request(draw: Draw, odds: number): string {
  const fields: string[] = [];
  const method = draw.mostly(METHODS, ODD_METHODS, odds);
  const target = draw.chance(0.001) ? `/${"t".repeat(9000)}` : draw.mostly(TARGETS, ODD_TARGETS, odds * 2);
  const version = draw.mostly(["HTTP/1.1"], ODD_VERSIONS, odds);
  if (!draw.chance(odds)) fields.push(field(draw, "Host", draw.mostly(HOSTS, ODD_HOSTS, odds), odds / 2));
  if (draw.chance(odds / 2)) fields.push(field(draw, "Host", draw.one(HOSTS), odds));
  if (draw.chance(0.05)) fields.push(field(draw, "Expect", draw.one(EXPECTS), odds));
  plainFields(draw, fields, odds);
  const body = framing(draw, fields, odds, method === "POST" || method === "PUT" || method === "PATCH");
  const space = () => draw.mostly([" "], ODD_SPACES, odds / 4);
  const before = draw.mostly([""], ["\r\n", "\r\n\r\n", "\n", "\r", " "], odds / 2);
  const lineEnd = draw.mostly(["\r\n"], ODD_LINE_ENDS, odds / 4);
  return `${before}${method}${space()}${target}${space()}${version}${lineEnd}${block(draw, fields, odds)}${body}`;
}

const STATUSES = ["200", "200", "200", "201", "204", "304", "404", "500", "100", "103", "101"];
const ODD_STATUSES = ["0", "99", "600", "999", "20", "2000", "+20", "2x0", "", "1e2", "000"];
const REASONS = [" OK", " No", " ", "", " Not Modified", " \xe9\t!"];
const ODD_REASONS = ["OK", " \0", " a\rb", " \x7f", "\tOK", "\x0b"];

function response(draw: Draw, odds: number): string {
  const fields: string[] = [];
  const status = draw.mostly(STATUSES, ODD_STATUSES, odds);
  const version = draw.mostly(["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"], ODD_VERSIONS, odds);
  plainFields(draw, fields, odds);
  if (draw.chance(0.3)) fields.push("Date: Mon, 02 Mar 2026 10:00:00 GMT");
  const body = framing(draw, fields, odds, !/^(1|204|304)/.test(status) || draw.chance(0.2));
  const space = draw.mostly([" "], ODD_SPACES, odds / 4);
  const reason = draw.mostly(REASONS, ODD_REASONS, odds);
  const lineEnd = draw.mostly(["\r\n"], ODD_LINE_ENDS, odds / 4);
  return `${draw.mostly([""], ["\r\n", "\n", " "], odds / 4)}${version}${space}${status}${reason}${lineEnd}${block(draw, fields, odds)}${body}`;
}

const INSERTS = ["\r", "\n", "\r\n", "\0", " ", "\t", "\x0b", ":", ",", ";", "\x7f", "\x80", "\r\n ", "\r\n\r\n", "0"];

function mutated(draw: Draw, text: string): string {
  if (text.length < 2) return text;
  const at = draw.below(text.length);
  switch (draw.below(8)) {
    case 0:
      return text.slice(0, at) + String.fromCharCode(draw.below(256)) + text.slice(at + 1);
    case 1:
      return text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << draw.below(8))) + text.slice(at + 1);
    case 2:
      return text.slice(0, at) + draw.one(INSERTS) + text.slice(at);
    case 3:
      return text.slice(0, at) + text.slice(at + 1 + draw.below(3));
    case 4: {
      const lines = text.split("\r\n");
      lines.splice(draw.below(lines.length), 0, draw.one(lines));
      return lines.join("\r\n");
    }
    case 5: {
      const lines = text.split("\r\n");
      lines.splice(draw.below(lines.length), 1);
      return lines.join("\r\n");
    }
    case 6:
      return shuffled(draw, text.split("\r\n")).join("\r\n");
    default:
      return text.slice(0, at);
  }
}

/**
 * What one connection carries: a third valid, a third built from odd parts, a third mutated; now and then two messages
 * one behind the other, the end cut off, or nothing but noise.
 */
function traffic(draw: Draw, message: (draw: Draw, odds: number) => string): string {
  const kind = draw.below(3);
  let text = message(draw, kind === 1 ? 0.06 : 0.004);
  if (kind === 2) for (let times = 1 + draw.below(3); times > 0; times--) text = mutated(draw, text);
  if (draw.chance(0.25)) text += message(draw, kind === 1 ? 0.06 : 0.004);
  if (draw.chance(0.03)) text = text.slice(0, 1 + draw.below(text.length));
  return text;
}

export const requestTraffic = (draw: Draw): string => traffic(draw, request);
export const responseTraffic = (draw: Draw): string => traffic(draw, response);
