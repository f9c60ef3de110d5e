/** The three kinds of request: without a body, with a body of known length, with chunks. POST alone is not idempotent. */
export const KINDS = ["GET", "POST", "PUT"] as const;
export type RequestKind = (typeof KINDS)[number];

/** How a response says where it ends. */
export type Framing = "length" | "chunked" | "close";

const BODY_BYTES = 300;
/** More than the kernel and the proxy take for a reader that does not read. */
export const LARGE_BYTES = 6 * 1024 * 1024;

/** A body of its own for each message, so that no byte can come from another one unseen. */
function bodyOf(word: string, size: number): string {
  if (size === LARGE_BYTES) return word + "x".repeat(size - word.length);
  return word.repeat(Math.ceil(size / word.length)).slice(0, size);
}

/** What the request with this id carries up. */
export function uploadOf(id: string, size = BODY_BYTES): string {
  return bodyOf(`<up ${id}>`, size);
}

/** What a backend answers to it. */
export function downloadOf(id: string, size = BODY_BYTES): string {
  return bodyOf(`<down ${id}>`, size);
}

function chunks(...data: readonly string[]): string {
  return data.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join("");
}

/** A request in the pieces a client may break off between. */
export interface RequestText {
  readonly kind: RequestKind;
  readonly id: string;
  readonly head: string;
  /** The body as it is sent, in two pieces; empty for a GET. */
  readonly firstHalf: string;
  readonly secondHalf: string;
}

export function requestOf(kind: RequestKind, id: string, size = BODY_BYTES): RequestText {
  const head = `${kind} /${id} HTTP/1.1\r\nHost: shop.test\r\n`;
  const half = Math.floor(size / 2);
  switch (kind) {
    case "GET":
      return { kind, id, head: `${head}\r\n`, firstHalf: "", secondHalf: "" };
    case "POST": {
      const body = uploadOf(id, size);
      const ends = `Content-Length: ${size}\r\n\r\n`;
      return { kind, id, head: head + ends, firstHalf: body.slice(0, half), secondHalf: body.slice(half) };
    }
    case "PUT": {
      const body = uploadOf(id, size);
      const [first, second] = [chunks(body.slice(0, half)), chunks(body.slice(half))];
      const ends = "Transfer-Encoding: chunked\r\n\r\n";
      return { kind, id, head: head + ends, firstHalf: first, secondHalf: `${second}0\r\n\r\n` };
    }
  }
}

/** A response in the pieces a backend may break off between. */
export interface ResponseText {
  readonly head: string;
  readonly firstHalf: string;
  readonly secondHalf: string;
}

/** The answer to the request with this id: names it, and the backend. */
export function responseOf(id: string, backend: string, framing: Framing, size = BODY_BYTES): ResponseText {
  const body = downloadOf(id, size);
  const half = Math.floor(size / 2);
  const [first, second] = [body.slice(0, half), body.slice(half)];
  const head = `HTTP/1.1 200 OK\r\nX-Id: ${id}\r\nX-Backend: ${backend}\r\n`;
  if (framing === "length") {
    return { head: `${head}Content-Length: ${size}\r\n\r\n`, firstHalf: first, secondHalf: second };
  }
  if (framing === "close") return { head: `${head}\r\n`, firstHalf: first, secondHalf: second };
  const chunked = `${head}Transfer-Encoding: chunked\r\n\r\n`;
  return { head: chunked, firstHalf: chunks(first), secondHalf: `${chunks(second)}0\r\n\r\n` };
}

export function whole({ head, firstHalf, secondHalf }: RequestText | ResponseText): string {
  return head + firstHalf + secondHalf;
}

/** The id that a request line asks for. */
export function idIn(head: string): string {
  return /^[A-Z]+ \/(\S+) /.exec(head)?.[1] ?? "";
}

/** A request that a backend read, or the beginning of one. */
export interface Arrival {
  readonly id: string;
  readonly method: string;
  readonly whole: boolean;
  /** Without its chunks, as far as it came. */
  readonly body: string;
}

/** Takes the bytes that one connection brought apart, by rules of the tests' own. */
export function arrivals(bytes: string): Arrival[] {
  const found: Arrival[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf("\r\n\r\n", at);
    const head = bytes.slice(at, end < 0 ? undefined : end + 4);
    const about = { id: idIn(head), method: head.slice(0, head.indexOf(" ")) };
    if (end < 0) {
      found.push({ ...about, whole: false, body: "" });
      break;
    }
    const { body, next } = bodyAt(bytes, end + 4, head);
    found.push({ ...about, whole: next !== undefined, body });
    if (next === undefined) break;
    at = next;
  }
  return found;
}

function bodyAt(bytes: string, from: number, head: string): { body: string; next: number | undefined } {
  const length = /\r\ncontent-length: (\d+)\r\n/i.exec(head)?.[1];
  if (length !== undefined) {
    const next = from + Number(length);
    return { body: bytes.slice(from, next), next: next <= bytes.length ? next : undefined };
  }
  if (!/\r\ntransfer-encoding: chunked\r\n/i.test(head)) return { body: "", next: from };
  let body = "";
  for (let at = from; ; ) {
    const size = /^([0-9a-f]+)\r\n/i.exec(bytes.slice(at, at + 20));
    if (size === null) return { body, next: undefined };
    at += size[0].length;
    const count = Number.parseInt(size[1]!, 16);
    body += bytes.slice(at, at + count);
    at += count + 2;
    if (at > bytes.length) return { body, next: undefined };
    if (count === 0) return { body, next: at };
  }
}
