// CPU time and memory of a process with all its threads and children, from /proc.

import { readdirSync, readFileSync } from "node:fs";

/** Ticks of utime in /proc/PID/stat are hundredths of a second on Linux (USER_HZ). */
const NS_PER_TICK = 1e7;

/** The process and everything below it.
 * @param {number} pid @returns {number[]} */
export function family(pid) {
  const pids = [pid];
  for (const thread of list(`/proc/${pid}/task`)) {
    for (const child of read(`/proc/${pid}/task/${thread}/children`).split(" ").filter(Boolean)) {
      pids.push(...family(Number(child)));
    }
  }
  return pids;
}

/**
 * Time on a core so far, and waited for one while others had it. Both are exact; `user` comes from the tick and is good to
 * a few per cent over a second.
 * @param {number} pid
 */
export function cpuTime(pid) {
  let runNs = 0;
  let waitNs = 0;
  let userNs = 0;
  for (const member of family(pid)) {
    for (const thread of list(`/proc/${member}/task`)) {
      const [run, wait] = read(`/proc/${member}/task/${thread}/schedstat`).split(" ");
      runNs += Number(run || 0);
      waitNs += Number(wait || 0);
    }
    const afterName = read(`/proc/${member}/stat`).split(") ")[1]?.split(" ");
    userNs += Number(afterName?.[11] ?? 0) * NS_PER_TICK;
  }
  return { runNs, waitNs, userNs };
}

/** Resident memory in bytes; what several processes share is counted in each. @param {number} pid */
export function residentBytes(pid) {
  let bytes = 0;
  for (const member of family(pid)) {
    bytes += Number(/^Rss:\s+(\d+) kB/m.exec(read(`/proc/${member}/smaps_rollup`))?.[1] ?? 0) * 1024;
  }
  return bytes;
}

/** @param {string} path */
function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // ended in the meantime
  }
}

/** @param {string} path */
function list(path) {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
