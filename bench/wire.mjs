// What parsing one request head costs, without sockets: `npm run build && node bench/wire.mjs [DIR]`.
// DIR is where the compiled files lie (default: dist). "First" is a head whose fields differ from the ones before,
// "repeated" one whose fields are remembered. Warm-up 200,000 heads, then 1,000,000 in slices of 5,000.
import { pathToFileURL } from "node:url";

const WARM_UP = 200_000;
const HEADS = 1_000_000;
const SLICE = 5_000;

const wire = new URL("wire/", `${pathToFileURL(process.argv[2] ?? "dist").href}/`);
const { RequestHead } = await import(new URL("request-head.js", wire));
const { ResponseHead } = await import(new URL("response-head.js", wire));
const { knownNames } = await import(new URL("fields.js", wire));
const { ChunkedDecoder } = await import(new URL("chunked-decoder.js", wire));

const browser = [
  "Host: shop.example.test",
  "Connection: keep-alive",
  "Cache-Control: max-age=0",
  'sec-ch-ua: "Chromium";v="128", "Not;A=Brand";v="24", "Google Chrome";v="128"',
  "sec-ch-ua-mobile: ?0",
  'sec-ch-ua-platform: "Linux"',
  "Upgrade-Insecure-Requests: 1",
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36",
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
  "Sec-Fetch-Site: none",
  "Sec-Fetch-Mode: navigate",
  "Accept-Encoding: gzip, deflate, br, zstd",
  "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
  "Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; basket=17; consent=necessary.statistics; visitor=45c48cce2e2d7fbdea1afc51c7c6ad26; seen=20260302T100000Z",
];
const large = [
  ...browser,
  ...Array.from({ length: 16 }, (_, i) => `X-Application-Detail-${i}: ${"value ".repeat(8)}${i}`),
];
const request = (line, fields) => `${line}\r\n${fields.join("\r\n")}\r\n\r\n`;
const shapes = {
  bare: request("GET / HTTP/1.1", ["Host: shop.example"]),
  browser: request("GET /products/42?ref=home HTTP/1.1", browser),
  "2 KB": request("GET /products/42?ref=home HTTP/1.1", large),
};
const limits = { headBytes: 32768, headFields: 100, targetBytes: 8192, chunkExtensionBytes: 4096 };

/** Nanoseconds per call of `once(i)`: of the quickest slice, because other work on the machine only ever adds. */
function measure(once) {
  const slice = () => {
    const start = process.hrtime.bigint();
    for (let i = 0; i < SLICE; i++) once(i);
    return Number(process.hrtime.bigint() - start) / SLICE;
  };
  for (let done = 0; done < WARM_UP; done += SLICE) slice();
  let best = Number.POSITIVE_INFINITY;
  for (let done = 0; done < HEADS; done += SLICE) best = Math.min(best, slice());
  return Math.round(best);
}

/** The head's text as it lies in a connection's read buffer, and a twin that differs in one byte of a value. */
function twins(text) {
  const buffers = [Buffer.alloc(65536), Buffer.alloc(65536)];
  buffers[0].write(text, "latin1");
  buffers[1].write(text.replace("shop.example", "shop.exemple"), "latin1");
  return buffers;
}

const rows = [];
for (const [name, text] of Object.entries(shapes)) {
  const [one, other] = twins(text);
  const length = text.length;
  const changing = new RequestHead(limits, knownNames("x-request-id"));
  const repeating = new RequestHead(limits, knownNames("x-request-id"));
  const check = (end) => {
    if (end !== length) throw new Error(`${name}: parsed ${end} of ${length} bytes`);
  };
  rows.push({
    head: `request, ${name}`,
    bytes: length,
    "first, ns": measure((i) => check(changing.parse((i & 1) === 0 ? one : other, 0, length))),
    "repeated, ns": measure(() => check(repeating.parse(one, 0, length))),
  });
}

const response = Buffer.from(
  "HTTP/1.1 200 OK\r\nDate: Mon, 02 Mar 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n",
);
const responseHead = new ResponseHead(limits);
rows.push({
  head: "response",
  bytes: response.length,
  "first, ns": measure(() => responseHead.parse(response, 0, response.length, "GET")),
});

const chunk = `400\r\n${"x".repeat(1024)}\r\n`;
const chunked = Buffer.from(`${chunk.repeat(10)}0\r\n\r\n`);
rows.push({
  head: "chunked body, 10 chunks",
  bytes: chunked.length,
  "first, ns": measure(() => new ChunkedDecoder(limits).feed(chunked, 0, chunked.length)),
});

console.table(rows);
