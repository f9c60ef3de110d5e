// What became of a request, read from the bytes that came back.

/** What became of a request; kept as an index of this. */
export const outcomes = /** @type {const} */ (["pending", "served", "shed", "failed"]);
export const pending = 0;
export const served = 1;
export const shed = 2;
export const failed = 3;

/** Why Spillway says that it will not do a request, rather than that it could not. */
const shedReasons = new Set(["queue-full", "queue-timeout", "deadline", "rate", "concurrency", "throttled"]);

/** @typedef {{ status: number, reason: string | undefined, end: number | undefined, close: boolean }} Head */

/**
 * Reads the head of a response. `end` is the index behind its last byte; undefined: it ends with the connection.
 * @param {string} text
 * @returns {Head | undefined} undefined while the head is not whole
 */
export function readHead(text) {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const head = text.slice(0, end + 2).toLowerCase();
  const field = (/** @type {string} */ name) => {
    const from = head.indexOf(`\r\n${name}:`);
    return from < 0 ? undefined : head.slice(from + name.length + 3, head.indexOf("\r\n", from + 2)).trim();
  };
  const length = field("content-length");
  return {
    status: Number(head.slice(9, 12)),
    reason: field("spillway-reason"),
    end: length === undefined ? undefined : end + 4 + Number(length),
    close: field("connection") === "close",
  };
}

/**
 * Served, shed or failed.
 * @param {Head} head
 * @param {boolean} plainShed the proxy gives no reasons: each of its 503 and 429 is taken for shedding
 */
export function classify({ status, reason }, plainShed) {
  if (status >= 200 && status < 300) return served;
  if (status !== 503 && status !== 429) return failed;
  return plainShed || (reason !== undefined && shedReasons.has(reason)) ? shed : failed;
}
