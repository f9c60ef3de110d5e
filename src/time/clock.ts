/** A timer that can be set again and again without allocating; see {@link Clock.timer}. */
export interface Timer {
  /** Fires once, `ms` from now, unless set again or cleared before. `Infinity` clears. */
  set(ms: number): void;
  clear(): void;
}

/** Time as a value: the system's in a process, a virtual one in tests and in the simulator. */
export interface Clock {
  /** Milliseconds since an arbitrary start, never going back. */
  now(): number;
  /** Milliseconds since the Unix epoch, for what people read. */
  wallTime(): number;
  /**
   * A reusable timer for `fired`. Meant for deadlines that are set per request and seldom fire: setting is a few
   * nanoseconds, and it fires up to one tick late, never early.
   */
  timer(fired: () => void): Timer;
  /**
   * Until `release`, `now` may stay what it is: for the handling of one event, which takes microseconds but asks for the
   * time again and again. Not nested.
   */
  hold?(): void;
  /** Time goes on. */
  release?(): void;
}
