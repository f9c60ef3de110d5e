import { STATUS_CODES } from "node:http";

/** Names that RFC 9110 section 15 gave anew, and Node.js has not taken up everywhere. */
const RENAMED: Readonly<Record<number, string>> = { 413: "Content Too Large", 422: "Unprocessable Content" };

/** `status reason` of a status line. */
export function statusText(status: number): string {
  return `${status} ${RENAMED[status] ?? STATUS_CODES[status] ?? ""}`;
}

/** What a client reads when Spillway itself answers, by status. */
export function explanation(status: number): string {
  return `${statusText(status).trim()}\n`;
}
