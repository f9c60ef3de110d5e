import { STATUS_CODES } from "node:http";

/** `status reason` of a status line. */
export function statusText(status: number): string {
  return `${status} ${STATUS_CODES[status] ?? ""}`;
}

/** What a client reads when Spillway itself answers, by status. */
export function explanation(status: number): string {
  return `${statusText(status).trim()}\n`;
}
