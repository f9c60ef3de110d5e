// What is asked of the proxies.

/**
 * @typedef {object} Shape
 * @property {string} id
 * @property {string} title
 * @property {Omit<import("./lib/native.mjs").LoadOptions, "port" | "seconds" | "fields">} load
 * @property {boolean} [browser] the head of a browser instead of Host alone
 * @property {boolean} [bodies] bodies are large: nginx with large buffers joins in
 * @property {boolean} [short] many sockets stay in TIME_WAIT: fewer and shorter runs
 * @property {string} [note]
 */

/** What a browser sends to a shop: with Host 14 fields, about 800 bytes. */
const browserFields = [
  "Connection: keep-alive",
  "Cache-Control: max-age=0",
  'sec-ch-ua: "Chromium";v="124", "Not-A.Brand";v="99"',
  "sec-ch-ua-mobile: ?0",
  'sec-ch-ua-platform: "Linux"',
  "Upgrade-Insecure-Requests: 1",
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
  "Sec-Fetch-Site: same-origin",
  "Sec-Fetch-Dest: document",
  "Accept-Encoding: gzip, deflate, br, zstd",
  "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
  "Cookie: session=8f14e45fceea167a5a36dedd4bea2543; basket=3; theme=dark; consent=necessary; visited=2026-03-01T09%3A14%3A22Z; " +
    "experiment=b; currency=EUR; last=shoes%2Fboots; ref=newsletter",
];
export const browserHead = browserFields.map((field) => `${field}\r\n`).join("");

const kib = 1024;

/** @type {readonly Shape[]} */
export const shapes = [
  { id: "bare", title: "13-byte body, bare head, 64 connections", load: { connections: 64 } },
  {
    id: "browser",
    title: "13-byte body, browser-like head (14 fields, about 800 bytes), 64 connections",
    load: { connections: 64 },
    browser: true,
  },
  { id: "many", title: "13-byte body, bare head, 1,000 connections", load: { connections: 1000 } },
  {
    id: "body-10k",
    title: "10 KiB body, 64 connections",
    load: { connections: 64, path: `/${10 * kib}`, expect: 10 * kib },
    bodies: true,
  },
  {
    id: "body-1m",
    title: "1 MiB body, 64 connections",
    load: { connections: 64, path: `/${kib * kib}`, expect: kib * kib },
    bodies: true,
  },
  { id: "upload-64k", title: "64 KiB upload, 64 connections", load: { connections: 64, post: 64 * kib }, bodies: true },
  {
    id: "close",
    title: "A new connection for each request, 64 at a time",
    load: { connections: 64, close: true },
    short: true,
  },
];

/** Not in the usual run; ask for them with --shapes. @type {readonly Shape[]} */
export const extraShapes = [
  { id: "single", title: "13-byte body, bare head, 1 connection", load: { connections: 1 } },
  {
    id: "chunked-10k",
    title: "10 KiB body, chunked, 64 connections",
    load: { connections: 64, path: `/c${10 * kib}`, expect: 10 * kib },
    bodies: true,
  },
  {
    id: "upload-64k-chunked",
    title: "64 KiB upload, chunked, 64 connections",
    load: { connections: 64, post: 64 * kib, chunked: true },
    bodies: true,
  },
];
