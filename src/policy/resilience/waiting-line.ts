import type { Priority } from "./options.ts";

/** One that waits in a queue. */
export interface Waiter {
  readonly priority: Priority;
  /** When it must have been served, in ms of the injected clock; Infinity for never. Fixed while it waits. */
  readonly deadlineMs: number;
  /** Written by the queue alone: defined exactly while this waits. Begins as undefined. */
  place: Place | undefined;
}

/** Where a waiter stands: in the line of its priority, and among those with a deadline of their own. */
export class Place {
  readonly waiter: Waiter;
  readonly line: WaitingLine;
  /** When it began to wait, here or in the queue that it came from. */
  readonly joinedMs: number;
  /** When it must have been served at the latest. */
  readonly dueMs: number;
  ahead: Place | undefined = undefined;
  behind: Place | undefined = undefined;
  /** Index in the heap of deadlines; -1 when it is not in there. */
  heapIndex = -1;

  constructor(waiter: Waiter, line: WaitingLine, joinedMs: number, dueMs: number) {
    this.waiter = waiter;
    this.line = line;
    this.joinedMs = joinedMs;
    this.dueMs = dueMs;
  }
}

/** Waiters of one priority, oldest first. Joining and leaving are O(1), from anywhere in the line. */
export class WaitingLine {
  /** 0 goes first. */
  readonly rank: number;
  oldest: Place | undefined = undefined;
  newest: Place | undefined = undefined;
  size = 0;

  constructor(rank: number) {
    this.rank = rank;
  }

  join(place: Place): void {
    place.ahead = this.newest;
    if (this.newest === undefined) this.oldest = place;
    else this.newest.behind = place;
    this.newest = place;
    this.size++;
  }

  leave(place: Place): void {
    if (place.ahead === undefined) this.oldest = place.behind;
    else place.ahead.behind = place.behind;
    if (place.behind === undefined) this.newest = place.ahead;
    else place.behind.ahead = place.ahead;
    place.ahead = undefined;
    place.behind = undefined;
    this.size--;
  }
}
