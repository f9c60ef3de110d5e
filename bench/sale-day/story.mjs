// The story of the sale day, in its own minutes. 00:00 is when the sale begins.

import { capacity } from "../shop/service.mjs";

/** Requests per second of a normal day; the four servers of the shop can serve 55 times as many. */
export const normalPerSecond = 22;

/**
 * @typedef {object} Phase
 * @property {string} name
 * @property {number} times normal traffic
 * @property {number} from minute
 * @property {number} to minute
 */

/** The minute at which the run begins. */
const opening = -1.5;

/** @type {readonly Phase[]} */
export const phases = [
  { name: "normal", times: 1, from: opening, to: 0 },
  { name: "10x", times: 10, from: 0, to: 1 },
  { name: "50x", times: 50, from: 1, to: 4 },
  { name: "100x", times: 100, from: 4, to: 10 },
  { name: "normal", times: 1, from: 10, to: 11 },
];

/** Which server is lost, when, and when it is started again. */
export const loss = { server: 1, at: 5, back: 8 };

/** Time of a moment of the story since the beginning of the run. @param {number} minute @param {number} minuteMs */
export function at(minute, minuteMs) {
  return (minute - opening) * minuteMs;
}

/** @param {number} minuteMs @returns {import("../shop/arrivals.mjs").Segment[]} */
export function segments(minuteMs) {
  return phases.map(({ times, from, to }) => ({ ms: (to - from) * minuteMs, perSecond: times * normalPerSecond }));
}

/** What the picture and the report name. @param {number} minuteMs @returns {{ ms: number, text: string }[]} */
export function marks(minuteMs) {
  return [
    ...phases.slice(1).map(({ name, from }) => ({ ms: at(from, minuteMs), text: name })),
    { ms: at(loss.at, minuteMs), text: "server lost" },
    { ms: at(loss.back, minuteMs), text: "it returns" },
  ].sort((a, b) => a.ms - b.ms);
}

/** The minute as a clock shows it: -1:30, 0:00, 10:00. @param {number} minute */
export function clock(minute) {
  const seconds = Math.round(Math.abs(minute) * 60);
  return `${minute < 0 ? "-" : ""}${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** Requests per second that so many servers can serve. @param {number} servers */
export function capacityOf(servers) {
  return servers * capacity;
}
